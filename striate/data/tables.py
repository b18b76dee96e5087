"""Tables of images: a file, its class and its split a row, and what must be asked back."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from striate.data.columns import PATH_COLUMNS, Columns, find_columns, has_columns
from striate.data.dataset import require_distinct
from striate.data.formats import SUFFIXES
from striate.data.layout import SPLIT_NAMES, SPLIT_OF
from striate.data.tabletext import read_text
from striate.data.tree import entries_below
from striate.errors import DataError, UsageError

_MISSING = frozenset({"nan", "null", "n/a", "#n/a", "<na>", "nat", "#ref!", "#value!", "#name?"})
"""Cells that programs write where there is nothing, in small letters."""
_PERHAPS_NONE = frozenset(
    {"none", "na", "-", "--", "?", ".", "unknown", "unlabeled", "unlabelled", "undefined", "-1", "-1.0"}
)
"""Labels that may be classes, or may mean that there is none, in small letters."""


class Listed(NamedTuple):
    """One file. `group` names what it belongs together with; images of a group are never on two sides of a split."""

    path: Path
    label: str
    split: str
    group: str | None = None


@dataclass(slots=True)
class Table:
    """What a table says: a file a row; names of rows that repeat another one; how many rows are empty; how it was read, where
    that is not plain.
    """

    files: list[Listed] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    empty: int = 0
    notes: list[str] = field(default_factory=list)


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
    names, rows, notes = _parquet_rows(table) if parquet else read_text(table, has_columns)
    columns = find_columns(table, names, rows, notes)
    numbered = {number: row for number, row in enumerate(rows, start=2) if row}
    result = Table(notes=notes, empty=len(rows) - len(numbered))
    cells = {number: row[columns.path].strip() for number, row in numbered.items()}
    paths = find_files(table, cells, notes)
    stated = dict.fromkeys(numbered, "")
    if columns.split is not None and splits:
        stated = {number: row[columns.split].strip().lower() for number, row in numbered.items()}
    written = sum(map(bool, stated.values()))
    seen: dict[str, tuple[int, Listed]] = {}
    for number, row in numbered.items():
        found = Listed(
            paths[number],
            _label_of(table, number, row, columns),
            _split_of(table, number, stated[number], len(numbered) - written) if written else split,
            (row[columns.group].strip() if columns.group is not None else "") or None,
        )
        before, first = seen.setdefault(os.path.normpath(found.path), (number, found))
        if first is found:
            result.files.append(found)
            continue
        for one, two in ((first.label, found.label), (first.split, found.split)):
            if one != two:
                raise DataError(
                    f"{table}: {cells[number]} is {one} in row {before} and {two} in row {number}: keep one"
                )
        result.repeated.append(cells[number])
    if not result.files:
        raise DataError(f"{table} has no rows")
    labels = list(dict.fromkeys(file.label for file in result.files))
    require_distinct(labels, str(table))
    _require_single(table, labels)
    if odd := [label for label in labels if label.lower() in _PERHAPS_NONE]:
        notes.append(f"class names that could mean no class: {', '.join(odd)}")
    return result


def _label_of(table: Path, number: int, row: Sequence[str], columns: Columns) -> str:
    if columns.label is None:
        return next(name for place, name in columns.hot.items() if row[place].strip().lower() in ("1", "1.0", "true"))
    label = unicodedata.normalize("NFC", row[columns.label].strip())
    if not label or label.lower() in _MISSING:
        raise DataError(f"{table}, row {number}: no class{f', only {label}' if label else ''}")
    return label


def _split_of(table: Path, number: int, named: str, without: int) -> str:
    if named in SPLIT_OF:
        return SPLIT_OF[named]
    if named and named not in _MISSING:
        raise DataError(f"{table}, row {number}: the split {named!r} is not one of {', '.join(SPLIT_OF)}")
    raise DataError(
        f"{table}, row {number}: no split, as in {max(without, 1):,} of its rows, while others have one: write "
        f"{', '.join(SPLIT_NAMES)} into each row, or leave the whole column empty"
    )


def _require_single(table: Path, labels: Sequence[str]) -> None:
    """Raises DataError if a label is several of the others at once."""
    known = set(labels)
    for label in labels:
        if label.startswith(("[", "{", "(")) and label.endswith(("]", "}", ")")):
            raise DataError(f"{table}: the class {label!r} is a list: an image must have exactly one class")
    for mark in "|;,+/ ":
        parts = {
            label: [part.strip() for part in label.split(mark) if part.strip()] for label in labels if mark in label
        }
        several = [label for label, names in parts.items() if len(names) > 1 and known.issuperset(names)]
        if len(several) > (mark == " "):
            raise DataError(
                f"{table}: {several[0]!r} combines classes that also occur alone: an image must have exactly one "
                "class. Rename it if it is a class of its own"
            )


def _parquet_rows(table: Path) -> tuple[list[str], list[list[str]], list[str]]:
    """(columns, rows, notes) of a Parquet file, values as texts. Raises UsageError without pyarrow, and DataError if it is no
    Parquet file, or keeps the images themselves.
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
    path = next((name for name in PATH_COLUMNS if name in [one.lower() for one in content.column_names]), None)
    kinds = pyarrow.types
    for column in content.schema:
        pixels = any(is_kind(column.type) for is_kind in (kinds.is_binary, kinds.is_large_binary, kinds.is_struct))
        if column.name.lower() == path and pixels:
            raise DataError(
                f"{table}: the column {column.name} holds {column.type}, not paths: write the images into files, named here"
            )
    rows = [["" if value is None else str(value) for value in row.values()] for row in content.to_pylist()]
    return content.column_names, [row if any(row) else [] for row in rows], []


