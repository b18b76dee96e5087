"""Kinds of values that several files of a run hold, with their limits."""

from __future__ import annotations

from typing import Annotated

from striate.choices import Within

LARGEST_SIDE, MOST_THREADS = 4096, 1024
Name = Annotated[str, Within(0, 10_000)]
Text = Annotated[str, Within(0, 10_000)]
Side = Annotated[int, Within(1, LARGEST_SIDE)]
Share = Annotated[float, Within(-1e-6, 1 + 1e-6)]
"""From 0 to 1, except for rounding."""
Count = Annotated[int, Within(0, 10**12)]
Counts = dict[str, Count]
Seconds = Annotated[float, Within(0, 10**10)]
Figure = Annotated[float, Within(-1e300, 1e300)]
"""A measured figure; after a training that went wrong it can be large."""
Loss = Annotated[float, Within(-1e-6, 1e300)]
Temperature = Annotated[float, Within(1e-3, 1e4)]
Epochs = Annotated[float, Within(0, 10**6)]
Classes = Annotated[tuple[Name, ...], Within(1, 100_000)]
