"""Tables of pictures: which column says what, which file a row means, and what must be asked back."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from striate.data.formats import SUFFIXES
from striate.data.layout import SPLIT_NAMES, SPLIT_OF, require_distinct
from striate.data.tabletext import read_text
from striate.data.tree import entries_below
from striate.errors import DataError, UsageError

PATH_COLUMNS = ("path", "file_name", "filename", "file", "filepath", "image", "image_path", "img_path", "img", "image_name",
                "image_id", "id")  # fmt: skip
LABEL_COLUMNS = ("label", "class", "category", "target")
_NAME_COLUMNS = ("label_name", "class_name", "category_name", "target_name", "labelname", "classname")
"""Columns that name the class where there is no other one, or say its name where that has numbers."""
_SPLIT_COLUMNS = ("split", "set", "subset", "data set", "dataset", "data_set", "partition", "usage", "fold")
_MISSING = frozenset({"nan", "null", "#n/a", "#ref!", "#value!", "#name?"})
"""Cells that programs write where there is nothing, in small letters."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One file. `group` names what it belongs together with; pictures of a group are never on two sides of a split."""

    path: Path
    label: str
    split: str
    group: str | None = None


@dataclass(slots=True)
class Table:
    """What a table says.

    Attributes:
        files: a row each.
        repeated: names of rows that repeat another one; the file counts once.
        empty: how many rows have nothing in them.
        notes: how it was read, where that is not plain.
    """

    files: list[Listed] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    empty: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Positions of the columns; `hot`: position -> class, where each class has a column of its own."""

    path: int
    label: int | None
    split: int | None
    group: int | None
    hot: Mapping[int, str]


def read_table(table: Path, split: str = "train", splits: bool = True) -> Table:
    """The rows of a table (`.csv`, `.tsv`, `.parquet`).

    Args:
        split: of rows that name none.
        splits: whether its own column `split` counts.

    Raises:
        UsageError: a Parquet file without pyarrow.
        DataError: what the table means is not certain; the message names row, column and way out.
    """
    parquet = table.suffix.lower() == ".parquet"
    names, rows, notes = _parquet_rows(table) if parquet else read_text(table, _has_columns)
    result = Table(notes=notes)
    columns = _find_columns(table, names, rows, result)
    numbered = [(number, row) for number, row in enumerate(rows, start=2) if row]
    result.empty = len(rows) - len(numbered)
    paths = _Paths(table, [(number, row[columns.path].strip()) for number, row in numbered], result.notes)
    written = (
        sum(bool(row[columns.split].strip()) for _, row in numbered) if columns.split is not None and splits else 0
    )
    seen: dict[str, tuple[int, Listed]] = {}
    for number, row in numbered:
        label = _label_of(table, number, row, columns)
        found = Listed(
            paths.of(number),
            label,
            _split_of(table, number, row[columns.split], len(numbered) - written)
            if written and columns.split is not None
            else split,
            (row[columns.group].strip() if columns.group is not None else "") or None,
        )
        before = seen.setdefault(os.path.normpath(found.path), (number, found))
        if before[1] is found:
            result.files.append(found)
            continue
        for what in ("label", "split"):
            one, two = getattr(before[1], what), getattr(found, what)
            if one != two:
                raise DataError(
                    f"{table}: {row[columns.path].strip()} is {one} in row {before[0]} and {two} in row {number}: keep one"
                )
        result.repeated.append(row[columns.path].strip())
    if not result.files:
        raise DataError(f"{table} has no rows")
    labels = list(dict.fromkeys(file.label for file in result.files))
    require_distinct(labels, str(table))
    _require_single(table, labels)
    return result


def _has_columns(names: Sequence[str]) -> bool:
    lowered = {name.strip().lower() for name in names}
    return bool(lowered & set(PATH_COLUMNS)) and len(lowered) > 1


def _find_columns(table: Path, names: Sequence[str], rows: Sequence[Sequence[str]], result: Table) -> _Columns:
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if places.setdefault(name.strip().lower(), place) != place and name.strip():
            raise DataError(f"{table} has two columns named {name.strip()!r}: rename or remove one")
    path = next((places[name] for name in PATH_COLUMNS if name in places), None)
    if path is None:
        _require_heading(table, names)
        raise DataError(
            f"{table} has no column for the picture's path: name one of its columns {' or '.join(PATH_COLUMNS)}; "
            f"it has {', '.join(names) or 'none'}"
        )
    label = _label_column(table, names, places, rows, result.notes)
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
        result.notes.append(f"read with a column for each class: {', '.join(hot.values())}")
    if spare := [name for place, name in enumerate(names) if place not in used and place not in hot and name]:
        result.notes.append(f"columns that are not used: {', '.join(spare)}")
    return _Columns(path, label, split, group, hot)


def _require_heading(table: Path, names: Sequence[str]) -> None:
    """Raises DataError if the first row is one of pictures already."""
    if any(name.lower().endswith(SUFFIXES) or "/" in name or "\\" in name for name in names):
        raise DataError(
            f"{table} has no heading: its first row is already {', '.join(names)}. Write a first row with the names of the "
            "columns, as in path,label"
        )


def _label_column(
    table: Path, names: Sequence[str], places: Mapping[str, int], rows: Sequence[Sequence[str]], notes: list[str]
) -> int | None:
    """The first of the columns that may hold the class, if the others divide the pictures as it does. Of numbers and names that
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
                f"{', '.join(names[place] for place in places)}: a picture must have exactly one class"
            )
    return {place: names[place] for place in places}


