"""The few SVG elements that the drawings are made of, and their colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
INK, FAINT = "#1f2933", "#5f6b7a"
FILLS: Mapping[str, tuple[str, str]] = {  # fill and stroke; hues that colour-blind readers tell apart
    "picture": ("#ffffff", "#5f6b7a"),
    "convolution": ("#d9e8f6", "#2f6fa8"),
    "pool": ("#fde2c4", "#c26a17"),
    "linear": ("#e5dcf2", "#6d4da3"),
    "join": ("#d3efe2", "#1f8a62"),
    "other": ("#eef0f2", "#7b8794"),
}


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width in pixels, estimated: fonts differ, so with some room to spare."""
    narrow = sum(character in "il.,:'|!()[] jtf1" for character in text)
    wide = sum(character in "mwMW" for character in text)
    return size * (0.58 * len(text) - 0.2 * narrow + 0.3 * wide) * (1.07 if bold else 1.0)


def text(
    x: float, y: float, content: str, size: float = 12, *, anchor: str = "middle", bold: bool = False, fill: str = INK
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}"{weight} fill="{fill}">'
        f"{escape(content)}</text>"
    )


def box(x: float, y: float, width: float, height: float, kind: str, radius: float = 7) -> str:
    fill, stroke = FILLS[kind]
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:g}" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="1.4"/>'
    )


def polygon(points: Sequence[tuple[float, float]], fill: str, stroke: str) -> str:
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon points="{corners}" fill="{fill}" stroke="{stroke}" stroke-width="1.1" stroke-linejoin="round"/>'


def path(d: str, *, arrow: bool = True, dashed: bool = False, colour: str = FAINT) -> str:
    head = ' marker-end="url(#arrow)"' if arrow else ""
    dash = ' stroke-dasharray="3 4"' if dashed else ""
    return f'<path d="{d}" fill="none" stroke="{colour}" stroke-width="1.4"{dash}{head}/>'


def document(width: float, height: float, title: str, elements: Sequence[str]) -> str:
    """A whole drawing on white, readable by itself."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}" role="img">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0,0.6 L7.4,4 L0,7.4 z" fill="{FAINT}"/></marker></defs>',
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
            *elements,
            "</svg>",
        ]
    )
