"""Writing files: complete or not at all, and never over an existing file by accident."""

from __future__ import annotations

import csv
import io
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from striate.errors import UsageError
from striate.strictjson import to_json


def write_atomic(path: Path, content: bytes | str) -> None:
    """Writes a file so that a crash leaves either the old one or the new one, never a part: temporary name, fsync, rename."""
    with writing(path) as file:
        file.write(_data(content))


def _data(content: bytes | str) -> bytes:
    # File names may hold bytes that are no UTF-8: Python keeps them as lone surrogates, which are written as escapes.
    return content.encode(errors="backslashreplace") if isinstance(content, str) else content


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """As `write_atomic`, for what is written bit by bit: the file is there when the block ends, and not if it raises.

    Raises:
        OSError: the disk did not take it; the error names `path`.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Gives an error of the system that names no file, or a temporary one beside it, the name of what was to be written."""
    try:
        yield
    except OSError as error:
        named = error.filename
        unnamed = named is None or isinstance(named, int)
        beside = f".{path.name}."
        if error.errno is not None and (
            unnamed or any(part.startswith(beside) for part in Path(os.fsdecode(named)).parts)
        ):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable. Only POSIX systems open folders."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_new(path: Path, content: bytes | str) -> Path:
    """`write_atomic`, unless something else is there already; gives the path.

    Raises:
        UsageError: `path` holds something else; the same content is left as it is.
    """
    if _taken(path, content):
        raise UsageError(f"{path} already exists and holds something else: choose another file")
    write_atomic(path, content)
    return path


def write_beside(folder: Path, stem: str, suffix: str, content: bytes | str) -> Path:
    """`write_atomic` as `folder/stem.suffix`, or `stem-2.suffix` and so on where something else is there; gives the path."""
    path = next(path for name in numbered(stem) if not _taken(path := folder / f"{name}.{suffix}", content))
    write_atomic(path, content)
    return path


def _taken(path: Path, content: bytes | str) -> bool:
    """Whether something else than `content` is there."""
    return path.exists() and (not path.is_file() or path.read_bytes() != _data(content))


def numbered(stem: str) -> Iterator[str]:
    """`stem`, `stem-2`, `stem-3`, ...: names to try until one is free."""
    yield stem
    yield from (f"{stem}-{number}" for number in count(2))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """`write_atomic` of a mapping as indented JSON."""
    write_atomic(path, to_json(content, indent=1) + "\n")


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """`write_atomic` of a mapping as YAML, in its own order."""
    write_atomic(path, yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120))


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """`write_atomic` of rows as CSV with a header; None, NaN and infinity become an empty field, texts are as `csv_cell` says."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        odd = [key for key, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
        writer.writerow({key: csv_cell(value) for key, value in row.items()} | dict.fromkeys(odd))
    write_atomic(path, text.getvalue())


def csv_cell(value: Any) -> Any:
    """A cell as it is written: a text that a spreadsheet would run as a formula gets an apostrophe before it. So does one that
    begins with an apostrophe and could be taken for it, so that `csv_text` restores both. Numbers stay.
    """
    return f"'{value}" if isinstance(value, str) and value.lstrip("'")[:1] in _FORMULA and value else value


def csv_text(cell: str) -> str:
    """The inverse of `csv_cell`."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'")[:1] in _FORMULA else cell


_FORMULA = ("", "=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet runs; empty: a text of apostrophes only."""
