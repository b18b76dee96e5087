"""Images and labels given in Python, made into a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from striate.data.athand import ONE_LABEL, MapStyle, Part, kind_of_thing, name_of, splits_of
from striate.data.cache import fits_memory
from striate.data.dataset import DataSet, Reading, require_distinct
from striate.data.decode import has_no_colour
from striate.data.images import ImageData, Labels, Pictures
from striate.data.inputs import opened
from striate.data.preprocessing import Preprocessing, stack
from striate.data.ranges import gathered
from striate.data.splits import with_test_split
from striate.data.values import Found, Range, Unclear, eight_bits
from striate.errors import DataError, UsageError

GIVEN = "(given in Python)"
"""The location of a set that no name or path leads to."""
DataLike = str | Path | DataSet | MapStyle
"""Whatever names data, or is data: `striate.load_data` says which forms there are."""


def load_given(data: object, reading: Reading, name: str | None = None) -> DataSet:
    """Data in one of the forms that `striate.load_data` names; images keep their size where all have the same.

    Raises:
        UsageError: no form that is known.
        DataError: images or labels that cannot be used, or are not clear; the split and the position are named.
    """
    return labelled(*splits_of(data), reading, name=name or name_of(data))


def labelled(
    given: Mapping[str, Part], classes: tuple[str, ...] | None, reading: Reading, name: str,
    where: str = "the given data",
) -> DataSet:  # fmt: skip
    """The set of these splits, with errors as of `load_given`. A test split is left unread where `reading` says so.

    Args:
        classes: their names, if they are not the splits' own.
        where: what the whole is called in errors.
    """
    parts = {split: part for split, part in given.items() if reading.tested or split != "test"}
    if not parts or any(not part.count for part in parts.values()):
        raise DataError(f"there are no images in {where}")
    found: list[Found] = []
    mixed = False
    if all(isinstance(part.images, np.ndarray | torch.Tensor | ImageData) for part in parts.values()):
        pixels = {
            split: _pixels_of(_called(split, part)[0], part.images, reading.range, found)
            for split, part in parts.items()
        }
    else:
        pixels, mixed = _one_by_one(parts, reading, found)
    channels = {split: one.shape[3] for split, one in pixels.items()}
    if len(set(channels.values())) > 1:
        shown = ", ".join(f"{count} in {split}" for split, count in channels.items())
        raise DataError(
            f"the images in {where} have different channels: {shown}. Store all of them as grey, or all as colour"
        )
    names, labels = _labels(parts, {split: len(one) for split, one in pixels.items()}, classes)
    numbered = names is None
    names = _require_classes(where, names, labels, reading.partial)
    dataset = DataSet(
        name=name, location=GIVEN, title=name, source="given in Python", numbered=numbered,
        splits={split: ImageData(pixels[split], labels[split], names) for split in parts},
        reading=replace(reading, channels=next(iter(channels.values()))) if mixed else None,
        values=gathered(found), range=reading.range,
    )  # fmt: skip
    return with_test_split(dataset, "test" in given)


def _called(split: str, part: Part) -> tuple[str, str]:
    return part.called or (f"the images of {split}", f"the labels of {split}")


def _pixels_of(what: str, images: Any, wanted: Range | None, found: list[Found]) -> Pictures:
    """uint8 (N, H, W, C) of an array (N, H, W) or (N, H, W, C) or a tensor (N, H, W) or (N, C, H, W), with 1 or 3 channels, of
    any kind of number; `found` gets the values of each. Raises DataError for another shape, one that can be read in two ways, or
    values whose black and white are not known.
    """
    if isinstance(images, ImageData):
        return images.pixels
    shape = tuple(images.shape)
    if isinstance(images, torch.Tensor):
        if len(shape) == 4 and (shape[1] not in (1, 3) or (shape[3] in (1, 3) and shape[1:] != (1, 1, 1))):
            raise DataError(
                f"{what}: a tensor must be (N, H, W) or (N, 1 or 3, H, W), got {shape}; if its channels are last, "
                "use permute(0, 3, 1, 2); if that is unclear, give a NumPy array, with its channels last"
            )
        images = images.permute(0, 2, 3, 1) if len(shape) == 4 else images
        images = (images.float() if images.dtype == torch.bfloat16 else images).detach().cpu().numpy()
        shape = images.shape
    pixels = images[..., None] if len(shape) == 3 else images
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3) or not pixels.size:
        hint = ": channels come last, transpose(0, 2, 3, 1)" if len(shape) == 4 and shape[1] in (1, 3) else ""
        raise DataError(f"{what} must be (N, H, W) or (N, H, W, 1 or 3), got {pixels.dtype} {shape}{hint}")
    if len(shape) == 4 and shape[1] in (1, 3) and shape[1:] != (1, 1, 1):
        raise DataError(
            f"{what}, {shape}, could have its channels second or last: use images with sides other than 1 or 3 pixels"
        )
    try:
        eight, whole = eight_bits(pixels, wanted)
    except Unclear as error:
        raise DataError(f"{what}: {error}") from None
    if whole is not None:
        least, most = pixels.min(axis=(1, 2, 3)).tolist(), pixels.max(axis=(1, 2, 3)).tolist()
        found += [Found(whole.kind, low, high, whole.low, whole.high) for low, high in zip(least, most, strict=True)]
    return np.ascontiguousarray(eight)


def _one_by_one(parts: Mapping[str, Part], reading: Reading, found: list[Found]) -> tuple[dict[str, Pictures], bool]:
    """(uint8 (N, H, W, C) of each split, whether the images had several sizes and so were brought to that of `reading`)."""
    counts = [part.count for part in parts.values()]
    images: list[Image.Image] = []
    mixed = False
    for image in _opened(parts, reading, found):
        if images and not mixed and image.size != images[0].size:
            mixed = True
            images = [_at(reading, one) for one in images]
        images.append(_at(reading, image) if mixed else image)
        width, height = images[0].size
        if (len(images) == 1 or mixed) and not fits_memory(needed := sum(counts) * width * height * 3):
            raise DataError(
                f"{sum(counts):,} images of {width}x{height} are {needed / 1e9:.1f} GB, which do not fit into memory: "
                "use a smaller size, or store them in class folders, which are read from disk"
            )
    channels = reading.channels or (1 if all(map(has_no_colour, images)) else 3)
    last = Preprocessing(size=(height, width), channels=channels, fit=reading.fit)
    whole = stack(map(last.pixels, images), len(images))
    return dict(zip(parts, np.split(whole, np.cumsum(counts)[:-1]), strict=True)), mixed


def _at(reading: Reading, image: Image.Image) -> Image.Image:
    """The image at the size of `reading`, as grey or coloured as it was."""
    grey = image.mode == "L"
    pixels = Preprocessing(size=reading.size, channels=1 if grey else 3, fit=reading.fit).pixels(image)
    return Image.fromarray(pixels[..., 0] if grey else pixels)


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
    if not isinstance(given, str | Path | bytes | Image.Image | np.ndarray | torch.Tensor):
        raise DataError(f"an image is a PIL image, an array, a tensor or a file, got {kind_of_thing(given)}")
    return opened(given, reading.range)


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
            raise DataError("labels are text in one split and numbers in another: use one form for all of them")
        if names is None:
            names = tuple(sorted({name for row in given.values() for name in row.tolist()}))
            require_distinct(names, "the given labels")
        if unknown := sorted({name for row in given.values() for name in row.tolist()} - set(names)):
            raise DataError(f"{', '.join(unknown)} is not one of the classes {', '.join(names)}")
        place = {name: number for number, name in enumerate(names)}
        given = {split: np.asarray([place[name] for name in row.tolist()]) for split, row in given.items()}
    return names, {
        split: _labels_of(_called(split, parts[split])[1], row, counts[split]) for split, row in given.items()
    }


def _row(split: str, labels: Any) -> np.ndarray[Any, Any]:
    """Labels as one array of numbers or texts."""
    if isinstance(labels, torch.Tensor):
        labels = labels.detach().cpu().numpy()
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iufbU":
        return labels
    plain = [one.tolist() if isinstance(one, torch.Tensor | np.ndarray | np.generic) else one for one in labels]
    for position, one in enumerate(plain):
        if not isinstance(one, int | float | str | list | tuple):
            raise UsageError(f"{split}, label {position}: {kind_of_thing(one)} is not a class. {ONE_LABEL}")
    try:
        row = np.asarray(plain)
    except ValueError:
        raise UsageError(f"{split}: the labels have different lengths. {ONE_LABEL}") from None
    if row.ndim > 2 or len({isinstance(one, str) for one in plain}) > 1:
        raise UsageError(f"{split}: labels must be numbers or texts, one per image, got shape {row.shape}. {ONE_LABEL}")
    return row


def _labels_of(what: str, given: np.ndarray[Any, Any], count: int) -> Labels:
    """int64 (N,) of whole numbers (N,) or (N, 1), or of a column of zeros and ones for each class; else DataError."""
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    elif given.ndim == 2 and given.dtype.kind in "iufb" and np.isin(given, (0, 1)).all() and (given.sum(1) == 1).all():
        given = given.argmax(1)
    if given.dtype.kind not in "iu" or given.shape != (count,):
        several = f". {ONE_LABEL}" if given.ndim == 2 and len(given) == count else ""
        raise DataError(
            f"{what} must be {count} whole numbers, one per image, got {given.dtype} {given.shape}{several}"
        )
    return given.astype(np.int64)


def _require_classes(
    where: str, names: tuple[str, ...] | None, labels_in: Mapping[str, Labels], partial: bool
) -> tuple[str, ...]:
    """The names of the classes, or their numbers if they have no names. Raises DataError for a name twice, labels without a
    name, or, unless `partial`, a split that lacks a class.
    """
    present = {split: set(labels.tolist()) for split, labels in labels_in.items()}
    lowest, count = min(map(min, present.values())), max(map(max, present.values())) + 1
    names = tuple(map(str, range(count))) if names is None else names
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise DataError(f"the classes of {where} hold {twice[0]!r} twice: class names must be unique")
    if lowest < 0 or count > len(names):
        raise DataError(f"the labels in {where} run from {lowest} to {count - 1}, and there are {len(names)} classes")
    if len(names) < 2 and not partial:
        raise DataError(f"all images of {where} are of one class: a classifier tells two or more apart")
    for split, labels in present.items():
        if not partial and (missing := [name for label, name in enumerate(names) if label not in labels]):
            raise DataError(f"the split {split} of {where} lacks: {', '.join(missing)}")
    return names
