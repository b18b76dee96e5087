"""Arrays of pixels as images, and images as files and data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


def to_image(pixels: Pixels) -> Image.Image:
    """uint8 (H, W, C), C = 1 or 3, as an image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def resized(pixels: Pixels, width: int, height: int) -> Image.Image:
    """`to_image` at another size: enlarged without smoothing, so that one sees what the net sees, and made smaller with it."""
    image = to_image(pixels)
    smooth = width < image.width or height < image.height
    return image.resize((width, height), Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST)


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    """An image as the bytes of a file, `PNG` or `JPEG`."""
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def data_uri(content: Image.Image | bytes, form: str = "PNG") -> str:
    """An image, or the bytes of its file, for the `src` of an HTML page."""
    data = content if isinstance(content, bytes) else encoded(content, form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(data).decode()}"
