"""A NumPy archive (`.npz`) of images and labels, as Keras, MedMNIST and many others write them. Nothing in it is unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from striate.data.athand import Part
from striate.data.dataset import DataSet, Reading, require_distinct
from striate.data.given import labelled
from striate.data.layout import SPLIT_NAMES
from striate.data.ledger import ARRAYS, Ledger
from striate.errors import DataError

_IMAGES, _LABELS = ("images", "x", "data"), ("labels", "y", "targets")
_CLASSES = ("classes", "class_names", "label_names")
Arrays = Mapping[str, np.ndarray[Any, Any]]


def load_npz(path: Path, reading: Reading) -> DataSet:
    """The images of an archive, at their own size.

    It holds `images` and `labels` (or `x` and `y`, `data` and `targets`), for each split with its name before or after:
    `train_images`, `y_test`. Images are (N, H, W) or (N, H, W, 1 or 3), labels whole numbers (N,) or (N, 1). `classes`
    (or `class_names`), texts (K,), names them; the numbers do otherwise.

    Raises DataError for no archive, a missing array, one of another form, or one that would have to be unpickled.
    """
    arrays, untested = _read(path, reading)
    splits = {split: names for split in SPLIT_NAMES if (names := _pair(path, arrays, split)) is not None}
    if "train" not in splits and (names := _pair(path, arrays, "")) is not None:
        splits = {"train": names, **splits}
    if not splits:
        raise DataError(f"{path} has no arrays named images and labels; it has {', '.join(arrays) or 'none'}")
    parts = {
        split: Part(
            arrays[images], len(arrays[images]), arrays[labels], called=(f"{images} in {path}", f"{labels} in {path}")
        )
        for split, (images, labels) in splits.items()
    }
    if untested:
        parts["test"] = Part((), 0)
    dataset = labelled(parts, _classes(path, arrays), reading, path.stem, str(path))
    ledger = Ledger(ARRAYS)
    ledger.find(len(arrays) + len(untested))
    for name in untested:
        ledger.enter("excluded", name, "of the test split, which is not opened")
    used = {*_CLASSES, *(name for names in splits.values() for name in names)}
    for name, array in arrays.items():
        shown = f"{name} {array.dtype} {array.shape}"
        ledger.enter("used", shown) if name in used else ledger.enter("other", shown, "an unknown name")
    ledger.check()
    return replace(dataset, location=str(path.resolve()), title=path.name, source="a NumPy archive", ledger=ledger)


def _read(path: Path, reading: Reading) -> tuple[Arrays, list[str]]:
    """(name in small letters -> array, names of arrays that stay unread: those of a test split that is not to be opened)."""
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is one array: an archive (.npz) of images and labels is needed")
            names = [name.lower() for name in archive.files]
            if twice := [name for name in archive.files if names.count(name.lower()) > 1]:
                raise DataError(f"{path} has arrays that differ only in capitals: {', '.join(twice)}. Rename one")
            tests = {name for kinds in (_IMAGES, _LABELS) for name in _names(kinds, "test")}
            kept = [name for name in archive.files if reading.tested or name.lower() not in tests]
            arrays = {name.lower(): archive[name] for name in kept}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as a NumPy archive: {error}") from error
    return arrays, sorted(set(names) - arrays.keys())


def _pair(path: Path, arrays: Arrays, split: str) -> tuple[str, str] | None:
    """Names of the images and labels of a split (`""`: of the whole archive); None where it has neither."""
    images, labels = _named(arrays, _IMAGES, split), _named(arrays, _LABELS, split)
    if images and labels:
        return images, labels
    if images or labels:
        raise DataError(f"{path} has {images or labels} but no {'labels' if images else 'images'} for it")
    return None


def _names(kinds: tuple[str, ...], split: str) -> list[str]:
    """The possible names of a split's array; `""`: that of the whole archive."""
    forms = [form for name in SPLIT_NAMES[split] for form in (f"{name}_{{}}", f"{{}}_{name}")] if split else ["{}"]
    return [form.format(kind) for kind in kinds for form in forms]


def _named(arrays: Mapping[str, Any], kinds: tuple[str, ...], split: str) -> str | None:
    found = [name for name in _names(kinds, split) if name in arrays]
    if len(found) > 1:
        raise DataError(
            f"{' and '.join(found)} could both be the {kinds[0]}{f' of the {split} split' if split else ''}: keep one"
        )
    return found[0] if found else None


def _classes(path: Path, arrays: Arrays) -> tuple[str, ...] | None:
    """The names of the classes, where the archive has them."""
    given = [name for name in _CLASSES if name in arrays]
    if len(given) > 1:
        raise DataError(f"{' and '.join(given)} in {path} could both be the class names: keep one")
    if not given:
        return None
    array = arrays[given[0]]
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise DataError(f"{given[0]} in {path} must be texts (K,), got {array.dtype}")
    names = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in array.tolist())
    require_distinct(names, str(path))
    return names
