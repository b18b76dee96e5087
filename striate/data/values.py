"""Stored values to 8 bits, by one rule for files, arrays and tensors; and transparency over white.

What is known is used: 8 bits, 16 bits from 0 to 65,535, floating values from 0 to 1, and what a file says of itself. What is not
known is an `Unclear` that says how to state it. This module needs NumPy and Pillow alone: an exported folder takes it along.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

Range = tuple[float, float]
"""The values that are black and white."""
Array = npt.NDArray[Any]
SIXTEEN, FLOATING, WHOLE, COLOUR = "16-bit", "floating", "whole-number", "16-bit colour"
"""Kinds of values that are wider than 8 bits. `WHOLE`: 32 bits, or signed."""
UNUSED = 0.1
"""Share of a range up to which its values are suspect: 12 bits in a container of 16 fill 1/16 of it."""
_BLOCK = 2**20
"""Values that are scaled at a time, in float64."""
_GREY_STEPS = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies grey of 2 and 4 bits by, but not its transparent value."""


class Unclear(ValueError):
    """Values whose black and white are not known, or that are no numbers."""


class Stored(NamedTuple):
    """What a file states about its values; Pillow knows it only until the image is loaded.

    Attributes:
        raw: Pillow's name of the form in the file, as in `RGB;16B`; empty where it is not known.
        range: black and white, where the file names them.
        inverted: whether the low end is white, and Pillow leaves it so.
        dtype: of the values, where Pillow reads them as another one; else empty.
        sixteen: whether values of mode I are 16 bits that fill their range.
        significant: bits of each value that count, by a PNG's sBIT; 0 where nothing says so.
    """

    raw: str = ""
    range: Range | None = None
    inverted: bool = False
    dtype: str = ""
    sixteen: bool = False
    significant: int = 0


class Found(NamedTuple):
    """The values of an image that is wider than 8 bits: kind, the least and the largest, and those that are black and white."""

    kind: str
    least: float
    most: float
    low: float
    high: float

    @property
    def used(self) -> float:
        """Share of the range between the least and the largest value."""
        return (min(self.most, self.high) - max(self.least, self.low)) / (self.high - self.low)

    @property
    def dark(self) -> bool:
        """Whether 16 bits are filled so little that they may be fewer bits in a larger container."""
        if self.kind == COLOUR:
            return self.most <= UNUSED * self.high
        return self.kind == SIXTEEN and (self.low, self.high) == (0, 65535) and 0 < self.most <= UNUSED * self.high


def stored(image: Image.Image) -> Stored:
    """What the file states about its values, for an image that is opened but not loaded yet."""
    tile = getattr(image, "tile", None)
    arguments: Any = (tile[0][3] if tile else None) or ()
    texts = (one for one in ((arguments,) if isinstance(arguments, str) else arguments) if isinstance(one, str))
    raw = next(texts, "")
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    if not tags:
        sixteen = image.mode == "I" and image.format in ("PNG", "PPM", "JPEG2000")
        deep_grey = image.format == "PNG" and image.mode[0] == "I" and raw
        return Stored(raw, sixteen=sixteen, significant=_significant(image) if deep_grey else 0)
    bits, form = _first(tags.get(258)) or 1, _first(tags.get(339)) or 1
    grey = len(image.getbands()) == 1
    dtype = {(8, 2): "int8", (32, 1): "uint32"}.get((bits, form), "") if grey else ""
    wide = grey and (bits > 8 or dtype != "")
    return Stored(raw, _range_of(tags, bits, form) if wide else None, wide and tags.get(262) == 0, dtype)


def grey_or_rgb(image: Image.Image, kept: Stored, wanted: Range | None = None) -> tuple[Image.Image, Found | None]:
    """A loaded image in mode L or RGB, transparency over white; and its values where they are wider than 8 bits.

    Args:
        kept: what `stored` gave for it.
        wanted: black and white of the values wider than 8 bits, where they were stated; else Unclear if they are not known.
    """
    if image.mode[0] == "I" or image.mode == "F" or kept.dtype:
        return _of_wide(image, kept, wanted)
    found = _deep_colour(image, wanted) if ";16" in kept.raw and image.mode != "L" else None
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image, found
    if not image.has_transparency_data:
        return image.convert("L" if image.mode == "1" else "RGB"), found
    layer = _with_alpha(image, kept)
    paper = Image.new("L" if layer.mode == "LA" else "RGB", layer.size, "white")
    paper.paste(layer.convert(paper.mode), mask=layer.getchannel("A"))
    return paper, found


