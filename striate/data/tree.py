"""A folder looked through once: every file and folder in it and below, each images, something else, or junk."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from striate.data.formats import is_picture, named
from striate.data.ledger import Fate, Ledger, below

_JUNK = frozenset(
    {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin", "__pycache__"}
)
"""System files, in lower case; names that begin with a dot are treated alike."""
AGAIN = "a link to a folder that has been read"
FateOf = tuple[Path, Fate, str]
"""A file, what became of it, and why, or what kind it is of."""


@dataclass(slots=True)
class Folder:
    """A folder and what is in it.

    Attributes:
        pictures: its files that are images, or are meant to be, by name.
        closed: why it could not be read; empty if it could.
    """

    path: Path
    pictures: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    closed: str = ""

    @property
    def name(self) -> str:
        return self.path.name

    def walk(self) -> Iterator[Folder]:
        """This folder and all below it, each before those in it."""
        left = [self]
        while left:
            folder = left.pop()
            yield folder
            left += reversed(folder.folders)

    def all_pictures(self) -> Iterator[Path]:
        """The images in it and below; first its own, then those of its folders."""
        return (path for folder in self.walk() for path in folder.pictures)

    def all_others(self) -> Iterator[Path]:
        """The files in it and below that are no images."""
        return (path for folder in self.walk() for path in folder.others)

    def all_closed(self) -> dict[str, str]:
        """Folder -> why it could not be entered."""
        return {str(folder.path): folder.closed for folder in self.walk() if folder.closed}

    def any_picture(self) -> bool:
        """Whether there is an image in it or below."""
        return any(folder.pictures for folder in self.walk())


def look_through(source: Path, ledger: Ledger) -> Folder:
    """The tree of a folder; links are followed, and no folder is entered twice, or again from below itself.

    The ledger counts every entry, and gets what became of junk. Real folders are entered before links, so that a folder is
    known by its own name wherever it has one in the tree.
    """
    root = Folder(source)
    seen = {_identity(folder) for folder in source.resolve().parents}
    left, links = [root], deque[tuple[Folder, Folder]]()
    while left or links:
        if left:
            folder = left.pop()
        else:
            parent, folder = links.popleft()
            if _identity(folder.path) in seen:
                ledger.enter("junk", below(source, folder.path), AGAIN)
                continue
            parent.folders.append(folder)
            parent.folders.sort(key=lambda one: one.name)
        if (identity := _identity(folder.path)) is not None:
            seen.add(identity)
        for child, linked in _fill(folder, source, ledger):
            if linked:
                links.append((folder, child))
            elif _identity(child.path) in seen:  # mounted a second time
                ledger.enter("junk", below(source, child.path), AGAIN)
            else:
                folder.folders.append(child)
                left.append(child)
    return root


def _fill(folder: Folder, source: Path, ledger: Ledger) -> list[tuple[Folder, bool]]:
    """Lists a folder; gives (folder, whether it is a link) of those in it, by name."""
    try:
        with os.scandir(folder.path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        folder.closed = f"cannot be opened ({error.strerror})"
        return []
    ledger.find(len(found))
    children = []
    for entry in found:
        path = folder.path / entry.name
        if entry.name.startswith(".") or entry.name.lower() in _JUNK:
            ledger.enter("junk", below(source, path))
            inside = 0 if entry.is_symlink() else sum(1 for _ in entries_below(path))
            ledger.find(inside)
            if inside:
                ledger.enter("junk", f"{below(source, path)}/...", count=inside)
        elif _is_folder(entry):
            children.append((Folder(path), entry.is_symlink()))
        elif named(entry.name) is not None or is_picture(path):
            folder.pictures.append(path)
        else:
            folder.others.append(path)
    return children


def entries_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """All that is in a folder and below it, links not followed; what cannot be entered counts as empty. As deep as it may be."""
    left: list[str | Path] = [folder]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        yield from found
        left += [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: reading it as a file will say so
        return False


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)  # noqa: PTH116 - follows links, as it should
    except OSError:
        return None
    return status.st_dev, status.st_ino


def account(
    tree: Folder, ledger: Ledger, fates: Iterable[FateOf], unreadable: Mapping[str, str], excluded: Collection[str] = ()
) -> None:
    """Enters all of a tree into its ledger: its files, folders that could not be entered, and the others, whose fate is the best
    one in them. Raises StriateError if an entry is accounted for twice, or not at all.

    Args:
        fates: of each file, unless it is one of the following.
        unreadable: path -> reason.
        excluded: paths that the user's patterns name.
    """
    order: list[Fate] = ["used", "excluded"]  # a folder of other files is of another kind itself
    best: dict[Path, int] = {}
    for path, fate, why in fates:
        name = below(tree.path, path)
        if str(path) in excluded:
            fate, why = "excluded", ""
        elif str(path) in unreadable:
            fate, name, why = "unreadable", f"{name}: {unreadable[str(path)]}", ""
        ledger.enter(fate, name, why)
        for parent in path.parents if fate in order else ():
            if parent == tree.path or best.get(parent, 2) <= order.index(fate):
                break
            best[parent] = order.index(fate)
    for folder in tree.walk():
        name = below(tree.path, folder.path)
        if folder is tree:
            continue
        if folder.closed:
            ledger.enter("unreadable", f"{name}: {folder.closed}")
        elif folder.path in best:
            ledger.enter(order[best[folder.path]], name)
        else:
            ledger.enter("other", name, "a folder without used images")
    ledger.check()


def as_counted(path: Path) -> tuple[list[str | int], str]:
    """A name as people order it: text without regard to case, and whole numbers in it as numbers."""
    parts = re.split("([0-9]+)", path.name)
    return [int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)], path.name
