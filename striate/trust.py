"""When the file of a run's net is run: what this machine's own trainings, or `--trust-code`, have put on a list.

To load a net from a file is to run that file. A run can come from anybody, and names the file itself, with any hash: what it says
decides nothing. So the list is kept outside of all runs, in the user's own folder. An entry is a file by its absolute path
without links, the SHA-256 of its bytes, and the object in it that makes the net: another object of the same file may do anything.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import platformdirs
from filelock import FileLock

from striate.errors import DataError, StriateError, UsageError, param
from striate.files import write_atomic
from striate.nets.sources import Source, read_source
from striate.runforms.config import Origin

MOST_BYTES = 2**24


class Entry(NamedTuple):
    """A net's file that may be run, and which object in it."""

    path: str
    sha256: str
    object: str


def trusted_files() -> Path:
    """The list: $STRIATE_TRUST, or trusted.jsonl in the user's data folder."""
    if place := os.environ.get("STRIATE_TRUST"):
        return Path(place)
    return platformdirs.user_data_path("striate") / "trusted.jsonl"


def trust(path: Path, sha256: str, target: str) -> None:
    """Puts a file, by its path and the hash of what was run of it, and the object that `target` (`FILE.py:OBJECT`) names on the
    list. Raises StriateError if the list cannot be written.
    """
    place, entry = trusted_files(), _entry(path, sha256, target)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):  # trainings that begin at the same time
            known = _read(place)
            if entry not in known:
                lines = [json.dumps(one._asdict()) for one in (*known, entry)]
                write_atomic(place, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise StriateError(
            f"{place}, the list of trusted net files, cannot be written ({error.strerror}): move it away, or set "
            f"another file in the environment variable STRIATE_TRUST"
        ) from error


def trusted_source(kept: Origin, run: Path, trust_code: bool) -> Source:
    """The file that a run names, read, if it may be run; what is run are the bytes that were looked at.

    Args:
        kept: the origin of the net in the run's config; `run` is its folder.
        trust_code: run the file wherever it lies and whatever it holds now, and put it on the list.

    Raises:
        UsageError: the file is gone, has changed, lies in the run's folder, or is not on the list.
        DataError: the config does not say which file it was.
    """
    if kept.file is None or kept.sha256 is None:
        lacking = "sha256" if kept.file else "file"
        raise DataError(f"{run}/config.yaml: net.origin.{lacking} is missing, and its net is in a file")
    target, path = str(kept.target), Path(kept.file)
    if not path.is_file():
        raise UsageError(
            f"the net of {run} is {target}, and {path} is no longer there:",
            f"restore it, or give the net in Python: striate.load({str(run)!r}, module=...)",
        )
    source = read_source(path)
    if trust_code:
        trust(source.path, source.sha256, target)
        return source
    read_first = (
        f"It is not run unless you trust it. Read it first; then {param('trust_code', True)} runs it and trusts it "
        f"until it changes"
    )
    if source.path.is_relative_to(run.resolve()):
        raise UsageError(f"the net of {run} is code that lies in the run's own folder: {path}", read_first)
    if source.sha256 != kept.sha256:
        raise UsageError(
            f"{path} has changed since {run} was trained: its SHA-256 is {source.sha256[:12]}..., it was {kept.sha256[:12]}...",
            f"Restore the old file, or run the new one anyway with {param('trust_code', True)}",
        )
    if not path.is_absolute() or _entry(source.path, source.sha256, target) not in _read(trusted_files()):
        raise UsageError(
            f"the net of {run} is code in {path}, and no training on this machine has run {target} from that file",
            read_first,
        )
    return source


def _entry(path: Path, sha256: str, target: str) -> Entry:
    return Entry(str(path), sha256, target.rpartition(":")[2])


def _read(place: Path) -> list[Entry]:
    """The entries; a line that is none is passed over, which trusts less and never more."""
    try:
        lines = place.read_bytes()[:MOST_BYTES].splitlines() if place.is_file() else []
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            values = json.loads(line)
            entry = Entry(**{key: values[key] for key in Entry._fields})
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if all(isinstance(value, str) for value in entry):
            found.append(entry)
    return found
