"""Grids of images with a caption under each: what the net was shown, and its worst mistakes.

Small images are enlarged by whole factors without smoothing, so that one sees the pixels that the net sees.
Captions are broken into lines and never cut. They are set in Pillow's built-in font (ASCII and little more); a
caption with other characters is set in a font of this computer that has them all. Where there is none, letters lose
their accents and what is left becomes `?`; the report's text, set by the browser, always has the whole names.
"""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from striate.report.theme import PAPER
from striate.report.wording import SPACE

TEXT_SIZE = 15
LEGIBLE = 112  # pixels that a small image's longer side reaches, about
GAP = 14
SHEET = 1160  # pixels across, of a grid that is to be read on a screen or a page without being made smaller

FONT_FOLDERS = {
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": ("C:/Windows/Fonts",),
}.get(sys.platform, ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"))
PREFERRED = (
    "NotoSans-Regular",
    "NotoSansCJK-Regular",
    "DejaVuSans.",
    "LiberationSans-Regular",
    "PingFang",
    "msyh",
    "Arial Unicode",
    "wqy",
)
"""Parts of file names of plain faces, looked at before the rest."""


def grid(
    pixels: NDArray[np.uint8], captions: Sequence[str], *, columns: int = 8, scale: int | None = None
) -> Image.Image:
    """Images (N, H, W, C), C = 1 or 3, with captions (N; lines split at `\\n`, the first one in black, the others
    in colour) on white.

    `scale`: how many pixels of the grid a pixel becomes; by default as many as bring an image to about 112 pixels.
    Raises ValueError for an empty or ill-shaped array and for a number of captions other than N.
    """
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3) or not len(pixels) or pixels.dtype != np.uint8:
        raise ValueError(
            f"grid takes uint8 images of shape (N, H, W, 1 or 3), N >= 1, got {pixels.dtype} {pixels.shape}"
        )
    if len(captions) != len(pixels):
        raise ValueError(f"grid needs a caption an image: {len(pixels)} images, {len(captions)} captions")
    n, height, width, _ = pixels.shape
    scale = scale or max(1, round(LEGIBLE / max(height, width)))
    columns = min(columns, n)
    cell = max(width * scale, LEGIBLE)
    texts = [_caption(caption, cell) for caption in captions]
    leading = round(TEXT_SIZE * 1.3)
    rows = [range(start, min(start + columns, n)) for start in range(0, n, columns)]
    heights = [height * scale + 6 + leading * max(len(texts[i][1]) for i in row) + GAP for row in rows]
    image = Image.new("RGB", (GAP + columns * (cell + GAP), GAP + sum(heights)), PAPER.surface)
    draw = ImageDraw.Draw(image)
    top = GAP
    for row, row_height in zip(rows, heights, strict=True):
        for column, i in enumerate(row):
            left = GAP + column * (cell + GAP)
            picture = _enlarged(pixels[i], scale)
            inset = (cell - picture.width) // 2
            image.paste(picture, (left + inset, top))
            draw.rectangle(
                (left + inset - 1, top - 1, left + inset + picture.width, top + picture.height), outline=PAPER.grid
            )
            font, lines = texts[i]
            for k, (text, first) in enumerate(lines):
                place = (left + cell / 2, top + picture.height + 6 + leading * k + TEXT_SIZE)
                draw.text(
                    place, text.replace(SPACE, " "), font=font, fill=PAPER.text if first else PAPER.wrong, anchor="ms"
                )
        top += row_height
    return image


