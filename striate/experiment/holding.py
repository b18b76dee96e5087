"""One training of a run at a time: a lock that the system frees when its process ends, however it ends."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from striate.errors import UsageError
from striate.files import write_json
from striate.run import Run
from striate.training.ranks import Ranks

LOCK, HOLDER = "lock", "holder.json"
"""In the run's checkpoints, while it is trained; a killed process leaves them, and the next one takes them over."""


@contextmanager
def held(ranks: Ranks, run: Run, say: Callable[[str], None]) -> Iterator[None]:
    """Inside, no other process trains this run; rank 0 holds it for all ranks. Where the disk knows no locks, as some network
    disks do not, that is said, and nobody is kept out.

    Raises:
        UsageError: another process has it; it is named.
    """
    lock = ranks.decided(lambda: _Held(_locked(run, say))).lock
    try:
        yield
    finally:
        if lock is not None:
            _free(run, lock)


class _Held:
    """What rank 0 has; to the other ranks it goes without the lock."""

    def __init__(self, lock: Any = None) -> None:
        self.lock = lock

    def __reduce__(self) -> tuple[type[_Held], tuple[()]]:
        return _Held, ()


def _locked(run: Run, say: Callable[[str], None]) -> Any:
    from filelock import FileLock, Timeout

    folder = run.path / "checkpoints"
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
        while not Path(
            lock.lock_file
        ).exists():  # the one before removed it after we had opened it: nobody else would meet us
            lock.release()
            lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"{run.path} is being trained already{_by(run)}: wait for its end, or stop it there; it saves and can be resumed then"
        ) from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        say(f"warning: the disk of {run.path} knows no locks ({error}): do not resume this run twice at the same time")
        return None
    try:
        with suppress(OSError):
            write_json(_holder(run), {"pid": os.getpid(), "host": socket.gethostname()})
    except BaseException:
        _free(run, lock)
        raise
    return lock


def _free(run: Run, lock: Any) -> None:
    with suppress(OSError):  # Windows removes no file that is open; its lock goes with its release
        _holder(run).unlink(missing_ok=True)
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def _by(run: Run) -> str:
    """Who has the lock, as far as it said so."""
    try:
        found = json.loads(_holder(run).read_text(encoding="utf-8"))
        return f" by process {found['pid']} on {found['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _holder(run: Run) -> Path:
    return run.path / "checkpoints" / HOLDER
