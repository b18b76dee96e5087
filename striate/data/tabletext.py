"""The text of a table as programs save it: what stands between its columns, read where that is certain."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from striate.data.encodings import SAVE_AS, decoded
from striate.errors import DataError

BETWEEN = {",": "commas", ";": "semicolons (;)", "\t": "tabs", "|": "bars (|)"}
"""What may stand between columns, and its name."""


def read_text(table: Path, known: Callable[[Sequence[str]], bool]) -> tuple[list[str], list[list[str]], list[str]]:
    """(columns, rows, notes) of a table of text; a row that is wholly empty is an empty list.

    Args:
        known: whether these are columns that make a table of images.

    Raises:
        DataError: the encoding or what stands between the columns is not certain; a row has more cells than there are columns.
    """
    try:
        content = table.read_bytes()
    except OSError as error:
        raise DataError(f"{table} cannot be read as a table: {error.strerror}") from error
    text, notes = decoded(table, content)
    text = text.removeprefix("\ufeff")
    if match := re.match(r"sep=(.)\r?\n", text):  # a line of Excel's own
        text = text[match.end() :]
    standard = "\t" if table.suffix.lower() == ".tsv" else ","
    between = standard
    if not known(_cells(table, text, standard, first=True)[0]):
        others = [one for one in BETWEEN if one != standard and known(_cells(table, text, one, first=True)[0])]
        if len(others) == 1:
            between = others[0]
            notes.append(f"read with {BETWEEN[between]} between the columns")
    rows = _cells(table, text, between)
    if not rows:
        return [], [], notes
    columns = [name.strip() for name in rows[0]]
    if not known(columns) and len(rows) > 1 and known(rows[1]):
        raise DataError(f"{table}: a line stands above the heading, {between.join(rows[0])[:60]!r}: remove it")
    while columns and not columns[-1]:  # columns that a spreadsheet has added
        columns.pop()
    return columns, [_fitted(table, number, row, len(columns)) for number, row in enumerate(rows[1:], start=2)], notes


def _fitted(table: Path, number: int, row: list[str], width: int) -> list[str]:
    """The row's cells, as many as there are columns; empty for a row in which nothing stands."""
    if not any(cell.strip() for cell in row):
        return []
    if any(cell.strip() for cell in row[width:]):
        raise DataError(
            f"{table}, row {number}: {len(row)} cells, and the heading has {width}: a comma within a cell needs quotes around it"
        )
    if any("\0" in cell for cell in row):
        raise DataError(
            f"{table}, row {number}: a zero byte within a cell: the file is damaged, or in another encoding: {SAVE_AS}"
        )
    return [*row[:width], *[""] * (width - len(row))]


def _cells(table: Path, text: str, between: str, first: bool = False) -> list[list[str]]:
    """The rows of a table; `first`: only the first one that has something in it, and none is an empty one."""
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=True)
    try:
        for row in reader:
            if rows or any(cell.strip() for cell in row):
                rows.append(row)
            if first and rows:
                break
    except csv.Error as error:
        if first:
            return [[]]
        hint = ": is a quotation mark left open?" if "limit" in str(error) or "end of data" in str(error) else ""
        raise DataError(f"{table} cannot be read as a table: line {reader.line_num}: {error}{hint}") from error
    return rows or [[]] if first else rows
