"""Where training stands between two steps: before the first, from a checkpoint, and into one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from striate.nets import Net
from striate.run import Run
from striate.training.average import Average
from striate.training.checkpoint import load_checkpoint
from striate.training.fitting import most_bytes, require_fit
from striate.training.job import Job


@dataclass(slots=True)
class State:
    """Where training stands between two steps, besides net and optimizer.

    Attributes:
        totals: float64 (3,) on the device: sums of loss, hits and images since the epoch began, of this rank's share.
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

    def as_dict(self, job: Job, totals: torch.Tensor) -> dict[str, Any]:
        """The state for a checkpoint; `totals`: (ranks, 3), those of each rank."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "totals": totals,
            "rows": self.rows,
            "net": job.net.state_dict(),
            "optimizer": job.optimizer.state_dict(),
            "parts": self.parts,
            "average": None if self.average is None else self.average.state_dict(),
            "peaks": self.peaks,
        }


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
