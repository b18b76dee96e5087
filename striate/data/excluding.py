"""What `--exclude` leaves out: files by patterns, whole folders by their path."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path

from striate.data.ledger import Fate, Ledger, below
from striate.data.tree import Folder


class Excluding:
    """What the user's patterns name, by pattern."""

    def __init__(self, source: Path, patterns: Sequence[str]) -> None:
        self.source = source
        self.found: dict[str, list[str]] = {pattern: [] for pattern in patterns}

    def hits(self, path: Path) -> bool:
        """Whether a pattern names a file; which is noted."""
        if not self.found:
            return False
        names = (below(self.source, path), path.name, str(path))
        hits = [pattern for pattern in self.found if any(fnmatch.fnmatchcase(name, pattern) for name in names)]
        for pattern in hits:
            self.found[pattern].append(str(path))
        return bool(hits)

    def files(self, paths: Iterable[Path]) -> None:
        """Notes which of the files are named."""
        for path in paths:
            self.hits(path)

    def folders(self, tree: Folder, ledger: Ledger) -> None:
        """Takes the folders out of the tree that are named by their path."""
        wanted = {pattern.rstrip("/"): pattern for pattern in self.found}
        for parent in list(tree.walk()):
            for folder in [one for one in parent.folders if below(self.source, one.path) in wanted]:
                parent.folders.remove(folder)
                pattern = wanted[below(self.source, folder.path)]
                for one in folder.walk():
                    files = [*one.pictures, *one.others]
                    self.found[pattern] += [str(path) for path in files]
                    ledger.enter("excluded", below(self.source, one.path), count=1 + len(files))

    def others(self, tree: Folder, ledger: Ledger) -> None:
        """Takes the files out of the tree that are named and no images."""
        for folder in tree.walk() if self.found else ():
            hits = [path for path in folder.others if self.hits(path)]
            for path in hits:
                ledger.enter("excluded", below(self.source, path))
            folder.others = [path for path in folder.others if path not in hits]

    def marked(self, left: Iterable[tuple[Path, Fate, str]]) -> list[tuple[Path, Fate, str]]:
        """The same (path, fate, why), with those that are named as excluded."""
        named = {path for paths in self.found.values() for path in paths}
        return [(path, "excluded", "") if str(path) in named else (path, fate, why) for path, fate, why in left]
