"""The words that options take, as types: said once, for the library, the command line and the checks of both."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

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
