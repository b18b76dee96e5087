"""Files of a run, which can come from anybody: what is no file, lies elsewhere or is too large is named and not opened."""

from __future__ import annotations

import csv
import io
import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import yaml

from striate.errors import DataError
from striate.files import csv_text
from striate.forms import Form

Read = TypeVar("Read", bound=Form)
Row = TypeVar("Row")

LARGEST = {
    "config.yaml": 2**18, "environment.json": 2**20, "summary.json": 2**20, "calibration.json": 2**20, "data.json": 2**24,
    "metrics.csv": 2**23, "split.json": 2**27, "predictions.csv": 2**28, "tracking.json": 2**16,
}  # fmt: skip
"""Bytes of a file, by its name."""
LARGEST_OTHER = 2**26
MOST_SETTINGS = 100_000
"""Values in config.yaml, with those counted again that it refers to again."""
MOST_LISTS, MOST_VALUES = 10**6, 10**7
"""Limits for a JSON file, counted by its brackets and commas before it is read: each takes memory."""
MOST_ROWS, MOST_COLUMNS = 2 * 10**6, 100
"""Limits for a table."""
FOLDERS = ("checkpoints", "evaluations", "exports", "tensorboard", "weights")
"""Folders of a run that are written to."""


def place(folder: Path, name: str, most: int | None = None) -> Path | None:
    """The path of a run's file `name`, with `/`, if it may be opened; None if there is none. The run's folder may be a link.

    Raises DataError if it is a folder, a pipe, a device or a link that leads out of the run, or larger than `most` bytes (None:
    a limit by its name).
    """
    path = folder / name
    most = most or LARGEST.get(path.name, LARGEST_OTHER)
    try:
        found = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise DataError(f"{path} is a broken link: remove it, or put the file there") from None
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
        raise DataError(f"{path} is {what}, but should be a file: it is not opened")
    require_inside(folder, path)
    if found.st_size > most:
        raise DataError(
            f"{path} has {found.st_size:,} bytes, but at most {most:,} are read: it was not written by striate"
        )
    return path


def require_inside(folder: Path, path: Path) -> None:
    """Raises DataError if a link leads out of the run."""
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    if not inside:
        raise DataError(f"{path} is a link that leads out of the run, to {path.resolve()}: it is not followed")


def check_folders(folder: Path) -> None:
    """Raises DataError if a folder of the run is something else, or a link that leads out of it: commands write there."""
    for name in FOLDERS:
        path = folder / name
        if path.is_symlink() or path.exists():
            require_inside(folder, path)
            if not path.is_dir():
                raise DataError(f"{path} should be a folder, but is not")


def read_text(folder: Path, name: str) -> str | None:
    """The text of a run's file; None if there is none. Raises DataError as `place`, or if it is no UTF-8."""
    if (path := place(folder, name)) is None:
        return None
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is damaged: {error}") from error


def read_yaml(folder: Path, name: str, form: type[Read]) -> Read:
    """The content of a YAML file.
    Raises DataError where it is missing, damaged, or not as its form says; it names the field."""
    path = folder / name
    if (text := read_text(folder, name)) is None:
        raise DataError(f"{path} is not there")
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {' '.join(str(error).split())[:300]}") from error
    if _values(content, MOST_SETTINGS) > MOST_SETTINGS:
        raise DataError(f"{path} is damaged: it holds more than {MOST_SETTINGS:,} settings")
    return _formed(content, path, form)


def read_json(folder: Path, name: str, form: type[Read]) -> Read | None:
    """As `read_yaml`, of a JSON file; None if it is not there."""
    if (text := read_text(folder, name)) is None:
        return None
    path = folder / name
    if text.count("[") + text.count("{") > MOST_LISTS or text.count(",") > MOST_VALUES:
        raise DataError(f"{path} holds more than {MOST_LISTS:,} lists or {MOST_VALUES:,} values")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    return _formed(content, path, form)


def read_csv(folder: Path, name: str, row_of: Callable[[dict[str, str]], Row]) -> list[Row]:
    """The rows of a table with a heading; none if it is not there. Cells are as `csv_cell` was given them.

    Raises:
        DataError: it is damaged, or `row_of` raised ValueError or KeyError; it names the line.
    """
    if (text := read_text(folder, name)) is None:
        return []
    path, rows = folder / name, []
    if text.count("\n") > MOST_ROWS or text.partition("\n")[0].count(",") >= MOST_COLUMNS:
        raise DataError(f"{path} has more than {MOST_ROWS:,} lines or {MOST_COLUMNS} columns")
    table = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        head = next(table, [])
        for cells in table:
            if len(cells) != len(head):
                raise ValueError(f"it has {len(cells)} columns, but the heading has {len(head)}")
            rows.append(row_of(dict(zip(head, map(csv_text, cells), strict=True))))
    except (DataError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: line {table.line_num}: {error}") from error
    except KeyError as error:
        raise DataError(f"{path}: there is no column {error}") from error
    return rows


def number(text: str) -> int | float | None:
    """A number of a table; None of an empty cell. Raises ValueError for what is none."""
    if text == "":
        return None
    return float(text) if any(mark in text for mark in ".einf") else int(text)


def _formed(content: object, path: Path, form: type[Read]) -> Read:
    try:
        return form.from_dict(content)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _values(value: object, most: int) -> int:
    """How many values there are in dicts and lists, `most` or a few more if there are more: YAML can refer to one many times."""
    found, left = 1, [value]
    while left and found <= most:
        one = left.pop()
        inside = list(one.values()) if isinstance(one, Mapping) else one if isinstance(one, list) else []
        found += len(inside)
        left += inside
    return found
