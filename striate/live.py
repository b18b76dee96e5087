"""A run while it trains: which process trains it, its events as they come, and how another process asks it to stop."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from striate.arguments import checked
from striate.errors import DataError, UsageError
from striate.events import Event, event_of
from striate.files import write_atomic, write_json
from striate.run import Run
from striate.runfiles import place

EVENTS = "events.jsonl"
LOCK, HOLDER, STOP = "lock", "holder.json", "stop"
"""Lie in checkpoints/ while a run trains; a killed process leaves the first two, and the next one takes them over."""
LOOK_SECONDS = 0.2
"""Between two looks at a run that another process trains."""
LOCK_SECONDS = 0.5
"""Time to wait for the lock: who looks whether a run is trained has it for an instant."""
LONGEST_LINE = 2**20
"""Bytes of an event."""
LARGEST_EVENTS = 2**32
"""Bytes of all of them."""


@checked
def follow(run: str | Path | Run, *, live: bool = True) -> Iterator[Event]:
    """The events of a run, or of the run in a folder, from its first on, in order: those that there are, then, if `live`, each as
    it comes, until no process trains the run any more. Any process may follow it, on any machine that sees the folder.

    A resumed run goes on in the same file: an event Started says after which step, and what came before of later steps is void.

    Raises:
        DataError: there is no such run, or a line of its events.jsonl is damaged; the last one may be unfinished.
    """
    path = run.path if isinstance(run, Run) else Path(run)
    if not (path / "config.yaml").is_file() and not trains(path):
        raise DataError(f"{path} is not a run: it has no config.yaml. List runs with: striate runs")
    return _followed(path, live)


def _followed(path: Path, live: bool) -> Iterator[Event]:
    at = number = 0
    while True:
        going_on = live and trains(path)  # asked first: what is written before the end is read below
        for line in _whole_lines(path, at):
            at, number = at + len(line), number + 1
            try:
                event = event_of(json.loads(line))
            except (DataError, ValueError, RecursionError) as error:
                raise DataError(f"{path / EVENTS}: line {number}: {error}") from error
            yield event
        if not going_on:
            return
        time.sleep(LOOK_SECONDS)


def _whole_lines(path: Path, at: int) -> Iterator[bytes]:
    """The whole lines from a position on that are there now, and none of those that are written meanwhile."""
    if place(path, EVENTS, LARGEST_EVENTS) is None:
        return
    with (path / EVENTS).open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(at)
        line = b""
        while at < end and (line := file.readline(LONGEST_LINE)).endswith(b"\n"):
            at += len(line)
            yield line
    if len(line) == LONGEST_LINE:
        raise DataError(
            f"{path / EVENTS} has a line of more than {LONGEST_LINE:,} bytes: it was not written by striate"
        )


@checked
def stop(run: str | Path | Run, *, wait: bool = True) -> str:
    """Asks the process that trains a run to stop, as Ctrl-C there does: it ends its step, saves, and the run can be resumed.

    Args:
        run: the run, or its folder.
        wait: until that process has ended. Otherwise the request is left for it; it looks once a second.

    Returns: the run's status: `interrupted`, or `finished` if only evaluation and report were left; `running` without waiting.

    Raises:
        DataError: there is no such run.
        UsageError: no process trains it.
    """
    opened = run if isinstance(run, Run) else Run.open(run)
    path = opened.path
    if not trains(path):
        ended = f"{opened.ending}" if opened.summary.status != "running" else "its process was killed"
        way = "" if opened.summary.status == "finished" else f". To resume: striate train --resume {path}"
        raise UsageError(f"no process trains {path}, so there is nothing to stop ({ended}){way}")
    write_atomic(path / "checkpoints" / STOP, "")
    while wait and trains(path):
        time.sleep(LOOK_SECONDS)
    return str(Run(path).summary.status)


def trains(path: Path) -> bool:
    """Whether a process trains the run in that folder now. Where the disk knows no locks, its status has to tell."""
    from filelock import FileLock, Timeout

    lock = path / "checkpoints" / LOCK
    if not lock.exists():
        return False
    try:
        with FileLock(lock).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except (NotImplementedError, OSError):
        return Run(path).summary.status == "running"


@contextmanager
def taken(run: Run, warn: Callable[[str], None]) -> Iterator[None]:
    """Inside, this process has the lock of a run, which the system frees when the process ends, however it ends. Where the disk
    knows no locks, as some network disks do not, a warning says so. Raises UsageError if another process has it, which is named.
    """
    from filelock import FileLock, Timeout

    folder = run.path / "checkpoints"
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=LOCK_SECONDS)
        while not (folder / LOCK).exists():  # the one before removed it after we had opened it: no other would see ours
            lock.release()
            lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise UsageError(
            f"{run.path} is already being trained{_by(run)}: wait until it ends, or stop it: striate stop {run.path}"
        ) from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        warn(f"the disk of {run.path} does not support locks ({error}): do not resume this run twice at the same time")
        yield
        return
    try:
        with suppress(OSError):
            (folder / STOP).unlink(missing_ok=True)  # it was meant for the process before
            write_json(folder / HOLDER, {"pid": os.getpid(), "host": socket.gethostname()})
        yield
    finally:
        with suppress(OSError):  # Windows removes no file that is open; its lock goes with its release
            for name in (STOP, HOLDER, LOCK):
                (folder / name).unlink(missing_ok=True)
        lock.release()


def _by(run: Run) -> str:
    """Which process has the lock, if that is known."""
    try:
        found = json.loads((run.path / "checkpoints" / HOLDER).read_text(encoding="utf-8"))
        return f" by process {found['pid']} on {found['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
