"""How a command starts and ends: streams that may be closed, signals, and every error as one sentence and an exit code."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from striate.cli.output import show_line
from striate.errors import Signalled, StriateError, out_of_memory
from striate.machine import hearing, speaks
from striate.texts import storage

STDOUT = "standard output"
MAKE_ROOM = "free some space there"
WAYS = {
    errno.ENOSPC: MAKE_ROOM,
    errno.EDQUOT: MAKE_ROOM,
    errno.EFBIG: "raise the file size limit (ulimit -f), or write to another disk",
    errno.EACCES: "get permission, or choose another location",
    errno.EPERM: "get permission, or choose another location",
    errno.EROFS: "choose a location that can be written",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "there is a file where a folder is expected",
    errno.EISDIR: "there is a folder where a file is expected",
    errno.EEXIST: "there is a file where a folder is expected",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs: the machine has reached its limit of open files",
    errno.EAGAIN: "raise the limit of processes and threads (ulimit -u)",
    errno.ENOMEM: "raise the memory limit (ulimit -v), or close other programs",
}
"""The way out of an error of the system."""
NO_MEMORY = "memory ran out: raise the memory limit (ulimit -v), close other programs, or process less at a time"
NO_THREADS = (
    "no more threads can be started: raise the limit of processes and threads (ulimit -u) or of memory (ulimit -v)"
)


class ReaderGone(Exception):
    """Nobody reads standard output any more."""


class _Stdout(io.FileIO):
    """Standard output; an error of it names it."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise ReaderGone from None
        except OSError as error:
            raise OSError(error.errno, error.strerror, STDOUT) from None


class _Stderr(io.FileIO):
    """Standard error, which nobody may read: what cannot be written is dropped, and the work goes on."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def ready_streams() -> None:
    """Prepares the standard streams so that a message that cannot be written never ends the work.

    A closed stream becomes the null device; else the next file that is opened would take its place and receive the messages. A
    character that the stream's encoding lacks is written as an escape.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115  (for the life of the process)
    sys.stdout = _stream(sys.stdout, 1, _Stdout)
    sys.stderr = _stream(sys.stderr, 2, _Stderr)


def _stream(stream: TextIO | None, descriptor: int, kind: type[io.FileIO]) -> TextIO:
    """A stream of this process on `descriptor`, over `kind`; another one, such as a test's, is left as it is."""
    if stream is not None and not (isinstance(stream, io.TextIOWrapper) and _number(stream) == descriptor):
        return stream
    if stream is not None and isinstance(getattr(stream.buffer, "raw", None), kind):
        return stream
    with suppress(OSError, ValueError):
        if stream is not None:
            stream.flush()
    raw = kind(descriptor, "wb", closefd=False)
    terminal = stream is not None and stream.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="backslashreplace",
        line_buffering=terminal or descriptor == 2,
    )


def _number(stream: io.TextIOWrapper) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def run_to_end(command: Callable[[], Any], debug: bool) -> NoReturn:
    """Runs a command, and ends with SystemExit: its exit code, after one sentence on stderr where it failed.

    Args:
        command: may raise anything.
        debug: show errors with their traceback instead.
    """
    try:
        with hearing():
            try:
                code = command()
            finally:
                sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except SystemExit:
        raise
    except ReaderGone:  # as in striate nets | head: not an error, and nobody is reading
        _drop_stdout()
        sys.exit(0)
    except BaseException as error:
        if debug:
            raise
        if out_of_memory(error):
            traceback.clear_frames(error.__traceback__)  # which hold what was too much: to say so needs memory too
        if isinstance(error, OSError) and error.filename == STDOUT:
            _drop_stdout()
        code, lines = told(error)
        if speaks():
            for line in (f"striate: {lines[0]}", *lines[1:]):
                show_line(line, err=True)
        sys.exit(code)


def told(error: BaseException) -> tuple[int, list[str]]:
    """(exit code, lines to print) of what ended a command."""
    if isinstance(error, StriateError):
        return error.exit_code, [str(line) for line in error.args or ("",)]
    if isinstance(error, Signalled):
        return 128 + error.number, [f"stopped by {error.name}; no half-written file is left"]
    if out_of_memory(error):
        return 1, [NO_MEMORY]
    if isinstance(error, OSError):
        return 1, [of_the_system(error)]
    text = str(error)
    if "can't start new thread" in text or "Resource temporarily unavailable" in text:
        return 1, [NO_THREADS]
    first = (text.strip().splitlines() or [""])[0][:300]
    return 1, [
        f"{type(error).__name__}: {first or 'without a message'}. This is a bug in striate: please report it, with the "
        "output of the same command with --debug"
    ]


def of_the_system(error: OSError) -> str:
    """The system's refusal, its place, and the way out."""
    said = error.strerror or str(error) or type(error).__name__
    place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else ""
    text = f"{place}: {said}" if place else said
    way = None if place == STDOUT else WAYS.get(error.errno or 0)
    if way is MAKE_ROOM and place:
        way += _room(Path(place))
    return f"{text}: {way}" if way else text


def _room(path: Path) -> str:
    """The free space on a path's disk, in brackets."""
    for folder in (path, *path.absolute().parents):
        with suppress(OSError):
            return f" ({storage(shutil.disk_usage(folder).free)} are free)"
    return ""


def _drop_stdout() -> None:
    """What stdout has not taken is dropped: else Python would try, and fail, again when it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
