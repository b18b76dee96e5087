"""Which files make a data set, with their classes, splits and groups: class folders, tables, and Hugging Face's ImageFolder."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from striate.data.dataset import Reading
from striate.data.formats import other_kind
from striate.data.layout import OUTSIDE, SPLIT_NAMES, UNNAMED, Layout, class_folders, lay_out, require_upper
from striate.data.ledger import FILES, ROWS, Ledger, below
from striate.data.tables import Listed, read_table
from striate.data.tree import FateOf, Folder, account, look_through
from striate.errors import DataError, UsageError, param

METADATA = "metadata.csv"
"""The table of Hugging Face's ImageFolder."""
_MASK = re.compile(r"(.+?)[ _.-]*(?:mask|masks|seg|segmentation|gt|groundtruth)(?:[ _-]?\d+)?", re.IGNORECASE)
_A_MASK = "a mask beside its image"
_UNTESTED = "of the test split, which is not opened"
Names = Mapping[str, Sequence[str]]
"""Split -> its classes."""


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
    _tree: Folder
    _ledger: Ledger
    _left: tuple[FateOf, ...]

    def excluded_paths(self) -> set[str]:
        """The files that some pattern names."""
        return {path for paths in self.excluded.values() for path in paths}

    def ledger(self, unreadable: Mapping[str, str]) -> Ledger:
        """The ledger of all entries, once the unreadable files are known (path -> reason). May be called once."""
        used: list[FateOf] = [(file.path, "used", "") for file in self.files]
        account(self._tree, self._ledger, [*self._left, *used], unreadable, self.excluded_paths())
        return self._ledger


def list_files(source: Path, reading: Reading) -> Listing:
    """The files of a folder or of a table of images (`.csv`, `.tsv`, or `.parquet`).

    A folder has one subfolder a class; or a folder for each of `train`, `validation` and `test` (or one of their other
    `SPLIT_NAMES`), as many of them as there are, with the classes below; or a `metadata.csv` beside the images, in it or in
    each of its splits.

    Args:
        reading: its `exclude` are patterns of the shell (`*`, `?`, `[]`) for a file's path below the folder, or its name alone,
            or the path of a folder, which is left out with all that is in it. `splits` says which folders are splits, as
            `striate.data.layout.parse_splits` reads it; None to go by name. With `partial` a split may lack classes.

    Raises:
        UsageError: a Parquet file without pyarrow; a folder named in `splits` that is not there.
        DataError: no such place, no classes, a class that one split lacks, or what cannot be understood with certainty.
    """
    names: Names | None = None
    left: list[FateOf] = []
    has_test = False
    excluded: dict[str, list[str]] = {pattern: [] for pattern in reading.exclude}
    if source.is_file():
        if reading.splits is not None:
            raise UsageError(
                f"{param('splits')} is for folders, but {source} is a file: use the column split of a table"
            )
        tree, ledger = Folder(source.parent), Ledger(ROWS)
        files = _of_table(source, ledger)
    elif source.is_dir():
        ledger = Ledger(FILES)
        tree = look_through(source, ledger)
        _exclude_folders(tree, excluded, ledger)
        layout = lay_out(tree, reading.splits)
        has_test = "test" in layout.roots
        if has_test and not reading.tested:
            roots = {split: root for split, root in layout.roots.items() if split != "test"}
            layout = Layout(roots, [*layout.left, (layout.roots["test"], _UNTESTED)])
        files, names, left = _of_folder(tree, layout, reading, ledger)
    else:
        raise DataError(f"{source}: no such folder")
    for pattern, paths in excluded.items():
        for path in (*(file.path for file in files), *(path for path, fate, _ in left if fate != "used")):
            if any(fnmatch.fnmatchcase(name, pattern) for name in (below(tree.path, path), path.name, str(path))):
                paths.append(str(path))
    aside = [file for file in files if file.split == "test" and not reading.tested]
    kept = [file for file in files if file.split != "test"] if aside else files
    left += [(file.path, "excluded", _UNTESTED) for file in aside]
    return Listing(
        files=tuple(kept),
        classes=_classes(kept, source, names, reading.partial),
        closed=tree.all_closed(),
        excluded=excluded,
        has_test=has_test or any(file.split == "test" for file in files),
        _tree=tree,
        _ledger=ledger,
        _left=tuple(left),
    )


def _exclude_folders(tree: Folder, excluded: Mapping[str, list[str]], ledger: Ledger) -> None:
    """Takes the folders out of the tree that a pattern names by their path."""
    wanted = {pattern.rstrip("/"): paths for pattern, paths in excluded.items()}
    for parent in list(tree.walk()):
        for folder in [one for one in parent.folders if below(tree.path, one.path) in wanted]:
            parent.folders.remove(folder)
            for one in folder.walk():
                files = [*one.pictures, *one.others]
                wanted[below(tree.path, folder.path)].extend(map(str, files))
                ledger.enter("excluded", below(tree.path, one.path), count=1 + len(files))


