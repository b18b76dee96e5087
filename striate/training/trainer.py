"""The decisions between two steps of the loop: whether to validate, save, show, move the end, or stop."""

from __future__ import annotations

import math
import time

import torch
import torch.nn.functional as F

from striate.errors import Interrupted, StriateError
from striate.events import EndMoved, EpochEnded, Event, Observer, Saved, Started, Stepped, Trained, Warned
from striate.inference import BATCH, logits, predicted_of
from striate.live import STOP
from striate.nets import Net
from striate.run import Run
from striate.training.audience import Audience
from striate.training.checkpoint import SECONDS, Checkpoints
from striate.training.clock import Clock
from striate.training.guard import Guard
from striate.training.job import Job
from striate.training.length import Length, Pace
from striate.training.rows import best_weights, learning_watch, metrics_file, out_of_patience
from striate.training.signals import Stop
from striate.training.state import State
from striate.training.timing import more_parts

SHOWN_SECONDS = 0.25
"""Between two events Stepped: to read where training stands makes the host wait for an accelerator."""


class Trainer:
    """The moments of the loop; observers decide what is made of them, see `striate.events`.

    A checkpoint is there before the first step: a run can be resumed whenever it dies, and a disk that takes none is found before
    anything is lost. All ranks save, show, validate and stop after the same step. Rank 0 decides when, and it alone writes and
    tells.
    """

    def __init__(self, job: Job, run: Run, state: State, clock: Clock, audience: Audience) -> None:
        self.job, self.run, self.state, self.clock, self.stop = job, run, state, clock, audience.stop
        plan = run.config.plan
        self.length = Length.of(plan)
        self.guard = Guard(job, self.length, state.step, state.parts * job.ranks.count, usual=plan.usual_lr)
        self.per_epoch = job.batches.steps_per_epoch
        self.began = self.epoch_began = time.perf_counter()
        self.epoch_first = state.step
        self.seconds_before = state.seconds
        self.pace = None if clock.until is None else Pace(clock.until, plan, self.began)
        self.next_shown = 0.0
        self.observers: list[Observer] = []
        self.checkpoints: Checkpoints | None = None
        if job.ranks.first:
            self.observers = [
                best_weights(job, run, state),
                metrics_file(run, state, audience),
                audience,
                learning_watch(job, plan, state, audience),
            ]
            self.checkpoints = Checkpoints(run, state.saved, audience.warn)
            self.stop.file = run.path / "checkpoints" / STOP

    def begin(self) -> None:
        """Before the first step: saves, and ends the epoch whose validation was interrupted."""
        if self.state.saved is None:
            self._save(must=True)
        step, rows = self.state.step, self.state.rows
        self._tell(Started(run=str(self.run.path), step=step, steps=self.length.steps, steps_per_epoch=self.per_epoch))
        if step and self.ends_epoch and (not rows or rows[-1]["step"] < step):
            self.end_epoch()

    @property
    def ended(self) -> bool:
        """Whether training is at its end: the steps are done, or validation was no better for the recipe's patience."""
        rows, since = self.state.rows, self.run.config.plan.patience_restarted
        impatient = out_of_patience(rows, self.job.recipe.patience, since)
        return self.state.step >= self.length.steps or (impatient and rows[-1]["step"] == self.state.step)

    @property
    def ends_epoch(self) -> bool:
        """Whether the last step was the last of an epoch."""
        return self.state.step % self.per_epoch == 0 or self.state.step == self.length.steps

    def use_smaller_parts(self, error: RuntimeError) -> None:
        """After a step that failed: if memory ran out, it is computed again in twice as many parts; any other error is raised
        again. Raises StriateError if memory does not hold a single image, or if there are several ranks: the others did not fail.
        """
        before = self.state.parts
        self.state.parts = self.guard.parts = more_parts(self.job, self.state.parts, error)
        if self.job.ranks.count > 1:
            raise StriateError(
                f"out of memory at rank {self.job.ranks.rank}: start again with --micro-batches {2 * before}, or more ranks"
            ) from error
        text = (
            f"out of memory in step {self.state.step + 1}: from here on each batch is split into {self.state.parts} "
            "micro-batches (the step is the same; batch norm sees one micro-batch at a time)"
        )
        self._tell(Warned(text=text))

    def look_at(self, sums: torch.Tensor) -> None:
        """Between gradients and update; `sums` as `gradients` gives them. Raises NotFinite if these are not finite."""
        whole = self.job.ranks.summed(sums)
        self.guard.before_update(whole[0], self.state.step)
        loss = whole[0] / whole[2]
        if self.state.step == 0:
            self.state.peaks[0] = loss
        else:
            torch.maximum(self.state.peaks[1], loss, out=self.state.peaks[1])

    def after_step(self) -> None:
        """Moves the end, validates at that of an epoch, saves or shows where that is due, and stops where somebody asked for it.

        Raises Interrupted in that case, with a checkpoint of this very step written; NotFinite if loss or gradients were not
        finite; OSError if the disk did not take a checkpoint that must be written.
        """
        state, now = self.state, time.perf_counter()
        state.seconds = self.seconds_before + now - self.began
        if self.pace is not None and self.pace.due(self.length, state.step):
            self._keep_pace(self.pace)
        if ended := self.ends_epoch:
            self.end_epoch()
        signal, save, show = self.job.ranks.agree(
            self.stop.heard(), not ended and self._due(SECONDS), not ended and now >= self.next_shown
        )
        if save:
            self._save()
        elif show:
            self._show(now)
        if signal:
            self._interrupt(signal)

    def end_epoch(self) -> None:
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
            "pictures_per_second": round(self._images_per_second(time.perf_counter()), 1),
            "highest_loss": max(float(state.peaks[1]), loss / seen),
        }
        if self.job.validation is not None:
            with self.clock.charge("validate"):
                row["val_loss"], row["val_accuracy"] = validate(self.job, self.stop, state.meant(self.job))
        signal, due = self.job.ranks.agree(self.stop.heard(), self._due())
        if signal:
            self._interrupt(signal)
        # Of the epoch within which the run once ended, before it was extended, there is a row already.
        state.rows[:] = [*(other for other in state.rows if other["epoch"] < row["epoch"]), row]
        if state.step % self.per_epoch == 0:
            state.totals.zero_()
            state.peaks[1] = 0.0
        done = self.job.recipe.work(state.step / self.length.steps)
        left = state.seconds * (1 - done) / done
        last = self.ended
        self._tell(EpochEnded(row=row, epochs=self._epochs, seconds_left=left, last=last))
        if last or due:
            self._save(must=last)
        self.epoch_began, self.epoch_first = time.perf_counter(), state.step

    def end(self) -> None:
        """After the last step."""
        self._tell(Trained(step=self.state.step))

    @property
    def _epochs(self) -> int:
        return math.ceil(self.length.steps / self.per_epoch)

    def _tell(self, event: Event) -> None:
        for observer in self.observers:
            observer(event)

    def _show(self, now: float) -> None:
        self.next_shown = now + SHOWN_SECONDS
        self.guard.before_reading()
        if not self.job.ranks.first:
            return
        step, (loss, hits, seen) = self.state.step, self.state.totals.tolist()
        self._tell(
            Stepped(
                step=step, steps=self.length.steps, epoch=step // self.per_epoch + 1, epochs=self._epochs, loss=loss / seen,
                accuracy=hits / seen, images_per_second=self._images_per_second(now),
            )
        )  # fmt: skip

    def _keep_pace(self, pace: Pace) -> None:
        """Moves the end of the run if the rest of it does not fit into the budget, or leaves some of it unused."""
        steps = self.job.ranks.decided(lambda: pace.steps(self.length, self.state.step, self.job.recipe, self.clock))
        if steps is None:
            return
        before, self.length = self.length, self.length.moved(self.state.step, steps)
        self.guard.length = self.length
        self.run.config = self.run.config.planned(self.length.planned(self.run.config.plan))
        if self.job.ranks.first:
            self.run.keep(self.run.config)
        now, planned = (count / self.per_epoch for count in (steps, before.steps))
        self._tell(EndMoved(step=self.state.step, steps=steps, epochs=now, planned_epochs=planned))

    def _due(self, age: float = 0.0) -> bool:
        return self.checkpoints is not None and self.checkpoints.due(age)

    def _interrupt(self, signal: int) -> None:
        self.stop.ask(signal)  # it may have come to another rank
        self._save(must=True)
        raise Interrupted(
            f"stopped after step {self.state.step} of {self.length.steps}; everything is saved. To "
            f"resume: striate train --resume {self.run.path}",
            self.stop.exit_code,
        )

    def _images_per_second(self, now: float) -> float:
        images = (self.state.step - self.epoch_first) * len(self.job.batches.labels) / self.per_epoch
        return images / max(now - self.epoch_began, 1e-9)

    def _save(self, must: bool = False) -> None:
        self.guard.before_reading()
        totals = self.job.ranks.gathered(self.state.totals)
        if self.checkpoints is None:
            return
        with self.clock.charge("checkpoint"):
            saved = self.checkpoints.save(self.state.as_dict(self.job, totals), must=must)
        if saved:
            self._tell(Saved(step=self.state.step))


def validate(job: Job, stop: Stop, net: Net) -> tuple[float, float]:
    """(mean cross-entropy, accuracy) of `net` on the job's validation images, without augmentation or smoothing.

    Each rank takes its share of them, in batches of about the size that training has, so that it needs no more memory, and that a
    signal is heard between two of them; the result is of the images until then.
    """
    assert job.validation is not None
    size = min(BATCH, max(32, job.recipe.batch_size))
    job.ranks.same_buffers(net)
    share = job.ranks.share(len(job.validation))
    sums = torch.zeros(3, dtype=torch.float64)  # of loss, hits and images
    for start in range(share.start, share.stop, size):
        chosen = slice(start, min(start + size, share.stop))
        outputs = logits(net, job.preprocessing, job.validation.pixels[chosen], job.device, size)
        labels = torch.from_numpy(job.validation.labels[chosen])
        loss = F.cross_entropy(outputs.double(), labels, reduction="sum")
        sums += torch.stack((loss, (predicted_of(outputs) == labels).sum(), torch.tensor(len(labels))))
        if stop.heard():
            break
    loss, hits, seen = job.ranks.gathered(sums).sum(0).tolist()
    return loss / seen, hits / seen
