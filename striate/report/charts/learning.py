"""How a run was trained: the search for a learning rate; loss, accuracy and learning rate by epoch; where the time went."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import altair as alt

from striate.drawing.theme import PAPER, Palette
from striate.drawing.vega import LABELS, exactly, name_axis, named, percent_axis, plotted, themed, tooltips
from striate.outcome import Row
from striate.report.facts import PHASES, measured
from striate.report.wording import duration, percent

MOST_POINTS = 40  # with more epochs the curves are drawn without points

Quantity = Literal["loss", "accuracy"]


def curves(metrics: Sequence[Row], palette: Palette = PAPER) -> alt.VConcatChart:
    """Loss and accuracy of training and validation side by side, the learning rate below: the run's curves.png.

    A curve without any finite figure, as the loss of a run that diverged at once, is left out. `metrics` needs a row.
    """
    pair = alt.hconcat(*(_curve(metrics, quantity, palette) for quantity in drawable(metrics)), spacing=36)
    above = pair.resolve_scale(color="independent", strokeDash="independent", shape="independent")
    width = max(1, len(drawable(metrics))) * (420 + LABELS) - LABELS + 36
    return themed(alt.vconcat(above, _rate(metrics, palette, width), spacing=20), palette)


def drawable(metrics: Sequence[Row]) -> list[Quantity]:
    """The quantities of which there is a finite figure to draw."""
    quantities: tuple[Quantity, ...] = ("loss", "accuracy")
    return [
        q
        for q in quantities
        if any(measured(row, f"{part}_{q}") is not None for part in ("train", "val") for row in metrics)
    ]


def curve(metrics: Sequence[Row], quantity: Quantity, palette: Palette = PAPER) -> alt.LayerChart:
    """One of the two curves by itself, training and validation told apart by colour, dash and point shape."""
    return themed(_curve(metrics, quantity, palette), palette)


def _epochs(metrics: Sequence[Row], field: str = "epoch") -> alt.X:
    last = math.ceil(metrics[-1]["epoch"])
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if last <= 15 * size)
    ticks = [*([1] if step > 2 else []), *range(step, last + 1, step)]
    axis = alt.Axis(title="epoch", values=ticks, format="d", labelOverlap=False)
    return alt.X(f"{field}:Q", scale=exactly(0.5, last + 0.5), axis=axis)


def _curve(metrics: Sequence[Row], quantity: Quantity, palette: Palette) -> alt.LayerChart:
    series = {"training": f"train_{quantity}", "validation": f"val_{quantity}"}
    rows = [
        {"epoch": row["epoch"], "series": name, "value": number}
        for name, key in series.items()
        for row in metrics
        if (number := measured(row, key)) is not None
    ]
    names = [name for name in series if any(row["series"] == name for row in rows)]
    low, high = min(row["value"] for row in rows), max(row["value"] for row in rows)
    margin = 0.06 * (high - low) or 0.05 * max(abs(high), 0.1)
    low, high = max(0.0, low - margin), high + margin
    if quantity == "loss":
        title = alt.Title("Loss", subtitle="cross-entropy: lower is better")
        axis = alt.Axis(title=None, format=".3~g", tickCount=6, minExtent=LABELS)
    else:
        high = min(1.0, high)
        title = alt.Title("Accuracy", subtitle="share of the images classified correctly")
        axis = percent_axis(high - low)
    pointed = len(metrics) <= MOST_POINTS
    legend = alt.Legend(
        orient="top-right" if quantity == "loss" else "bottom-right",
        direction="vertical",
        offset=4,
        symbolStrokeWidth=0 if pointed else 2.5,
        symbolSize=90 if pointed else 700,
    )

    def by_series(values: Sequence[Any]) -> dict[str, Any]:
        return {
            "shorthand": "series:N",
            "scale": alt.Scale(domain=names, range=list(values[: len(names)])),
            "legend": legend,
        }

    y = alt.Y("value:Q", scale=exactly(low, high), axis=axis)
    base = plotted(rows).encode(x=_epochs(metrics), y=y, color=alt.Color(**by_series((palette.first, palette.second))))
    dash = alt.StrokeDash(**by_series(([1, 0], [6, 4])))
    layers: list[alt.Chart] = [base.mark_line(strokeWidth=2.5, strokeCap="round").encode(strokeDash=dash)]
    if pointed:
        shape = alt.Shape(**by_series(("circle", "triangle-up")))
        layers.append(base.mark_point(filled=True, size=55, opacity=1).encode(shape=shape))
    layers.append(_reading(metrics, series, quantity, palette))
    return alt.LayerChart(layer=layers).properties(width=420, height=250, title=title)


def _reading(metrics: Sequence[Row], series: dict[str, str], quantity: Quantity, palette: Palette) -> alt.Chart:
    """An invisible strip an epoch, which shows itself and the epoch's figures under the pointer."""
    rows: list[dict[str, object]] = []
    for row in metrics:
        strip = {"from": row["epoch"] - 0.5, "to": row["epoch"] + 0.5, "epoch": f"{row['epoch']:g}"}
        for name, key in series.items():
            number = measured(row, key)
            if number is not None:
                strip[name] = f"{number:.4f}" if quantity == "loss" else percent(number, 2)
        rows.append(strip)
    shown = ["epoch", *(name for name in series if any(name in row for row in rows))]
    pointed = alt.selection_point(name=f"pointed_{quantity}", on="pointerover", clear="pointerout", empty=False)
    strips = plotted(rows).mark_rect(color=palette.muted).add_params(pointed)
    opacity = alt.condition(pointed, alt.value(0.14), alt.value(0))
    tooltip = tooltips(**{name: name for name in shown})
    drawn: alt.Chart = strips.encode(x=_epochs(metrics, "from"), x2="to:Q", opacity=opacity, tooltip=tooltip)
    return drawn


