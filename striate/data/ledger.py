"""What became of every entry of a data set, or of a folder to predict. Its sum is what was found, or it is an error."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from striate.errors import StriateError
from striate.terminal import plain

Fate = Literal["used", "excluded", "junk", "unreadable", "other"]
FATES: Mapping[Fate, str] = {
    "used": "used",
    "excluded": "excluded",
    "junk": "junk",
    "unreadable": "unreadable",
    "other": "of another kind",
}
"""The possible fates of an entry, with their wording."""
FILES, ROWS, ARRAYS = "files and folders", "rows", "arrays"
SHOWN = 20
"""Names that are kept of each kind; lines of text show the first `PRINTED`."""
PRINTED = 3


class Ledger:
    """Counts entries by their fate, with examples of those that are not used.

    Attributes:
        what: what the entries are, in words: `FILES`, `ROWS` or `ARRAYS`.
        found: how many there are.
        notes: what else the user should know about how they were read, a sentence each.
    """

    def __init__(self, what: str = FILES) -> None:
        self.what = what
        self.found = 0
        self.notes: list[str] = []
        self._counts = Counter[tuple[Fate, str]]()
        self._examples = defaultdict[tuple[Fate, str], list[str]](list)

    def find(self, count: int) -> None:
        """Adds this many entries to the number found."""
        self.found += count

    def enter(self, fate: Fate, name: str, kind: str = "", count: int = 1) -> None:
        """Records what became of `count` entries: `name` is the first of them, and `kind` says why, or what it is."""
        self._counts[fate, kind] += count
        if fate != "used" and len(examples := self._examples[fate, kind]) < SHOWN:
            examples.append(name)

    def add(self, other: Ledger) -> None:
        """Adds the entries of another one."""
        self.found += other.found
        self._counts.update(other._counts)
        for key, names in other._examples.items():
            self._examples[key] += names[: SHOWN - len(self._examples[key])]
        self.notes += other.notes

    def count(self, fate: Fate) -> int:
        """How many entries had this fate."""
        return sum(count for (one, _), count in self._counts.items() if one == fate)

    def check(self) -> None:
        """Raises StriateError, of the program's own, if an entry has no fate or two."""
        if self._counts.total() != self.found:
            parts = ", ".join(f"{self.count(fate):,} {words}" for fate, words in FATES.items())
            raise StriateError(
                f"internal error: {self.found:,} {self.what} were found and {self._counts.total():,} accounted for ({parts}). "
                "Please report it, with the names of the folders"
            )

    def as_dict(self) -> dict[str, object]:
        """The ledger in plain types: `what`, `entries`, a count for each fate, `named` (kinds with examples) and `notes`."""
        order = list(FATES)
        return {
            "what": self.what,
            "entries": self.found,
            **{fate: self.count(fate) for fate in FATES},
            "named": [
                {"fate": fate, "kind": kind, "count": self._counts[fate, kind], "examples": list(names)}
                for (fate, kind), names in sorted(self._examples.items(), key=lambda item: order.index(item[0][0]))
            ],
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """The ledger in words: one line if all is used, else one more for each kind with the first names."""
        return ledger_lines(self.as_dict())


def ledger_lines(ledger: Mapping[str, Any]) -> list[str]:
    """`Ledger.lines` of what `Ledger.as_dict` gave, as a run keeps it."""
    total, used = ledger["entries"], ledger["used"]
    parts = [f"{ledger[fate]:,} {words}" for fate, words in FATES.items() if ledger[fate] or fate == "used"]
    lines = [f"{total:,} {ledger['what']}{', all used' if used == total else ': ' + ', '.join(parts)}"]
    for row in ledger["named"]:
        names = [plain(name) for name in row["examples"][:PRINTED]]
        more = row["count"] - len(names)
        listed = ", ".join(names) + (f" and {more:,} more" if more else "")
        kind = f", {plain(row['kind'])}" if row["kind"] else ""
        lines.append(f"{FATES[row['fate']]}{kind}: {listed}")
    return [*lines, *map(plain, ledger["notes"])]


def below(root: Path, path: Path) -> str:
    """A path as it is below a folder; whole if it is not."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
