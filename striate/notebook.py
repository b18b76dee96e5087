"""Nets, runs and predictions as a notebook shows them: plain HTML that needs no notebook package, every text escaped.

Colours are left to the page, so that it is legible on light and dark ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from striate.texts import percent

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 64
"""Longer side of a thumbnail in CSS pixels."""
_CELL = "text-align:left;vertical-align:middle;padding:2px 14px 2px 0"
_NAME = f"{_CELL};opacity:.7;white-space:nowrap"


def card(title: str, fields: Mapping[str, object], note: str = "") -> str:
    """A heading, names with their values, and a line below; values that are no `Markup` are escaped."""
    rows = "".join(
        f'<tr><th style="{_NAME};font-weight:normal">{_html(name)}</th><td style="{_CELL}">{_html(value)}</td></tr>'
        for name, value in fields.items()
    )
    return f"<div><strong>{_html(title)}</strong><table>{rows}</table>{_note(note)}</div>"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> str:
    """Rows under their headings, and a line below; cells that are no `Markup` are escaped."""
    heading = "".join(f'<th style="{_NAME}">{_html(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{_html(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    return f"<div><table><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table>{_note(note)}</div>"


def thumbnail(pixels: NDArray[Any]) -> Markup:
    """An image, uint8 (H, W, C), C = 1 or 3: small ones are enlarged without smoothing."""
    from striate.drawing.images import data_uri, to_image

    image = to_image(pixels)
    longest = max(image.size)
    width, height = (round(side * SIDE / longest) or 1 for side in image.size)
    image.thumbnail((2 * SIDE, 2 * SIDE))
    return Markup(
        f'<img alt="" width="{width}" height="{height}" style="display:block;image-rendering:'
        f'{"pixelated" if longest < SIDE else "auto"}" src="{data_uri(image)}">'
    )


def bar(share: float) -> Markup:
    """A share from 0 to 1 as a bar with its figure."""
    return Markup(
        '<div style="display:flex;align-items:center;gap:6px"><div style="width:80px;border:1px solid currentColor;'
        'border-radius:2px;opacity:.7">'
        f'<div style="width:{share:.1%};height:8px;background:currentColor"></div></div>{percent(share)}</div>'
    )


def _html(value: object) -> str:
    # File names may hold bytes that are no UTF-8.
    return value if isinstance(value, Markup) else escape(str(value).encode(errors="backslashreplace").decode())


def _note(text: str) -> str:
    return f'<div style="opacity:.7;padding-top:4px">{_html(text)}</div>' if text else ""
