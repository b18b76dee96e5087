"""Whether the net's confidence can be trusted: reliability diagram, accuracy by confidence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import altair as alt

from striate.drawing.theme import PAPER, Palette
from striate.drawing.vega import LABELS, below, exactly, percent_axis, plotted, themed, tooltips
from striate.metrics.classification import wilson
from striate.report.wording import INTERVAL, percent
from striate.runforms.evaluation import Bin, Kept
from striate.texts import thousands

WIDTH, HEIGHT = 400, 280
UNIT = exactly(0, 1)
FIFTHS = [k / 5 for k in range(6)]
_shares = partial(percent_axis, 1, values=FIFTHS, labelFlush=False)
_CORNERS: dict[str, tuple[float, dict[str, Any]]] = {
    "underconfident": (0.03, {"align": "left", "baseline": "top"}),
    "overconfident": (0.97, {"align": "right", "baseline": "bottom"}),
}
"""Words on the two sides of the diagonal: position from the left and from the top, and how they stand there."""


def reliability(bins: Sequence[Bin], palette: Palette = PAPER, title: str = "Reliability") -> alt.VConcatChart:
    """The reliability diagram (Guo et al. 2017, arXiv:1706.04599, figure 1): accuracy by confidence.

    A point a bin, its 95 % Wilson interval as a line, its distance from the diagonal, which is the error of its
    confidence, as a bar; how many images each bin holds below.

    Args:
        bins: evaluation.json's `reliability`.
        palette: colours.
        title: of the chart.
    """
    base = plotted(map(_bin, bins))
    tooltip = tooltips(range="confidence", mean="mean confidence", right="accuracy", interval=INTERVAL, images="images")
    fifths = alt.Axis(title=None, labels=False, ticks=False, values=FIFTHS, grid=True)
    x = alt.X("confidence:Q", scale=UNIT, axis=fifths)
    y = alt.Y("accuracy:Q", scale=UNIT, axis=_shares(labelPadding=4))
    ends = plotted({"confidence": k, "accuracy": k} for k in (0, 1))
    words = [
        plotted([{"confidence": x, "accuracy": 1 - x, "word": word}]).mark_text(
            color=palette.muted, fontSize=11, **stands
        )
        for word, (x, stands) in _CORNERS.items()
    ]
    span = alt.Y("least:Q", scale=UNIT)
    above = alt.LayerChart(
        layer=[
            ends.mark_line(color=palette.muted, strokeDash=[5, 4], strokeWidth=1.2).encode(x=x, y=y),
            *(word.encode(x=x, y=y, text="word:N") for word in words),
            base.mark_rule(color=palette.second, strokeWidth=6, opacity=0.55).encode(x=x, y=y, y2="confidence:Q"),
            base.mark_rule(color=palette.first, strokeWidth=1.5).encode(x=x, y=span, y2="most:Q"),
            base.mark_point(filled=True, size=60, opacity=1, color=palette.first).encode(x=x, y=y, tooltip=tooltip),
        ]
    ).properties(
        width=WIDTH,
        height=HEIGHT,
        title=alt.Title(title, subtitle="accuracy by confidence; dashed: perfectly calibrated"),
    )
    most = max((part.n for part in bins), default=1)
    heights = alt.Axis(title=None, values=[0, most], format=",d", minExtent=LABELS, labelPadding=4)
    counts = (
        base.mark_bar(color=palette.muted, opacity=0.6, binSpacing=1)
        .encode(
            x=alt.X("low:Q", scale=UNIT, axis=_shares(title="confidence", minExtent=0)),
            x2="high:Q",
            y=alt.Y("n:Q", scale=exactly(0, most), axis=heights),
            y2=alt.Y2(datum=0),
            tooltip=tooltip,
        )
        .properties(width=WIDTH, height=56)
    )
    return themed(alt.vconcat(above, counts, spacing=8), palette)


def _bin(part: Bin) -> dict[str, object]:
    least, most = wilson(round(part.accuracy * part.n), part.n)
    return {
        **part.as_dict(),
        "least": least,
        "most": most,
        "range": f"{percent(part.low, 0)} to {percent(part.high, 0)}",
        "mean": percent(part.confidence),
        "right": percent(part.accuracy),
        "interval": f"{percent(least)} to {percent(most)}",
        "images": thousands(part.n),
    }


def coverage(rows: Sequence[Kept], palette: Palette = PAPER) -> alt.LayerChart:
    """Accuracy on the most confident images, by their share: the risk-coverage curve (El-Yaniv & Wiener 2010) upside down.

    Args:
        rows: evaluation.json's `by_confidence`.
        palette: colours.
    """
    points = [
        {
            "kept": row.kept,
            "accuracy": row.accuracy,
            "answered": percent(row.kept, 0),
            "right": percent(row.accuracy, 2),
            "least": percent(row.threshold),
        }
        for row in rows
    ]
    floor = below(min(row.accuracy for row in rows))
    x = alt.X("kept:Q", scale=UNIT, axis=_shares(title="share of images answered, most confident first", minExtent=0))
    y = alt.Y("accuracy:Q", scale=exactly(floor, 1), axis=percent_axis(1 - floor))
    base = plotted(points).encode(x=x, y=y)
    line = base.mark_line(color=palette.first, strokeWidth=2.5)
    dots = base.mark_point(filled=True, size=55, opacity=1, color=palette.first).encode(
        tooltip=tooltips(answered="answered", right="accuracy", least="confidence at least")
    )
    title = alt.Title("Accuracy by confidence", subtitle="accuracy if only the most confident images are answered")
    return themed(alt.LayerChart(layer=[line, dots]).properties(width=WIDTH, height=HEIGHT, title=title), palette)
