"""Which column of a table says what: the image's path, its class, its split."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from striate.data.formats import SUFFIXES
from striate.data.layout import SPLIT_OF
from striate.errors import DataError

PATH_COLUMNS = ("path", "file_name", "filename", "file", "filepath", "image", "image_path", "img_path", "img", "image_name",
                "image_id", "id")  # fmt: skip
LABEL_COLUMNS = ("label", "class", "category", "target")
_NAME_COLUMNS = ("label_name", "class_name", "category_name", "target_name", "labelname", "classname")
"""Columns that name the class where there is no other one, or say its name where that has numbers."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
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
    """The columns of a table, by their names and what they hold; `notes` get what is not plain. Raises DataError where there is
    none for the path or the class, or two could be meant.
    """
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if places.setdefault(name.strip().lower(), place) != place and name.strip():
            raise DataError(f"{table} has two columns named {name.strip()!r}: rename or remove one")
    path = next((places[name] for name in PATH_COLUMNS if name in places), None)
    if path is None:
        if any(name.lower().endswith(SUFFIXES) or "/" in name or "\\" in name for name in names):
            raise DataError(
                f"{table} has no heading: its first row already "
                f"holds {', '.join(names)}. Add a first row with the column names, as in path,label"
            )
        raise _lacks(table, names, "the image's path", PATH_COLUMNS)
    cells = [[row[place].strip() for row in rows if row] for place in range(len(names))]
    label = _label_column(table, names, places, cells, notes)
    split = _split_column(table, names, places, cells, {path, label})
    group = places.get("group")
    used = {path, label, split, group}
    hot: dict[int, str] = {}
    if label is None:
        hot = _hot_columns(table, names, rows, used)
        if not hot:
            raise _lacks(table, names, "its class", LABEL_COLUMNS)
        notes.append(f"read with one column per class: {', '.join(hot.values())}")
    if spare := [name for place, name in enumerate(names) if place not in used and place not in hot and name]:
        notes.append(f"unused columns: {', '.join(spare)}")
    return Columns(path, label, split, group, hot)


def _lacks(table: Path, names: Sequence[str], what: str, known: Sequence[str]) -> DataError:
    return DataError(
        f"{table} has no column for {what}: name one of its columns {' or '.join(known)}; it has {', '.join(names) or 'none'}"
    )


def _label_column(
    table: Path, names: Sequence[str], places: Mapping[str, int], cells: Sequence[Sequence[str]], notes: list[str]
) -> int | None:
    """The first of the columns that may hold the class, if the others divide the images as it does. Of numbers and names that
    agree, the names.
    """
    found = [places[name] for name in LABEL_COLUMNS if name in places]
    called = [places[name] for name in _NAME_COLUMNS if name in places]
    if not found and not called:
        return None
    first = [*found, *called][0]
    pairs = {place: set(zip(cells[first], cells[place], strict=True)) for place in [*found, *called]}
    # Columns agree that divide the rows in the same way.
    same = [place for place, both in pairs.items() if len({*cells[first]}) == len({*cells[place]}) == len(both)]
    if other := next((place for place in found or called if place not in same), None):
        raise DataError(
            f"{table} has the columns {names[first]} and {names[other]}, which disagree: rename the one that is not "
            f"the class"
        )
    worded = next(
        (place for place in same if all(cells[place]) and not all(map(_NUMBER.fullmatch, cells[place]))), first
    )
    if worded != first:
        notes.append(
            f"classes are taken from the column {names[worded]}, which agrees with the numbers in {names[first]}"
        )
    return worded


def _split_column(
    table: Path, names: Sequence[str], places: Mapping[str, int], cells: Sequence[Sequence[str]], taken: set[int | None]
) -> int | None:
    """The column of the splits: by its name, or by another that says the same if it holds nothing else."""
    if "split" in places:
        return places["split"]
    for place, name in enumerate(names):
        held = {cell.lower() for cell in cells[place]} - {""}
        if place in taken or len({SPLIT_OF.get(cell) for cell in held}) < 2 or not held <= SPLIT_OF.keys():
            continue
        if name.strip().lower() in _SPLIT_COLUMNS:
            return place
        raise DataError(
            f"{table}: the column {name} holds {', '.join(sorted(held))}: name it split if it holds the splits, or "
            f"remove it"
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