def _label_of(table: Path, number: int, row: Sequence[str], columns: _Columns) -> str:
    if columns.label is None:
        return next(name for place, name in columns.hot.items() if row[place].strip().lower() in ("1", "1.0", "true"))
    label = unicodedata.normalize("NFC", row[columns.label].strip())
    if not label or label.lower() in _MISSING:
        raise DataError(f"{table}, row {number}: no class{f', only {label}' if label else ''}")
    return label


def _split_of(table: Path, number: int, cell: str, without: int) -> str:
    named = cell.strip().lower()
    if named in SPLIT_OF:
        return SPLIT_OF[named]
    if named and named not in _MISSING:
        raise DataError(f"{table}, row {number}: the split {named!r} is none of {', '.join(SPLIT_OF)}")
    raise DataError(
        f"{table}, row {number}: no split, as in {max(without, 1):,} of its rows, while others have one: write "
        f"{', '.join(SPLIT_NAMES)} into each row, or leave the whole column empty"
    )


def _require_single(table: Path, labels: Sequence[str]) -> None:
    """Raises DataError if a label is several of the others at once."""
    known = set(labels)
    for label in labels:
        if label.startswith(("[", "{", "(")) and label.endswith(("]", "}", ")")):
            raise DataError(f"{table}: the class {label!r} is a list: a picture must have exactly one class")
    for mark in "|;,+/ ":
        joined = {
            label: parts
            for label in labels
            if mark in label and len(parts := [part.strip() for part in label.split(mark) if part.strip()]) > 1
        }
        several = [label for label, parts in joined.items() if known.issuperset(parts)]
        if len(several) > (mark == " "):
            raise DataError(
                f"{table}: {several[0]!r} is several classes at once, which there are by themselves too: a picture must have "
                "exactly one class. Rename it if it is one"
            )


