"""One training of a run at a time: a lock that the system frees when its process ends, however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from striate.live import free, take
from striate.run import Run
from striate.training.ranks import Ranks


@contextmanager
def held(ranks: Ranks, run: Run, warn: Callable[[str], None]) -> Iterator[None]:
    """Inside, no other process trains this run; rank 0 holds it for all ranks. Where the disk knows no locks, as some network
    disks do not, that is said, and nobody is kept out.

    Raises:
        UsageError: another process has it; it is named.
    """
    lock = ranks.decided(lambda: _Held(take(run, warn))).lock
    try:
        yield
    finally:
        if lock is not None:
            free(run, lock)


class _Held:
    """What rank 0 has; to the other ranks it goes without the lock."""

    def __init__(self, lock: Any = None) -> None:
        self.lock = lock

    def __reduce__(self) -> tuple[type[_Held], tuple[()]]:
        return _Held, ()
