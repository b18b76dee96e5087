"""What all charts share: files, the theme, names of classes, axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import altair as alt

from striate.report.theme import Palette, vega_config
from striate.run import write_atomic

LABELS = 46  # points left of a curve for its figures, so that curves stand in line
PERCENT_LABEL = "format(100 * datum.value, '.{digits}f') + '\\u00a0%'"
LONGEST_LABEL = 40  # characters of a class name beside a chart; the tables give the whole name

Chart = TypeVar("Chart", alt.Chart, alt.LayerChart, alt.VConcatChart)


def save_png(chart: alt.TopLevelMixin, path: Path, scale: float = 2) -> Path:
    """Write `chart` as a PNG with `scale` pixels a point, never asking the network for anything."""
    write_atomic(path, png(chart, scale))
    return path


def png(chart: alt.TopLevelMixin, scale: float = 2) -> bytes:
    """`chart` as a PNG file's bytes."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(definition(chart), scale=scale, allowed_base_urls=[]))


def definition(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """`chart` as Vega-Lite. It is not checked against the schema here, which takes longer than drawing: a test does."""
    content: dict[str, Any] = chart.to_dict(validate=False)
    return content


def svg(chart_definition: dict[str, Any]) -> str:
    """A chart's `definition` as an SVG element."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(chart_definition, allowed_base_urls=[]))


def themed(chart: Chart, palette: Palette) -> Chart:
    """`chart` with our theme; called once, on the outermost chart."""
    chart.config = alt.Config(**vega_config(palette))
    return chart


def shown_name(name: str) -> str:
    """A class name as an axis shows it: whole up to 40 characters, else its two ends."""
    if len(name) <= LONGEST_LABEL:
        return name
    half = (LONGEST_LABEL - 1) // 2
    return f"{name[:half].rstrip()}…{name[-half:].lstrip()}"


def percent_axis(span: float) -> alt.Axis:
    """An axis of fractions, labelled `85 %`; with a decimal where the axis spans less than six points."""
    digits = 0 if span >= 0.06 else 1
    return alt.Axis(title=None, labelExpr=PERCENT_LABEL.format(digits=digits), tickCount=6, minExtent=LABELS)


def names_param(names: Sequence[str]) -> alt.Parameter:
    return alt.param(name="names", value=list(names))


def name_axis(palette: Palette, *, grid: bool = False) -> alt.Axis:
    """An axis of positions, labelled from the chart's parameter `names`."""
    return alt.Axis(
        title=None,
        labelExpr="names[datum.value]",
        labelFontSize=12,
        labelColor=palette.text,
        labelPadding=8,
        labelOverlap=False,
        maxExtent=900,
        grid=grid,
    )