def _of_table(source: Path, ledger: Ledger) -> list[Listed]:
    table = read_table(source)
    ledger.notes += table.notes
    ledger.find(len(table.files) + len(table.repeated) + table.empty)
    for name in table.repeated:
        ledger.enter("other", name, "a row that repeats another")
    if table.empty:
        ledger.enter("junk", "empty rows", count=table.empty)
    return table.files


def _of_folder(
    tree: Folder, layout: Layout, reading: Reading, ledger: Ledger
) -> tuple[list[Listed], Names | None, list[FateOf]]:
    """(files of the set, its classes where they are known without an image, what becomes of the other files)."""
    tables = {split: path for split, root in layout.roots.items() for path in root.others if path.name == METADATA}
    masks = set() if tables else _masks(list(tree.all_pictures()))
    names = None
    if tables:
        files = _of_metadata(tree.path, layout, tables, ledger)
    else:
        folders = _class_folders(tree, layout, reading)
        names = {split: [_composed(one.name) for one in classes] for split, classes in folders.items()}
        files = [
            Listed(path, _composed(folder.name), split)
            for split, classes in folders.items()
            for folder in classes
            for path in folder.all_pictures()
            if path not in masks
        ]
    listed, pictures = {file.path for file in files}, set(tree.all_pictures())
    ledger.find(sum(file.path not in pictures for file in files))  # rows of a table without a file in the folder
    usual = f"an image that {METADATA} does not list" if tables else OUTSIDE
    why = {path: reason for folder, reason in layout.left for path in folder.all_pictures()}
    left: list[FateOf] = [
        (path, "other", other_kind(path)) for path in tree.all_others() if path not in tables.values()
    ]
    left += [(path, "used", "") for path in tables.values()]
    for path in tree.all_pictures():
        if path not in listed:
            reason = why.get(path, _A_MASK if path in masks else usual)
            left.append((path, "excluded" if reason in (UNNAMED, _UNTESTED) else "other", reason))
    return files, names, left


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


def _class_folders(tree: Folder, layout: Layout, reading: Reading) -> dict[str, list[Folder]]:
    """Split -> the folders of its classes. Raises DataError where there are none, or one is empty."""
    stated = reading.splits is not None
    found = {split: class_folders(root, tree.path, stated) for split, root in layout.roots.items()}
    if not stated:
        require_upper([folder for folders in found.values() for folder in folders])
    for split, root in layout.roots.items():
        if not found[split] and (len(found) > 1 or not root.closed):
            while not root.pictures and len(root.folders) == 1:
                root = root.folders[0]
            count = sum(1 for _ in root.all_pictures())
            held = f", and {count:,} images" if count else ""
            raise DataError(
                f"{root.path} has no class folders{held}. Put the images of each class into a folder named after it, or name "
                "them in a table"
            )
    for folder in (one for folders in found.values() for one in folders):
        if not folder.any_picture() and not folder.all_closed():
            held = ", ".join(path.name for path in islice(folder.all_others(), 3))
            raise DataError(
                f"no readable image of class {folder.name}: {folder.path} "
                f"{f'holds {held}: unpack it' if held else 'is empty: put images into it'}, or leave it out with "
                f"{param('exclude')} {below(tree.path, folder.path)}"
            )
    return found


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _masks(paths: Sequence[Path]) -> set[Path]:
    """Those that are named as the mask of another image in the same folder."""
    stems = {(path.parent, path.stem.lower()) for path in paths}
    matches = {path: match for path in paths if (match := _MASK.fullmatch(path.stem))}
    return {path for path, match in matches.items() if (path.parent, match[1].lower()) in stems}


def _classes(files: Sequence[Listed], source: Path, names: Names | None, partial: bool) -> tuple[str, ...]:
    """The classes, if every split has the same: labels would shift silently otherwise."""
    if names is None:
        names = {split: [one.label for one in files if one.split == split] for split in SPLIT_NAMES}
    ordered = {split: tuple(sorted(set(found))) for split, found in names.items() if found}
    first, *others = ordered or {"train": ()}
    classes = tuple(sorted(set().union(*ordered.values()))) if partial else ordered.get(first, ())
    for split in () if partial else others:
        if ordered[split] != classes:
            missing = sorted(set(classes) - set(ordered[split]))
            extra = sorted(set(ordered[split]) - set(classes))
            raise DataError(
                f"the splits of {source} have different classes.",
                f"{split} lacks: {', '.join(missing) or 'none'}; has in addition: {', '.join(extra) or 'none'}.",
                f"Give each split images of every class, with the same names as in {first}.",
            )
    if len(classes) < (1 if partial else 2):
        shown = f": {classes[0]}" if classes else ""
        raise DataError(f"{source} has {len(classes)} class(es){shown}; a classifier needs at least two")
    return classes