class _Paths:
    """The files that the rows mean, by their number. Some tables name them as another machine, or no machine, would."""

    def __init__(self, table: Path, cells: Sequence[tuple[int, str]], notes: list[str]) -> None:
        self.table, self.folder = table, table.parent
        self._found: dict[int, Path] = {}
        for number, cell in cells:
            if not cell or cell.lower() in _MISSING:
                raise DataError(f"{table}, row {number}: no path")
            if "\0" in cell:
                raise DataError(
                    f"{table}, row {number}: a zero byte in the path: the file is damaged, or in another encoding"
                )
            if cell.startswith(("http://", "https://", "s3://", "gs://")):
                raise DataError(
                    f"{table}, row {number}: {cell} is an address on the web: download the pictures, and name the files"
                )
            self._found[number] = self.folder / cell
        missing = [(number, cell) for number, cell in cells if not _is_file(self._found[number])]
        if missing and (turned := [(number, cell.replace("\\", "/")) for number, cell in missing if "\\" in cell]):
            self._try(turned, notes, "\\ between folders read as /")
            missing = [
                (number, cell.replace("\\", "/")) for number, cell in missing if not _is_file(self._found[number])
            ]
        if missing:
            self._moved(missing, len(cells), notes)
        self._by_stem([(number, cell) for number, cell in missing if not _is_file(self._found[number])], notes)

    def of(self, number: int) -> Path:
        return self._found[number]

    def _try(self, cells: Sequence[tuple[int, str]], notes: list[str], note: str) -> None:
        hits = [(number, self.folder / cell) for number, cell in cells if _is_file(self.folder / cell)]
        self._found.update(hits)
        if hits:
            notes.append(note)

    def _moved(self, cells: Sequence[tuple[int, str]], total: int, notes: list[str]) -> None:
        """Paths of another machine, or with a folder too much: the folders that all begin with are left out, the fewest with
        which most files are there. Of paths below the table only if none of them is there as it stands.
        """
        absolute = [cell.startswith("/") or cell[1:2] == ":" for _, cell in cells]
        if not all(absolute) and (any(absolute) or len(cells) < total):
            return
        parts = [[part for part in cell.split("/") if part not in ("", ".")] for _, cell in cells]
        best: list[tuple[int, Path]] = []
        dropped = ""
        for skipped in range(1, min(map(len, parts))):
            if len({tuple(names[:skipped]) for names in parts}) > 1:
                break
            tried = (
                (number, self.folder.joinpath(*names[skipped:]))
                for (number, _), names in zip(cells, parts, strict=True)
            )
            found = [(number, path) for number, path in tried if _is_file(path)]
            if len(found) > max(len(best), len(cells) // 2):
                best, dropped = found, "/".join(parts[0][:skipped])
        if best:
            notes.append(f"paths that begin with {dropped} are read from the table's folder")
            self._found.update(best)

    def _by_stem(self, cells: Sequence[tuple[int, str]], notes: list[str]) -> None:
        """Names without ending: the one picture in the table's folder or below it that is called so."""
        wanted = [(number, cell) for number, cell in cells if not cell.lower().endswith(SUFFIXES)]
        if not wanted:
            return
        stems: dict[str, list[Path]] = {}
        for entry in entries_below(self.folder):
            stem, ending = os.path.splitext(entry.name)  # noqa: PTH122
            if ending.lower() in SUFFIXES and not stem.startswith("."):
                stems.setdefault(stem, []).append(Path(entry.path))
        hits = 0
        for number, cell in wanted:
            name = Path(cell).name
            tail = Path(cell).parts[:-1]
            found = [
                path for path in stems.get(name, ()) if path.parent.parts[len(path.parent.parts) - len(tail) :] == tail
            ]
            if len(found) > 1:
                shown = " and ".join(path.relative_to(self.folder).as_posix() for path in sorted(found)[:3])
                raise DataError(f"{self.table}, row {number}: {cell} could be {shown}: write the path with its ending")
            if found:
                self._found[number] = found[0]
                hits += 1
        if hits:
            notes.append("names without ending stand for the one picture that is called so")


def _is_file(path: Path) -> bool:
    try:
        return os.path.isfile(path)  # noqa: PTH113 - of many thousands
    except ValueError:
        return False


def _parquet_rows(table: Path) -> tuple[list[str], list[list[str]], list[str]]:
    """(columns, rows, notes) of a Parquet file, values as texts.

    Raises:
        UsageError: pyarrow is not installed.
        DataError: it is no Parquet file, or keeps the pictures themselves.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(f"{table}: Parquet is read with pyarrow: pip install 'striate[parquet]'") from None
    try:
        content = pyarrow.parquet.read_table(table)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{table} cannot be read as a table: {error}") from error
    names = list(content.column_names)
    path = next((name for name in PATH_COLUMNS if name in [one.lower() for one in names]), None)
    for column in content.schema:
        binary = pyarrow.types.is_binary(column.type) or pyarrow.types.is_large_binary(column.type)
        if column.name.lower() == path and (binary or pyarrow.types.is_struct(column.type)):
            raise DataError(
                f"{table}: the column {column.name} holds {column.type}, not paths: write the pictures into files, named here"
            )
    rows = [["" if row[name] is None else str(row[name]) for name in names] for row in content.to_pylist()]
    return names, [row if any(row) else [] for row in rows], []
