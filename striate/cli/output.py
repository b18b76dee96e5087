"""How results are written to stdout."""

from __future__ import annotations

import json
import sys
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 100


def show_json(value: Any) -> None:
    """Prints a value as JSON."""
    whole = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
    text = json.dumps(value, indent=2, ensure_ascii=not whole)
    print(
        text.encode(errors="backslashreplace").decode()
    )  # lone surrogates of file names that are no UTF-8, as JSON escapes


def show_table(rows: Sequence[Mapping[str, Any]], right: Sequence[str] = ()) -> None:
    """Prints rows of the same keys under a heading, columns in `right` aligned to the right. Never cut: pipes need it whole."""
    if not rows:
        return
    columns = list(rows[0])
    cells = [columns, *([str(row[column]) for column in columns] for row in rows)]
    widths = [max(_width(line[place]) for line in cells) for place in range(len(columns))]
    for line in cells:
        padded = []
        for column, cell, width in zip(columns, line, widths, strict=True):
            space = " " * (width - _width(cell))
            padded.append(space + cell if column in right else cell + space)
        print("  ".join(padded).rstrip())


def show_fields(fields: Mapping[str, Any]) -> None:
    """Prints names and values, aligned; long values are broken into lines between words, and paths stay whole."""
    indent = max(map(len, fields)) + 2
    for name, value in fields.items():
        text = textwrap.fill(
            str(value), WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        print(name + text[len(name) :])


def words(value: object) -> str:
    """A value of a JSON answer as a person writes it."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {words(item)}" for key, item in value.items())
    if isinstance(value, list):
        return (" x " if all(isinstance(item, int) for item in value) else "; ").join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def percent(fraction: float) -> str:
    """0.8934 as `89.3 %`."""
    return f"{fraction * 100:.1f} %"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
