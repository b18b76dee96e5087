"""Which column of a table says what: the image's path, its class, its split."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from striate.data.kinds import SUFFIXES
from striate.data.layout import SPLIT_OF
from striate.errors import DataError

PATH_COLUMNS = ("path", "file_name", "filename", "file", "filepath", "image", "image_path", "img_path", "img", "image_name",
                "image_id", "id")  # fmt: skip
LABEL_COLUMNS = ("label", "class", "category", "target")
_NAME_COLUMNS = ("label_name", "class_name", "category_name", "target_name", "labelname", "classname")
"""Columns that name the class where there is no other one, or say its name where that has numbers."""
_SPLIT_COLUMNS = ("split", "set", "subset", "data set", "dataset", "data_set", "partition", "usage", "fold")


@dataclass(frozen=True, slots=True)
class Columns:
    """Positions of the columns; `hot`: position -> class, where each class has a column of its own."""

    path: int
    label: int | None
    split: int | None
    group: int | None
    hot: Mapping[int, str]


def has_columns(names: Sequence[str]) -> bool:
    """Whether these are columns of a table of images."""
    lowered = {name.strip().lower() for name in names}
    return bool(lowered & set(PATH_COLUMNS)) and len(lowered) > 1


def find_columns(table: Path, names: Sequence[str], rows: Sequence[Sequence[str]], notes: list[str]) -> Columns:
    """The columns of a table, by their names and what they hold; `notes` get what is not plain.

    Raises:
        DataError: there is none for the path or the class, or two that could be the same.
    """
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if places.setdefault(name.strip().lower(), place) != place and name.strip():
            raise DataError(f"{table} has two columns named {name.strip()!r}: rename or remove one")
    path = next((places[name] for name in PATH_COLUMNS if name in places), None)
    if path is None:
        _require_heading(table, names)
        raise DataError(
            f"{table} has no column for the image's path: name one of its columns {' or '.join(PATH_COLUMNS)}; "
            f"it has {', '.join(names) or 'none'}"
        )
    label = _label_column(table, names, places, rows, notes)
    split = _split_column(table, names, places, rows, {path, label})
    group = places.get("group")
    used = {path, label, split, group}
    hot: dict[int, str] = {}
    if label is None:
        hot = _hot_columns(table, names, rows, used)
        if not hot:
            raise DataError(
                f"{table} has no column for its class: name one of its columns {' or '.join(LABEL_COLUMNS)}; "
                f"it has {', '.join(names) or 'none'}"
            )
        notes.append(f"read with a column for each class: {', '.join(hot.values())}")
    if spare := [name for place, name in enumerate(names) if place not in used and place not in hot and name]:
        notes.append(f"columns that are not used: {', '.join(spare)}")
    return Columns(path, label, split, group, hot)


def _require_heading(table: Path, names: Sequence[str]) -> None:
    """Raises DataError if the first row is one of images already."""
    if any(name.lower().endswith(SUFFIXES) or "/" in name or "\\" in name for name in names):
        raise DataError(
            f"{table} has no heading: its first row is already {', '.join(names)}. Write a first row with the names of the "
            "columns, as in path,label"
        )


def _label_column(
    table: Path, names: Sequence[str], places: Mapping[str, int], rows: Sequence[Sequence[str]], notes: list[str]
) -> int | None:
    """The first of the columns that may hold the class, if the others divide the images as it does. Of numbers and names that
    agree, the names.
    """
    found = [places[name] for name in LABEL_COLUMNS if name in places]
    called = [places[name] for name in _NAME_COLUMNS if name in places]
    first = next(iter([*found, *called]), None)
    if first is None:
        return None
    same = [place for place in [*found, *called] if place == first or _agree(rows, first, place)]
    if other := next((place for place in found or called if place not in same), None):
        raise DataError(
            f"{table} has the columns {names[first]} and {names[other]}, and they disagree: rename the one that is not the class"
        )
    worded = next((place for place in same if _are_words([row[place] for row in rows if row])), first)
    if worded != first:
        notes.append(f"classes are named by the column {names[worded]}, with which the numbers in {names[first]} agree")
    return worded


def _agree(rows: Sequence[Sequence[str]], one: int, other: int) -> bool:
    """Whether two columns divide the rows in the same way."""
    pairs = {(row[one].strip(), row[other].strip()) for row in rows if row}
    return len({first for first, _ in pairs}) == len({second for _, second in pairs}) == len(pairs)


def _are_words(cells: Sequence[str]) -> bool:
    """Whether something stands in every cell, and not only numbers."""
    numbers = sum(re.fullmatch(r"[+-]?\d+(\.\d*)?", cell.strip()) is not None for cell in cells)
    return numbers < len(cells) and all(cell.strip() for cell in cells)


def _split_column(
    table: Path, names: Sequence[str], places: Mapping[str, int], rows: Sequence[Sequence[str]], taken: set[int | None]
) -> int | None:
    """The column of the splits: by its name, or by another that says the same if it holds nothing else."""
    if "split" in places:
        return places["split"]
    for place, name in enumerate(names):
        if place in taken:
            continue
        cells = {row[place].strip().lower() for row in rows if row} - {""}
        if len({SPLIT_OF[cell] for cell in cells if cell in SPLIT_OF}) < 2 or not cells <= SPLIT_OF.keys():
            continue
        if name.strip().lower() in _SPLIT_COLUMNS:
            return place
        raise DataError(
            f"{table}: the column {name} holds {', '.join(sorted(cells))}: name it split if it says the split, or remove it"
        )
    return None


def _hot_columns(
    table: Path, names: Sequence[str], rows: Sequence[Sequence[str]], used: set[int | None]
) -> dict[int, str]:
    """position -> class of the columns of zeros and ones; empty where there are none."""
    numbers = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
    places = [
        place
        for place, name in enumerate(names)
        if place not in used and name and rows and all(row[place].strip().lower() in numbers for row in rows if row)
    ]
    if len(places) < 2:
        return {}
    for number, row in enumerate(rows, start=2):
        ones = [names[place] for place in places if numbers[row[place].strip().lower()]] if row else [""]
        if len(ones) != 1:
            raise DataError(
                f"{table}, row {number}: {' and '.join(ones) or 'no class'} {'are' if ones else 'is'} marked in the columns "
                f"{', '.join(names[place] for place in places)}: an image must have exactly one class"
            )
    return {place: names[place] for place in places}
