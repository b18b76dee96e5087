"""The text of a table as programs save it, read where that is certain: its encoding, by a mark, by the files that it names, or by
letters that fit one only; and what stands between its columns.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from striate.data.formats import kind_of
from striate.errors import DataError
from striate.terminal import plain

_BETWEEN = {",": "commas", ";": "semicolons (;)", "\t": "tabs", "|": "bars (|)"}
"""The possible separators of columns, with their names."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", ""),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16, as Excel saves Unicode text"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_OLDER = {"gb18030": "GB18030", "big5": "Big5", "cp932": "Shift JIS", "euc_kr": "EUC-KR", "cp1252": "Windows-1252",
          "cp1250": "Windows-1250", "cp1251": "Windows-1251"}  # fmt: skip
"""Encodings of Excel's plain CSV, by the language of the system."""
_SAVE_AS = "save it again as CSV UTF-8"
_LETTERS = (*(f"cp{number}" for number in range(1250, 1259)), "koi8_r")
"""Encodings of alphabets, a byte a letter: European, Greek, Hebrew, Arabic and others."""
_BESIDE_ENGLISH = re.compile(rb"[A-Za-z][\x80-\xff]|[\x80-\xff][A-Za-z]")
_EVERYDAY = frozenset(
    re.findall(
        r"\w+",
        """猫 狗 鸟 鱼 马 牛 羊 猪 兔 鼠 虎 狮 象 熊 猴 鹿 蛇 蛙 虾 蟹 狼 鹰 花 树 草 车 船 男 女 猫咪 小猫 小狗
    兔子 老鼠 老虎 狮子 大象 熊猫 猴子 乌龟 螃蟹 青蛙 蝴蝶 蜜蜂 苹果 香蕉 橙子 橘子 葡萄 西瓜 草莓 番茄 黄瓜 玉米 汽车
    卡车 飞机 轮船 火车 自行车 摩托车 玫瑰 郁金香 蒲公英 向日葵 正常 异常 合格 不合格 缺陷 划痕 良性 恶性 健康 塑料 玻璃
    金属 纸张 其他 背景""",
    )
)
"""Names of classes in simplified Chinese. The bytes of no two of them name classes in Korean, Japanese or Thai as well."""


def read_text(table: Path, known: Callable[[Sequence[str]], bool]) -> tuple[list[str], list[list[str]], list[str]]:
    """(columns, rows, notes) of a table of text; a row that is wholly empty is an empty list. `known`: whether these are columns
    of a table of images. Raises DataError where the encoding, what stands between columns, or a row's cells are not certain.
    """
    try:
        content = table.read_bytes()
    except OSError as error:
        raise DataError(f"{table} cannot be read as a table: {error.strerror}") from error
    text, notes = decoded(table, content)
    text = text.removeprefix("\ufeff")
    if match := re.match(r"sep=(.)\r?\n", text):  # a line of Excel's own
        text = text[match.end() :]
    between = "\t" if table.suffix.lower() == ".tsv" else ","
    fitting = [one for one in _BETWEEN if known(_cells(table, text, one, first=True)[0])]
    if between not in fitting and len(fitting) == 1:
        between = fitting[0]
        notes.append(f"read with {_BETWEEN[between]} between the columns")
    rows = _cells(table, text, between)
    if not rows:
        return [], [], notes
    columns = [name.strip() for name in rows[0]]
    if not known(columns) and len(rows) > 1 and known(rows[1]):
        raise DataError(f"{table}: there is a line above the heading, {between.join(rows[0])[:60]!r}: remove it")
    while columns and not columns[-1]:  # columns that a spreadsheet has added
        columns.pop()
    return columns, [_fitted(table, number, row, len(columns)) for number, row in enumerate(rows[1:], start=2)], notes


def _fitted(table: Path, number: int, row: list[str], width: int) -> list[str]:
    """The row's cells, as many as there are columns; empty for a row in which nothing stands."""
    if not any(cell.strip() for cell in row):
        return []
    where = f"{table}, row {number}"
    if any(cell.strip() for cell in row[width:]):
        raise DataError(
            f"{where}: {len(row)} cells, but the heading has {width}: a comma within a cell needs quotes around it"
        )
    if any("\0" in cell for cell in row):
        raise DataError(f"{where}: a zero byte within a cell: the file is damaged, or in another encoding: {_SAVE_AS}")
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
        hint = ": is a quotation mark not closed?" if "limit" in str(error) or "end of data" in str(error) else ""
        raise DataError(f"{table} cannot be read as a table: line {reader.line_num}: {error}{hint}") from error
    return rows or [[]] if first else rows


def decoded(table: Path, content: bytes) -> tuple[str, list[str]]:
    """(text, notes) of a table's bytes. Raises DataError where their encoding is not certain."""
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
    text = _read(content, "utf-8")
    if text is None:
        return _older(table, content)
    certain = text.isascii() or max(text) > "\u07ff"  # three bytes that fit together are no accident
    return (text, []) if certain or not _pairs_alone(content) else _older(table, content, unsure="utf-8")


