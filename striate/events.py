"""The events of a training: small frozen objects that observers are given and `events.jsonl` of the run keeps.

run = striate.train(observers=[lambda event: print(event.as_dict())])
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, dataclass_transform

from striate import forms
from striate.errors import DataError
from striate.strictjson import to_json

STEPS_KEPT_SECONDS = 1.0
"""The file keeps, of the step events, one in this time: some 700 KB an hour."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened in a training; each subclass is a frozen dataclass. `time`: when, in seconds since 1970."""

    time: float = field(default_factory=time.time)

    def __init_subclass__(cls) -> None:
        """Makes the subclass a dataclass."""
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def kind(cls) -> str:
        """The event's name in JSON: `epoch_ended` of EpochEnded."""
        return "".join(f"_{one.lower()}" if one.isupper() else one for one in cls.__name__).lstrip("_")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with the name of the event under `event`."""
        return {"event": self.kind(), **{one.name: getattr(self, one.name) for one in fields(self)}}


class Said(Event):
    """A line for people. `about`: what it is about, as in `net`, `data` or `plan`; empty for a plain sentence."""

    text: str
    about: str = ""


class Warned(Event):
    """Something that a person should know, and that does not end the training."""

    text: str


class Reading(Event):
    """`done` of `total` image files are decoded. `events.jsonl` does not keep it."""

    done: int
    total: int


class Started(Event):
    """The loop begins after `step` of `steps` steps: 0, or where the run is resumed. Earlier events of later steps are void."""

    run: str
    step: int
    steps: int
    steps_per_epoch: int


class Stepped(Event):
    """The progress within an epoch, at most a few times a second.

    Attributes:
        step, steps: done, and in all.
        epoch, epochs: the running epoch, from 1 on, and how many there are in all.
        loss, accuracy: means over the running epoch so far; accuracy from 0 to 1.
        images_per_second: in the running epoch.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    images_per_second: float


class EpochEnded(Event):
    """An epoch is done and validated.

    Attributes:
        row: of metrics.csv, column to number; None where there was nothing to measure.
        epochs: how many there are in all.
        seconds_left: that the rest of the training should take.
        last: whether training ends with it.
    """

    row: dict[str, float | None]
    epochs: int
    seconds_left: float
    last: bool


class EndMoved(Event):
    """The run has `steps` steps in all from now on, to keep its budget: `epochs` epochs, and `planned_epochs` before."""

    step: int
    steps: int
    epochs: float
    planned_epochs: float


class Saved(Event):
    """The checkpoint of `step` is written: the run can be resumed from there."""

    step: int


class Trained(Event):
    """Training is over after `step` steps. Calibration, evaluation and report follow."""

    step: int


class Evaluated(Event):
    """The net was evaluated. `figures`: accuracy with its interval `low` to `high`, loss and others, by name."""

    data: str
    split: str
    n: int
    figures: dict[str, float | None]


class Finished(Event):
    """The run is complete: trained, evaluated, its report written."""


class Stopped(Event):
    """The run was stopped, by a signal or on request. `text` says how to resume it."""

    text: str


class Failed(Event):
    """The run failed. `text`: the error."""

    text: str


Observer = Callable[[Event], object]
"""A callable that receives each event, in the process that called `striate.train`; its result is ignored."""

KINDS: Mapping[str, type[Event]] = {kind.kind(): kind for kind in Event.__subclasses__()}


def event_of(values: object) -> Event:
    """The event that `Event.as_dict` made these plain values of.

    Raises:
        DataError: it is none; the error names the field.
    """
    name = values.get("event") if isinstance(values, dict) else None
    if not isinstance(name, str) or name not in KINDS:
        raise DataError(f"event must be one of {', '.join(KINDS)}, got {forms.shown(name)}")
    return forms.read(KINDS[name], values)


class EventFile:
    """Appends events to a file, one line of JSON each, which the system has when the call returns.

    A line that a killed process left unfinished is cut off. Where the disk takes none, training goes on; the file says then,
    when the disk takes lines again, how many are missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = 0
        self.next_step = 0.0
        self.end = path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.ftruncate(self.descriptor, self.end)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Reading) or (isinstance(event, Stepped) and event.time < self.next_step):
            return
        if isinstance(event, Stepped):
            self.next_step = event.time + STEPS_KEPT_SECONDS
        lines = f"{to_json(event.as_dict())}\n".encode(errors="backslashreplace")
        if self.lost:
            gap = Warned(text=f"{self.lost} events before this line could not be written to the disk")
            lines = f"{to_json(gap.as_dict())}\n".encode() + lines
        with suppress(OSError):
            os.lseek(self.descriptor, self.end, os.SEEK_SET)
            if os.write(self.descriptor, lines) == len(lines):
                self.end += len(lines)
                self.lost = 0
                return
            os.ftruncate(self.descriptor, self.end)
        self.lost += 1

    def close(self) -> None:
        """Closes the file."""
        os.close(self.descriptor)