def find_files(table: Path, cells: Mapping[int, str], notes: list[str]) -> dict[int, Path]:
    """Number of a row -> the file that it means: some tables name them as another machine, or no machine, would. Raises DataError
    for a row without a path, or with one that could mean several files.
    """
    for number, cell in cells.items():
        where = f"{table}, row {number}"
        if not cell or cell.lower() in _MISSING:
            raise DataError(f"{where}: no path")
        if "\0" in cell:
            raise DataError(f"{where}: a zero byte in the path: the file is damaged, or has another encoding")
        if cell.startswith(("http://", "https://", "s3://", "gs://")):
            raise DataError(f"{where}: {cell} is a web address: download the images, and give their paths")
    found = {number: table.parent / cell for number, cell in cells.items()}
    for guess in (_slashed, _moved, _by_stem):
        missing = {number: cell.replace("\\", "/") for number, cell in cells.items() if not _is_file(found[number])}
        if missing:
            hits, note = guess(table, missing, len(cells))
            found |= hits
            notes += [note] if hits else []
    return found


Guess = tuple[dict[int, Path], str]
"""Files by the number of their row, and the note that says how they were found."""


def _slashed(table: Path, cells: Mapping[int, str], total: int) -> Guess:
    tried = {number: table.parent / cell for number, cell in cells.items()}
    return {number: path for number, path in tried.items() if _is_file(path)}, "\\ between folders read as /"


def _moved(table: Path, cells: Mapping[int, str], total: int) -> Guess:
    """Paths of another machine, or with a folder too much: the folders that all begin with are left out, the fewest with which
    most files are there. Of paths below the table only if none of them is there as it stands.
    """
    best: dict[int, Path] = {}
    dropped = ""
    absolute = [cell.startswith("/") or cell[1:2] == ":" for cell in cells.values()]
    if not all(absolute) and (any(absolute) or len(cells) < total):
        return best, dropped
    parts = {number: [part for part in cell.split("/") if part not in ("", ".")] for number, cell in cells.items()}
    for skipped in range(1, min(map(len, parts.values()))):
        beginnings = {"/".join(names[:skipped]) for names in parts.values()}
        if len(beginnings) > 1:
            break
        tried = {number: table.parent.joinpath(*names[skipped:]) for number, names in parts.items()}
        found = {number: path for number, path in tried.items() if _is_file(path)}
        if len(found) > max(len(best), len(cells) // 2):
            best, dropped = found, beginnings.pop()
    return best, f"paths that begin with {dropped} are read from the table's folder"


def _by_stem(table: Path, cells: Mapping[int, str], total: int) -> Guess:
    """Names without ending: the one image in the table's folder or below it that is called so."""
    wanted = {number: Path(cell) for number, cell in cells.items() if not cell.lower().endswith(SUFFIXES)}
    stems: dict[str, list[Path]] = {}
    for entry in entries_below(table.parent) if wanted else ():
        stem, ending = os.path.splitext(entry.name)  # noqa: PTH122
        if ending.lower() in SUFFIXES and not stem.startswith("."):
            stems.setdefault(stem, []).append(Path(entry.path))
    hits = {}
    for number, cell in wanted.items():
        above = cell.parts[:-1]
        found = [
            path for path in stems.get(cell.name, ()) if path.parts[len(path.parts) - 1 - len(above) : -1] == above
        ]
        if len(found) > 1:
            shown = " and ".join(path.relative_to(table.parent).as_posix() for path in sorted(found)[:3])
            raise DataError(f"{table}, row {number}: {cell} could be {shown}: write the path with its extension")
        if found:
            hits[number] = found[0]
    return hits, "names without an extension stand for the one image with that name"


def _is_file(path: Path) -> bool:
    try:
        return os.path.isfile(path)  # noqa: PTH113 - of many thousands
    except ValueError:
        return False
