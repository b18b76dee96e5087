"""What the learning-rate finder saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import altair as alt

from striate.drawing.theme import PAPER, Palette
from striate.drawing.vega import themed

SIDES: tuple[Literal["left", "right"], ...] = ("right", "left")


def rate_search(
    rates: Sequence[float], losses: Sequence[float], marks: dict[str, float], palette: Palette = PAPER
) -> alt.LayerChart:
    """The smoothed loss by learning rate, on a logarithmic axis, with a line and a word at each of at most two
    `marks`, word -> rate, the smaller one first.
    """
    highest = max(loss for loss in losses if loss <= 1.3 * losses[0]) if losses else 1.0
    rows = [{"rate": rate, "loss": loss} for rate, loss in zip(rates, losses, strict=True) if loss <= 1.3 * highest]
    x = alt.X(
        "rate:Q",
        scale=alt.Scale(type="log", nice=False, domain=[rates[0], rates[-1]]),
        axis=alt.Axis(title="learning rate", format=".0e", tickCount=7, grid=False),
    )
    line = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(color=palette.first, strokeWidth=2)
        .encode(x=x, y=alt.Y("loss:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title=None, format=".3~g")))
    )
    marked = [{"rate": rate, "word": f"{word} {rate:.2g}"} for word, rate in marks.items()]
    rules = alt.Chart(alt.InlineData(values=marked)).mark_rule(color=palette.second, strokeDash=[4, 3]).encode(x=x)
    # The first mark's word to the left of its line, the last one's to the right: they may stand close together.
    words = [
        alt.Chart(alt.InlineData(values=[mark]))
        .mark_text(align=side, dx=gap, dy=8, baseline="top", fontSize=12, color=palette.text)
        .encode(x=x, y=alt.value(0), text="word:N")
        for mark, side, gap in zip(marked, SIDES, (-6, 6), strict=False)
    ]
    title = alt.Title(
        "Learning-rate search", subtitle="smoothed loss of the batch before each step, while the rate rises"
    )
    return themed(alt.LayerChart(layer=[line, rules, *words]).properties(width=620, height=280, title=title), palette)
