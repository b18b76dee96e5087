"""What the rows of a run say: which epoch was the best, whether patience is out, and whether the net learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from striate.outcome import Chance, Learning, Row, judge, rate_to_try
from striate.runforms.config import Plan
from striate.training.job import Job

if TYPE_CHECKING:
    from striate.training.state import State


def best_epoch(rows: Sequence[Row]) -> int:
    """Position of the row with the best validation accuracy; among equal ones the lowest loss, then the first."""
    return min(range(len(rows)), key=lambda i: (-(rows[i]["val_accuracy"] or 0), rows[i]["val_loss"] or 0, i))


def out_of_patience(rows: Sequence[Row], patience: int | None, restarted: Sequence[int] = ()) -> bool:
    """Whether validation was no better for `patience` epochs at the last row.

    `restarted`: the steps after which a run that had ended so was made to go on: it waits anew from there.
    """
    if patience is None or not rows:
        return False
    since = max((place for place, row in enumerate(rows) if row["step"] <= max(restarted, default=0)), default=0)
    return len(rows) - 1 - max(best_epoch(rows), since) >= patience


def chance(job: Job) -> Chance:
    """What guessing comes to on the images of a job."""
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
        pictures=len(job.batches.labels),
        validating=len(job.validation or ()),
    )


def learning(job: Job, plan: Plan, state: State) -> Learning:
    """What the net made of its training so far."""
    rate = rate_to_try(job.recipe.lr, plan.usual_lr)
    first = float(state.peaks[0]) if state.rows else 0.0
    return judge(state.rows, chance(job), first, f"try --lr {rate:g}")
