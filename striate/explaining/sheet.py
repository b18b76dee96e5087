"""Rows of small images with a word under each: filters, feature maps, what units respond to."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from striate.anatomy.svg import FAINT, document, text, text_width
from striate.data.images import Pixels
from striate.explaining.palette import palette
from striate.explaining.png import embedded, to_png

MARGIN, GAP = 28.0, 12.0
COLUMNS = 10
"""Images side by side at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """An image uint8 (H, W, C), C = 1 or 3, and the word under it."""

    pixels: Pixels
    caption: str


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A drawing of rows of images.

    Attributes:
        what: `filters`, `maps` or `unit`.
        title, note: above all; the note says what the brightness means.
        rows: each with its heading; an empty one takes no room. A row of more than ten images is broken.
        side: of an image in the drawing, in pixels.
    """

    what: str
    title: str
    note: str
    rows: tuple[tuple[str, tuple[Tile, ...]], ...]
    side: int = 92

    def svg(self) -> str:
        """The sheet as a drawing that is readable by itself."""
        elements = [text(MARGIN, 40, self.title, 20, anchor="start", bold=True)]
        elements.append(text(MARGIN, 62, self.note, 13, anchor="start", fill=FAINT))
        top, columns = 84.0, 1
        for heading, tiles in self.rows:
            if heading:
                elements.append(text(MARGIN, top + 14, heading, 13, anchor="start"))
                top += 26
            for start in range(0, len(tiles), COLUMNS):
                part = tiles[start : start + COLUMNS]
                columns = max(columns, len(part))
                for place, tile in enumerate(part):
                    elements += self._tile(tile, MARGIN + place * (self.side + GAP), top)
                top += self.side + 32
        widest = max(
            [text_width(self.title, 20, True), *(text_width(line, 13.5) for line in (self.note, *self._headings()))]
        )
        width = max(columns * (self.side + GAP) - GAP, widest) + 2 * MARGIN
        return document(width, top + 10, self.title, elements)

    def png(self) -> bytes:
        """`svg` as a PNG, at twice its size."""
        return to_png(self.svg())

    def image(self) -> Image.Image:
        """`png` as a PIL image."""
        return Image.open(io.BytesIO(self.png()))

    def _repr_png_(self) -> bytes:
        return self.png()

    def _headings(self) -> list[str]:
        return [heading for heading, _ in self.rows]

    def _tile(self, tile: Tile, left: float, top: float) -> list[str]:
        height, width = tile.pixels.shape[:2]
        scale = self.side / max(height, width)
        wide, tall = width * scale, height * scale
        caption = tile.caption
        while len(caption) > 4 and text_width(caption, 11) > self.side + GAP - 4:
            caption = f"{caption[:-4]}..."
        return [
            embedded(tile.pixels, left + (self.side - wide) / 2, top + (self.side - tall) / 2, wide, tall),
            text(left + self.side / 2, top + self.side + 15, caption, 11, fill=FAINT),
        ]


def shaded(values: npt.NDArray[np.floating], low: float, high: float) -> Pixels:
    """uint8 (H, W, 3): values from `low` to `high` in the colours of a map, dark to light."""
    share = np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)
    coloured: Pixels = palette()[np.round(255 * share).astype(np.intp)]
    return coloured
