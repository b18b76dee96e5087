"""Tables of images: a file, its class and its split a row, and what must be asked back."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from striate.data.classnames import require_distinct
from striate.data.columns import PATH_COLUMNS, Columns, find_columns, has_columns
from striate.data.layout import SPLIT_NAMES, SPLIT_OF
from striate.data.rowfiles import MISSING, RowFiles
from striate.data.tabletext import read_text
from striate.errors import DataError, UsageError

_PERHAPS_NONE = frozenset(
    {"none", "na", "-", "--", "?", ".", "unknown", "unlabeled", "unlabelled", "undefined", "-1", "-1.0"}
)
"""Labels that may be classes, or say that there is none, in small letters."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One file. `group` names what it belongs together with; images of a group are never on two sides of a split."""

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
    result = Table(notes=notes)
    columns = find_columns(table, names, rows, result.notes)
    numbered = [(number, row) for number, row in enumerate(rows, start=2) if row]
    result.empty = len(rows) - len(numbered)
    paths = RowFiles(table, [(number, row[columns.path].strip()) for number, row in numbered], result.notes)
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
    if odd := [label for label in labels if label.lower() in _PERHAPS_NONE]:
        result.notes.append(f"classes by name, which may mean that there is none: {', '.join(odd)}")
    return result


def _label_of(table: Path, number: int, row: Sequence[str], columns: Columns) -> str:
    if columns.label is None:
        return next(name for place, name in columns.hot.items() if row[place].strip().lower() in ("1", "1.0", "true"))
    label = unicodedata.normalize("NFC", row[columns.label].strip())
    if not label or label.lower() in MISSING:
        raise DataError(f"{table}, row {number}: no class{f', only {label}' if label else ''}")
    return label


def _split_of(table: Path, number: int, cell: str, without: int) -> str:
    named = cell.strip().lower()
    if named in SPLIT_OF:
        return SPLIT_OF[named]
    if named and named not in MISSING:
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
            raise DataError(f"{table}: the class {label!r} is a list: an image must have exactly one class")
    for mark in "|;,+/ ":
        joined = {
            label: parts
            for label in labels
            if mark in label and len(parts := [part.strip() for part in label.split(mark) if part.strip()]) > 1
        }
        several = [label for label, parts in joined.items() if known.issuperset(parts)]
        if len(several) > (mark == " "):
            raise DataError(
                f"{table}: {several[0]!r} is several classes at once, which there are by themselves too: an image must have "
                "exactly one class. Rename it if it is one"
            )


def _parquet_rows(table: Path) -> tuple[list[str], list[list[str]], list[str]]:
    """(columns, rows, notes) of a Parquet file, values as texts.

    Raises:
        UsageError: pyarrow is not installed.
        DataError: it is no Parquet file, or keeps the images themselves.
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
                f"{table}: the column {column.name} holds {column.type}, not paths: write the images into files, named here"
            )
    rows = [["" if row[name] is None else str(row[name]) for name in names] for row in content.to_pylist()]
    return names, [row if any(row) else [] for row in rows], []