def eight_bits(values: Array, wanted: Range | None, *, kept: Stored | None = None) -> tuple[Array, Found | None]:
    """(uint8 of the same shape, what was found) of values of any kind of number; None for 8 bits, which are known. Raises
    Unclear if black and white are not known, or if some values are no finite numbers.
    """
    kept = kept or Stored()
    if values.dtype == np.uint8:
        return values, None
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255), None
    if values.dtype.kind not in "iuf":
        raise Unclear(f"values of the type {values.dtype} are neither grey nor colour")
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        kind = "NaN (not a number)" if np.isnan(values).any() else "infinite values"
        raise Unclear(f"{values.size - int(finite.sum()):,} of its {values.size:,} values are {kind}")
    found = _known(values, wanted, kept)
    scaled = np.empty(values.size, dtype=np.uint8)
    flat = values.reshape(-1)
    for start in range(0, values.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        scaled[part] = np.rint(
            np.clip((flat[part].astype(np.float64) - found.low) * 255 / (found.high - found.low), 0, 255)
        )
    if kept.inverted:
        np.subtract(255, scaled, out=scaled)
    return scaled.reshape(values.shape), found


def plain(value: float) -> str:
    """`4,095`, `0.25`, `-1,000`."""
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"


def _known(values: Array, wanted: Range | None, kept: Stored) -> Found:
    """The range of finite values: the stated one, the file's own, or the one that their kind has. Raises Unclear without one."""
    least, most = float(values.min()), float(values.max())
    sixteen = values.dtype in (np.uint16, np.dtype(">u2")) or (kept.sixteen and 0 <= least <= most <= 65535)
    kind = FLOATING if values.dtype.kind == "f" else SIXTEEN if sixteen else WHOLE
    between = f"{kind} values from {plain(least)} to {plain(most)}"
    if wanted is not None:
        low, high = wanted
        if kind == FLOATING and least >= 0 and 0 < most <= 1 and high - low >= 255:
            raise Unclear(
                f"{between}, but the range is {plain(low)} to {plain(high)} (--range): scale them to that range"
            )
        if most < low or least > high:
            raise Unclear(f"{between}, all outside the range {plain(low)} to {plain(high)} (--range)")
        return Found(kind, least, most, low, high)
    own = kept.range
    if kept.significant and most < 2**kept.significant and (values % 2 ** (16 - kept.significant)).any():
        # A writer that keeps to the standard scales to 16 bits, and the bits that do not count are 0 in values so small.
        own = (0, 2**kept.significant - 1)
    if own is None or not own[0] <= least <= most <= own[1]:
        own = (0, 65535) if sixteen else (0, 1) if kind == FLOATING and 0 <= least <= most <= 1 else None
    if own is None:
        normalised = kind == FLOATING and least < 0
        before = "; pass images before they are normalised" if normalised else ""
        raise Unclear(
            f"{between}, with unknown black and white: state them for training, as in "
            f"--range {_guess(least, most)}, or store 8 bits{before}"
        )
    return Found(kind, least, most, *own)


def in_doubt(found: Found) -> str:
    """The message about values that are `dark`."""
    if found.kind == COLOUR:
        return (
            f"16 bits per channel, but the upper eight reach "
            f"only {found.most / 257:.0f} of 255: colour of fewer bits stored in 16 is not supported; store 8 bits "
            "per channel"
        )
    return (
        f"16-bit values that reach only {plain(found.most)} of 65,535, as if fewer bits were stored in 16: state "
        f"black and white for training, as in --range {_guess(found.least, found.most)}, or --range 0,65535 if they "
        "really are that dark"
    )


def _of_wide(image: Image.Image, kept: Stored, wanted: Range | None) -> tuple[Image.Image, Found | None]:
    values = np.asarray(image)
    if kept.dtype:
        values = values.view(kept.dtype)
    grey, found = eight_bits(values, wanted, kept=kept)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey = np.where(values == transparent, np.uint8(255), grey)
    return Image.fromarray(grey), found


def _deep_colour(image: Image.Image, wanted: Range | None) -> Found:
    """The message about 16 bits per channel, of which Pillow keeps the upper eight."""
    if wanted not in (None, (0, 65535)):
        raise Unclear("--range does not apply to colour with 16 bits per channel: store 8 bits per channel")
    bands = image.getbands()
    extremes = [image.getchannel(band).getextrema() for band in bands if band not in "Aa"]
    least, most = np.min(extremes), np.max(extremes)
    return Found(COLOUR, 257 * float(least), 257 * float(most), 0, 65535)


def _with_alpha(image: Image.Image, kept: Stored) -> Image.Image:
    """Mode LA or RGBA."""
    transparent = image.info.get("transparency")
    if image.mode in ("1", "L") and isinstance(transparent, int):
        grey = np.asarray(image.convert("L"))
        opaque = grey != transparent * _GREY_STEPS.get(kept.raw, 1)
        return Image.merge("LA", [Image.fromarray(grey), Image.fromarray(opaque.astype(np.uint8) * np.uint8(255))])
    if image.mode == "RGB" and ";16" in kept.raw and isinstance(transparent, tuple):
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    mode = "LA" if image.mode in ("LA", "La") else "RGBA"
    return image if image.mode == mode else image.convert(mode)


def _range_of(tags: Any, bits: int, form: int) -> Range | None:
    """The range that a TIFF's tags state: by fewer bits than the container has, or by sample limits of a number of bits."""
    if bits in range(9, 16):
        return 0, 2**bits - 1
    low, high = (_first(tags.get(tag)) for tag in ((280, 281) if 281 in tags else (340, 341)))
    if high is None or low not in (None, 0):
        return None
    # Writers put the image's own extremes here, too: only ends of a number of bits, or 1 for floats, are ends for sure.
    ends = {2**number - 1 for number in (8, 10, 12, 14, 16)} | ({1} if form == 3 else set())
    return (0, float(high)) if high in ends else None


def _significant(image: Any) -> int:
    """Bits that count in each grey value of a PNG that is not loaded yet, by its chunk sBIT; 0 without one."""
    file = image.fp
    before = file.tell()
    try:
        file.seek(8)
        while len(header := file.read(8)) == 8 and header[4:] != b"IDAT":
            size = int.from_bytes(header[:4], "big")
            if header[4:] == b"sBIT":
                content: bytes = file.read(1)
                return content[0] if size and content and 0 < content[0] < 16 else 0
            file.seek(size + 4, 1)
        return 0
    finally:
        file.seek(before)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


def _guess(least: float, most: float) -> str:
    """A range that the values lie in, to be judged by a person: `0,4095`."""
    if least >= 0:
        return f"0,{next((2**bits - 1 for bits in (8, 10, 12, 14, 16) if most < 2**bits), f'{most:.6g}')}"
    return f"{least:.6g},{most:.6g}" if least < most else "LOW,HIGH"
