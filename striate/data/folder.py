"""Files of pictures decoded into a data set: what `list_files` found, at one size."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from striate.data.decode import decode
from striate.data.images import DataSet, ImageData, Pixels
from striate.data.listing import Listed, list_files
from striate.data.preprocessing import Preprocessing, stack
from striate.data.splits import with_test_split
from striate.errors import DataError, UsageError


def load_folder(
    source: Path,
    size: tuple[int, int],
    channels: int,
    workers: int,
    group_by: str | None = None,
    exclude: Sequence[str] = (),
) -> DataSet:
    """Reads a folder or table of pictures, decoded once to `size` (H, W) and `channels`, with `workers` threads.

    Splits that there are are kept. Without a test split, a part of the training pictures becomes one.

    Args:
        group_by: a pattern that is searched in each file's name; files in which its first group (or the whole pattern) finds
            the same belong together. A table's column `group` counts before it.
        exclude: patterns of the shell (`*`, `?`, `[]`) for a file's path below the folder, or its name alone.

    Raises:
        UsageError: a pattern that is none, or that is in no file's name.
        DataError: as `list_files` raises; or a class without a readable picture.
    """
    listing = list_files(source)
    preprocessing = Preprocessing(size=size, channels=channels, mean=(), std=())
    unreadable = dict(listing.closed)
    files, excluded = _exclude(listing.files, source if source.is_dir() else source.parent, exclude)
    groups = _groups(files, group_by)
    splits: dict[str, ImageData] = {}
    for split in dict.fromkeys(file.split for file in files):
        chosen = [(file, group) for file, group in zip(files, groups, strict=True) if file.split == split]
        splits[split] = _read(chosen, listing.classes, preprocessing, workers, unreadable)
    name = source.resolve().name
    return DataSet(
        name=name,
        location=str(source.resolve()),
        title=name,
        source="a table of pictures" if source.is_file() else "a folder of pictures",
        licence="not stated",
        splits=with_test_split(splits),
        flippable=True,
        made=() if "test" in splits or "train" not in splits else ("test",),
        unreadable=unreadable,
        junk=listing.junk,
        excluded=excluded,
    )


def _exclude(
    files: Sequence[Listed], folder: Path, patterns: Sequence[str]
) -> tuple[list[Listed], dict[str, list[str]]]:
    """(the files that stay, pattern -> paths of those that it names)."""
    left: list[Listed] = []
    excluded: dict[str, list[str]] = {pattern: [] for pattern in patterns}
    for file in files:
        below = file.path.relative_to(folder).as_posix() if file.path.is_relative_to(folder) else str(file.path)
        names = (below, file.path.name, str(file.path))
        hits = [pattern for pattern in excluded if any(fnmatch.fnmatchcase(name, pattern) for name in names)]
        for pattern in hits:
            excluded[pattern].append(str(file.path))
        if not hits:
            left.append(file)
    return left, excluded


def _groups(files: Sequence[Listed], group_by: str | None) -> list[str | None]:
    """The group of each file; None for one that belongs to no other."""
    if group_by is None:
        return [file.group for file in files]
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise UsageError(f"--group-by {group_by!r} is no regular expression: {error}") from None
    found = []
    for file in files:
        match = pattern.search(file.path.name)
        found.append(file.group or (match and (match.group(1) if pattern.groups else match.group())) or None)
    if files and not any(found):
        raise UsageError(f"--group-by {group_by!r} is in no file's name; the first one is {files[0].path.name}")
    return found


def _read(
    files: list[tuple[Listed, str | None]],
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    workers: int,
    unreadable: dict[str, str],
) -> ImageData:
    def read(file: tuple[Listed, str | None]) -> Pixels | DataError:
        try:
            return preprocessing.pixels(decode(file[0].path))
        except DataError as error:
            return error

    label_of = {name: label for label, name in enumerate(classes)}
    pictures, labels, paths, groups = [], [], [], []
    with ThreadPoolExecutor(workers) as pool:
        for (file, group), result in zip(files, pool.map(read, files), strict=True):
            if isinstance(result, DataError):
                unreadable[str(file.path)] = str(result).removeprefix(f"{file.path}: ")
            else:
                pictures.append(result)
                labels.append(label_of[file.label])
                paths.append(str(file.path))
                groups.append(group)
    if empty := [name for name, label in label_of.items() if label not in set(labels)]:
        reason = "".join(f"; {path}: {why}" for path, why in list(unreadable.items())[:1])
        raise DataError(f"no readable picture of class {', '.join(empty)} in the {files[0][0].split} split{reason}")
    return ImageData(
        stack(pictures, len(pictures)),
        np.asarray(labels, dtype=np.int64),
        classes,
        tuple(paths),
        tuple(groups) if any(groups) else None,
    )
