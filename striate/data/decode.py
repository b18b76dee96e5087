"""The one decoder: a file's bytes to an upright picture of mode L or RGB, the same way wherever pictures are read.

Rules, in order: the format is found by content, never by the file's extension; of several frames the first is taken; EXIF
orientation is applied; 16-bit and 32-bit integer grey is divided by 257 (65535 becomes 255), floating grey is taken as 0 to 1;
transparency is laid over white; palettes, CMYK, YCbCr, Lab and HSV become RGB; 1-bit becomes grey.
"""

from __future__ import annotations

import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from striate.errors import DataError, out_of_memory, short_of_means

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff")
"""By which a file in a folder is taken for a picture where nothing else says so."""
LARGEST = 120_000_000
"""Bytes of a picture once decoded (40 megapixels in colour): what comes after makes at most three copies."""
DECODER = 3
"""Counts up whenever a file's pixels change by a change of these rules: what was decoded before is decoded again then."""
LARGEST_FILE = 150_000_000
"""Bytes of a file that is read at all: the largest pictures stored without compression, and some."""
_BYTES = {"1": 1, "L": 1, "LA": 2, "La": 2, "I;16": 2, "I;16B": 2, "I;16L": 2, "RGB": 3}
"""Of a pixel once decoded; 4 in other modes. A palette, or a transparent colour, becomes RGBA on the way."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a picture's file is, as it was stored: before it was turned upright, converted or scaled.

    Attributes:
        format: one of `FORMATS`.
        mode: Pillow's name of its kind of pixels, such as `RGB`, `L`, `P`, `CMYK`.
        width, height: in pixels.
    """

    format: str
    mode: str
    width: int
    height: int


def decode(source: str | Path | bytes, at_least: int | None = None) -> Image.Image:
    """The picture in a file or in its bytes, upright, mode `L` or `RGB`.

    Args:
        at_least: a JPEG may come out at 1/2, 1/4 or 1/8 of its size, several times as fast, as long as no side is shorter
            than this.

    Raises:
        DataError: missing, empty, not a picture, damaged, or larger than `LARGEST`.
    """
    with quiet_pillow():
        return decode_with_facts(source, at_least)[0]


def decode_with_facts(source: str | Path | bytes, at_least: int | None = None) -> tuple[Image.Image, FileFacts]:
    """As `decode`, with what the file is; for threads, which are to run inside of `quiet_pillow`."""
    name = "the picture" if isinstance(source, bytes) else str(source)
    content = source if isinstance(source, bytes) else read_bytes(source)
    if not content:
        raise DataError(f"{name}: empty file")
    image = Image.new("L", (1, 1))
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        facts = FileFacts(image.format or "", image.mode, *image.size)
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        # A progressive JPEG is kept whole in coefficients while it is decoded, however small it comes out.
        width, height = (facts.width, facts.height) if image.info.get("progressive") else image.size
        bytes_each = 4 if "transparency" in image.info else _BYTES.get(image.mode, 4)
        if (needed := width * height * bytes_each) > LARGEST:
            raise DataError(
                f"{name}: {facts.width}x{facts.height} pixels are {needed / 1e6:,.0f} MB once decoded, and at most "
                f"{LARGEST / 1e6:,.0f} MB are read: store it smaller"
            )
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _grey_or_rgb(image), facts
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{name}: not a picture ({', '.join(FORMATS)} are read)") from None
    except Image.DecompressionBombError:
        raise DataError(f"{name}: more pixels than any camera makes, refused as a possible bomb") from None
    except Exception as error:  # damaged files make Pillow raise many types: OSError, SyntaxError, struct.error, ...
        if out_of_memory(error) and not _memory_for(4 * image.width * image.height):
            raise MemoryError from error
        raise DataError(f"{name}: damaged ({type(error).__name__}: {error})") from error


def _memory_for(size: int) -> bool:
    """Whether so many bytes can be had: if so, a decoder that wanted more was misled by a damaged file."""
    try:
        np.empty(3 * size, dtype=np.uint8)
    except MemoryError:
        return False
    return True


def read_bytes(path: str | Path) -> bytes:
    """A file's content. Raises DataError that names it and the reason; what is no file, or is of gigabytes, is not opened."""
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: a pipe, socket or device, not a picture")
        if status.st_size > LARGEST_FILE:
            raise DataError(
                f"{path}: {status.st_size / 1e6:,.0f} MB, and at most {LARGEST_FILE / 1e6:,.0f} MB are read: store it smaller"
            )
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder, not a picture") from None
    except OSError as error:
        if short_of_means(error):
            raise
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keeps Pillow's warnings of odd metadata to itself. Not for threads of a pool but around it: filters are the process's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def upright(image: Image.Image) -> Image.Image:
    """The same rules on a picture that is decoded already: EXIF orientation applied, mode `L` or `RGB`."""
    return _grey_or_rgb(ImageOps.exif_transpose(image))


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float32)
        values *= 255.0 if image.mode == "F" else 1 / 257
        return Image.fromarray(np.rint(np.clip(values, 0, 255, out=values), out=values).astype(np.uint8))
    if image.has_transparency_data:
        overlay = image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
        grey = overlay.mode == "LA" or image.mode in ("L", "La")
        flat = Image.new("L" if grey else "RGB", overlay.size, "white")
        flat.paste(overlay.convert(flat.mode), mask=overlay.getchannel("A"))
        return flat
    return image.convert("RGB")
