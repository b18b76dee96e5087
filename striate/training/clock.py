"""The clock of a run: where the seconds went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Adds up seconds by what they were spent on. On an accelerator the work is queued: what waits for it is charged."""

    def __init__(self, started: float) -> None:
        """started: `time.perf_counter()` when the command began; until: when training is to be over, where there is a budget."""
        self.started = started
        self.until: float | None = None
        self.seconds: dict[str, float] = {}

    @contextmanager
    def charge(self, what: str) -> Iterator[None]:
        """Charges the time inside to `what`."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.add(what, time.perf_counter() - begin)

    def add(self, what: str, seconds: float) -> None:
        self.seconds[what] = self.seconds.get(what, 0.0) + seconds

    def total(self) -> float:
        """Seconds since the command began."""
        return time.perf_counter() - self.started

    def as_dict(self) -> dict[str, float]:
        """Seconds by what they were spent on, then `other` and `total`, to the millisecond."""
        total = self.total()
        parts = {what: round(seconds, 3) for what, seconds in self.seconds.items()}
        return {**parts, "other": round(max(0.0, total - sum(self.seconds.values())), 3), "total": round(total, 3)}