def _read(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None


def _strictly(table: Path, content: bytes, encoding: str, name: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{table} cannot be read as a table: it begins as {name or 'UTF-8'} and is damaged: {error}"
        ) from error


def _older(table: Path, content: bytes, unsure: str = "") -> tuple[str, list[str]]:
    """A text in an encoding that no mark tells: by the files that it names, else where only Chinese can be meant. `unsure`: an
    encoding that may be meant too.
    """
    read = {encoding: _read(content, encoding) for encoding in ((unsure, "gb18030") if unsure else _OLDER)}
    texts = {encoding: text for encoding, text in read.items() if text is not None}
    there = {encoding: _files_there(table, text) for encoding, text in texts.items()}
    most = max(there.values(), default=0)
    best = [encoding for encoding, count in there.items() if count == most]
    if most and len({texts[encoding] for encoding in best}) == 1:
        if best[0] == unsure:
            return texts[unsure], []
        return texts[best[0]], [f"read as {_OLDER[best[0]]}, because the files it then names exist"]
    if unsure:
        raise DataError(
            f"{table} cannot be read as a table: its few non-English letters could be {_read_as(texts)}: "
            f"{_SAVE_AS}, with a byte-order mark (BOM), as Excel does"
        )
    if "gb18030" in texts and _only_chinese(content):
        return texts["gb18030"], ["read as GB18030, as Excel saves Chinese text"]
    raise DataError(
        f"{table} cannot be read as a table: it is not UTF-8 but {_read_as(texts) or 'an unknown encoding'}, as Excel "
        f"saves plain CSV in some languages: {_SAVE_AS}"
    )


def _read_as(texts: Mapping[str, str]) -> str:
    """The encodings, each with the first words that are read otherwise in others."""
    shown = []
    for encoding, text in texts.items():
        words = dict.fromkeys(word for word in re.findall(r"[^\s,;|/\\\"]+", text[:5000]) if not word.isascii())
        shown.append(f"{_OLDER.get(encoding, 'UTF-8')} ({', '.join(plain(word[:12]) for word in list(words)[:2])})")
    return " or ".join(shown)


def _pairs_alone(content: bytes) -> bool:
    """Whether a text that can be UTF-8 can as well be Chinese of GB2312: in pairs of bytes, none of them beside an English
    letter, as accented letters are.
    """
    return not _BESIDE_ENGLISH.search(content) and _read(content, "gb2312") is not None


def _only_chinese(content: bytes) -> bool:
    """Whether letters beyond ASCII can only be simplified Chinese ones: pairs of bytes of GB2312, that spell no words in an
    alphabet, and are everyday words for the most part, or common characters of which enough are rare ones in other encodings.
    """
    runs: set[bytes] = set(re.findall(rb"[\x80-\xff]+", content))
    if any(len(run) % 2 for run in runs) or not _pairs_alone(content):
        return False
    known = sum(_read(run, "gb2312") in _EVERYDAY for run in runs)
    if any(_are_words(runs, encoding) for encoding in _LETTERS):
        return False
    if known >= 2 and 2 * known >= len(runs):
        return True
    if _are_words(runs, "cp874") or not any(byte > 0xDF for run in runs for byte in run):
        return False  # Thai, where most letters can follow each other, or Japanese katakana of half a width
    first = [pair[0] for pair in {run[place : place + 2] for run in runs for place in range(0, len(run), 2)}]
    # A quarter of the common characters begin with these bytes, which are 4 in 100 in Big5 and EUC-JP and none in Korean: odds of
    # 20 to 1 at the least, besides that such a text would have to have the form of this one.
    rare = sum(byte >= 0xD0 for byte in first)
    return bool(8 * rare >= 12 + len(first) and 2 * sum(byte <= 0xD7 for byte in first) >= len(first))


def _are_words(runs: Collection[bytes], encoding: str) -> bool:
    """Whether all can be words of an alphabet: letters, in capitals, in small ones, or with a capital at the beginning."""
    words = [word for run in runs if (word := _read(run, encoding)) is not None]
    if len(words) < len(runs):
        return False
    kinds = [[unicodedata.category(letter)[0] for letter in word] for word in words]
    cased = all(word in (word.lower(), word.upper(), word[0].upper() + word[1:].lower()) for word in words)
    return cased and all(kind[0] == "L" and set(kind) <= {"L", "M"} for kind in kinds)


def _files_there(table: Path, text: str) -> int:
    """Number of cells with non-English letters that name a file beside the table."""
    cells = {cell.strip(' "\r\n') for cell in re.split(r"[,;\t|\n]", text) if not cell.isascii() and len(cell) < 1000}
    parts = [cell.replace("\\", "/").split("/") for cell in cells if "\0" not in cell]
    return sum(  # wherever the table says that its folder is: at most so many folders deep
        any(os.path.isfile(table.parent.joinpath(*names[skipped:])) for skipped in range(min(len(names), 8)))  # noqa: PTH113
        for names in parts
    )
