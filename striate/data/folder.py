"""Files of pictures decoded into a data set: what `list_files` found, at one size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from striate.data.cache import Prepared, Told, fits_memory, prepare
from striate.data.images import DataSet, ImageData, Rows
from striate.data.listing import Listing, list_files
from striate.data.preprocessing import Preprocessing
from striate.data.ranges import gathered
from striate.data.splits import with_test_split
from striate.data.tables import Listed
from striate.errors import DataError, UsageError


def load_folder(
    source: Path,
    preprocessing: Preprocessing,
    workers: int,
    group_by: str | None = None,
    exclude: Sequence[str] = (),
    splits: str | None = None,
    told: Told | None = None,
    *,
    partial: bool = False,
) -> DataSet:
    """Reads a folder or table of pictures, decoded as `preprocessing` does, with `workers` threads, from its cache if it has one.

    Splits that there are are kept. Without a test split, a part of the training pictures becomes one.

    Args:
        group_by: a pattern that is searched in each file's name; files in which its first group (or the whole pattern) finds
            the same belong together. A table's column `group` counts before it.
        told: is told how many files are decoded, of how many.
        exclude, splits: see `list_files`.
        partial: whether a split may lack classes.

    Raises:
        UsageError: a pattern that is none, or that is in no file's name; `splits` that are not there.
        DataError: as `list_files` raises; or a class without a readable picture.
    """
    listing = list_files(source, exclude, splits, partial)
    files = listing.files
    # All files, also those to leave out: the cache is the same whatever is excluded.
    prepared = prepare(source, [file.path for file in files], preprocessing, workers, told)
    unreadable = dict(listing.closed)
    excluded = {path for paths in listing.excluded.values() for path in paths}
    rows = [row for row, file in enumerate(files) if str(file.path) not in excluded]
    groups = _groups(files, rows, group_by)
    parts = {
        split: _taken(
            listing, prepared, [row for row in rows if files[row].split == split], groups, unreadable, partial
        )
        for split in dict.fromkeys(file.split for file in files)
    }
    name = source.resolve().name
    facts = {str(files[row].path): facts for row in rows if (facts := prepared.entries[row].facts) is not None}
    return DataSet(
        name=name,
        location=str(source.resolve()),
        title=name,
        source="a table of pictures" if source.is_file() else "a folder of pictures",
        licence="not stated",
        splits=with_test_split(parts),
        flippable=True,
        made=() if "test" in parts or "train" not in parts else ("test",),
        unreadable=unreadable,
        ledger=listing.ledger(unreadable),
        excluded=listing.excluded,
        facts=facts,
        place=prepared.place,
        values=gathered(one.found for one in facts.values() if one.found is not None),
        range=preprocessing.range,
    )


def _groups(files: Sequence[Listed], rows: Sequence[int], group_by: str | None) -> list[str | None]:
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
    if rows and not any(found[row] for row in rows):
        raise UsageError(f"--group-by {group_by!r} is in no file's name; the first one is {files[rows[0]].path.name}")
    return found


def _taken(
    listing: Listing,
    prepared: Prepared,
    rows: list[int],
    groups: list[str | None],
    unreadable: dict[str, str],
    partial: bool = False,
) -> ImageData:
    """The readable pictures of these rows, which are of one split; of some classes only where that is allowed."""
    label_of = {name: label for label, name in enumerate(listing.classes)}
    taken = []
    for row in rows:
        if prepared.entries[row].error:
            unreadable[str(listing.files[row].path)] = prepared.entries[row].error
        else:
            taken.append(row)
    labels = [label_of[listing.files[row].label] for row in taken]
    empty = [name for name, label in label_of.items() if label not in set(labels)]
    if empty and not (partial and taken):
        reason = "".join(f"; {path}: {why}" for path, why in list(unreadable.items())[:1])
        split = listing.files[rows[0]].split if rows else "train"
        left_out = sum(file.label in empty and file.split == split for file in listing.files) - len(
            [row for row in rows if listing.files[row].label in empty]
        )
        excluded = f"; --exclude leaves {left_out} out" if left_out else ""
        raise DataError(f"no readable picture of class {', '.join(empty)} in the {split} split{excluded}{reason}")
    chosen = np.asarray(taken, dtype=np.int64)
    whole = Rows(prepared.pixels, chosen)
    kept = [groups[row] for row in taken]
    return ImageData(
        np.ascontiguousarray(prepared.pixels[chosen]) if fits_memory(whole.nbytes) else whole,
        np.asarray(labels, dtype=np.int64),
        listing.classes,
        tuple(str(listing.files[row].path) for row in taken),
        tuple(kept) if any(kept) else None,
        tuple(prepared.entries[row].content for row in taken),
    )
