"""Sheets of small images with a caption under each: samples, mistakes, filters, feature maps, what units respond to."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from striate.drawing.images import Pixels
from striate.drawing.svg import FAINT, FINE, bold, broken, document, image, text, text_width, to_png
from striate.drawing.theme import PAPER
from striate.strictjson import to_json

MARGIN, GAP, SIZE, LINE = 28, 14, 13, 17
WIDEST = 1160
"""Pixels across, of a sheet that is read on a screen or a page without being made smaller."""
LEGIBLE = 112
"""Pixels that a small image's longer side reaches, about."""
NOTE = "striate"
"""The name of the text in a PNG that says where on the sheet its images are."""


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """An image uint8 (H, W, C), C = 1 or 3, and the words under it; lines after the first one tell of a mistake."""

    pixels: Pixels
    caption: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sheet:
    """A drawing of rows of images.

    Attributes:
        rows: each with its heading; an empty one takes no room. A row of more than `columns` images is broken.
        what: `filters`, `maps`, `unit`; names its file.
        title, note: above all, where there are any; the note says what the brightness means.
        side: an image's longer side in the drawing, in pixels.
        columns: images side by side at most.
        fine: pixels of the PNG for one of the drawing.
    """

    rows: tuple[tuple[str, tuple[Tile, ...]], ...]
    what: str = ""
    title: str = ""
    note: str = ""
    side: int = 92
    columns: int = 10
    fine: int = FINE

    def svg(self) -> str:
        """The sheet as a drawing that is readable by itself."""
        return self._drawn()[0]

    def png(self) -> bytes:
        """`svg` as a PNG, `fine` times its size. It says itself where its images are: `read_tiles`."""
        svg, places = self._drawn()
        with Image.open(io.BytesIO(to_png(svg, self.fine))) as sheet:
            return noted(sheet, [([self.fine * n for n in box], words) for box, words in places])

    def image(self) -> Image.Image:
        """`png` as a PIL image."""
        return Image.open(io.BytesIO(self.png()))

    def _repr_png_(self) -> bytes:
        return self.png()

    def _drawn(self) -> tuple[str, list[tuple[tuple[int, int, int, int], str]]]:
        """(the drawing, for each image its left, top, width and height in it, and its caption)."""
        elements, places, top, widest = [], [], MARGIN, 0.0
        if self.title:
            elements.append(bold(text(MARGIN, top + 12, self.title, 20, anchor="start")))
            widest, top = text_width(self.title, 20, bold=True), top + 24
        if self.note:
            elements.append(text(MARGIN, top + 12, self.note, 13, anchor="start", fill=FAINT))
            widest, top = max(widest, text_width(self.note, 13)), top + 24
        top += 8 * bool(elements)
        for heading, tiles in self.rows:
            if heading:
                elements.append(text(MARGIN, top + 14, heading, 13, anchor="start"))
                widest, top = max(widest, text_width(heading, 13)), top + 26
            cell = max([LEGIBLE * (self.side >= LEGIBLE), *(self._size(tile)[0] for tile in tiles)])
            for start in range(0, len(tiles), self.columns):
                part = [
                    (tile, self._size(tile), list(_lines(tile.caption, cell + GAP - 4)))
                    for tile in tiles[start:][: self.columns]
                ]
                tallest = max(tall for _, (_, tall), _ in part)
                for place, (tile, (wide, tall), lines) in enumerate(part):
                    middle = MARGIN + place * (cell + GAP) + cell // 2
                    where = (middle - wide // 2, top + (tallest - tall) // 2, wide, tall)
                    elements.append(image(tile.pixels, *where, fine=self.fine))
                    places.append((where, tile.caption))
                    elements += [
                        text(middle, top + tallest + LINE * (k + 1), line, SIZE, fill=colour)
                        for k, (line, colour) in enumerate(lines)
                    ]
                widest = max(widest, len(part) * (cell + GAP) - GAP)
                top += tallest + LINE * max(len(lines) for *_, lines in part) + GAP
        return document(widest + 2 * MARGIN, top + MARGIN - GAP, self.title, elements), places

    def _size(self, tile: Tile) -> tuple[int, int]:
        height, width = tile.pixels.shape[:2]
        scale = self.side / max(height, width)
        return max(1, round(width * scale)), max(1, round(height * scale))


def _lines(caption: str, width: float) -> Iterator[tuple[str, str]]:
    """The lines of a caption with their colours."""
    for number, line in enumerate(caption.split("\n")):
        yield from ((part, PAPER.wrong if number else PAPER.text) for part in broken(line, SIZE, width))


def shown_side(longest: int, most: int, about: int = LEGIBLE) -> int:
    """The side at which images of `longest` pixels are shown: `most` at most, and enlarged by the whole factor that comes near
    `about`."""
    return most if longest > most else longest * max(1, round(about / longest))


def captioned(pixels: Pixels, captions: Iterable[str], columns: int | None = None, most: int = LEGIBLE) -> Sheet:
    """A sheet of images uint8 (N, H, W, C) of one size, C = 1 or 3, with a caption under each.

    Small images are enlarged by a whole factor to about 112 pixels, and those of more than `most` are made as small as that.
    `columns`: eight if None, or as many as a page is wide.
    """
    side = shown_side(max(pixels.shape[1:3]), most)
    tiles = tuple(Tile(image, caption) for image, caption in zip(pixels, captions, strict=True))
    fitting = max(1, min(8, (WIDEST - 2 * MARGIN + GAP) // (max(side, LEGIBLE) + GAP)))
    return Sheet(rows=(("", tiles),), side=side, columns=columns or fitting, fine=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An image on a sheet's PNG: its place in pixels, and the lines of its caption."""

    box: tuple[int, int, int, int]
    lines: list[str] = field(default_factory=list)


def noted(sheet: Image.Image, places: Iterable[tuple[Sequence[int], str]]) -> bytes:
    """A sheet as a PNG that says where its images are, (left, top, width, height) in pixels, and their captions."""
    note, file = PngInfo(), io.BytesIO()
    note.add_itxt(NOTE, to_json([[*box, words] for box, words in places]))
    sheet.save(file, "PNG", pnginfo=note)
    return file.getvalue()


def read_tiles(path: Path) -> list[Placed]:
    """Where the images of a sheet's PNG are; empty if it does not say, or not in numbers that lie in it."""
    try:
        with Image.open(path, formats=("PNG",)) as sheet:
            found: Any = json.loads(sheet.info.get(NOTE, "[]"))
            placed = [
                Placed(box=(int(x), int(y), int(w), int(h)), lines=str(words).split("\n"))
                for x, y, w, h, words in found
            ]
            inside = all(
                0 <= x < x + w <= sheet.width and 0 <= y < y + h <= sheet.height
                for x, y, w, h in (one.box for one in placed)
            )
            return placed if inside else []
    except (OSError, SyntaxError, ValueError, TypeError, OverflowError, RecursionError, Image.DecompressionBombError):
        return []
