"""Which files make a data set, with their classes, splits and groups: class folders, tables, and Hugging Face's ImageFolder.

Nothing is decoded here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from striate.data.asked import Reading
from striate.data.excluding import Excluding
from striate.data.layout import OUTSIDE, SPLIT_NAMES, UNNAMED, Layout, class_folders, lay_out, require_upper
from striate.data.ledger import ROWS, Fate, Ledger, below, settle
from striate.data.tables import Listed, read_table
from striate.data.tree import NO_PICTURE, Folder, enter_closed, enter_others, look_through
from striate.errors import DataError, UsageError, param

METADATA = "metadata.csv"
"""The table of Hugging Face's ImageFolder."""
_MASK = re.compile(r"(.+?)[ _.-]*(?:mask|masks|seg|segmentation|gt|groundtruth)(?:[ _-]?\d+)?", re.IGNORECASE)
_A_MASK = "a mask beside its image"
_UNTESTED = "of the test split, which is not opened"
__all__ = ["METADATA", "SPLIT_NAMES", "Listed", "Listing", "list_files"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """The files of a data set.

    Attributes:
        files: in the order of the set: by split, class and name, or as the table has them.
        classes: of every split, in the order of the labels.
        closed: folder -> reason, for those that could not be entered.
        excluded: pattern -> the files that it names; those in `files` among them.
        has_test: whether the data has a test split of its own, also where it is not to be read.
    """

    files: tuple[Listed, ...]
    classes: tuple[str, ...]
    closed: Mapping[str, str]
    excluded: Mapping[str, Sequence[str]]
    has_test: bool
    _source: Path
    _ledger: Ledger
    _folders: tuple[Path, ...] = ()
    _left: tuple[tuple[Path, Fate, str], ...] = ()

    def ledger(self, unreadable: Mapping[str, str]) -> Ledger:
        """What became of every entry, once it is known which files cannot be read (path -> reason). To be asked for once.

        Raises:
            StriateError: an entry is accounted for twice, or not at all.
        """
        named = {path for paths in self.excluded.values() for path in paths}

        def fate(path: str) -> tuple[Fate, str]:
            if path in named:
                return "excluded", ""
            return ("unreadable", unreadable[path]) if path in unreadable else ("used", "")

        listed = [(file.path, *fate(str(file.path))) for file in self.files]
        settle(self._ledger, self._source, self._folders, [*listed, *self._left], NO_PICTURE)
        self._ledger.check()
        return self._ledger


def list_files(source: Path, reading: Reading) -> Listing:
    """The files of a folder or of a table of images (`.csv`, `.tsv`, or `.parquet`).

    A folder has one subfolder a class; or a folder for each of `train`, `validation` and `test` (or one of their other
    `SPLIT_NAMES`), as many of them as there are, with the classes below; or a `metadata.csv` beside the images, in it or in
    each of its splits.

    Args:
        reading: its `exclude` are patterns of the shell (`*`, `?`, `[]`) for a file's path below the folder, or its name alone,
            or the path of a folder, which is left out with all that is in it. `splits` says which folders are splits, as
            `striate.data.layout.parse_splits` reads it; None to go by their names. With `partial` a split may lack classes.

    Raises:
        UsageError: a Parquet file without pyarrow; a folder named in `splits` that is not there.
        DataError: no such place, no classes, a class that one split lacks or has alone, a table that cannot be understood, or
            folders that could be splits or classes.
    """
    if source.is_file():
        if reading.splits is not None:
            raise UsageError(f"{param('splits')} is for folders, and {source} is a file: a table has a column split")
        return _of_table(source, reading)
    if not source.is_dir():
        raise DataError(f"{source}: no such folder")
    ledger = Ledger()
    tree = look_through(source, ledger)
    excluding = Excluding(source, reading.exclude)
    excluding.folders(tree, ledger)
    layout = lay_out(tree, reading.splits)
    has_test = "test" in layout.roots
    if has_test and not reading.tested:
        roots = {split: root for split, root in layout.roots.items() if split != "test"}
        layout = Layout(roots, [*layout.left, (layout.roots["test"], _UNTESTED)])
    tables = {split: table for split, root in layout.roots.items() if (table := _metadata(root)) is not None}
    if tables:
        files, names = _of_metadata(source, layout, tables, ledger), None
        for root in layout.roots.values():
            root.others = [path for path in root.others if path not in tables.values()]
        for table in tables.values():
            ledger.enter("used", below(source, table))
    else:
        files, names = _of_classes(source, layout, told=reading.splits is not None)
    excluding.files(file.path for file in files)
    left = _left_over(tree, layout, files, bool(tables))
    excluding.files(path for path, _, _ in left)
    excluding.others(tree, ledger)
    enter_others(tree, source, ledger)
    known = set(tree.all_pictures())
    ledger.find(sum(file.path not in known for file in files))  # rows of a table without a file in the folder
    closed = enter_closed(tree, source, ledger)
    files, untested = _untested(files, reading)
    return Listing(
        files=tuple(files),
        classes=_classes(files, source, names, reading.partial),
        closed=closed,
        excluded=excluding.found,
        _source=source,
        _ledger=ledger,
        _folders=tuple(folder.path for folder in tree.walk() if folder is not tree and not folder.closed),
        _left=(*excluding.marked(left), *untested),
        has_test=has_test or bool(untested) or any(file.split == "test" for file in files),
    )


def _of_table(source: Path, reading: Reading) -> Listing:
    table = read_table(source)
    ledger = Ledger(ROWS)
    ledger.notes += table.notes
    ledger.find(len(table.files) + len(table.repeated) + table.empty)
    for name in table.repeated:
        ledger.enter("other", name, "a row that repeats another")
    if table.empty:
        ledger.enter("junk", "rows in which nothing stands", count=table.empty)
    excluding = Excluding(source.parent, reading.exclude)
    excluding.files(file.path for file in table.files)
    files, untested = _untested(table.files, reading)
    return Listing(
        files=tuple(files),
        classes=_classes(files, source, None, reading.partial),
        closed={},
        excluded=excluding.found,
        _source=source.parent,
        _ledger=ledger,
        _left=tuple(untested),
        has_test=bool(untested) or any(file.split == "test" for file in files),
    )


def _untested(files: list[Listed], reading: Reading) -> tuple[list[Listed], list[tuple[Path, Fate, str]]]:
    """(files to read, those of a test split that is not to be opened, as `Listing._left` has them)."""
    aside = [] if reading.tested else [file for file in files if file.split == "test"]
    kept = [file for file in files if file.split != "test"] if aside else files
    return kept, [(file.path, "excluded", _UNTESTED) for file in aside]


def _metadata(root: Folder) -> Path | None:
    return next((path for path in root.others if path.name == METADATA), None)


def _of_metadata(source: Path, layout: Layout, tables: Mapping[str, Path], ledger: Ledger) -> list[Listed]:
    if missing := [str(root.path) for split, root in layout.roots.items() if split not in tables]:
        raise DataError(f"{METADATA} is in {next(iter(tables.values())).parent} but not in {', '.join(missing)}")
    files = []
    for split, path in tables.items():
        table = read_table(path, split, splits=len(tables) == 1)
        files += table.files
        ledger.notes += [f"{below(source, path)}: {note}" for note in table.notes]
        if table.repeated:
            ledger.notes.append(f"{below(source, path)}: {len(table.repeated):,} rows repeat another")
    return files


def _of_classes(source: Path, layout: Layout, told: bool) -> tuple[list[Listed], dict[str, list[str]]]:
    """(files, the classes of each split) of class folders."""
    found = {split: class_folders(root, source, told) for split, root in layout.roots.items()}
    if not told:
        require_upper([folder for folders in found.values() for folder in folders])
    for split, root in layout.roots.items():
        if not found[split] and (len(found) > 1 or not root.closed):
            raise DataError(_without_classes(source, root))
    files = []
    for folders in found.values():
        for folder in folders:
            if not folder.any_picture() and not folder.closed and not any(one.closed for one in folder.walk()):
                raise DataError(_without_pictures(source, folder))
    for split, folders in found.items():
        for folder in folders:
            label = unicodedata.normalize("NFC", folder.name)
            files += [Listed(path, label, split) for path in folder.all_pictures()]
    masks = _masks([file.path for file in files])
    names = {split: [unicodedata.normalize("NFC", one.name) for one in folders] for split, folders in found.items()}
    return [file for file in files if file.path not in masks], names


def _without_pictures(source: Path, folder: Folder) -> str:
    held = [path.name for one in folder.walk() for path in one.others]
    there = f"holds {', '.join(held[:3])}: unpack it" if held else "is empty: put images into it"
    return (
        f"no readable image of class {folder.name}: {folder.path} {there}, or leave it out with "
        f"{param('exclude')} {below(source, folder.path)}"
    )


def _without_classes(source: Path, root: Folder) -> str:
    while not root.pictures and len(root.folders) == 1:
        root = root.folders[0]
    count = sum(1 for _ in root.all_pictures())
    held = f", and {count:,} images" if count else ""
    return (
        f"{root.path} has no class folders{held}. Put the images of each class into a folder named after it, or name them in "
        "a table"
    )


def _masks(paths: Sequence[Path]) -> set[Path]:
    """Those that are named as the mask of another image in the same folder."""
    stems = {(path.parent, path.stem.lower()) for path in paths}
    found = set()
    for path in paths:
        match = _MASK.fullmatch(path.stem)
        if match and (path.parent, match.group(1).lower()) in stems:
            found.add(path)
    return found


def _left_over(tree: Folder, layout: Layout, files: Sequence[Listed], table: bool) -> list[tuple[Path, Fate, str]]:
    """(path, fate, why) of the images that are not in the set."""
    listed = {file.path for file in files}
    why = {path: reason for folder, reason in layout.left for path in folder.all_pictures()}
    spare = [path for path in tree.all_pictures() if path not in listed]
    masks = set() if table else _masks(list(tree.all_pictures()))
    found: list[tuple[Path, Fate, str]] = []
    for path in spare:
        reason = why.get(path) or (
            f"an image that {METADATA} does not name" if table else _A_MASK if path in masks else OUTSIDE
        )
        found.append((path, "excluded" if reason in (UNNAMED, _UNTESTED) else "other", reason))
    return found


def _classes(
    files: Sequence[Listed], source: Path, names: Mapping[str, Sequence[str]] | None, partial: bool
) -> tuple[str, ...]:
    """The classes, if every split has the same: labels would shift silently otherwise.

    `names`: the classes of each split where they are known without an image.
    """
    if names is None:
        names = {
            split: sorted(found)
            for split in SPLIT_NAMES
            if (found := {one.label for one in files if one.split == split})
        }
    ordered = {split: sorted(found) for split, found in names.items()}
    first, *others = ordered
    classes = tuple(sorted({name for found in ordered.values() for name in found}) if partial else ordered[first])
    for split in () if partial else others:
        if tuple(ordered[split]) != classes:
            missing = sorted(set(classes) - set(ordered[split]))
            extra = sorted(set(ordered[split]) - set(classes))
            raise DataError(
                f"the splits of {source} have different classes.",
                f"{split} lacks: {', '.join(missing) or 'none'}; has besides: {', '.join(extra) or 'none'}.",
                f"Give each split images of every class, with the same names as in {first}.",
            )
    if len(classes) < (1 if partial else 2):
        raise DataError(
            f"{source} has {len(classes)} class(es){f': {classes[0]}' if classes else ''}; a classifier needs at least two"
        )
    return classes
