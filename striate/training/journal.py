"""What is done between two steps: the row of an epoch, checkpoints, the progress shown, and whether to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import torch
import torch.nn.functional as F

from striate.errors import Interrupted, StriateError
from striate.files import write_csv
from striate.inference import BATCH, logits, predicted_of, save_weights
from striate.nets import Net
from striate.run import Run
from striate.tracking import Log
from striate.training.average import Average
from striate.training.checkpoint import SECONDS, Checkpoints, load_checkpoint
from striate.training.clock import Clock
from striate.training.fitting import most_bytes, require_fit
from striate.training.guard import Guard
from striate.training.job import Job, more_parts
from striate.training.learning import best_epoch, learning, out_of_patience
from striate.training.length import Length
from striate.training.pace import Pace
from striate.training.progress import Progress
from striate.training.signals import Stop

COLUMNS = (
    "epoch", "step", "seconds", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "pictures_per_second",
    "highest_loss",
)  # fmt: skip


@dataclass(slots=True)
class State:
    """Where training stands between two steps, besides net and optimizer.

    Attributes:
        totals: float64 (3,) on the device: sums of loss, hits and pictures since the epoch began, of this rank's share.
        step: steps done.
        seconds: spent in training so far, over all resumes.
        rows: metrics.csv so far.
        saved: step of the newest whole checkpoint, None where there is none.
        parts: that a batch is computed in.
        average: the running mean of the weights, if the recipe wants one.
        peaks: (2,) on the device: the loss of the run's first step, and the highest loss of a step since the epoch began.
    """

    totals: torch.Tensor
    peaks: torch.Tensor
    step: int = 0
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    saved: int | None = None
    parts: int = 1
    average: Average | None = None

    def meant(self, job: Job) -> Net:
        """The net that is validated, evaluated and kept: the mean of the weights, or the weights themselves."""
        return job.net if self.average is None else self.average.net


def fresh_state(job: Job) -> State:
    """Before step 1."""
    # MPS has no float64; sums of an epoch stay exact enough in float32 there.
    dtype = torch.float32 if job.device.type == "mps" else torch.float64
    average = Average(job.net, job.recipe.ema) if job.recipe.ema else None
    totals = torch.zeros(3, dtype=dtype, device=job.device)
    peaks = torch.tensor([math.nan, 0.0], dtype=dtype, device=job.device)
    return State(totals, peaks, parts=job.recipe.micro_batches, average=average)


def resumed_state(job: Job, run: Run) -> tuple[State, list[str]]:
    """(state, warnings) from the run's newest whole checkpoint; the job's net and optimizer are set to it.

    Raises:
        DataError: there is no whole checkpoint.
    """
    state, steps = fresh_state(job), run.config.plan.steps
    saved, warnings = job.ranks.decided(
        lambda: load_checkpoint(run, lambda found: require_fit(found, job, state.average, steps), most_bytes(job))
    )
    job.net.load_state_dict(saved["net"])
    # Only the moments: what the optimizer is set to is the recipe's.
    job.optimizer.load_state_dict({**job.optimizer.state_dict(), "state": saved["optimizer"]["state"]})
    totals, ranks = saved["totals"].view(-1, 3).to(job.device), job.ranks
    if len(totals) == ranks.count:
        state.totals += totals[ranks.rank]
    elif ranks.first:  # there were more ranks, or fewer
        state.totals += totals.sum(0)
    state.step, state.seconds, state.rows = saved["step"], saved["seconds"], saved["rows"]
    state.saved, state.parts = state.step, min(saved["parts"], job.smallest_share)
    if state.average is not None:
        state.average.load_state_dict(saved["average"])
    if "peaks" in saved:  # those of earlier versions have none
        state.peaks.copy_(saved["peaks"])
    return state, warnings


class Journal:
    """Keeps the run's metrics and checkpoints while the loop goes, and ends it when a signal asked for that.

    A checkpoint is there before the first step: a run can be resumed whenever it dies, and a disk that takes none is found
    before anything is lost.

    Ranks are in step: all of them save, show, validate and stop after the same step. Rank 0 decides when to save and show, and it
    alone writes.
    """

    def __init__(
        self,
        job: Job,
        run: Run,
        length: Length,
        state: State,
        clock: Clock,
        progress: Progress,
        stop: Stop,
        log: Log | None = None,
    ) -> None:
        self.job, self.run, self.length, self.state = job, run, length, state
        self.clock, self.progress, self.stop, self.log = clock, progress, stop, log
        self.guard = Guard(job, length, state.step, state.parts * job.ranks.count, usual=run.config.plan.usual_lr)
        self.checkpoints = Checkpoints(run, state.saved, progress.say) if job.ranks.first else None
        self.per_epoch = job.batches.steps_per_epoch
        self.epochs = str(math.ceil(length.steps / self.per_epoch))
        self.began = self.epoch_began = time.perf_counter()
        self.epoch_first = state.step
        self.learned = learning(job, run.config.plan, state)
        self.seconds_before = state.seconds
        self.pace = None if clock.until is None else Pace(clock.until, run.config.plan, self.began)

    def __enter__(self) -> Journal:
        if self.state.saved is None:
            self._save(must=True)
        step, rows = self.state.step, self.state.rows
        if step and self._ends_epoch() and (not rows or rows[-1]["step"] < step):
            self._end_epoch()  # its validation was interrupted
        self.progress.begin(self.length.steps, self.state.step)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.end()

    @property
    def ended(self) -> bool:
        """Whether training is at its end: the steps are done, or validation was no better for the recipe's patience."""
        rows, since = self.state.rows, self.run.config.plan.patience_restarted
        impatient = out_of_patience(rows, self.job.recipe.patience, since)
        return self.state.step >= self.length.steps or (impatient and rows[-1]["step"] == self.state.step)

    def in_smaller_parts(self, error: RuntimeError) -> None:
        """To be called when a step failed: if memory ran out, it is computed again in twice as many parts.

        Raises:
            RuntimeError: `error`, where it is another one.
            StriateError: memory does not hold the step of a single picture, or there are several ranks: the others did not fail.
        """
        before = self.state.parts
        self.state.parts = self.guard.parts = more_parts(self.job, self.state.parts, error)
        if self.job.ranks.count > 1:
            raise StriateError(
                f"memory ran out at rank {self.job.ranks.rank}: begin again with --micro-batches {2 * before}, or more ranks"
            ) from error
        self.progress.say(
            f"memory ran out in step {self.state.step + 1}: from here on a batch is computed in {self.state.parts} parts, one "
            "after the other, and makes the same step (batch norm sees a part at a time)"
        )

    def before_update(self, sums: torch.Tensor) -> None:
        """To be called when a step's gradients are there, before the optimizer uses them; `sums` as `gradients` gives them.

        Raises:
            NotFinite: loss or gradients are not finite.
        """
        whole = self.job.ranks.summed(sums)
        self.guard.before_update(whole[0], self.state.step)
        loss = whole[0] / whole[2]
        if self.state.step == 0:
            self.state.peaks[0] = loss
        else:
            torch.maximum(self.state.peaks[1], loss, out=self.state.peaks[1])

    def after_step(self) -> None:
        """To be called after each step.

        Raises:
            Interrupted: a signal came; a checkpoint of this very step is written.
            NotFinite: loss or gradients were not finite.
            OSError: the disk did not take a checkpoint that must be written.
        """
        state, now = self.state, time.perf_counter()
        state.seconds = self.seconds_before + now - self.began
        if self.pace is not None and self.pace.due(self.length, state.step):
            self._keep_pace(self.pace)
        if ended := self._ends_epoch():
            self._end_epoch()
        signal, save, show = self.job.ranks.agree(
            self.stop.signal or 0, not ended and self._due(SECONDS), not ended and self.progress.due()
        )
        if save:
            self._save()
        elif show:
            self.guard.before_reading()
            loss, hits, seen = state.totals.tolist()
            epoch = f"{state.step // self.per_epoch + 1}/{self.epochs}"
            self.progress.step(state.step, epoch, loss / seen, hits / seen, self._pictures_per_second(now))
        if signal:
            self._interrupt(signal)

    def _keep_pace(self, pace: Pace) -> None:
        """Moves the end of the run if the rest of it does not fit into the budget, or leaves some of it unused."""
        steps = self.job.ranks.decided(lambda: pace.steps(self.length, self.state.step, self.job.recipe, self.clock))
        if steps is None:
            return
        before, self.length = self.length, self.length.moved(self.state.step, steps)
        self.guard.length = self.length
        self.epochs = str(math.ceil(steps / self.per_epoch))
        self.run.config = self.run.config.planned(self.length.planned(self.run.config.plan))
        if self.job.ranks.first:
            self.run.keep(self.run.config)
        self.progress.total(steps)
        now, planned = (count / self.per_epoch for count in (steps, before.steps))
        word = "longer" if now < planned else "less time"
        self.progress.say(
            f"steps take {word} than was measured: {now:.4g} epochs instead of {planned:.4g}, to keep the budget"
        )

    def _due(self, age: float = 0.0) -> bool:
        return self.checkpoints is not None and self.checkpoints.due(age)

    def _interrupt(self, signal: int) -> None:
        self.stop.signal = signal  # it may have come to another rank
        self._save(must=True)
        raise Interrupted(
            f"stopped after step {self.state.step} of {self.length.steps}, everything is saved. "
            f"To go on: striate train --resume {self.run.path}",
            self.stop.exit_code,
        )

    def _ends_epoch(self) -> bool:
        return self.state.step % self.per_epoch == 0 or self.state.step == self.length.steps

    def _end_epoch(self) -> None:
        """Validates, adds the row of the epoch and saves; an interruption leaves that to the resumed run."""
        self.guard.before_reading()
        state = self.state
        loss, hits, seen = self.job.ranks.gathered(state.totals).sum(0).tolist()
        row = {
            "epoch": math.ceil(state.step / self.per_epoch),
            "step": state.step,
            "seconds": round(state.seconds, 3),
            "lr": self.job.recipe.rate(self.length.progress(state.step - 1)),
            "train_loss": loss / seen,
            "train_accuracy": hits / seen,
            "val_loss": None,
            "val_accuracy": None,
            "pictures_per_second": round(self._pictures_per_second(time.perf_counter()), 1),
            "highest_loss": max(float(state.peaks[1]), loss / seen),
        }
        if self.job.validation is not None:
            with self.clock.charge("validate"):
                row["val_loss"], row["val_accuracy"] = validate(self.job, self.stop, state.meant(self.job))
        signal, due = self.job.ranks.agree(self.stop.signal or 0, self._due())
        if signal:
            self._interrupt(signal)
        # Of the epoch within which the run once ended, before it was extended, there is a row already.
        state.rows[:] = [*(other for other in state.rows if other["epoch"] < row["epoch"]), row]
        if state.step % self.per_epoch == 0:
            state.totals.zero_()
            state.peaks[1] = 0.0
        last = self.ended
        if self.job.ranks.first:
            self._tell(row, last)
        if last or due:
            self._save(must=last)
        self.epoch_began, self.epoch_first = time.perf_counter(), state.step

    def _tell(self, row: Mapping[str, Any], last: bool) -> None:
        """Writes what an epoch came to, and says it."""
        state = self.state
        if self.job.recipe.keep == "best" and best_epoch(state.rows) == len(state.rows) - 1:
            path = self.run.path / "weights" / "best.safetensors"
            save_weights(state.meant(self.job), path, self.run.config, self.run.data.classes)
        try:
            write_csv(self.run.path / "metrics.csv", state.rows, COLUMNS)
        except OSError as error:
            if last:
                raise
            self.progress.say(
                f"warning: metrics.csv could not be written ({error.strerror}): it is written anew after the next epoch"
            )
        if self.log is not None:
            self.log.rows(state.rows)
        self.progress.epoch(row, self.epochs, self._left())
        before, self.learned = self.learned, learning(self.job, self.run.config.plan, state)
        if not self.learned and self.learned.verdict != before.verdict:
            self.progress.say(f"warning: {self.learned.said}")

    def _pictures_per_second(self, now: float) -> float:
        pictures = (self.state.step - self.epoch_first) * len(self.job.batches.labels) / self.per_epoch
        return pictures / max(now - self.epoch_began, 1e-9)

    def _left(self) -> float:
        done = self.job.recipe.work(self.state.step / self.length.steps)
        return self.state.seconds * (1 - done) / done

    def _save(self, must: bool = False) -> None:
        state = self.state
        self.guard.before_reading()
        totals = self.job.ranks.gathered(state.totals)
        if self.checkpoints is None:
            return
        with self.clock.charge("checkpoint"):
            self.checkpoints.save(
                {
                    "step": state.step,
                    "seconds": state.seconds,
                    "totals": totals,
                    "rows": state.rows,
                    "net": self.job.net.state_dict(),
                    "optimizer": self.job.optimizer.state_dict(),
                    "parts": state.parts,
                    "average": None if state.average is None else state.average.state_dict(),
                    "peaks": state.peaks,
                },
                must=must,
            )


def validate(job: Job, stop: Stop, net: Net) -> tuple[float, float]:
    """(mean cross-entropy, accuracy) of `net` on the job's validation pictures, without augmentation or smoothing.

    Each rank takes its share of them, in batches of about the size that training has, so that it needs no more memory, and that a
    signal is heard between two of them; the result is of the pictures until then.
    """
    assert job.validation is not None
    size = min(BATCH, max(32, job.recipe.batch_size))
    job.ranks.same_buffers(net)
    share = job.ranks.share(len(job.validation))
    sums = torch.zeros(3, dtype=torch.float64)  # of loss, hits and pictures
    for start in range(share.start, share.stop, size):
        chosen = slice(start, min(start + size, share.stop))
        outputs = logits(net, job.preprocessing, job.validation.pixels[chosen], job.device, size)
        labels = torch.from_numpy(job.validation.labels[chosen])
        loss = F.cross_entropy(outputs.double(), labels, reduction="sum")
        sums += torch.stack((loss, (predicted_of(outputs) == labels).sum(), torch.tensor(len(labels))))
        if stop.signal is not None:
            break
    loss, hits, seen = job.ranks.gathered(sums).sum(0).tolist()
    return loss / seen, hits / seen
