"""The ledger: what became of every entry of a data set, or of a folder to predict. Its sum is what was found, or it is an error.

Listing, loading and predicting fill the same ledger, and all commands show it in the same words.
"""

from __future__ import annotations

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
"""What can become of an entry, and how it is said."""
FILES, ROWS, ARRAYS = "files and folders", "rows", "arrays"
SHOWN = 20
"""Names that are kept of each kind; lines of text show the first `PRINTED`."""
PRINTED = 3


class Ledger:
    """Counts entries by their fate, with examples of those that are not used.

    Attributes:
        what: what the entries are, in words: `FILES`, `ROWS` or `ARRAYS`.
        found: how many there are.
        notes: what else a person should know of how they were read, a sentence each.
    """

    def __init__(self, what: str = FILES) -> None:
        self.what = what
        self.found = 0
        self.notes: list[str] = []
        self._counts: dict[tuple[Fate, str], int] = {}
        self._examples: dict[tuple[Fate, str], list[str]] = {}

    def find(self, count: int = 1) -> None:
        """So many entries more are there."""
        self.found += count

    def enter(self, fate: Fate, name: str, kind: str = "", count: int = 1) -> None:
        """Says what became of `count` entries: `name` is the only, or the first, of them, and `kind` why, or what it is."""
        key = (fate, kind)
        self._counts[key] = self._counts.get(key, 0) + count
        if fate != "used":
            examples = self._examples.setdefault(key, [])
            if len(examples) < SHOWN:
                examples.append(name)

    def add(self, other: Ledger) -> None:
        """Adds the entries of another one."""
        self.found += other.found
        for key, count in other._counts.items():
            self._counts[key] = self._counts.get(key, 0) + count
        for key, names in other._examples.items():
            examples = self._examples.setdefault(key, [])
            examples += names[: SHOWN - len(examples)]
        self.notes += other.notes

    def count(self, fate: Fate) -> int:
        """How many entries had this fate."""
        return sum(count for (one, _), count in self._counts.items() if one == fate)

    def check(self) -> None:
        """Raises StriateError, of the program's own, if an entry has no fate or two."""
        told = {fate: self.count(fate) for fate in FATES}
        if sum(told.values()) != self.found:
            parts = ", ".join(f"{count:,} {FATES[fate]}" for fate, count in told.items())
            raise StriateError(
                f"internal error: {self.found:,} {self.what} were found and {sum(told.values()):,} accounted for ({parts}). "
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
    if used == total:
        first = f"{total:,} {ledger['what']}, all used"
    else:
        parts = [f"{ledger[fate]:,} {words}" for fate, words in FATES.items() if ledger[fate] or fate == "used"]
        first = f"{total:,} {ledger['what']}: {', '.join(parts)}"
    lines = [first]
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
