"""Files of images decoded into a data set: what `list_files` found, at one size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from striate.data.cache import Prepared, fits_memory, prepare
from striate.data.dataset import DataSet, Reading
from striate.data.decode import decode_with_info
from striate.data.images import ImageData, LazyPixels
from striate.data.listing import Listing, list_files
from striate.data.preprocessing import Preprocessing
from striate.data.ranges import gathered
from striate.data.reading import OnProgress
from striate.data.splits import with_test_split
from striate.errors import DataError, UsageError, param

FEW = 8
"""Images that are decoded first to guess whether a set is grey; once all are decoded, it is known."""
_SHOWN = 20
"""Number of unreadable files that an error lists."""


def load_folder(source: Path, reading: Reading, workers: int, on_progress: OnProgress | None = None) -> DataSet:
    """Reads a folder or table of images, decoded with `workers` threads, or from its cache if it has one. Without a test split,
    a part of the training images becomes one.

    `group_by` is searched in each file's name; files in which its first group (or the whole pattern) finds the same belong
    together. A table's column `group` counts before it.

    Raises:
        UsageError: as `list_files`; a pattern that is none, or that is in no file's name.
        DataError: as `list_files`; a class without a readable image; with `on_bad="stop"` a file that cannot be read.
    """
    listing = list_files(source, reading)
    files = listing.files
    excluded = listing.excluded_paths()
    rows = [row for row, file in enumerate(files) if str(file.path) not in excluded]
    prepared = _prepared(source, [file.path for file in files], rows, reading, workers, on_progress)
    found = {str(files[row].path): prepared.entries[row] for row in rows}
    unreadable = {**listing.closed, **{path: entry.error for path, entry in found.items() if entry.error}}
    groups = _groups(listing, rows, reading.group_by)
    splits = dict.fromkeys(file.split for file in files)
    dataset = DataSet(
        name=source.resolve().name,
        location=str(source.resolve()),
        title=source.resolve().name,
        source="a table of images" if source.is_file() else "a folder of images",
        splits={split: _taken(listing, prepared, split, rows, groups, reading.partial) for split in splits},
        unreadable=unreadable,
        ledger=listing.ledger(unreadable),
        excluded=listing.excluded,
        files={path: entry.info for path, entry in found.items() if entry.info is not None},
        place=prepared.place,
        values=gathered(entry.info.found for entry in found.values() if entry.info and entry.info.found),
        reading=replace(reading, channels=prepared.pixels.shape[3]),
        range=reading.range,
    )
    if reading.on_bad == "stop" and unreadable:
        more = [f"and {len(unreadable) - _SHOWN} more"] if len(unreadable) > _SHOWN else []
        raise DataError(
            f"{len(unreadable)} files cannot be read:",
            *(f"{path}: {reason}" for path, reason in list(unreadable.items())[:_SHOWN]),
            *more,
            f"Repair or remove them, {param('exclude')} them, or use {param('on_bad', 'skip')}.",
        )
    return with_test_split(dataset, listing.has_test)


def _prepared(
    source: Path,
    paths: Sequence[Path],
    rows: Sequence[int],
    reading: Reading,
    workers: int,
    on_progress: OnProgress | None,
) -> Prepared:
    """The pixels of all files, excluded ones too, so that excluding changes no cache. Unless `reading` says otherwise they have
    one channel if the images of `rows` are all grey, else three.
    """

    def read(channels: int) -> Prepared:
        plain = Preprocessing(size=reading.size, channels=channels, fit=reading.fit, range=reading.range)
        return prepare(source, paths, plain, workers, on_progress)

    if reading.channels is not None:
        return read(reading.channels)
    some = [paths[row] for row in rows[:: max(1, len(rows) // FEW)]]
    prepared = read(1 if all(map(_grey, some)) else 3)
    channels = 1 if all(info.grey for row in rows if (info := prepared.entries[row].info) is not None) else 3
    return prepared if channels == prepared.pixels.shape[3] else read(channels)


def _grey(path: Path) -> bool:
    """Whether an image has no colour, if it can be read."""
    try:
        return decode_with_info(path, at_least=32)[1].grey
    except DataError:
        return True


def _groups(listing: Listing, rows: Sequence[int], group_by: str | None) -> list[str | None]:
    """The group of each file; None for one that belongs to no other."""
    files = listing.files
    if group_by is None:
        return [file.group for file in files]
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise UsageError(f"{param('group_by')} {group_by!r} is not a regular expression: {error}") from None
    matches = [pattern.search(file.path.name) for file in files]
    found = [
        file.group or (match and match[min(1, pattern.groups)]) or None
        for file, match in zip(files, matches, strict=True)
    ]
    if rows and not any(found[row] for row in rows):
        first = files[rows[0]].path.name
        raise UsageError(f"{param('group_by')} {group_by!r} matches no file name; the first one is {first}")
    return found


def _taken(
    listing: Listing, prepared: Prepared, split: str, rows: Sequence[int], groups: Sequence[str | None], partial: bool
) -> ImageData:
    """The readable images of those rows that are of one split; of some classes only where that is allowed."""
    files = listing.files
    taken = [row for row in rows if files[row].split == split and not prepared.entries[row].error]
    empty = set(listing.classes) - {files[row].label for row in taken}
    if empty and not (partial and taken):
        of_these = [row for row, file in enumerate(files) if file.label in empty and file.split == split]
        left_out = len(set(of_these) - set(rows))
        excluded = f"; {param('exclude')} leaves {left_out} out" if left_out else ""
        bad = next((row for row in of_these if prepared.entries[row].error), None)
        reason = "" if bad is None else f"; {files[bad].path}: {prepared.entries[bad].error}"
        raise DataError(f"no readable image of class {', '.join(sorted(empty))} in the {split} split{excluded}{reason}")
    label_of = {name: label for label, name in enumerate(listing.classes)}
    chosen = np.asarray(taken, dtype=np.int64)
    whole = LazyPixels(prepared.pixels, chosen)
    kept = [groups[row] for row in taken]
    return ImageData(
        np.ascontiguousarray(prepared.pixels[chosen]) if fits_memory(whole.nbytes) else whole,
        np.asarray([label_of[files[row].label] for row in taken], dtype=np.int64),
        listing.classes,
        tuple(str(files[row].path) for row in taken),
        tuple(kept) if any(kept) else None,
        tuple(prepared.entries[row].content for row in taken),
    )
