"""Which files make a data set, with their classes, splits and groups: class folders, tables, and Hugging Face's ImageFolder.

Nothing is decoded here.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from striate.data.decode import SUFFIXES
from striate.errors import DataError, UsageError

SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
PATH_COLUMNS = ("path", "file_name", "filename", "file", "filepath", "image")
LABEL_COLUMNS = ("label", "class", "category", "target")
METADATA = "metadata.csv"
"""The table of Hugging Face's ImageFolder."""
_JUNK = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
_SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}


@dataclass(frozen=True, slots=True)
class Listed:
    """One file. `group` names what it belongs together with; pictures of a group are never on two sides of a split."""

    path: Path
    label: str
    split: str
    group: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """The files of a data set.

    Attributes:
        files: in the order of the set: by split, class and name, or as the table has them.
        classes: of every split, in the order of the labels.
        junk: how many files and folders were left out unseen: hidden ones, those that systems leave behind, and links that
            lead to a folder that was entered already.
        closed: folder -> reason, for those that could not be entered.
    """

    files: tuple[Listed, ...]
    classes: tuple[str, ...]
    junk: int
    closed: Mapping[str, str]


def list_files(source: Path) -> Listing:
    """The files of a folder or of a table of pictures (`.csv`, `.tsv` with tabs, or `.parquet`).

    A folder has one subfolder a class; or `train`, `val` and `test` (or one of their other `SPLIT_NAMES`), as many of them
    as there are, with the classes below; or a `metadata.csv` beside the pictures, in it or in each of its splits.

    Raises:
        UsageError: a Parquet file without pyarrow.
        DataError: no such place, no classes, a class that one split lacks or has alone, or a table without the columns.
    """
    if source.is_file():
        return _checked(_read_table(source), source)
    if not source.is_dir():
        raise DataError(f"{source}: no such folder")
    walk = _Walk(source)
    roots = _split_folders(walk, source)
    tables = {split: root / METADATA for split, root in roots.items() if (root / METADATA).is_file()}
    if tables:
        if missing := [str(roots[split]) for split in roots if split not in tables]:
            raise DataError(f"{METADATA} is in {next(iter(tables.values())).parent} but not in {', '.join(missing)}")
        alone = len(tables) == 1
        files = [file for split, table in tables.items() for file in _read_table(table, split, splits=alone)]
        return _checked(files, source, walk)
    labels = {split: [path for path in walk.look(root)[1] if walk.enters(path)] for split, root in roots.items()}
    if not any(labels.values()):
        raise DataError(f"{source} has no class folders: put the pictures of each class into a folder named after it")
    names = {split: [path.name for path in folders] for split, folders in labels.items()}
    files = [
        Listed(path, folder.name, split)
        for split, folders in labels.items()
        for folder in folders
        for path in walk.files(folder)
    ]
    return _checked(files, source, walk, names)


def picture_files(folder: Path) -> tuple[list[Path], Mapping[str, str]]:
    """(files, folder -> reason for those that could not be entered): the pictures in a folder and below it, by `SUFFIXES`.

    A folder's own files come before those of its folders, both as people count: 2 before 10. Junk is left out, and links to a
    folder that was entered already are not followed.
    """
    walk = _Walk(folder)
    found: list[Path] = []
    left = [folder]
    while left:
        files, folders = walk.look(left.pop())
        found += sorted((path for path in files if path.suffix.lower() in SUFFIXES), key=_counted)
        left += sorted((path for path in folders if walk.enters(path)), key=_counted, reverse=True)
    return found, walk.closed


def _counted(path: Path) -> tuple[list[str | int], str]:
    """A name as people order it: text without regard to case, and whole numbers in it as numbers."""
    parts = re.split("([0-9]+)", path.name)
    return [int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)], path.name


