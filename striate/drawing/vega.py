"""Shared by all charts: files, the theme, class names, axes."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import altair as alt

from striate.drawing.theme import Palette, vega_config
from striate.errors import Signalled, StriateError
from striate.files import write_atomic
from striate.texts import storage

try:
    import resource
except ImportError:  # on Windows, which has no such limits
    resource = None  # type: ignore[assignment]

ADDRESS_SPACE = 66 * 2**30
"""Bytes of address space that vl-convert 1 reserves to draw its first chart; measured: 64.3 GiB, most of which is never used."""
LABELS = 46  # points left of a curve for its figures, so that curves stand in line
PERCENT_LABEL = "format(100 * datum.value, '.{digits}f') + '\\u00a0%'"

Chart = TypeVar("Chart", alt.Chart, alt.LayerChart, alt.VConcatChart)


@functools.cache
def undrawable() -> str | None:
    """Why charts cannot be drawn in this process; None if they can.

    vl-convert starts a JavaScript engine that reserves address space, and ends the whole process where it gets none.
    """
    if (free := _address_space()) < ADDRESS_SPACE:
        return (
            f"no charts are drawn: that reserves {storage(ADDRESS_SPACE)} of address space, and this process may have "
            f"{storage(max(free, 0))} more (ulimit -v)"
        )
    import vl_convert

    try:  # with no files or threads left it panics, which is no Exception
        vl_convert.vegalite_to_svg({"mark": "point", "data": {"values": [{}]}}, allowed_base_urls=[])
    except (Signalled, KeyboardInterrupt):
        raise
    except BaseException as error:
        return f"no charts are drawn: vl-convert does not start ({str(error) or type(error).__name__})"
    return None


def _address_space() -> float:
    """Bytes of address space that this process may have besides what it has."""
    if resource is None or (limit := resource.getrlimit(resource.RLIMIT_AS)[0]) == resource.RLIM_INFINITY:
        return math.inf
    import psutil

    return float(limit - psutil.Process().memory_info().vms)


def require_drawable() -> None:
    """Raises StriateError if charts cannot be drawn in this process."""
    if reason := undrawable():
        raise StriateError(reason)


def save_png(chart: alt.TopLevelMixin, path: Path, scale: float = 2) -> Path:
    """Write `chart` as a PNG with `scale` pixels a point, never asking the network for anything."""
    write_atomic(path, png(chart, scale))
    return path


def png(chart: alt.TopLevelMixin, scale: float = 2) -> bytes:
    """`chart` as a PNG file's bytes. Raises StriateError where none can be drawn."""
    require_drawable()
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(definition(chart), scale=scale, allowed_base_urls=[]))


def definition(chart: alt.TopLevelMixin) -> dict[str, object]:
    """`chart` as Vega-Lite. It is not checked against the schema here, which takes longer than drawing: a test does."""
    content: dict[str, object] = chart.to_dict(validate=False)
    return content


def svg(chart_definition: dict[str, object]) -> str:
    """A chart's `definition` as an SVG element. Raises StriateError where none can be drawn."""
    require_drawable()
    import vl_convert

    return str(vl_convert.vegalite_to_svg(chart_definition, allowed_base_urls=[]))


def themed(chart: Chart, palette: Palette) -> Chart:
    """`chart` with our theme; called once, on the outermost chart."""
    chart.config = alt.Config(**vega_config(palette))
    return chart


def plotted(rows: Iterable[Mapping[str, object]]) -> alt.Chart:
    """A chart of rows, which lie in its definition."""
    return alt.Chart(alt.InlineData(values=list(rows)))


def tooltips(**titles: str) -> list[alt.Tooltip]:
    """Fields that are shown as text under the pointer, with their titles."""
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in titles.items()]


def exactly(low: float, high: float) -> alt.Scale:
    """A scale that begins and ends there."""
    return alt.Scale(domain=[low, high], nice=False, zero=False)


def below(share: float) -> float:
    """A multiple of 5 % below a share, for an axis to begin with."""
    return max(0.0, math.floor(20 * share - 0.2) / 20)


def percent_axis(span: float, **options: Any) -> alt.Axis:
    """An axis of fractions, labelled `85 %`; with a decimal where the axis spans less than six points."""
    label = PERCENT_LABEL.format(digits=0 if span >= 0.06 else 1)
    usual: dict[str, Any] = {"title": None, "labelExpr": label, "tickCount": 6, "minExtent": LABELS}
    return alt.Axis(**usual | options)


def named(names: Sequence[str]) -> alt.Parameter:
    """The parameter of a chart whose axes are `name_axis`."""
    return alt.param(name="names", value=list(names))


def name_axis(palette: Palette, **options: Any) -> alt.Axis:
    """An axis of positions, labelled from the chart's parameter `names`."""
    usual: dict[str, Any] = {"title": None, "labelExpr": "names[datum.value]", "labelFontSize": 12, "labelPadding": 8}
    usual |= {"labelColor": palette.text, "labelOverlap": False, "maxExtent": 900, "grid": False}
    return alt.Axis(**usual | options)
