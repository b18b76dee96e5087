"""Whether the net's confidence can be trusted: reliability diagram, accuracy by confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import altair as alt

from striate.drawing.theme import PAPER, Palette
from striate.drawing.vega import LABELS, PERCENT_LABEL, percent_axis, themed
from striate.metrics.intervals import wilson
from striate.report.wording import SPACE, percent
from striate.runforms.evaluation import Bin, Kept
from striate.texts import thousands

WIDTH, HEIGHT = 400, 280
UNIT = alt.Scale(domain=[0, 1], nice=False)
FIFTHS = [k / 5 for k in range(6)]


def reliability(bins: Sequence[Bin], palette: Palette = PAPER, title: str = "Reliability") -> alt.VConcatChart:
    """The reliability diagram (Guo et al. 2017, arXiv:1706.04599, figure 1): the share of right answers by confidence.

    A point a bin, its 95 % Wilson interval as a line, its distance from the diagonal, which is the error of its
    confidence, as a bar; how many images each bin holds below.

    Args:
        bins: evaluation.json's `reliability`.
        palette: colours.
        title: of the chart.
    """
    base = alt.Chart(alt.InlineData(values=[_bin(part) for part in bins]))
    tooltip = [
        alt.Tooltip("range:N", title="confidence"),
        alt.Tooltip("mean:N", title="its mean"),
        alt.Tooltip("right:N", title="right"),
        alt.Tooltip("interval:N", title=f"95{SPACE}% interval"),
        alt.Tooltip("images:N"),
    ]
    x = alt.X(
        "confidence:Q", scale=UNIT, axis=alt.Axis(title=None, labels=False, ticks=False, values=FIFTHS, grid=True)
    )
    y = alt.Y("accuracy:Q", scale=UNIT, axis=_shares(minExtent=LABELS, labelPadding=4))
    ends = alt.InlineData(values=[{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}])
    above = alt.LayerChart(
        layer=[
            alt.Chart(ends).mark_line(color=palette.muted, strokeDash=[5, 4], strokeWidth=1.2).encode(x=x, y=y),
            _word("right more often than it says", 0.03, 0.97, "left", "top", palette),
            _word("surer than it is right", 0.97, 0.03, "right", "bottom", palette),
            base.mark_rule(color=palette.second, strokeWidth=6, opacity=0.55).encode(x=x, y=y, y2="confidence:Q"),
            base.mark_rule(color=palette.first, strokeWidth=1.5).encode(
                x=x, y=alt.Y("least:Q", scale=UNIT), y2="most:Q"
            ),
            base.mark_point(filled=True, size=60, opacity=1, color=palette.first).encode(x=x, y=y, tooltip=tooltip),
        ]
    ).properties(
        width=WIDTH,
        height=HEIGHT,
        title=alt.Title(title, subtitle="share of right answers by confidence: at its word on the dashed line"),
    )
    most = max((part.n for part in bins), default=1)
    heights = alt.Axis(title=None, values=[0, most], format=",d", minExtent=LABELS, labelPadding=4)
    counts = (
        base.mark_bar(color=palette.muted, opacity=0.6, binSpacing=1)
        .encode(
            x=alt.X("low:Q", scale=UNIT, axis=_shares(title="confidence of the answer")),
            x2="high:Q",
            y=alt.Y("n:Q", scale=alt.Scale(domain=[0, most], nice=False), axis=heights),
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


def _word(
    word: str, x: float, y: float, align: Literal["left", "right"], baseline: Literal["top", "bottom"], palette: Palette
) -> alt.Chart:
    """A remark in a corner of the unit square."""
    text = alt.Chart(alt.InlineData(values=[{"confidence": x, "accuracy": y, "word": word}]))
    chart: alt.Chart = text.mark_text(align=align, baseline=baseline, color=palette.muted, fontSize=11).encode(
        x=alt.X("confidence:Q", scale=UNIT), y=alt.Y("accuracy:Q", scale=UNIT), text="word:N"
    )
    return chart


def _shares(**options: Any) -> alt.Axis:
    """An axis from 0 to 100 %."""
    return alt.Axis(
        **{"title": None, "labelExpr": PERCENT_LABEL.format(digits=0), "values": FIFTHS, "labelFlush": False} | options
    )


def coverage(rows: Sequence[Kept], palette: Palette = PAPER) -> alt.LayerChart:
    """The accuracy on the share of the images of which the net is surest: the risk-coverage curve (El-Yaniv & Wiener
    2010) upside down.

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
    floor = max(0.0, math.floor(20 * min(row.accuracy for row in rows) - 0.2) / 20)  # a multiple of 5 %, below all
    x = alt.X("kept:Q", scale=UNIT, axis=_shares(title="share of the images that it answers, the surest ones"))
    y = alt.Y("accuracy:Q", scale=alt.Scale(domain=[floor, 1], nice=False, zero=False), axis=percent_axis(1 - floor))
    base = alt.Chart(alt.InlineData(values=points)).encode(x=x, y=y)
    line = base.mark_line(color=palette.first, strokeWidth=2.5)
    dots = base.mark_point(filled=True, size=55, opacity=1, color=palette.first).encode(
        tooltip=[
            alt.Tooltip("answered:N"),
            alt.Tooltip("right:N", title="of them right"),
            alt.Tooltip("least:N", title="confidence at least"),
        ]
    )
    title = alt.Title(
        "Accuracy by confidence", subtitle="share of right answers, if it is silent where it is less sure"
    )
    return themed(alt.LayerChart(layer=[line, dots]).properties(width=WIDTH, height=HEIGHT, title=title), palette)
