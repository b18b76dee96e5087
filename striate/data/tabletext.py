"""The text of a table as programs save it: its encoding and what stands between its columns, read where they are certain."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from striate.data.formats import kind_of
from striate.errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", ""),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16, as Excel saves Unicode text"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_OLDER = {"gb18030": "GB18030", "big5": "Big5", "cp932": "Shift JIS", "euc_kr": "EUC-KR", "cp1252": "Windows-1252",
          "cp1250": "Windows-1250", "cp1251": "Windows-1251"}  # fmt: skip
"""Encodings of Excel's plain CSV, by the language of the system."""
SAVE_AS = "save it again as CSV UTF-8"
BETWEEN = {",": "commas", ";": "semicolons (;)", "\t": "tabs", "|": "bars (|)"}
"""What may stand between columns, and its name."""


def read_text(table: Path, known: Callable[[Sequence[str]], bool]) -> tuple[list[str], list[list[str]], list[str]]:
    """(columns, rows, notes) of a table of text; a row that is wholly empty is an empty list.

    Args:
        known: whether these are columns that make a table of pictures.

    Raises:
        DataError: the encoding or what stands between the columns is not certain; a row has more cells than there are columns.
    """
    try:
        content = table.read_bytes()
    except OSError as error:
        raise DataError(f"{table} cannot be read as a table: {error.strerror}") from error
    text, notes = _decoded(table, content)
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


def _decoded(table: Path, content: bytes) -> tuple[str, list[str]]:
    """(text, notes)."""
    if not content.strip(b"\0 \t\r\n\xef\xbb\xbf"):
        raise DataError(f"{table} has no rows: it is empty")
    for mark, encoding, name in _MARKS:
        if content.startswith(mark):
            return _strictly(table, content, encoding, name), [f"read as {name}"] if name else []
    kind = kind_of(content)
    if kind is not None and kind.title != "text":
        book = " (an Excel workbook is one): save it as CSV" if kind.title == "a zip archive" else ""
        raise DataError(f"{table} cannot be read as a table: it is {kind.title}{book}")
    zeros = [content[place:4096:2].count(0) for place in (0, 1)]
    if max(zeros) > len(content[:4096]) // 8 and min(zeros) * 8 < max(zeros):
        encoding = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
        return _strictly(table, content, encoding, "UTF-16"), ["read as UTF-16, though it does not say so"]
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        plain = text.isascii() or max(text) > "\u07ff"  # three bytes that fit together are no accident
        return (text, []) if plain or not _pairs_alone(content) else _older(table, content, unsure="utf-8")
    return _older(table, content)


def _strictly(table: Path, content: bytes, encoding: str, name: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{table} cannot be read as a table: it begins as {name or 'UTF-8'} and is damaged: {error}"
        ) from error


def _older(table: Path, content: bytes, unsure: str = "") -> tuple[str, list[str]]:
    """A text in an encoding that no mark tells: by the files that it names, else where only Chinese can be meant.

    `unsure`: an encoding that may be meant too.
    """
    texts: dict[str, str] = {}
    for encoding in (unsure, "gb18030") if unsure else _OLDER:
        try:
            texts[encoding] = content.decode(encoding)
        except UnicodeDecodeError:
            continue
    there = {encoding: _files_there(table, text) for encoding, text in texts.items()}
    most = max(there.values(), default=0)
    best = [encoding for encoding, count in there.items() if count == most]
    if most and len({texts[encoding] for encoding in best}) == 1:
        if best[0] == unsure:
            return texts[unsure], []
        return texts[best[0]], [f"read as {_OLDER[best[0]]}: the files that it names so are there"]
    if unsure:
        raise DataError(
            f"{table} cannot be read as a table: its few letters beyond English ones could be UTF-8 or GB18030: {SAVE_AS}, "
            "with its mark (BOM), as Excel does"
        )
    if "gb18030" in texts and _only_chinese(content):
        return texts["gb18030"], ["read as GB18030, as Excel saves Chinese text"]
    names = " or ".join(_OLDER[encoding] for encoding in texts) or "no encoding that is known here"
    raise DataError(
        f"{table} cannot be read as a table: it is not UTF-8 but {names}, as Excel saves plain CSV in some languages: {SAVE_AS}"
    )


def _pairs_alone(content: bytes) -> bool:
    """Whether a text that can be UTF-8 can as well be Chinese of GB2312: in pairs of bytes, none of them beside an English
    letter, as accented letters are.
    """
    if re.search(rb"[A-Za-z][\x80-\xff]|[\x80-\xff][A-Za-z]", content):
        return False
    try:
        content.decode("gb2312")
    except UnicodeDecodeError:
        return False
    return True


def _only_chinese(content: bytes) -> bool:
    """Whether letters beyond ASCII can only be Chinese ones of GB2312: pairs of bytes, common characters for the most part, and
    some beyond those pairs that are common in Korean or in Big5.
    """
    runs = re.findall(rb"[\x80-\xff]+", content)
    first = [byte for run in runs for byte in run[::2]]
    if any(len(run) % 2 for run in runs) or max(first) <= 0xC8 or 2 * sum(byte <= 0xD7 for byte in first) < len(first):
        return False
    try:
        content.decode("gb2312")
    except UnicodeDecodeError:
        return False
    return True


def _files_there(table: Path, text: str) -> int:
    """How many cells with other letters than English ones name a file beside the table."""
    cells = {cell.strip(' "\r\n') for cell in re.split(r"[,;\t|\n]", text) if not cell.isascii() and len(cell) < 1000}
    parts = [cell.replace("\\", "/").split("/") for cell in cells if "\0" not in cell]
    return sum(  # wherever the table says that its folder is: at most so many folders deep
        any(os.path.isfile(table.parent.joinpath(*names[skipped:])) for skipped in range(min(len(names), 8)))  # noqa: PTH113
        for names in parts
    )
