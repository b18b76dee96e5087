"""Images that tests make: as varied as photos, each another, and copies of them as people make copies."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from striate.data import DataSet, ImageData

KINDS = ("exact", "encoded", "resized", "mirrored", "cropped")


def photo(number: int, side: int = 96) -> Image.Image:
    """An image of soft colours, shapes and grain, a function of its number."""
    generator = np.random.default_rng((7, number))
    soft = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((side, side), 3)
    for _ in range(12):
        shape = Image.new("L", (side, side), 0)
        left, top = generator.integers(-10, side, 2)
        width, height = generator.integers(6, side // 2, 2)
        mask = np.zeros((side, side), np.uint8)
        rows, columns = np.mgrid[:side, :side]
        if generator.integers(2):
            mask[(rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)] = 220
        else:
            mask[((rows - top) / height) ** 2 + ((columns - left) / width) ** 2 < 0.5] = 220
        shape = Image.fromarray(mask)
        soft.paste(tuple(int(level) for level in generator.integers(0, 256, 3)), (0, 0, side, side), shape)
    grain = generator.normal(0, 6, (side, side, 3))
    return Image.fromarray(np.clip(np.asarray(soft.filter(ImageFilter.BoxBlur(1))) + grain, 0, 255).astype(np.uint8))


def copy_of(image: Image.Image, kind: str, generator: np.random.Generator) -> Image.Image:
    """The image as somebody has copied it."""
    if kind == "exact":
        return image
    if kind == "resized":
        image = image.resize((round(image.width * generator.choice((0.5, 0.75, 2))),) * 2, Image.Resampling.LANCZOS)
    elif kind == "mirrored":
        image = ImageOps.mirror(image)
    elif kind == "cropped":
        left, top, right, bottom = (round(share * image.width) for share in generator.uniform(0.05, 0.10, 4))
        image = image.crop((left, top, image.width - right, image.height - bottom))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=int(generator.integers(50, 95)))
    return Image.open(io.BytesIO(content.getvalue())).convert("RGB")


def pixels(images: Sequence[Image.Image], side: int = 32) -> np.ndarray[Any, Any]:
    return np.stack([np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)) for image in images])


def data_set(
    unreadable: dict[str, str] | None = None, files: dict[str, Any] | None = None, **splits: tuple[Any, Any]
) -> DataSet:
    """A data set of {split: (pixels, labels)} with classes a, b, ..."""
    classes = tuple("abcdefghij"[: 1 + max(max(labels) for _, labels in splits.values())])
    return DataSet(
        name="made",
        location="made",
        title="Made",
        source="these tests",
        licence="not stated",
        splits={
            split: ImageData(np.asarray(images), np.asarray(labels, dtype=np.int64), classes)
            for split, (images, labels) in splits.items()
        },
        flippable=True,
        unreadable=unreadable or {},
        files=files or {},
    )
