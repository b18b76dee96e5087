"""The images in a folder of which nobody has said what they are: those to predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from striate.data.ledger import Fate, Ledger, settle
from striate.data.tree import NO_PICTURE, as_counted, enter_closed, enter_others, look_through


@dataclass(frozen=True, slots=True)
class PictureFiles:
    """The images in a folder and below it.

    Attributes:
        source: the folder.
        files: a folder's own before those of its folders, both as people count: 2 before 10.
        closed: folder -> reason, for those that could not be entered.
    """

    source: Path
    files: tuple[Path, ...]
    closed: Mapping[str, str]
    _folders: tuple[Path, ...]
    _ledger: Ledger

    def ledger_with(self, unreadable: Mapping[str, str]) -> Ledger:
        """What became of every entry; `unreadable`: path -> reason. To be asked for once."""
        fates: list[tuple[Path, Fate, str]] = [
            (path, "unreadable", unreadable[str(path)]) if str(path) in unreadable else (path, "used", "")
            for path in self.files
        ]
        settle(self._ledger, self.source, self._folders, fates, NO_PICTURE)
        return self._ledger


def picture_files(folder: Path) -> PictureFiles:
    """The images in a folder and below it, by ending or content."""
    ledger = Ledger()
    tree = look_through(folder, ledger)
    enter_others(tree, folder, ledger)
    found: list[Path] = []
    left = [tree]
    while left:
        one = left.pop()
        found += sorted(one.pictures, key=as_counted)
        left += sorted(one.folders, key=lambda inner: as_counted(inner.path), reverse=True)
    folders = tuple(one.path for one in tree.walk() if one is not tree and not one.closed)
    return PictureFiles(folder, tuple(found), enter_closed(tree, folder, ledger), folders, ledger)
