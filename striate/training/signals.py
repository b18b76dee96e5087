"""SIGINT, SIGTERM and SIGHUP while a net trains: the first lets the running step end, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

FILE_SECONDS = 1.0
"""Between two looks for a file that asks to stop."""


class Stop:
    """A request that a training stops: by a signal, by another thread, or by another process through a file.

    The running step ends then, everything is saved, and `striate.train` raises Interrupted. Each training needs its own.

    Attributes:
        signal: the one that came, or that a request without a signal counts as.
        file: is looked for once a second; that it is there is a request too.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.file: Path | None = None
        self._next = 0.0

    def ask(self, number: int = signal.SIGINT) -> None:
        """Asks the training to stop, as that signal does. May be called from any thread, any number of times."""
        self.signal = number

    def heard(self) -> int:
        """The signal, 0 if nobody asked."""
        if self.signal is None and self.file is not None and (now := time.monotonic()) >= self._next:
            self._next = now + FILE_SECONDS
            if self.file.exists():
                self.ask()
        return self.signal or 0

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells have it: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def catching(stop: Stop, pids: Sequence[int] | None = None) -> Iterator[None]:
    """Signals become requests to stop, except in threads, where Python allows no handlers. A second signal goes on to the
    processes `pids`; without those it acts as if nobody had caught the first.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers: list[int] = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:  # as it is under nohup
        numbers.append(hangup)
    before = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: FrameType | None) -> None:
        if pids is None:
            for one in before:
                signal.signal(one, signal.SIG_DFL)
        elif stop.signal is not None:
            pass_on(number, pids)
        stop.ask(number)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def pass_on(number: int, pids: Sequence[int]) -> None:
    """Sends a signal to those of the processes that still are there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
