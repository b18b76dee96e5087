"""Which files the rows of a table mean. Some tables name them as another machine, or no machine, would."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from striate.data.kinds import SUFFIXES
from striate.data.tree import entries_below
from striate.errors import DataError

MISSING = frozenset({"nan", "null", "n/a", "#n/a", "<na>", "nat", "#ref!", "#value!", "#name?"})
"""Cells that programs write where there is nothing, in small letters."""


class RowFiles:
    """The files that the rows mean, by their number.

    Raises DataError for a row without a path, or with one that means no file or two.
    """

    def __init__(self, table: Path, cells: Sequence[tuple[int, str]], notes: list[str]) -> None:
        self.table, self.folder = table, table.parent
        self._found: dict[int, Path] = {}
        for number, cell in cells:
            if not cell or cell.lower() in MISSING:
                raise DataError(f"{table}, row {number}: no path")
            if "\0" in cell:
                raise DataError(
                    f"{table}, row {number}: a zero byte in the path: the file is damaged, or in another encoding"
                )
            if cell.startswith(("http://", "https://", "s3://", "gs://")):
                raise DataError(
                    f"{table}, row {number}: {cell} is an address on the web: download the images, and name the files"
                )
            self._found[number] = self.folder / cell
        missing = [(number, cell) for number, cell in cells if not _is_file(self._found[number])]
        if missing and (turned := [(number, cell.replace("\\", "/")) for number, cell in missing if "\\" in cell]):
            self._try(turned, notes, "\\ between folders read as /")
            missing = [
                (number, cell.replace("\\", "/")) for number, cell in missing if not _is_file(self._found[number])
            ]
        if missing:
            self._moved(missing, len(cells), notes)
        self._by_stem([(number, cell) for number, cell in missing if not _is_file(self._found[number])], notes)

    def of(self, number: int) -> Path:
        return self._found[number]

    def _try(self, cells: Sequence[tuple[int, str]], notes: list[str], note: str) -> None:
        hits = [(number, self.folder / cell) for number, cell in cells if _is_file(self.folder / cell)]
        self._found.update(hits)
        if hits:
            notes.append(note)

    def _moved(self, cells: Sequence[tuple[int, str]], total: int, notes: list[str]) -> None:
        """Paths of another machine, or with a folder too much: the folders that all begin with are left out, the fewest with
        which most files are there. Of paths below the table only if none of them is there as it stands.
        """
        absolute = [cell.startswith("/") or cell[1:2] == ":" for _, cell in cells]
        if not all(absolute) and (any(absolute) or len(cells) < total):
            return
        parts = [[part for part in cell.split("/") if part not in ("", ".")] for _, cell in cells]
        best: list[tuple[int, Path]] = []
        dropped = ""
        for skipped in range(1, min(map(len, parts))):
            if len({tuple(names[:skipped]) for names in parts}) > 1:
                break
            tried = (
                (number, self.folder.joinpath(*names[skipped:]))
                for (number, _), names in zip(cells, parts, strict=True)
            )
            found = [(number, path) for number, path in tried if _is_file(path)]
            if len(found) > max(len(best), len(cells) // 2):
                best, dropped = found, "/".join(parts[0][:skipped])
        if best:
            notes.append(f"paths that begin with {dropped} are read from the table's folder")
            self._found.update(best)

    def _by_stem(self, cells: Sequence[tuple[int, str]], notes: list[str]) -> None:
        """Names without ending: the one image in the table's folder or below it that is called so."""
        wanted = [(number, cell) for number, cell in cells if not cell.lower().endswith(SUFFIXES)]
        if not wanted:
            return
        stems: dict[str, list[Path]] = {}
        for entry in entries_below(self.folder):
            stem, ending = os.path.splitext(entry.name)  # noqa: PTH122
            if ending.lower() in SUFFIXES and not stem.startswith("."):
                stems.setdefault(stem, []).append(Path(entry.path))
        hits = 0
        for number, cell in wanted:
            name = Path(cell).name
            tail = Path(cell).parts[:-1]
            found = [
                path for path in stems.get(name, ()) if path.parent.parts[len(path.parent.parts) - len(tail) :] == tail
            ]
            if len(found) > 1:
                shown = " and ".join(path.relative_to(self.folder).as_posix() for path in sorted(found)[:3])
                raise DataError(f"{self.table}, row {number}: {cell} could be {shown}: write the path with its ending")
            if found:
                self._found[number] = found[0]
                hits += 1
        if hits:
            notes.append("names without ending stand for the one image that is called so")


def _is_file(path: Path) -> bool:
    try:
        return os.path.isfile(path)  # noqa: PTH113 - of many thousands
    except ValueError:
        return False
