"""From an image file to the net's pixels, by the rules of its training."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from values import grey_or_rgb, in_doubt, stored  # type: ignore[import-not-found]

FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "QOI", "DDS", "SGI", "PCX", "TGA",
)  # fmt: skip


def read(path: str | Path, how: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (height, width, channels) of an image's file; `how` as in preprocessing.json."""
    wanted = tuple(how["range"]) if how.get("range") else None
    with Image.open(path, formats=FORMATS) as file:
        kept = stored(file)
        # A JPEG is decoded at 1/2, 1/4 or 1/8 where it is so much larger than needed.
        least = math.ceil(how["headroom"] * max(how["size"]))
        file.draft(None, (least, least))
        file.load()
        image, found = grey_or_rgb(ImageOps.exif_transpose(file), kept, wanted)
    if found is not None and found.dark and wanted is None and not how.get("sixteen"):
        raise ValueError(in_doubt(found))
    image = image.convert("L" if how["channels"] == 1 else "RGB")
    height, width = how["size"]
    if image.size != (width, height):
        image = FITS[how["fit"]](image, width, height)
    return np.asarray(image).reshape(height, width, how["channels"])


def crop(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scaled until it covers width x height, and the middle cut out."""
    scale = max(width / image.width, height / image.height)
    across, down = min(width / scale, image.width), min(height / scale, image.height)
    left, top = (image.width - across) / 2, (image.height - down) / 2
    box = (left, top, left + across, top + down)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


def pad(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scaled until it is inside width x height; the rest is black."""
    scale = min(width / image.width, height / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    whole = Image.new(image.mode, (width, height))
    whole.paste(squash(image, *size), ((width - size[0]) // 2, (height - size[1]) // 2))
    return whole


def squash(image: Image.Image, width: int, height: int) -> Image.Image:
    """Each side scaled by itself."""
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)


FITS = {"crop": crop, "pad": pad, "squash": squash}
