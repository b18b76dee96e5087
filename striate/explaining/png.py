"""Images in a drawing, and a drawing as a PNG."""

from __future__ import annotations

import base64
import io

from PIL import Image

from striate.data.images import Pixels

FINE = 2
"""The PNG has so many pixels for one of the drawing: images are put in at that size."""


def to_png(svg: str) -> bytes:
    """A drawing as a PNG, at twice its size."""
    import vl_convert

    return bytes(vl_convert.svg_to_png(svg, scale=FINE))


def embedded(pixels: Pixels, left: float, top: float, wide: float, tall: float) -> str:
    """An image (H, W, C) as an element of that size. A small one is enlarged without smoothing: one sees what the net sees."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    size = round(FINE * wide), round(FINE * tall)
    smooth = min(size) < min(image.size)
    image = image.resize(size, Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<image x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall:.1f}" href="data:image/png;base64,{data}"/>'
        f'<rect x="{left - 0.5:.1f}" y="{top - 0.5:.1f}" width="{wide + 1:.1f}" height="{tall + 1:.1f}" fill="none" '
        'stroke="#c9d0d8"/>'
    )
