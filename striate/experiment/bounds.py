"""Limits of what can be asked for, known before anything starts."""

from __future__ import annotations

from striate.errors import UsageError
from striate.machine import usable_cores
from striate.recipe import LARGEST_SEED, LARGEST_SIDE
from striate.settings import Settings

A_CORE = 16
"""Threads, and processes, for each core at most: more only wait for each other, and the system refuses them at some point."""


def check_bounds(settings: Settings) -> None:
    """Raises UsageError if a number of threads, processes or pixels, or the seed, is out of all proportion."""
    most = A_CORE * usable_cores()
    _within("threads", settings.threads, 1, most, f"{A_CORE} for each core")
    _within("processes", settings.processes, 1, most, f"{A_CORE} for each core")
    _within("size", settings.size, 1, LARGEST_SIDE, "pixels")
    _within("seed", settings.seed, 0, LARGEST_SEED, "2^63 - 1")


def _within(name: str, value: int | None, low: int, high: int, why: str) -> None:
    if value is None or low <= value <= high:
        return
    if value < low:
        raise UsageError(f"{name} must be at least {low}, got {value}")
    raise UsageError(f"{name} must be at most {high} ({why}), got {value}")
