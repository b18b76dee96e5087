"""A NumPy archive (`.npz`) of images and labels, as Keras, MedMNIST and many others write them. Nothing in it is unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from striate.data.asked import Reading
from striate.data.classnames import require_distinct
from striate.data.images import DataSet, ImageData, Labels, Pixels
from striate.data.layout import SPLIT_NAMES
from striate.data.ledger import ARRAYS, Ledger
from striate.data.ranges import gathered
from striate.data.splits import with_test_split
from striate.data.values import Found, Range, Unclear, eight_bits
from striate.errors import DataError

_IMAGES, _LABELS = ("images", "x", "data"), ("labels", "y", "targets")
_CLASSES = ("classes", "class_names", "label_names")
ONE_LABEL = (
    "Each image has one label here. Several labels an image, boxes and masks are for libraries made for them, such as "
    "torchvision's detection and segmentation references or timm"
)
"""Said where an image has another kind of target."""


def load_npz(path: Path, reading: Reading) -> DataSet:
    """The images of an archive, at their own size.

    It holds `images` and `labels` (or `x` and `y`, `data` and `targets`), for each split with its name before or after:
    `train_images`, `y_test`. Images are (N, H, W) or (N, H, W, 1 or 3), labels whole numbers (N,) or (N, 1). `classes`
    (or `class_names`), texts (K,), names them; the numbers do otherwise.

    Args:
        reading: of which `range` counts, for values that are not uint8, and `partial`.

    Raises:
        DataError: no archive, a missing array, one of another form, or one that would have to be unpickled.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is one array: an archive (.npz) of images and labels is needed")
            names = [name.lower() for name in archive.files]
            if twice := [name for name in archive.files if names.count(name.lower()) > 1]:
                raise DataError(f"{path} has arrays that differ only in capitals: {', '.join(twice)}. Rename one")
            tests = {name for kinds in (_IMAGES, _LABELS) for name in _names(kinds, "test")}
            has_test = any(name in tests for name in names)
            kept = [name for name in archive.files if reading.tested or name.lower() not in tests]
            arrays = {name.lower(): archive[name] for name in kept}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as a NumPy archive: {error}") from error
    found: list[Found] = []
    pairs = {
        split: pair for split in SPLIT_NAMES if (pair := _pair(path, arrays, split, reading.range, found)) is not None
    }
    if "train" not in pairs and (bare := _pair(path, arrays, "", reading.range, found)) is not None:
        pairs = {"train": bare, **pairs}
    if not pairs:
        raise DataError(f"{path} holds no images and labels: name its arrays so; it has {', '.join(arrays) or 'none'}")
    channels = {split: pixels.shape[3] for split, (pixels, _) in pairs.items()}
    if len(set(channels.values())) > 1:
        told = ", ".join(f"{count} in {split}" for split, count in channels.items())
        raise DataError(
            f"the images in {path} have different channels: {told}. Store all of them in grey, or all in colour"
        )
    classes = _classes(path, arrays, pairs, reading.partial)
    ledger = _ledger(arrays, pairs, sorted({name.lower() for name in names} - arrays.keys()))
    splits = {split: ImageData(*pair, classes) for split, pair in pairs.items()}
    return DataSet(
        name=path.stem,
        location=str(path.resolve()),
        title=path.name,
        source="a NumPy archive",
        licence="not stated",
        splits=with_test_split(splits, has_test),
        flippable=True,
        made=() if has_test or "train" not in splits else ("test",),
        unreadable={},
        ledger=ledger,
        numbered=not set(_CLASSES) & arrays.keys(),
        values=gathered(found),
        range=reading.range,
    )


def _ledger(arrays: Mapping[str, np.ndarray[Any, Any]], pairs: Mapping[str, Any], untested: Sequence[str]) -> Ledger:
    """Which arrays are used; `untested`: those of a test split that is not opened."""
    parts = ["", *pairs] if any(_named(arrays, _IMAGES, split) is None for split in pairs) else list(pairs)
    used = {_named(arrays, kinds, split) for kinds in (_IMAGES, _LABELS) for split in parts} | {*_CLASSES}
    ledger = Ledger(ARRAYS)
    ledger.find(len(arrays) + len(untested))
    for name in untested:
        ledger.enter("excluded", name, "of the test split, which is not opened")
    for name, array in arrays.items():
        ledger.enter(
            "used" if name in used else "other",
            f"{name} {array.dtype} {array.shape}",
            "" if name in used else "a name that is not known",
        )
    ledger.check()
    return ledger


def _pair(
    path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], split: str, wanted: Range | None, found: list[Found]
) -> tuple[Pixels, Labels] | None:
    """Images and labels of a split (`""`: of the whole archive), checked; None where it has neither.

    `found` gets what is to be said of the values of each image that are wider than 8 bits.
    """
    names = {kind: _named(arrays, kind, split) for kind in (_IMAGES, _LABELS)}
    images, labels = names[_IMAGES], names[_LABELS]
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        raise DataError(f"{path} has {images or labels} but not the {'images' if images is None else 'labels'} to it")
    pixels, given = arrays[images], arrays[labels]
    eight = pixels_of(f"{images} in {path}", pixels, wanted, found)
    return eight, labels_of(f"{labels} in {path}", given, len(eight))


