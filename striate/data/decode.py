"""The one decoder: a file's bytes to an upright image of mode L or RGB, the same way wherever images are read.

Rules, in order: the format is found by content, never by the file's extension; of several frames the first is taken; EXIF
orientation is applied; values wider than 8 bits become 8 bits, and transparency is laid over white, as
`striate.data.values` says; palettes, CMYK, YCbCr, Lab and HSV become RGB; 1-bit becomes grey.
"""

from __future__ import annotations

import ctypes
import functools
import re
import stat
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from striate.data.formats import open_picture, weight_of
from striate.data.values import Found, Range, Unclear, grey_or_rgb, stored
from striate.errors import DataError, out_of_memory, short_of_means

LARGEST = 120_000_000
"""Bytes of an image once decoded (40 megapixels in colour): what comes after makes at most three copies."""
DECODER = 5
"""Version of the decoding rules: it is raised when they change a file's pixels, so that caches are decoded again."""
LARGEST_FILE = 150_000_000
"""Bytes of a file that is read at all: the largest images stored without compression, and some."""
_DECODER_ERRORS = {
    "-1": "its data ends too early",
    "-2": "its compressed data cannot be decoded",
    "-3": "of a kind that Pillow cannot read",
    "-8": "its settings are inconsistent",
    "-9": "memory ran out",
}
"""Pillow's numbers for why a decoder gave up (PIL.ImageFile.ERRORS)."""
_BYTES = {"1": 1, "L": 1, "LA": 2, "La": 2, "I;16": 2, "I;16B": 2, "I;16L": 2, "RGB": 3}
"""Bytes of a pixel once decoded; 4 in other modes. A palette, or a transparent colour, becomes RGBA on the way."""
_PILLOW = re.compile(r"PIL\.")
_QUIET = ("ignore", None, Warning, _PILLOW, 0)
"""As Python keeps the filter of `_silence_pillow`."""


class FileInfo(NamedTuple):
    """The properties of an image file as stored: before it was rotated upright, converted or resized.

    Attributes:
        format: Pillow's name of it, such as `JPEG`.
        mode: Pillow's name of its kind of pixels, such as `RGB`, `L`, `P`, `CMYK`.
        width, height: in pixels.
        grey: whether red, green and blue are the same everywhere.
        found: its values, where they are wider than 8 bits.
    """

    format: str
    mode: str
    width: int
    height: int
    grey: bool = False
    found: Found | None = None


def decode(source: str | Path | bytes, at_least: int | None = None) -> Image.Image:
    """The image in a file or in its bytes, upright, mode `L` or `RGB`.

    Args:
        at_least: a JPEG may come out at 1/2, 1/4 or 1/8 of its size, several times as fast, if no side is shorter than this.

    Raises:
        DataError: missing, empty, not an image, damaged, or larger than `LARGEST`.
    """
    return decode_with_info(source, at_least)[0]


def decode_with_info(
    source: str | Path | bytes, at_least: int | None = None, wanted: Range | None = None
) -> tuple[Image.Image, FileInfo]:
    """As `decode`, with what the file is. `wanted`: the stated black and white of values wider than 8 bits."""
    name = "the image" if isinstance(source, bytes) else str(source)
    content = source if isinstance(source, bytes) else read_bytes(source)
    if not content:
        raise DataError(f"{name}: empty file")
    image = Image.new("L", (1, 1))
    _silence_pillow()
    try:
        image = open_picture(content)
        mode, size, kept = image.mode, image.size, stored(image)
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        # A progressive JPEG is kept whole in coefficients while it is decoded, however small it comes out.
        width, height = size if image.info.get("progressive") else image.size
        bytes_each = 4 if "transparency" in image.info else _BYTES.get(image.mode, 4)
        if (needed := width * height * bytes_each * weight_of(image)) > LARGEST:
            raise DataError(
                f"{name}: {size[0]}x{size[1]} pixels are {needed / 1e6:,.0f} MB once decoded, but at most "
                f"{LARGEST / 1e6:,.0f} MB are read: store it smaller"
            )
        if image.format == "TIFF":
            _silence_libtiff()
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        upright_image, found = grey_or_rgb(image, kept, wanted)
        return upright_image, FileInfo(image.format or "", mode, *size, has_no_colour(upright_image), found)
    except DataError:
        raise
    except (Unclear, UnidentifiedImageError) as error:
        raise DataError(f"{name}: {error}") from None
    except Image.DecompressionBombError:
        raise DataError(
            f"{name}: more pixels than any camera produces, refused as a possible decompression bomb"
        ) from None
    except Exception as error:  # damaged files make Pillow raise many types: OSError, SyntaxError, struct.error, ...
        if out_of_memory(error):  # a decoder that wanted more than this was misled by a damaged file
            np.empty(12 * image.width * image.height, dtype=np.uint8)
        raise DataError(f"{name}: damaged ({_reason(error)})") from error


def has_no_colour(image: Image.Image) -> bool:
    """Whether an image of mode L or RGB has no colour."""
    if image.mode == "L":
        return True
    few = image.resize((16, 16), Image.Resampling.NEAREST)  # which settles it for nearly every colour image
    return all((one[..., 0] == one[..., band]).all() for one in map(np.asarray, (few, image)) for band in (1, 2))


def read_bytes(path: str | Path) -> bytes:
    """A file's content. Raises DataError that names it and the reason; what is no file, or is of gigabytes, is not opened."""
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: a pipe, socket or device, not an image")
        if status.st_size > LARGEST_FILE:
            raise DataError(
                f"{path}: {status.st_size / 1e6:,.0f} MB, and at most {LARGEST_FILE / 1e6:,.0f} MB are read: store it smaller"
            )
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder, not an image") from None
    except OSError as error:
        if short_of_means(error):
            raise
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _silence_pillow() -> None:
    """Silences Pillow's warnings about odd metadata: real problems raise an exception.

    One filter is added and stays: filters belong to the process, and a thread that restores them undoes what others did.
    """
    if _QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", module=_PILLOW.pattern)


def upright(image: Image.Image, wanted: Range | None = None) -> tuple[Image.Image, Found | None]:
    """The same rules on an image that is opened already: EXIF orientation applied, mode `L` or `RGB`; and its wide values. Raises
    DataError if black and white are not known, or if it cannot be loaded.
    """
    _silence_pillow()
    try:
        kept = stored(image)
        if image.format == "TIFF":
            _silence_libtiff()
        image.load()
        return grey_or_rgb(ImageOps.exif_transpose(image), kept, wanted)
    except Unclear as error:
        raise DataError(str(error)) from None
    except Exception as error:
        raise DataError(f"damaged ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """What a decoder's error says, in words where it is a number of Pillow's."""
    number = str(error).removeprefix("decoder error").strip()
    if number in _DECODER_ERRORS:
        return _DECODER_ERRORS[number]
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@functools.cache
def _silence_libtiff() -> None:
    """Keeps libtiff from writing to standard error: what is wrong comes as an exception.

    Its handlers are the process's, and found through Pillow's own module, so that they are those of the library that Pillow uses.
    Where that one exports no such functions, because libtiff was linked into it, libtiff goes on speaking.
    """
    from PIL import _imaging

    try:
        library = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            function = getattr(library, name)
            function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
            function(None)
    except (OSError, AttributeError):
        pass
