"""Images that are at hand in Python, with their labels, made into a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from striate.data.arrays import ONE_LABEL, labels_of, pixels_of, require_classes
from striate.data.asked import Reading
from striate.data.athand import MapStyle, Part, kind_of_thing, name_of, splits_of
from striate.data.cache import fits_memory
from striate.data.classnames import require_distinct
from striate.data.decode import decode_with_info, has_no_colour
from striate.data.images import DataSet, ImageData, Labels, Pictures
from striate.data.pictures import at_hand
from striate.data.preprocessing import Preprocessing, stack
from striate.data.ranges import gathered
from striate.data.splits import with_test_split
from striate.data.values import Found
from striate.errors import DataError, UsageError

GIVEN = "(given in Python)"
"""The location of a set that no name or path leads to."""
DataLike = str | Path | DataSet | MapStyle
"""Whatever names data, or is data: `striate.load_data` says which forms there are."""


def load_given(data: object, reading: Reading, name: str | None = None) -> DataSet:
    """The images at their own size where they have one, else at that of `reading`.

    Args:
        data: see `striate.load_data`.
        name: of the set; by default that of the class of a Dataset.

    Raises:
        UsageError: no form that is known.
        DataError: images or labels that cannot be used, or are not clear; the split and the position are named.
    """
    parts, classes = splits_of(data)
    has_test = "test" in parts
    if not reading.tested:
        parts.pop("test", None)
    if not parts or any(not part.count for part in parts.values()):
        raise DataError("there are no images in the data that was given")
    found: list[Found] = []
    if all(isinstance(part.images, np.ndarray | torch.Tensor | ImageData) for part in parts.values()):
        pixels, mixed = {split: _whole(split, part.images, reading, found) for split, part in parts.items()}, False
        if len({one.shape[3] for one in pixels.values()}) > 1:
            raise DataError("the splits have images of different channels: give all of them in grey, or all in colour")
    else:
        pixels, mixed = _one_by_one(parts, reading, found)
    names, labels = _labels(parts, {split: len(one) for split, one in pixels.items()}, classes)
    numbered = names is None
    names = require_classes("the data that was given", names, labels, reading.partial)
    splits = {split: ImageData(pixels[split], labels[split], names) for split in parts}
    name = name or name_of(data)
    dataset = DataSet(
        name=name, location=GIVEN, title=name, source="given in Python", licence="not stated",
        splits=with_test_split(splits, has_test), flippable=True,
        made=() if has_test or "train" not in splits else ("test",), unreadable={}, numbered=numbered,
        reading=replace(reading, channels=splits[next(iter(splits))].shape[2]) if mixed else None,
        values=gathered(found), range=reading.range,
    )  # fmt: skip
    return dataset if reading.tested else dataset.untested()


def _whole(split: str, images: Any, reading: Reading, found: list[Found]) -> Pictures:
    """uint8 (N, H, W, C) of an array of images, or of a tensor (N, H, W) or (N, C, H, W)."""
    if isinstance(images, ImageData):
        return images.pixels
    if isinstance(images, torch.Tensor):
        shape = tuple(images.shape)
        if len(shape) == 4:
            if shape[1] not in (1, 3) or (shape[3] in (1, 3) and shape[1:] != (1, 1, 1)):
                raise DataError(
                    f"the images of {split}: a tensor must be (N, H, W) or (N, 1 or 3, H, W), got {shape}; if its channels are "
                    "last, permute(0, 3, 1, 2), and if that is not clear, give a NumPy array, whose channels are last"
                )
            images = images.permute(0, 2, 3, 1)
        images = (images.float() if images.dtype == torch.bfloat16 else images).detach().cpu().numpy()
        return pixels_of(f"the images of {split}", images.reshape(*images.shape[:3], -1), reading.range, found)
    return pixels_of(f"the images of {split}", images, reading.range, found)


def _one_by_one(parts: Mapping[str, Part], reading: Reading, found: list[Found]) -> tuple[dict[str, Pictures], bool]:
    """(uint8 (N, H, W, C) of each split, whether the images had several sizes and so were brought to that of `reading`)."""
    counts = {split: part.count for split, part in parts.items()}
    total = sum(counts.values())
    fitted = Preprocessing(size=reading.size, channels=3, mean=(), std=(), fit=reading.fit)
    images: list[Image.Image] = []
    mixed = False
    for image in _opened(parts, reading, found):
        if images and not mixed and image.size != images[0].size:
            mixed = True
            images = [_at(fitted, one) for one in images]
        images.append(_at(fitted, image) if mixed else image)
        if len(images) == 1 or mixed:
            _require_memory(images[0], total)
    channels = reading.channels or (1 if all(map(has_no_colour, images)) else 3)
    height, width = reading.size if mixed else (images[0].height, images[0].width)
    last = Preprocessing(size=(height, width), channels=channels, mean=(), std=(), fit=reading.fit)
    pixels: dict[str, Pictures] = {}
    start = 0
    for split, count in counts.items():
        pixels[split] = stack(map(last.pixels, images[start : start + count]), count)
        start += count
    return pixels, mixed


def _at(fitted: Preprocessing, image: Image.Image) -> Image.Image:
    """The image at the size, as grey or coloured as it was."""
    one = replace(fitted, channels=1 if image.mode == "L" else 3).pixels(image)
    return Image.fromarray(one[..., 0] if one.shape[2] == 1 else one)


def _require_memory(image: Image.Image, total: int) -> None:
    needed = total * image.width * image.height * 3
    if not fits_memory(needed):
        raise DataError(
            f"{total:,} images of {image.width}x{image.height} are {needed / 1e9:.1f} GB, which memory cannot hold: ask for a "
            "smaller size, or store them in class folders, which are read from disk"
        )


def _opened(parts: Mapping[str, Part], reading: Reading, found: list[Found]) -> Iterator[Image.Image]:
    """Each image, upright, of mode L or RGB and of its own size."""
    for split, part in parts.items():
        images = (one for one, _ in part.images) if isinstance(part.images, ImageData) else part.images
        for position, given in enumerate(images):
            try:
                image, values = _open(given, reading)
            except DataError as error:
                raise DataError(f"{split}, image {position}: {error}") from None
            if values is not None:
                found.append(values)
            yield image


def _open(given: Any, reading: Reading) -> tuple[Image.Image, Found | None]:
    if isinstance(given, Mapping) and {"bytes", "path"} & given.keys():  # of a Hugging Face Image(decode=False)
        given = given.get("bytes") or given.get("path")
    if isinstance(given, str | Path | bytes):
        image, info = decode_with_info(given, wanted=reading.range)
        return image, info.found
    if not isinstance(given, Image.Image | np.ndarray | torch.Tensor):
        raise DataError(f"an image is a PIL image, an array, a tensor or a file, got {kind_of_thing(given)}")
    return at_hand(given, reading.range)


def _labels(
    parts: Mapping[str, Part], counts: Mapping[str, int], classes: tuple[str, ...] | None
) -> tuple[tuple[str, ...] | None, dict[str, Labels]]:
    """(the classes' names or None, split -> int64 (N,)). Labels that are texts are numbered by the sorted names."""
    given = {split: _row(split, part.labels) for split, part in parts.items()}
    named = {part.classes for part in parts.values() if part.classes is not None}
    if classes is None and len(named) > 1:
        raise DataError(f"the splits have different classes: {' and '.join(', '.join(names) for names in named)}")
    names = classes or next(iter(named), None)
    if any(row.dtype.kind == "U" for row in given.values()):
        if any(row.dtype.kind != "U" for row in given.values()):
            raise DataError("labels are texts in one split and numbers in another: give all of them in one way")
        if names is None:
            names = tuple(sorted({name for row in given.values() for name in row.tolist()}))
            require_distinct(names, "the labels that were given")
        unknown = sorted({name for row in given.values() for name in row.tolist()} - set(names))
        if unknown:
            raise DataError(f"{', '.join(unknown)} is none of the classes {', '.join(names)}")
        place = {name: number for number, name in enumerate(names)}
        given = {split: np.asarray([place[name] for name in row.tolist()]) for split, row in given.items()}
    return names, {split: labels_of(f"the labels of {split}", row, counts[split]) for split, row in given.items()}


def _row(split: str, labels: Any) -> np.ndarray[Any, Any]:
    """Labels as one array of numbers or texts."""
    if isinstance(labels, torch.Tensor):
        return cast("np.ndarray[Any, Any]", labels.detach().cpu().numpy())
    plain = [one.tolist() if isinstance(one, torch.Tensor | np.ndarray | np.generic) else one for one in labels]
    for position, one in enumerate(plain):
        if not isinstance(one, int | float | str | list | tuple):
            raise UsageError(f"{split}, label {position}: {kind_of_thing(one)} is no class. {ONE_LABEL}")
    try:
        row = np.asarray(plain)
    except ValueError:
        raise UsageError(f"{split}: the labels have different lengths. {ONE_LABEL}") from None
    if row.ndim > 2 or len({isinstance(one, str) for one in plain}) > 1:
        raise UsageError(f"{split}: labels must be numbers or texts, one an image, got shape {row.shape}. {ONE_LABEL}")
    return row
