"""The rows of metrics.csv: which epoch was the best, whether patience is out, whether the net learned; and the observers that
write and watch them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch

from striate.events import EpochEnded, Event, Observer, Warned
from striate.files import write_csv
from striate.inference import save_weights
from striate.outcome import Chance, Learning, Row, judge, rate_to_try
from striate.run import Run
from striate.runforms.config import Plan
from striate.runforms.summary import Epoch
from striate.training.job import Job
from striate.training.state import State

COLUMNS = tuple(one.name for one in fields(Epoch))


def best_epoch(rows: Sequence[Row]) -> int:
    """Position of the row with the best validation accuracy; among equal ones the lowest loss, then the first."""
    return min(range(len(rows)), key=lambda i: (-(rows[i]["val_accuracy"] or 0), rows[i]["val_loss"] or 0, i))


def out_of_patience(rows: Sequence[Row], patience: int | None, restarted: Sequence[int] = ()) -> bool:
    """Whether validation was no better for `patience` epochs at the last row. A run that had ended so and was made to go on after
    `restarted` steps waits anew from there.
    """
    if patience is None or not rows:
        return False
    since = max((place for place, row in enumerate(rows) if row["step"] <= max(restarted, default=0)), default=0)
    return len(rows) - 1 - max(best_epoch(rows), since) >= patience


def chance(job: Job) -> Chance:
    """Loss and accuracy of guessing on the images of a job."""
    counts = torch.bincount(job.batches.labels.cpu(), minlength=job.batches.classes).double()
    shares = counts / counts.sum()
    # Weights and the sampler make all classes count alike, and smoothing moves the targets towards that.
    even = torch.full_like(shares, 1 / len(shares))
    targets = even if job.recipe.balance != "none" else torch.lerp(shares, even, job.recipe.label_smoothing)
    heads = 1 + sum(weight for weight, _ in job.net.auxiliary.values())
    return Chance(
        loss=float(-(targets * targets.clamp(min=1e-12).log()).sum()) * heads,
        accuracy=float(shares.max()),
        classes=len(shares),
        validating=len(job.validation or ()),
    )


def learning(job: Job, plan: Plan, state: State) -> Learning:
    """Whether the net has learned so far."""
    rate = rate_to_try(job.recipe.lr, plan.usual_lr)
    first = float(state.peaks[0]) if state.rows else 0.0
    return judge(state.rows, chance(job), first, f"try --lr {rate:g}")


def metrics_file(run: Run, state: State, tell: Observer) -> Observer:
    """Writes metrics.csv anew after each epoch. If the disk does not take it, it warns; after the last epoch it raises."""

    def observe(event: Event) -> None:
        if not isinstance(event, EpochEnded):
            return
        try:
            write_csv(run.path / "metrics.csv", state.rows, COLUMNS)
        except OSError as error:
            if event.last:
                raise
            tell(Warned(text=f"metrics.csv could not be written ({error.strerror}); the next epoch tries again"))

    return observe


def best_weights(job: Job, run: Run, state: State) -> Observer:
    """Writes weights/best.safetensors after an epoch that is the best so far, where the recipe keeps those."""

    def observe(event: Event) -> None:
        rows = state.rows
        if isinstance(event, EpochEnded) and job.recipe.keep == "best" and best_epoch(rows) == len(rows) - 1:
            save_weights(state.meant(job), run.path / "weights" / "best.safetensors", run.config, run.data.classes)

    return observe


def learning_watch(job: Job, plan: Plan, state: State, tell: Observer) -> Observer:
    """Warns, once for each reason, when the rows of a run say that its net does not learn."""
    known = learning(job, plan, state)

    def observe(event: Event) -> None:
        nonlocal known
        if isinstance(event, EpochEnded):
            before, known = known, learning(job, plan, state)
            if not known and known.verdict != before.verdict:
                tell(Warned(text=known.said))

    return observe
