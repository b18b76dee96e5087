"""Limits of what can be asked for, known before anything starts."""

from __future__ import annotations

from striate.errors import UsageError, param
from striate.machine import usable_cores
from striate.settings import Settings

A_CORE = 16
"""Threads, and processes, for each core at most: more only wait for each other, and the system refuses them at some point."""


def check_bounds(settings: Settings) -> None:
    """Raises UsageError if there are far fewer cores than threads or processes are asked for."""
    most = A_CORE * usable_cores()
    for name in ("threads", "processes"):
        if (value := getattr(settings, name)) is not None and value > most:
            raise UsageError(f"{param(name)} must be at most {most} ({A_CORE} for each core), got {value}")
