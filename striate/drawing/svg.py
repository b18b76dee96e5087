"""The few SVG elements that drawings and sheets are made of, and a drawing as a PNG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from unicodedata import east_asian_width

from striate.drawing.images import Pixels, data_uri, resized
from striate.drawing.theme import FONT, KINDS, PAPER

INK, FAINT, LINE = PAPER.text, PAPER.muted, PAPER.grid
FINE = 2
"""A PNG has so many pixels for one of the drawing: images are put in at that size."""


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width in pixels, estimated: fonts differ, so with some room to spare."""
    narrow = sum(character in "il.,:'|!()[] jtf1" for character in text)
    wide = sum(character in "mwMW" for character in text)
    square = sum(east_asian_width(character) in "WF" for character in text)
    return size * (0.58 * len(text) - 0.2 * narrow + 0.3 * wide + 0.46 * square) * (1.07 if bold else 1.0)


def broken(content: str, size: float, width: float) -> Iterator[str]:
    """Text as lines of at most `width` pixels: broken between words, and a word that is too long between letters."""
    line = ""
    for word in content.split(" "):
        joined = f"{line} {word}" if line else word
        if line and text_width(joined, size) > width:
            yield line
            joined = word
        while len(joined) > 1 and text_width(joined, size) > width:
            fits = max(k for k in range(1, len(joined)) if k == 1 or text_width(joined[:k], size) <= width)
            yield joined[:fits]
            joined = joined[fits:]
        line = joined
    yield line


def text(x: float, y: float, content: str, size: float = 12, *, anchor: str = "middle", fill: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}" fill="{fill}">{escape(content)}</text>'


def bold(element: str) -> str:
    """A `text` in bold."""
    return element.replace(" fill=", ' font-weight="600" fill=', 1)


def shortened(name: str, most: int = 40) -> str:
    """A name of at most `most` characters: whole, or its two ends."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half].rstrip()}…{name[-half:].lstrip()}"


def box(x: float, y: float, width: float, height: float, kind: str, radius: float = 7) -> str:
    fill, stroke = KINDS[kind]
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


def image(pixels: Pixels, left: float, top: float, wide: float, tall: float, fine: int = FINE) -> str:
    """Pixels (H, W, C) as a framed element of that size. Few are enlarged without smoothing: one sees what the net sees."""
    return (
        f'<image x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
        f'href="{data_uri(resized(pixels, round(fine * wide), round(fine * tall)))}"/>'
        f'<rect x="{left - 0.5:.1f}" y="{top - 0.5:.1f}" width="{wide + 1:.1f}" height="{tall + 1:.1f}" fill="none" '
        f'stroke="{LINE}"/>'
    )


def to_png(svg: str, fine: int = FINE) -> bytes:
    """A drawing as a PNG with `fine` pixels for one of the drawing."""
    import vl_convert

    return bytes(vl_convert.svg_to_png(svg, scale=fine))


def document(width: float, height: float, title: str, elements: Sequence[str]) -> str:
    """A whole drawing on white, readable by itself."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}" role="img">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0,0.6 L7.4,4 L0,7.4 z" fill="{FAINT}"/></marker></defs>',
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="{PAPER.surface}"/>',
            *elements,
            "</svg>",
        ]
    )