def reduced(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Images (N, H, W, C) whose longer side is more than `side` pixels made as small as that, so that many of them
    stand side by side; others as they are."""
    height, width, channels = pixels.shape[1:]
    if max(height, width) <= side:
        return pixels
    size = (max(1, round(width * side / max(height, width))), max(1, round(height * side / max(height, width))))
    small = [_picture(picture).resize(size, Image.Resampling.LANCZOS) for picture in pixels]
    return np.stack([np.asarray(picture).reshape(size[1], size[0], channels) for picture in small])


def legible(picture: NDArray[np.uint8], side: int = LEGIBLE) -> NDArray[np.uint8]:
    """An image (H, W, C) enlarged by the whole factor that brings its longer side to about `side` pixels, or made
    smaller to half as much again if it is larger than that."""
    scale = max(1, round(side / max(picture.shape[:2])))
    shown: NDArray[np.uint8] = reduced(picture.repeat(scale, axis=0).repeat(scale, axis=1)[None], side * 3 // 2)[0]
    return shown


def beside(left: NDArray[np.uint8], right: NDArray[np.uint8], gap: int = 4) -> NDArray[np.uint8]:
    """Two images of one height, (H, W, C), as one in colour (H, ..., 3)."""
    height = left.shape[0]
    parts = [np.broadcast_to(part, (*part.shape[:2], 3)) for part in (left, right)]
    return np.concatenate([parts[0], np.full((height, gap, 3), 255, np.uint8), parts[1]], axis=1)


def stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """Grids one below the other."""
    sheet = Image.new("RGB", (max(part.width for part in sheets), sum(part.height for part in sheets)), PAPER.surface)
    top = 0
    for part in sheets:
        sheet.paste(part, (0, top))
        top += part.height
    return sheet


def fitting_columns(side: int, most: int = 8) -> int:
    """How many images `side` pixels wide, as `grid` shows them, stand side by side on a sheet."""
    shown = max(side * max(1, round(LEGIBLE / side)), LEGIBLE)
    return max(1, min(most, (SHEET - GAP) // (shown + GAP)))


def _enlarged(picture: NDArray[np.uint8], scale: int) -> Image.Image:
    return _picture(picture.repeat(scale, axis=0).repeat(scale, axis=1))


def _picture(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _caption(caption: str, width: int) -> tuple[ImageFont.FreeTypeFont, list[tuple[str, bool]]]:
    """The font for a caption, and its lines of at most `width` pixels, each with whether it belongs to the
    caption's first line."""
    font = _font_with(frozenset(caption))
    if font is None:
        font, caption = _built_in(), _plain(caption)
    lines: list[tuple[str, bool]] = []
    for position, line in enumerate(caption.split("\n")):
        current = ""
        for word in line.split(" "):
            joined = f"{current} {word}" if current else word
            if _length(font, joined) <= width:
                current = joined
                continue
            if current:
                lines.append((current, position == 0))
            while len(word) > 1 and _length(font, word) > width:  # a single word too long: broken between letters
                fits = max(k for k in range(1, len(word)) if k == 1 or _length(font, word[:k]) <= width)
                lines.append((word[:fits], position == 0))
                word = word[fits:]
            current = word
        lines.append((current, position == 0))
    return font, lines


def _length(font: ImageFont.FreeTypeFont, text: str) -> float:
    return font.getlength(text.replace(SPACE, " "))


def _plain(text: str) -> str:
    """`text` as the built-in font can show it: without accents, `?` for what it does not have."""
    letters = (letter if letter == SPACE else unicodedata.normalize("NFKD", letter) for letter in text)
    bare = "".join(letter for letter in "".join(letters) if not unicodedata.combining(letter))
    return "".join(letter if _has(_built_in(), letter) else "?" for letter in bare)


@functools.cache
def _built_in() -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(TEXT_SIZE)
    assert isinstance(font, ImageFont.FreeTypeFont)  # every wheel of Pillow has FreeType
    return font


@functools.cache
def _font_with(letters: frozenset[str]) -> ImageFont.FreeTypeFont | None:
    """The built-in font if it has all of `letters`, else the first font of this computer that has."""
    if all(_has(_built_in(), letter) for letter in letters):
        return _built_in()
    for path in _font_files():
        try:
            font = ImageFont.truetype(path, TEXT_SIZE)
            if all(_has(font, letter) for letter in letters):
                return font
        except (OSError, ValueError):  # not a font that FreeType can scale to this size: emoji bitmaps, damaged files
            continue
    return None


@functools.cache
def _font_files() -> tuple[Path, ...]:
    """Font files of this computer, the well-known plain faces first."""
    files = [
        path
        for folder in FONT_FOLDERS
        for path in sorted(Path(folder).expanduser().rglob("*"))
        if path.suffix.lower() in (".ttf", ".otf", ".ttc")
    ]
    rank = {
        path: next((k for k, name in enumerate(PREFERRED) if path.name.startswith(name)), len(PREFERRED))
        for path in files
    }
    return tuple(sorted(files, key=lambda path: rank[path]))


@functools.cache
def _has(font: ImageFont.FreeTypeFont, letter: str) -> bool:
    """Whether the font draws `letter` as anything but its sign for a missing one (that of U+FFFF, which is no
    character)."""
    if letter.isspace():
        return True
    drawn, missing = font.getmask(letter), font.getmask("\uffff")
    return (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))
