"""How accuracy falls when images get worse: a chart for each kind of corruption."""

from __future__ import annotations

import math
from typing import NamedTuple

import altair as alt

from striate.drawing.theme import PAPER, Palette
from striate.drawing.vega import exactly, percent_axis, plotted, themed, tooltips
from striate.report.wording import INTERVAL, percent
from striate.runforms.evaluation import Robustness
from striate.texts import thousands


class Kind(NamedTuple):
    """A corruption in words. `unit`: what its value is."""

    title: str
    unit: str


KINDS = {
    "gaussian-noise": Kind("Noise", "standard deviation, share of a pixel's range"),
    "blur": Kind("Blur", "standard deviation, in pixels"),
    "rotation": Kind("Rotation", "degrees, to one side or the other"),
    "shift": Kind("Shift", "share of the shorter side"),
    "brightness": Kind("Brightness", "added, share of a pixel's range"),
    "contrast": Kind("Contrast", "factor"),
}
"""The corruptions of robustness.json."""


def kinds(found: Robustness) -> list[str]:
    """The measured corruptions that this version knows, in order."""
    return [name for name in dict.fromkeys(row.name for row in found.corruptions) if name in KINDS]


def robustness(found: Robustness, palette: Palette = PAPER) -> alt.VConcatChart:
    """All corruptions on one sheet, three in a row. `found`: robustness.json."""
    charts = [_curve(found, name, palette, 230) for name in kinds(found)]
    rows = [alt.hconcat(*charts[start : start + 3], spacing=28) for start in range(0, len(charts), 3)]
    return themed(alt.vconcat(*rows, spacing=22), palette)


def robustness_curve(found: Robustness, name: str, palette: Palette = PAPER) -> alt.LayerChart:
    """One corruption by itself."""
    fixed = alt.AutoSizeParams(type="fit", contains="padding")  # all of one width, whatever their labels
    return themed(_curve(found, name, palette, 360).properties(height=250, autosize=fixed), palette)


def _curve(found: Robustness, name: str, palette: Palette, width: int) -> alt.LayerChart:
    """Accuracy by level, its 95 % interval as a band; the dashed line is the accuracy on the same images as they are."""
    rows = sorted((row for row in found.corruptions if row.name == name), key=lambda row: row.level)
    title, unit = KINDS[name]
    clean: dict[str, object] = {"level": 0, "accuracy": found.clean, "shown": percent(found.clean), "value": "none"}
    levels = [
        {
            "level": row.level,
            "accuracy": row.accuracy,
            "low": row.low,
            "high": row.high,
            "value": f"{row.value:.2g}",
            "shown": percent(row.accuracy),
            "interval": f"{percent(row.low)} to {percent(row.high)}",
            "images": thousands(row.n),
        }
        for row in rows
    ]
    # The same scale for all: from a multiple of 10 % below everything to one above.
    low = min([found.clean, *(row.low for row in found.corruptions)])
    high = max([found.clean, *(row.high for row in found.corruptions)])
    scale = exactly(math.floor(10 * low) / 10, math.ceil(10 * high) / 10)
    values = ["none", *(f"{row.value:.2g}" for row in rows)]
    ticks = alt.Axis(
        title=unit, values=list(range(len(values))), labelExpr=f"{values!r}[datum.value]", labelOverlap=False,
        labelFlush=False,
    )  # fmt: skip
    x = alt.X("level:Q", scale=exactly(0, max(5, len(rows))), axis=ticks)
    y = alt.Y("accuracy:Q", scale=scale, axis=percent_axis(1))
    base = plotted([clean, *levels]).encode(x=x, y=y)
    dashed = plotted([{"accuracy": found.clean}]).mark_rule(color=palette.muted, strokeDash=[5, 4]).encode(y=y)
    band = plotted(levels).mark_area(color=palette.first, opacity=0.18)
    dots = base.mark_point(filled=True, size=50, opacity=1, color=palette.first)
    tooltip = tooltips(value=title.lower(), shown="accuracy", interval=INTERVAL, images="images")
    layers = [
        dashed,
        band.encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q"),
        base.mark_line(color=palette.first, strokeWidth=2.5),
        dots.encode(tooltip=tooltip),
    ]
    return alt.LayerChart(layer=layers).properties(width=width, height=170, title=title)
