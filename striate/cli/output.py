"""How results are written to stdout."""

from __future__ import annotations

import re
import sys
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from striate.data.ledger import Ledger

import typer

from striate.strictjson import to_json
from striate.terminal import plain, plain_json

WIDTH = 100

_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:s|min|h|%|[KMGT]?i?B)(?!\w))")
"""The space between a number and its unit, where no line is broken."""


def aside() -> AbstractContextManager[object]:
    """While a user's net runs: its printed output goes to stderr, because it is not part of the result."""
    return redirect_stdout(sys.stderr)


def show_json(value: Any) -> None:
    """Prints a value as JSON."""
    whole = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
    print(plain_json(to_json(value, indent=2, ascii=not whole)))


def show_line(text: object = "", *, err: bool = False) -> None:
    """Prints one line, on stderr if `err`; what comes from outside cannot make it two, or speak to the terminal."""
    typer.echo(plain(text), err=err)


def show_lines(text: str) -> None:
    """Prints lines of our own making."""
    for line in text.split("\n"):
        show_line(line)


def show_table(rows: Sequence[Mapping[str, Any]], right: Sequence[str] = ()) -> None:
    """Prints rows of the same keys under a heading, columns in `right` aligned to the right. Never cut: pipes need it whole."""
    if not rows:
        return
    columns = list(rows[0])
    cells = [columns, *([plain(row[column]) for column in columns] for row in rows)]
    widths = [max(_width(line[place]) for line in cells) for place in range(len(columns))]
    for line in cells:
        padded = []
        for column, cell, width in zip(columns, line, widths, strict=True):
            space = " " * (width - _width(cell))
            padded.append(space + cell if column in right else cell + space)
        print("  ".join(padded).rstrip())


def show_fields(fields: Mapping[str, Any]) -> None:
    """Prints names and values, aligned; long values are broken into lines between words; paths stay whole, and
    numbers with their units."""
    fields = {plain(name): value for name, value in fields.items()}
    indent = max(map(len, fields)) + 2
    for name, value in fields.items():
        text = textwrap.fill(
            _BEFORE_UNIT.sub("\0", plain(value)), WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        print(name + text[len(name) :].replace("\0", " "))


def show_ledger(ledger: Ledger, beside: bool = False, as_json: bool = False) -> None:
    """Says what became of every entry of a data set or folder.

    Args:
        beside: on stderr, beside a result that has no place for it.
        as_json: as a line of JSON instead of words.
    """
    if as_json:
        print(plain_json(to_json({"ledger": ledger.as_dict()})), file=sys.stderr if beside else sys.stdout)
        return
    first, *more = ledger.lines()
    for line in (f"ledger  {first}", *(f"        {one}" for one in more)):
        show_line(line, err=beside)


def words(value: object) -> str:
    """A value of a JSON answer as a person writes it."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {words(item)}" for key, item in value.items())
    if isinstance(value, list):
        return (" x " if all(isinstance(item, int) for item in value) else "; ").join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