def rate(metrics: Sequence[Row], palette: Palette = PAPER) -> alt.Chart:
    """The learning rate that each epoch ended with."""
    return themed(_rate(metrics, palette, width=420), palette)


def _rate(metrics: Sequence[Row], palette: Palette, width: int) -> alt.Chart:
    rows = [
        {"epoch": row["epoch"], "rate": number, "shown": f"{number:.4g}"}
        for row in metrics
        if (number := measured(row, "lr")) is not None
    ]
    point: dict[str, object] | bool = {"filled": True, "size": 28, "color": palette.muted}
    axis = alt.Axis(title=None, tickCount=3, format="~g", minExtent=LABELS)
    line: alt.Chart = (
        plotted(rows)
        .mark_line(color=palette.muted, strokeWidth=1.5, point=point if len(metrics) <= MOST_POINTS else False)
        .encode(
            x=_epochs(metrics),
            y=alt.Y("rate:Q", scale=alt.Scale(zero=True), axis=axis),
            tooltip=tooltips(epoch="epoch", shown="learning rate"),
        )
        .properties(width=width, height=64, title="Learning rate")
    )
    return line


def time_spent(seconds: dict[str, float], palette: Palette = PAPER) -> alt.LayerChart:
    """A bar for each phase of summary.json's `seconds` that took any time, with its time and its share of their sum."""
    spent = {phase: time for phase, time in seconds.items() if phase != "total" and time}
    total = sum(spent.values()) or 1.0
    rows = [
        {"place": place, "seconds": time, "shown": f"{duration(time)} · {percent(time / total)}"}
        for place, time in enumerate(spent.values())
    ]
    places = alt.Scale(domain=list(range(len(spent))), paddingInner=0.25)
    base = plotted(rows).encode(
        x=alt.X("seconds:Q", scale=exactly(0, max(spent.values(), default=1.0)), axis=None),
        y=alt.Y("place:O", scale=places, axis=name_axis(palette)),
    )
    bars = base.mark_bar(color=palette.first)
    figures = base.mark_text(align="left", dx=7, fontSize=12, color=palette.text).encode(text="shown:N")
    chart = alt.LayerChart(layer=[bars, figures]).properties(width=380, height=alt.Step(26))
    return themed(chart.add_params(named([PHASES.get(phase, phase) for phase in spent])), palette)


def rate_search(
    rates: Sequence[float], losses: Sequence[float], marks: dict[str, float], palette: Palette = PAPER
) -> alt.LayerChart:
    """The smoothed loss by learning rate, with a line and a word at each of at most two `marks`, word -> rate, rising."""
    highest = max(loss for loss in losses if loss <= 1.3 * losses[0]) if losses else 1.0
    rows = [{"rate": rate, "loss": loss} for rate, loss in zip(rates, losses, strict=True) if loss <= 1.3 * highest]
    x = alt.X(
        "rate:Q",
        scale=alt.Scale(type="log", nice=False, domain=[rates[0], rates[-1]]),
        axis=alt.Axis(title="learning rate", format=".0e", tickCount=7, grid=False),
    )
    y = alt.Y("loss:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title=None, format=".3~g"))
    line = plotted(rows).mark_line(color=palette.first, strokeWidth=2).encode(x=x, y=y)
    marked = [{"rate": rate, "word": f"{word} {rate:.2g}"} for word, rate in marks.items()]
    rules = plotted(marked).mark_rule(color=palette.second, strokeDash=[4, 3]).encode(x=x)
    # The first mark's word to the left of its line, the last one's to the right: they may stand close together.
    sides: tuple[dict[str, Any], ...] = ({"align": "right", "dx": -6}, {"align": "left", "dx": 6})
    words = [
        plotted([mark])
        .mark_text(dy=8, baseline="top", fontSize=12, color=palette.text, **side)
        .encode(x=x, y=alt.value(0), text="word:N")
        for mark, side in zip(marked, sides, strict=False)
    ]
    title = alt.Title("Learning-rate search", subtitle="smoothed loss of each batch before its step, as the rate rises")
    return themed(alt.LayerChart(layer=[line, rules, *words]).properties(width=620, height=280, title=title), palette)
