"""From a picture's file to the pixels that the net takes, by the rules by which it was trained."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "AVIF",
    "JPEG2000",
    "PPM",
    "ICO",
    "QOI",
    "DDS",
    "SGI",
    "PCX",
    "TGA",
)


def read(path: str | Path, how: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (height, width, channels) of a picture's file; `how` as in preprocessing.json."""
    with Image.open(path, formats=FORMATS) as file:
        # A JPEG is decoded at 1/2, 1/4 or 1/8 where it is so much larger than needed.
        least = math.ceil(how["headroom"] * max(how["size"]))
        file.draft(None, (least, least))
        file.load()
        image = upright(file).convert("L" if how["channels"] == 1 else "RGB")
    height, width = how["size"]
    if image.size != (width, height):
        image = FITS[how["fit"]](image, width, height)
    return np.asarray(image).reshape(height, width, how["channels"])


def upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says, in mode L or RGB: transparency over white, 16 bits by 257, floats from 0 to 1."""
    image = ImageOps.exif_transpose(image)
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float32) * np.float32(255.0 if image.mode == "F" else 1 / 257)
        return Image.fromarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8))
    if image.has_transparency_data:
        layer = image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
        paper = Image.new("L" if layer.mode == "LA" or image.mode in ("L", "La") else "RGB", layer.size, "white")
        paper.paste(layer.convert(paper.mode), mask=layer.getchannel("A"))
        return paper
    return image.convert("RGB")


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