class _Walk:
    """Looks through folders, links included, without entering any twice or a second time from below itself."""

    def __init__(self, source: Path) -> None:
        self.junk = 0
        self.closed: dict[str, str] = {}
        self._seen = {_identity(folder) for folder in (source.resolve(), *source.resolve().parents)}

    def look(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """(files, folders) in a folder, by name, without junk."""
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.closed[str(folder)] = f"cannot be entered ({error.strerror})"
            return [], []
        shown = [entry for entry in found if not entry.name.startswith(".") and entry.name not in _JUNK]
        self.junk += len(found) - len(shown)
        parts: tuple[list[Path], list[Path]] = ([], [])
        for entry in shown:  # which knows what it is without another question to the disk
            parts[_is_folder(entry)].append(folder / entry.name)
        return parts

    def enters(self, folder: Path) -> bool:
        """Whether a folder was not entered before; from now on it was."""
        identity = _identity(folder)
        if identity in self._seen:
            self.junk += 1
            return False
        self._seen.add(identity)
        return True

    def files(self, folder: Path) -> list[Path]:
        """The files in a folder and below it; first its own, then those of its folders."""
        found, folders = self.look(folder)
        return found + [file for path in folders if self.enters(path) for file in self.files(path)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: reading it as a file will say so
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116 - follows links, as it should
    return status.st_dev, status.st_ino


def _split_folders(walk: _Walk, folder: Path) -> dict[str, Path]:
    """split -> the folder of its classes; {train: folder} for a folder that holds the classes or the table itself."""
    subfolders = {path.name.lower(): path for path in walk.look(folder)[1]}
    found = {split: subfolders[name] for split, names in SPLIT_NAMES.items() for name in names if name in subfolders}
    if "train" in found or (subfolders and not subfolders.keys() - _SPLIT_OF.keys()):
        return found
    walk.junk = 0  # the same folder is looked through again, for its classes
    return {"train": folder}


def _read_table(table: Path, split: str = "train", splits: bool = True) -> list[Listed]:
    """The rows of a table; `splits`: whether its own column `split` counts."""
    names, rows = _parquet_rows(table) if table.suffix.lower() == ".parquet" else _text_rows(table)
    columns = {name.strip().lower(): name for name in names}
    path_column = _column(table, columns, PATH_COLUMNS, "the picture's path")
    label_column = _column(table, columns, LABEL_COLUMNS, "its class")
    found = []
    for number, row in enumerate(rows, start=2):
        path, label = ((row[column] or "").strip() for column in (path_column, label_column))
        named = (row[columns["split"]] or "").strip().lower() if splits and "split" in columns else ""
        if not path or not label:
            raise DataError(f"{table}, row {number}: no {'class' if path else 'path'}")
        if named and named not in _SPLIT_OF:
            raise DataError(f"{table}, row {number}: the split {named!r} is none of {', '.join(_SPLIT_OF)}")
        group = (row[columns["group"]] or "").strip() if "group" in columns else ""
        found.append(Listed(table.parent / path, label, _SPLIT_OF.get(named, split), group or None))
    if not found:
        raise DataError(f"{table} has no rows")
    return found


def _text_rows(table: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    """(columns, rows) of a table with commas or tabs."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="\t" if table.suffix == ".tsv" else ",", strict=True)
            return list(reader.fieldnames or ()), list(reader)
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{table} cannot be read as a table: {error}") from error


def _parquet_rows(table: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    """(columns, rows) of a Parquet file, values as texts.

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
    for field in content.schema:
        if field.name.lower() in PATH_COLUMNS and not pyarrow.types.is_string(field.type):
            raise DataError(
                f"{table}: the column {field.name} holds {field.type}, not paths: write the pictures into files, named here"
            )
    rows = content.to_pylist()
    return content.column_names, [{key: None if v is None else str(v) for key, v in row.items()} for row in rows]


def _column(table: Path, columns: Mapping[str, str], names: Sequence[str], meaning: str) -> str:
    for name in names:
        if name in columns:
            return columns[name]
    raise DataError(
        f"{table} has no column for {meaning}: name one of its columns {' or '.join(names)}; "
        f"it has {', '.join(columns.values()) or 'none'}"
    )


def _checked(
    files: Sequence[Listed], source: Path, walk: _Walk | None = None, names: Mapping[str, Sequence[str]] | None = None
) -> Listing:
    """The listing, if every split has the same classes: labels would shift silently otherwise.

    `names`: the classes of each split where they are known without a picture; a class folder may be empty.
    """
    if names is None:
        names = {split: _labels(files, split) for split in SPLIT_NAMES if _labels(files, split)}
    first, *others = names
    classes = tuple(names[first])
    for split in others:
        if tuple(names[split]) != classes:
            missing = sorted(set(classes) - set(names[split]))
            extra = sorted(set(names[split]) - set(classes))
            raise DataError(
                f"the splits of {source} have different classes.",
                f"{split} lacks: {', '.join(missing) or 'none'}; has besides: {', '.join(extra) or 'none'}.",
                f"Give each split pictures of every class, with the same names as in {first}.",
            )
    if len(classes) < 2:
        raise DataError(f"{source} has {len(classes)} class(es): a classifier needs at least two")
    return Listing(
        files=tuple(files),
        classes=classes,
        junk=walk.junk if walk else 0,
        closed=walk.closed if walk else {},
    )


def _labels(files: Iterable[Listed], split: str) -> list[str]:
    return sorted({file.label for file in files if file.split == split})