def labels_of(what: str, given: np.ndarray[Any, Any], count: int) -> Labels:
    """int64 (N,) of whole numbers (N,) or (N, 1), or of a column of zeros and ones for each class; else DataError."""
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    elif given.ndim == 2 and given.dtype.kind in "iufb" and np.isin(given, (0, 1)).all() and (given.sum(1) == 1).all():
        given = given.argmax(1)
    if given.dtype.kind not in "iu" or given.shape != (count,):
        several = f". {ONE_LABEL}" if given.ndim == 2 and len(given) == count else ""
        raise DataError(f"{what} must be {count} whole numbers, one an image, got {given.dtype} {given.shape}{several}")
    return given.astype(np.int64)


def pixels_of(what: str, pixels: np.ndarray[Any, Any], wanted: Range | None, found: list[Found]) -> Pixels:
    """uint8 (N, H, W, C) of images (N, H, W) or (N, H, W, 1 or 3) of any kind of number.

    What is not known of their values is asked of all of them at once. `found` gets what there is to say of each image.

    Raises:
        DataError: another shape, one that can be read in two ways, or values whose black and white are not known.
    """
    shape = pixels.shape
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3) or not pixels.size:
        hint = ": channels come last, transpose(0, 2, 3, 1)" if len(shape) == 4 and shape[1] in (1, 3) else ""
        raise DataError(f"{what} must be (N, H, W) or (N, H, W, 1 or 3), got {pixels.dtype} {shape}{hint}")
    if len(shape) == 4 and shape[1] in (1, 3) and shape[1:] != (1, 1, 1):
        raise DataError(f"{what}, {shape}, can have its channels second or last: store sides of neither 1 nor 3 pixels")
    try:
        eight, whole = eight_bits(pixels, wanted)
    except Unclear as error:
        raise DataError(f"{what}: {error}") from None
    if whole is not None:
        least, most = pixels.min(axis=(1, 2, 3)).tolist(), pixels.max(axis=(1, 2, 3)).tolist()
        found += [Found(whole.kind, low, high, whole.low, whole.high) for low, high in zip(least, most, strict=True)]
    return np.ascontiguousarray(eight)


def _names(kinds: tuple[str, ...], split: str) -> list[str]:
    """What the array of a split can be called; `""`: that of the whole archive."""
    forms = [form for name in SPLIT_NAMES[split] for form in (f"{name}_{{}}", f"{{}}_{name}")] if split else ["{}"]
    return [form.format(kind) for kind in kinds for form in forms]


def _named(arrays: Mapping[str, Any], kinds: tuple[str, ...], split: str) -> str | None:
    found = [name for name in _names(kinds, split) if name in arrays]
    if len(found) > 1:
        raise DataError(
            f"{' and '.join(found)} could both be the {kinds[0]}{f' of the {split} split' if split else ''}: keep one"
        )
    return found[0] if found else None


def _classes(
    path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], pairs: Mapping[str, tuple[Pixels, Labels]], partial: bool
) -> tuple[str, ...]:
    given = [name for name in _CLASSES if name in arrays]
    if len(given) > 1:
        raise DataError(f"{' and '.join(given)} in {path} could both be the names of the classes: keep one")
    if not given:
        names: tuple[str, ...] | None = None
    elif arrays[given[0]].ndim == 1 and arrays[given[0]].dtype.kind in "US":
        names = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in arrays[given[0]].tolist())
    else:
        raise DataError(f"{given[0]} in {path} must be texts (K,), got {arrays[given[0]].dtype}")
    require_distinct(names or (), str(path))
    return require_classes(str(path), names, {split: labels for split, (_, labels) in pairs.items()}, partial)


def require_classes(
    where: str, names: tuple[str, ...] | None, labels_in: Mapping[str, Labels], partial: bool
) -> tuple[str, ...]:
    """The names of the classes, or their numbers for want of names.

    Args:
        labels_in: split -> labels.
        partial: whether a split may lack classes.

    Raises:
        DataError: a name twice, labels without a name, or a split that lacks a class.
    """
    lowest = min(int(labels.min()) for labels in labels_in.values())
    count = max(int(labels.max()) for labels in labels_in.values()) + 1
    if names is None:
        names = tuple(str(label) for label in range(count))
    if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise DataError(f"the classes of {where} hold {twice!r} twice: each class needs a name of its own")
    if lowest < 0 or count > len(names) or (len(names) < 2 and not partial):
        raise DataError(f"the labels in {where} run from {lowest} to {count - 1}, and there are {len(names)} classes")
    for split, labels in labels_in.items():
        if not partial and (missing := [name for label, name in enumerate(names) if label not in set(labels.tolist())]):
            raise DataError(f"the split {split} of {where} lacks: {', '.join(missing)}")
    return names
