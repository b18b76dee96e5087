"""The words and numbers that options take, as types with their limits: said once, for the library, the command line, the files of
runs and the checks of all.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar


@dataclass(frozen=True, slots=True)
class Within:
    """Limits: of a number its value, of a text its length, of a list or mapping its size. `low` and `high` are allowed, `above`
    and `below` are not.
    """

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    unit: str = ""

    def holds(self, value: Any) -> bool:
        """Whether a value is inside. NaN and infinity never are."""
        return bool(self.low <= value <= self.high and self.above < value < self.below)

    def __str__(self) -> str:
        ends = {"at least": self.low, "above": self.above, "at most": self.high, "below": self.below}
        words = {word: _end(end) for word, end in ends.items() if not math.isinf(end)}
        both = list(words) == ["at least", "at most"]
        text = f"from {words['at least']} to {words['at most']}" if both else " and ".join(map(" ".join, words.items()))
        return f"{text} {self.unit}".rstrip()


def _end(end: float) -> str:
    if end == 2**63 - 1:
        return "2^63 - 1"
    return f"{round(end, 3):,}" if abs(end) < 10**18 else f"{end:g}"


Epochs = Annotated[float, Within(above=0), Within(high=1_000_000)]
Batch = Annotated[int, Within(1), Within(high=2**24)]
Side = Annotated[int, Within(1), Within(high=4096)]
"""Limits far above what anybody trains with: beyond them is a slip of the hand, which would run for years or out of memory."""
Seconds = Annotated[float, Within(above=0, unit="seconds")]
Rate = Annotated[float, Within(above=0)]
Count = Annotated[int, Within(1)]
Patience = Annotated[int, Within(1, unit="epoch")]
Seed = Annotated[int, Within(0), Within(high=2**63 - 1)]
Share = Annotated[float, Within(0, 1)]
"""From none to all."""
Part = Annotated[float, Within(0, below=1)]
"""From none to less than all."""

Fit = Literal["crop", "pad", "squash"]
OnBad = Literal["skip", "stop"]
Init = Literal["default", "paper"]
Balance = Literal["none", "weights", "sampler"]
Keep = Literal["last", "best"]
Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["one-cycle", "constant", "step"]
Judge = Literal["test", "validation", "none"]
Layout = Literal["nchw", "nhwc"]
Precision = Literal["fp32", "bf16"]
LogKind = Literal["tensorboard", "mlflow"]

Class = TypeVar("Class", bound=type)

RENAMED = {"accumulate": "micro_batches", "sizes": "resize_schedule", "steps": "milestones"}
"""Old name of a setting or recipe field -> its new name. Files with old names stay readable; callers have one release."""


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values under the new names."""
    return {RENAMED.get(name, name): value for name, value in values.items()}


def takes_old_names(kind: Class) -> Class:
    """Class decorator: the constructor also accepts old field names, with a FutureWarning that gives the new name."""
    make: Any = kind.__init__  # type: ignore[misc]

    @functools.wraps(make)
    def init(self: Any, *args: Any, **given: Any) -> None:
        old = {name: given.pop(name) for name in RENAMED if name in given}
        for name in old:
            warnings.warn(
                f"{name} is now called {RENAMED[name]}; the next release drops the old name", FutureWarning, 2
            )
        # `dataclasses.replace` passes every field, also under its new name: the value that was asked for comes last.
        make(self, *args, **{**given, **renamed(old)})

    kind.__init__ = init  # type: ignore[misc]
    return kind
