"""The look of everything that a run shows: colours for paper (and PNG), for a dark screen, and as CSS variables.

Series are told apart by Okabe and Ito's blue and vermilion (Okabe & Ito 2008, "Color universal design"; sky blue and orange on a
dark background), by dash and by point shape. In the confusion matrix blue is correct and orange is misclassified; the opacity of
the ink is the share of the row.
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
    """Colours as CSS colours. Every chart is drawn with one of these and names no colour itself.

    Attributes:
        surface: behind a chart; `muted`: axis labels, notes.
        first: training, precision; `second`: validation, recall; `third`: F1.
        right, wrong: ink of the confusion matrix's diagonal and of its other cells.
        on_ink, off_ink: numbers on dense and on thin ink.
    """

    surface: str
    text: str
    muted: str
    grid: str
    first: str
    second: str
    third: str
    right: str
    wrong: str
    on_ink: str
    off_ink: str


_COLOURS = {
    "surface": ("#ffffff", "#171d26"),
    "text": ("#1b2430", "#e8ecf2"),
    "muted": ("#566273", "#a3afbf"),
    "grid": ("#e3e7ec", "#2d3643"),
    "first": ("#0072b2", "#56b4e9"),
    "second": ("#d55e00", "#e69f00"),
    "third": ("#2b2f36", "#f2f4f7"),
    "right": ("#0b4a82", "#4fa0d8"),
    "wrong": ("#8c3200", "#d98a3a"),
    "on_ink": ("#ffffff", "#000000"),
    "off_ink": ("#000000", "#ffffff"),
}
"""Each colour on paper and on a dark screen."""
PAPER, NIGHT = (Palette(**{name: colours[k] for name, colours in _COLOURS.items()}) for k in (0, 1))
PAGE = Palette(
    **{field.name: f"var(--{field.name.replace('_', '-')})" for field in fields(Palette)} | {"surface": "transparent"}
)
"""The colours as CSS variables: an SVG drawn with it lies on the page and follows it, light, dark or printed."""


def css_variables(palette: Palette) -> str:
    """The declarations that `PAGE` refers to, for a `:root` rule."""
    return " ".join(f"--{name.replace('_', '-')}: {colour};" for name, colour in asdict(palette).items())


def vega_config(palette: Palette) -> dict[str, Any]:
    """Our theme as a Vega-Lite `config`: quiet axes, horizontal grid, the legend on top."""
    quiet = ("domainColor", "tickColor", "gridColor")
    titles = {"titleColor": palette.muted, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8}
    whole = {"labelLimit": 0, "titleLimit": 0}
    title = {"anchor": "start", "color": palette.text, "fontSize": 14, "fontWeight": "bold", "offset": 10, "limit": 0}
    subtitle = {"subtitleColor": palette.muted, "subtitleFontSize": 12, "subtitlePadding": 5}
    symbols = {"orient": "top", "title": None, "symbolSize": 90, "symbolStrokeWidth": 2.5, "offset": 6}
    return {
        "aria": False,
        "background": palette.surface,
        "font": FONT,
        "padding": 12,
        "view": {"stroke": None},
        "axis": dict.fromkeys(quiet, palette.grid)
        | titles
        | whole
        | {"labelColor": palette.muted, "labelFontSize": 11},
        "axisX": {"grid": False},
        "axisY": {"domain": False, "ticks": False},
        "title": title | subtitle,
        "legend": symbols | titles | whole | {"labelColor": palette.text, "labelFontSize": 12},
        "text": {"color": palette.text, "fontSize": 11},
        "range": {"category": [palette.first, palette.second, palette.third]},
    }
