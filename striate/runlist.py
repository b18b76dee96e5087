"""The runs that there are, in a folder and in folders of runs below it."""

from __future__ import annotations

import os
from pathlib import Path

from striate.arguments import checked
from striate.errors import DataError
from striate.run import Run
from striate.runforms.summary import Overview

DEEPEST = 4
"""Levels of folders below the one that is searched for runs."""


@checked
def list_runs(out: str | Path = "runs") -> list[Run]:
    """The runs in a folder and in those below it, down to `DEEPEST` levels, oldest first. None of their files is read yet. Each
    folder is searched once, whatever links lead to it, and a run itself is not searched for others.
    """
    return _runs(Path(out))[0]


def overviews(out: Path) -> tuple[list[Overview], dict[str, str]]:
    """(`Run.overview` of each run in a folder that can be read, oldest first; path of each that cannot -> why). Raises DataError
    if the folder itself cannot be read.
    """
    runs, closed = _runs(out)
    rows = []
    for run in runs:
        try:
            rows.append(run.overview())
        except DataError as error:
            closed[str(run.path)] = str(error)
    return rows, closed


def _runs(out: Path) -> tuple[list[Run], dict[str, str]]:
    """(runs, oldest first; what may be a run and cannot be looked into -> why)."""
    found: list[tuple[int, str, Run]] = []
    closed: dict[str, str] = {}
    seen: set[tuple[int, int]] = set()
    folders = [(out, 0)] if out.is_dir() else []
    for folder, depth in folders:
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            inside = sorted(entry.name for entry in os.scandir(folder))
            if depth and "config.yaml" in inside:
                found.append(((folder / "config.yaml").lstat().st_mtime_ns, str(folder), Run(folder)))
            elif depth < DEEPEST:
                folders += [(folder / name, depth + 1) for name in inside if (folder / name).is_dir()]
        except OSError as error:
            if not depth:
                raise DataError(f"{out} cannot be read ({error.strerror})") from error
            closed[str(folder)] = f"{folder} cannot be read ({error.strerror})"
    return [run for *_, run in sorted(found, key=lambda one: one[:2])], closed
