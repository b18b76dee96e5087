"""The one look of everything that a run shows: colours for paper (and PNG), for a dark screen, and as CSS
variables.

Series are told apart by Okabe and Ito's blue and vermilion (Okabe & Ito 2008, "Color universal design"; sky blue
and orange on a dark background) and by dash and point shape besides. In the confusion matrix blue is right and
orange is wrong; the share of the row is the opacity of the ink.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, 'DejaVu Sans', sans-serif"
HUES = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f8b99", "#aa3377", "#b5b800",
)  # fmt: skip
"""Colours for many classes: Okabe and Ito's and four more; with more classes they come again."""
KINDS: Mapping[str, tuple[str, str]] = {
    "picture": ("#ffffff", "#566273"),
    "convolution": ("#d9e8f6", "#2f6fa8"),
    "pool": ("#fde2c4", "#c26a17"),
    "linear": ("#e5dcf2", "#6d4da3"),
    "join": ("#d3efe2", "#1f8a62"),
    "other": ("#eef0f2", "#7b8794"),
}
"""Fill and stroke of the parts of a net, in hues that colour-blind readers tell apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Palette:
    """Colours as CSS colours. Every chart is drawn with one of these and names no colour itself."""

    surface: str
    """Behind a chart."""
    text: str
    muted: str
    """Axis labels, notes."""
    grid: str
    first: str
    """Training; precision."""
    second: str
    """Validation; recall."""
    third: str
    """A third series; F1."""
    right: str
    """Ink of the matrix's diagonal."""
    wrong: str
    """Ink of the matrix's other cells."""
    on_ink: str
    """Numbers on dense ink."""
    off_ink: str
    """Numbers on thin ink."""


PAPER = Palette(
    surface="#ffffff",
    text="#1b2430",
    muted="#566273",
    grid="#e3e7ec",
    first="#0072b2",
    second="#d55e00",
    third="#2b2f36",
    right="#0b4a82",
    wrong="#8c3200",
    on_ink="#ffffff",
    off_ink="#000000",
)
NIGHT = Palette(
    surface="#171d26",
    text="#e8ecf2",
    muted="#a3afbf",
    grid="#2d3643",
    first="#56b4e9",
    second="#e69f00",
    third="#f2f4f7",
    right="#4fa0d8",
    wrong="#d98a3a",
    on_ink="#000000",
    off_ink="#ffffff",
)
PAGE = Palette(
    **{field.name: f"var(--{field.name.replace('_', '-')})" for field in fields(Palette)} | {"surface": "transparent"}
)
"""The colours as CSS variables: an SVG drawn with it lies on the page and follows it, light, dark or printed."""


def css_variables(palette: Palette) -> str:
    """The declarations that `PAGE` refers to, for a `:root` rule."""
    return " ".join(f"--{name.replace('_', '-')}: {colour};" for name, colour in asdict(palette).items())


def vega_config(palette: Palette) -> dict[str, Any]:
    """Our theme as a Vega-Lite `config`: quiet axes, horizontal grid, the legend on top."""
    axis = {
        "domainColor": palette.grid,
        "tickColor": palette.grid,
        "gridColor": palette.grid,
        "labelColor": palette.muted,
        "titleColor": palette.muted,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelLimit": 0,
        "titleLimit": 0,
    }
    return {
        "aria": False,
        "background": palette.surface,
        "font": FONT,
        "padding": 12,
        "view": {"stroke": None},
        "axis": axis,
        "axisX": {"grid": False},
        "axisY": {"domain": False, "ticks": False},
        "title": {
            "anchor": "start",
            "color": palette.text,
            "fontSize": 14,
            "fontWeight": "bold",
            "offset": 10,
            "subtitleColor": palette.muted,
            "subtitleFontSize": 12,
            "subtitlePadding": 5,
            "limit": 0,
        },
        "legend": {
            "orient": "top",
            "title": None,
            "labelColor": palette.text,
            "titleColor": palette.muted,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "labelLimit": 0,
            "titleLimit": 0,
            "symbolSize": 90,
            "symbolStrokeWidth": 2.5,
            "offset": 6,
            "titlePadding": 8,
        },
        "text": {"color": palette.text, "fontSize": 11},
        "range": {"category": [palette.first, palette.second, palette.third]},
    }
