"""Errors that a user can act on. Each message names the value, the limit and the way out; the class decides the exit code."""

from __future__ import annotations

import difflib
import errno
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager


class StriateError(Exception):
    """The run failed for a reason that we can explain (exit code 1).

    Each argument is a line. What a line quotes, names of files among it, may hold line breaks of its own, which a terminal is
    shown as escapes: see `striate.terminal`.
    """

    exit_code = 1

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class UsageError(StriateError):
    """The request cannot be carried out: an unknown name, a value out of range (exit code 2)."""

    exit_code = 2


class DataError(StriateError):
    """The data, an image or the files of a run must be repaired first (exit code 3)."""

    exit_code = 3


class CheckError(StriateError):
    """A requested check failed (exit code 4)."""

    exit_code = 4


class Interrupted(StriateError):
    """Stopped by SIGINT (exit code 130), SIGTERM (143) or SIGHUP (129) after the state was saved."""

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Signalled(BaseException):
    """SIGINT, SIGTERM or SIGHUP came to a command: what is being written is cleared away on the way out. It is no
    KeyboardInterrupt, which the parser of the command line would take for its own.

    Attributes:
        number: the signal's; the exit code is 128 more.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def name(self) -> str:
        """Such as SIGTERM."""
        return signal.Signals(self.number).name


_MEMORY_SIGNS = ("allocate memory", "bad_alloc", "out of memory", "bad allocation", "cannot allocate", "failed to map")
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out. Libraries have no type in common for that: torch says it in words on the CPU."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _MEMORY_SIGNS)


def short_of_means(error: BaseException) -> bool:
    """Whether the system had no memory, files or threads to give: nothing is wrong with what was being read then."""
    return out_of_memory(error) or (isinstance(error, OSError) and error.errno in _SCARCE)


_option: Callable[[str], str] | None = None


@contextmanager
def commanding(option: Callable[[str], str]) -> Iterator[None]:
    """While a command runs, messages name options, `--validation 0`, and not parameters. `option`: parameter -> its option."""
    global _option  # a process speaks to one reader
    before, _option = _option, option
    try:
        yield
    finally:
        _option = before


def param(name: str, *value: object) -> str:
    """A parameter as the reader writes it: `validation=0` in Python, `--validation 0` on the command line.

    Args:
        value: at most one; True and False are those of a switch.
    """
    if _option is None:
        return f"{name}={value[0]!r}" if value else name
    if value and value[0] is False:
        return _option(name).replace("--", "--no-", 1)
    return _option(name) if not value or value[0] is True else f"{_option(name)} {value[0]}"


def either(words: Sequence[str]) -> str:
    """`adamw, adam or sgd`."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def unknown_name(kind: str, name: str, known: Iterable[str], listing: str) -> UsageError:
    """The error for a name that is not known: the nearest known ones, and the command that lists all of them."""
    known = sorted(known)
    lowered = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.4)
    guess = f" Did you mean {' or '.join(lowered[one] for one in near)}?" if near else ""
    more = "List them with" if listing.startswith("striate ") else "Available"
    return UsageError(f"there is no {kind} named {name!r}.{guess} {more}: {listing}")
