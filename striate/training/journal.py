"""What is done between two steps: the row of an epoch, checkpoints, the progress shown, and whether to stop."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import torch
import torch.nn.functional as F

from striate.errors import Interrupted, StriateError
from striate.inference import logits
from striate.run import Run, write_csv
from striate.training.checkpoint import load_checkpoint, save_checkpoint
from striate.training.clock import Clock
from striate.training.job import Job
from striate.training.progress import Progress
from striate.training.signals import Stop

COLUMNS = (
    "epoch", "step", "seconds", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "pictures_per_second",
)  # fmt: skip
CHECKPOINT_SECONDS = 60.0
"""Within an epoch a checkpoint is written when the last one is older than this."""


@dataclass(slots=True)
class State:
    """Where training stands between two steps, besides net and optimizer.

    Attributes:
        totals: float64 (3,) on the device: sums of loss, hits and pictures since the epoch began.
        step: steps done.
        seconds: spent in training so far, over all resumes.
        rows: metrics.csv so far.
    """

    totals: torch.Tensor
    step: int = 0
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)


def fresh_state(job: Job) -> State:
    """Before step 1."""
    # MPS has no float64; sums of an epoch stay exact enough in float32 there.
    dtype = torch.float32 if job.device.type == "mps" else torch.float64
    return State(torch.zeros(3, dtype=dtype, device=job.device))


def resumed_state(job: Job, run: Run) -> tuple[State, list[str]]:
    """(state, warnings) from the run's newest whole checkpoint; the job's net and optimizer are set to it.

    Raises:
        DataError: there is no whole checkpoint.
    """
    saved, warnings = load_checkpoint(run)
    job.net.load_state_dict(saved["net"])
    job.optimizer.load_state_dict(saved["optimizer"])
    state = fresh_state(job)
    state.totals += saved["totals"].to(job.device)
    state.step, state.seconds, state.rows = saved["step"], saved["seconds"], saved["rows"]
    return state, warnings


class Journal:
    """Keeps the run's metrics and checkpoints while the loop goes, and ends it when a signal asked for that."""

    def __init__(
        self, job: Job, run: Run, steps: int, state: State, clock: Clock, progress: Progress, stop: Stop
    ) -> None:
        self.job, self.run, self.steps, self.state = job, run, steps, state
        self.clock, self.progress, self.stop = clock, progress, stop
        self.per_epoch = job.batches.steps_per_epoch
        self.epochs = str(math.ceil(steps / self.per_epoch))
        self.began = self.epoch_began = self.saved = time.perf_counter()
        self.first = self.epoch_first = state.step
        self.seconds_before = state.seconds

    def __enter__(self) -> Journal:
        self.progress.begin(self.steps, self.state.step)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.end()

    def after_step(self) -> None:
        """To be called after each step.

        Raises:
            Interrupted: a signal came; a checkpoint of this very step is written.
            StriateError: the loss of the epoch is not finite.
        """
        state, now = self.state, time.perf_counter()
        state.seconds = self.seconds_before + now - self.began
        if state.step % self.per_epoch == 0 or state.step == self.steps:
            self._end_epoch(now)
            self._save()
            self.epoch_began, self.epoch_first = time.perf_counter(), state.step
        elif self.stop.signal is not None or now - self.saved > CHECKPOINT_SECONDS:
            self._save()
        elif self.progress.due():
            loss, hits, seen = state.totals.tolist()
            epoch = f"{state.step // self.per_epoch + 1}/{self.epochs}"
            self.progress.step(state.step, epoch, loss / seen, hits / seen, self._pictures_per_second(now))
        if self.stop.signal is not None and state.step < self.steps:
            raise Interrupted(
                f"stopped after step {state.step} of {self.steps}, everything is saved. "
                f"To go on: striate train --resume {self.run.path}",
                self.stop.exit_code,
            )

    def _end_epoch(self, now: float) -> None:
        state = self.state
        loss, hits, seen = state.totals.tolist()
        if not math.isfinite(loss):
            raise StriateError(
                f"the loss is no longer a number after step {state.step} (epoch {math.ceil(state.step / self.per_epoch)}): "
                f"the learning rate {self.job.recipe.lr:g} is too high for this net, try --lr {self.job.recipe.lr / 4:g}"
            )
        row = {
            "epoch": math.ceil(state.step / self.per_epoch),
            "step": state.step,
            "seconds": round(state.seconds, 3),
            "lr": self.job.optimizer.param_groups[0]["lr"],
            "train_loss": loss / seen,
            "train_accuracy": hits / seen,
            "val_loss": None,
            "val_accuracy": None,
            "pictures_per_second": round(self._pictures_per_second(now), 1),
        }
        if self.job.validation is not None:
            with self.clock.charge("validate"):
                row["val_loss"], row["val_accuracy"] = validate(self.job)
        state.rows.append(row)
        state.totals.zero_()
        write_csv(self.run.path / "metrics.csv", state.rows, COLUMNS)
        self.progress.epoch(row, self.epochs, self._left())

    def _pictures_per_second(self, now: float) -> float:
        pictures = (self.state.step - self.epoch_first) * len(self.job.batches.labels) / self.per_epoch
        return pictures / max(now - self.epoch_began, 1e-9)

    def _left(self) -> float:
        done = self.state.step - self.first
        return (self.steps - self.state.step) * (time.perf_counter() - self.began) / done

    def _save(self) -> None:
        state = self.state
        with self.clock.charge("checkpoint"):
            save_checkpoint(
                self.run,
                {
                    "step": state.step,
                    "seconds": state.seconds,
                    "totals": state.totals,
                    "rows": state.rows,
                    "net": self.job.net.state_dict(),
                    "optimizer": self.job.optimizer.state_dict(),
                },
            )
        self.saved = time.perf_counter()


def validate(job: Job) -> tuple[float, float]:
    """(mean cross-entropy, accuracy) of the job's net on its validation pictures, without augmentation or smoothing."""
    assert job.validation is not None
    labels = torch.from_numpy(job.validation.labels)
    outputs = logits(job.net, job.preprocessing, job.validation.pixels, job.device)
    loss = F.cross_entropy(outputs.double(), labels)
    return float(loss), float((outputs.argmax(1) == labels).double().mean())
