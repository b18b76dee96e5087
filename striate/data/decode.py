"""The one decoder: a file's bytes to an upright picture of mode L or RGB, the same way wherever pictures are read.

Rules, in order: the format is found by content, never by the file's extension; of several frames the first is taken; EXIF
orientation is applied; 16-bit and 32-bit integer grey is divided by 257 (65535 becomes 255), floating grey is taken as 0 to 1;
transparency is laid over white; palettes, CMYK, YCbCr, Lab and HSV become RGB; 1-bit becomes grey.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from striate.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def decode(source: str | Path | bytes) -> Image.Image:
    """The picture in a file or in its bytes, upright, mode `L` or `RGB`.

    Raises:
        DataError: missing, empty, not a picture, damaged, or larger than Pillow's limit against decompression bombs.
    """
    name = "the picture" if isinstance(source, bytes) else str(source)
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{name}: a folder, not a picture") from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror})") from error
    if not content:
        raise DataError(f"{name}: empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; a bomb is an error all the same, below
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                image.load()
                return upright(image)
    except UnidentifiedImageError:
        raise DataError(f"{name}: not a picture ({', '.join(FORMATS)} are read)") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"{name}: more than {Image.MAX_IMAGE_PIXELS} pixels, refused as a possible bomb") from None
    except Exception as error:  # damaged files make Pillow raise many types: OSError, SyntaxError, struct.error, ...
        raise DataError(f"{name}: damaged ({type(error).__name__}: {error})") from error


def upright(image: Image.Image) -> Image.Image:
    """The same rules on a picture that is decoded already: EXIF orientation applied, mode `L` or `RGB`."""
    return _grey_or_rgb(ImageOps.exif_transpose(image))


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB"):
        return image.copy()
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith("I") or image.mode == "F":
        scale = 255.0 if image.mode == "F" else 1 / 257
        values = np.asarray(image, dtype=np.float64) * scale
        return Image.fromarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8))
    if image.has_transparency_data:
        overlay = image.convert("RGBA")
        white = Image.new("RGBA", overlay.size, "white")
        flat = Image.alpha_composite(white, overlay)
        return flat.convert("L" if image.mode in ("LA", "La") else "RGB")
    return image.convert("RGB")
