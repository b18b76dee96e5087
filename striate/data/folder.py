"""A folder of pictures with one subfolder a class, or {train,val,test}/class."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from striate.data.decode import decode
from striate.data.images import DataSet, ImageData, Pixels
from striate.data.preprocessing import Preprocessing, stack
from striate.data.splits import hold_out
from striate.errors import DataError

SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_JUNK = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
TEST_SHARE = 0.15
"""Share of each class that is held out for the test where the folder has no test split of its own."""


def load_folder(folder: Path, size: tuple[int, int], channels: int, workers: int) -> DataSet:
    """Reads a folder of class folders, decoded once to `size` (H, W) and `channels`, with `workers` threads.

    A split that the folder has is kept. Without a test split, `TEST_SHARE` of the training pictures of each class becomes one.

    Raises:
        DataError: no classes, a class that one split lacks or has alone, or no readable picture.
    """
    roots = _split_folders(folder)
    classes = _classes(roots)
    preprocessing = Preprocessing(size=size, channels=channels, mean=(), std=())
    unreadable: dict[str, str] = {}
    splits: dict[str, ImageData] = {}
    for split, root in roots.items():
        files = [(path, label) for label, name in enumerate(classes) for path in _files(root / name)]
        splits[split] = _read(files, classes, preprocessing, workers, unreadable)
    if "test" not in splits:
        kept, held = hold_out(splits["train"].labels, TEST_SHARE, seed=0)
        splits = {**splits, "train": splits["train"].select(kept), "test": splits["train"].select(held)}
    return DataSet(
        name=folder.resolve().name,
        location=str(folder.resolve()),
        title=folder.resolve().name,
        source="a folder of pictures",
        licence="not stated",
        splits=splits,
        flippable=True,
        unreadable=unreadable,
    )


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name not in _JUNK)


def _split_folders(folder: Path) -> dict[str, Path]:
    """split -> folder of its classes; {train: folder} for a folder that holds the classes themselves."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    subfolders = {path.name.lower(): path for path in _visible(folder) if path.is_dir()}
    found = {split: subfolders[name] for split, names in SPLIT_NAMES.items() for name in names if name in subfolders}
    if "train" in found:
        return found
    if not subfolders:
        raise DataError(f"{folder} has no class folders: put the pictures of each class into a folder named after it")
    return {"train": folder}


def _classes(roots: Mapping[str, Path]) -> tuple[str, ...]:
    """The classes of the training split; an error if another split has other ones, for labels would shift silently."""
    named = {split: tuple(path.name for path in _visible(root) if path.is_dir()) for split, root in roots.items()}
    classes = named["train"]
    for split, names in named.items():
        if names != classes:
            missing, extra = sorted(set(classes) - set(names)), sorted(set(names) - set(classes))
            raise DataError(
                f"the splits of {roots['train'].parent} have different classes.\n"
                f"{split} lacks: {', '.join(missing) or 'none'}; has besides: {', '.join(extra) or 'none'}.\n"
                "Give each split one folder for every class, with the same names."
            )
    if len(classes) < 2:
        raise DataError(f"{roots['train']} has {len(classes)} class folder(s): a classifier needs at least two")
    return classes


def _files(folder: Path) -> list[Path]:
    # os.walk does not follow links to folders: a link that leads back up is met once and not entered.
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _JUNK)
        found += [Path(root) / name for name in sorted(names) if not name.startswith(".") and name not in _JUNK]
    return found


def _read(
    files: list[tuple[Path, int]],
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    workers: int,
    unreadable: dict[str, str],
) -> ImageData:
    def read(file: tuple[Path, int]) -> Pixels | DataError:
        try:
            return preprocessing.pixels(decode(file[0]))
        except DataError as error:
            return error

    pictures, labels, paths = [], [], []
    with ThreadPoolExecutor(workers) as pool:
        for (path, label), result in zip(files, pool.map(read, files), strict=True):
            if isinstance(result, DataError):
                unreadable[str(path)] = str(result).removeprefix(f"{path}: ")
            else:
                pictures.append(result)
                labels.append(label)
                paths.append(str(path))
    if empty := [name for label, name in enumerate(classes) if label not in set(labels)]:
        raise DataError(
            f"no readable picture of class {', '.join(empty)} in {files[0][0].parents[1] if files else 'the folder'}"
        )
    return ImageData(stack(pictures, len(pictures)), np.asarray(labels, dtype=np.int64), classes, tuple(paths))
