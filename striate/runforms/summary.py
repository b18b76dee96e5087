"""How a run stands: summary.json, environment.json, a row of metrics.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Annotated

from striate.choices import Within
from striate.errors import DataError
from striate.forms import RARE, Form, Rare, Whole, shown
from striate.outcome import Ending, How, Learning, Row, Verdict
from striate.runfiles import number
from striate.runforms.config import RunConfig
from striate.runforms.kinds import Count, Epochs, Figure, Name, Seconds, Text

Time = Annotated[str, Within(0, 40)]


class Ended(Form):
    how: How
    steps_done: Count | None = None
    steps_planned: Count | None = None
    epochs_done: Epochs | None = None
    epochs_planned: Epochs | None = None

    @classmethod
    def of(cls, ending: Ending) -> Ended:
        return cls(
            how=ending.how, steps_done=ending.steps, steps_planned=ending.planned_steps, epochs_done=ending.epochs,
            epochs_planned=ending.planned_epochs,
        )  # fmt: skip


class Pulled(Form):
    """Where a run came from: a model on the Hugging Face Hub, and its commit."""

    from_: Name
    revision: Name | None = None


class Summary(Form):
    """summary.json: status, times and where they went, the command that repeats the run, and how it ended."""

    started: Time | None = None
    command: Annotated[str, Within(0, 100_000)] | None = None
    no_command: Text | None = None
    status: Name = "unknown"
    finished: Time | None = None
    seconds: dict[str, Seconds] = field(default_factory=dict)
    missing: Annotated[tuple[Name, ...], RARE] = ()
    ending: Rare[Ended] = None
    learning: Rare[Learning] = None
    pulled: Rare[Pulled] = None

    def __post_init__(self) -> None:
        for name, text in (("started", self.started), ("finished", self.finished)):
            try:
                _ = text is None or datetime.fromisoformat(text)
            except ValueError:
                raise DataError(f"{name} must be a time such as 2026-01-31T12:00:00+00:00, got {shown(text)}") from None

    def ended(self, config: RunConfig, rows: Sequence[Row]) -> Ending:
        """How training ended, and how much of what was planned is done. Older runs do not name it: their status, plan and
        metrics tell it.
        """
        planned = config.plan.steps
        last = int(rows[-1]["step"] or 0) if rows else 0
        if self.ending is not None:
            how, done = self.ending.how, self.ending.steps_done
            last = done if done is not None and how != "running" else max(last, done or 0)
        elif self.status == "finished":
            last = last or planned
            how = "schedule" if last == planned else "patience"
        else:
            how = _STATUS.get(self.status, "unknown")
        per_epoch, waits = config.plan.steps_per_epoch, config.recipe.patience
        return Ending(how=how, steps=last, planned_steps=planned, per_epoch=per_epoch, patience=waits)


_STATUS: Mapping[str, How] = {"interrupted": "interrupted", "failed": "failed", "running": "running"}
"""Status of a run that names no ending -> its ending."""


class Environment(Form):
    """environment.json: versions and machine."""

    values: Whole = field(default_factory=dict)


class Epoch(Form):
    """A row of metrics.csv."""

    epoch: Count
    step: Count
    seconds: Seconds
    lr: Figure
    train_loss: float | None = None
    train_accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    pictures_per_second: Annotated[float, Within(0, 1e12)] | None = None
    highest_loss: float | None = None

    @classmethod
    def row(cls, cells: dict[str, str]) -> Row:
        """A line of the table, its cells as numbers. Raises DataError and ValueError for what is none."""
        row = {name: number(cell) for name, cell in cells.items()}
        cls.from_dict(row)
        return row


class Overview(Form):
    """A run in one row, for lists. `epochs`: as planned. `split` to `high`: of the leading evaluation, with its interval; None
    without one.
    """

    run: str
    status: str
    ended: How
    learned: Verdict
    net: str
    data: str
    epochs: float
    epochs_done: float
    split: str | None
    n: int | None
    accuracy: float | None
    low: float | None
    high: float | None
    seconds: float
    started: str | None
