"""SIGINT, SIGTERM and SIGHUP while a net trains: the first lets the running step end, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any


class Stop:
    """Whether a signal asked to stop, and which."""

    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells have it: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def catch_stop() -> Iterator[Stop]:
    """Takes the signals over; a second one acts as if nobody had. In threads, where Python allows no handlers, nothing."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = _handlers()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        for one in before:
            signal.signal(one, signal.SIG_DFL)

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def passing_on(pids: Sequence[int]) -> Iterator[Stop]:
    """The signals go on to those processes. In threads, where Python allows no handlers, nothing."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def pass_on(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    before = _handlers()
    for number in before:
        signal.signal(number, pass_on)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handlers() -> dict[int, Any]:
    """Signal -> what is done at it now. SIGHUP is heard where there is one and it is not ignored, as it is under nohup."""
    found: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
        found[hangup] = signal.getsignal(hangup)
    return found
