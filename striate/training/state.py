"""Where training stands between two steps: before the first, from a checkpoint that fits the run, and into one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from torch import Tensor

from striate.choices import Within
from striate.errors import DataError
from striate.forms import Form
from striate.nets import Net
from striate.nets.copying import copied
from striate.run import Run
from striate.runforms.kinds import Count, Seconds
from striate.runforms.summary import Epoch
from striate.training.checkpoint import load_checkpoint
from striate.training.job import Job
from striate.training.optimizers import SGD, Adam, AdamW

TENSORS = 6
"""A checkpoint has weights, two moments of each and their moving average, in at most eight bytes a value; and some to spare."""
SPARE = 2**26


class Average:
    """A net whose weights are the moving average of another's (Polyak and Juditsky 1992 for the plain mean).

    After step t (1, 2, ...) each floating tensor is mean + (1 - d) x (weights - mean) with d = min(decay, t / (t + 10)): the
    first steps, which are far from where training ends, are forgotten sooner. Counters are copied. The present weights of `net`
    are the first mean; 0 < decay < 1.
    """

    def __init__(self, net: Net, decay: float) -> None:
        self.net = copied(net).requires_grad_(False).eval()
        self.decay = decay

    def update(self, net: Net, step: int) -> None:
        """Takes the weights in that `net` has after `step` steps."""
        decay = min(self.decay, step / (step + 10))
        means, values = [], []
        own, given = ((*one.parameters(), *one.buffers()) for one in (self.net, net))
        for mean, value in zip(own, given, strict=True):
            if mean.is_floating_point():
                means.append(mean.detach())
                values.append(value.detach())
            else:
                mean.copy_(value)
        torch._foreach_lerp_(means, values, 1 - decay)


@dataclass(slots=True)
class State:
    """Where training stands between two steps, besides net and optimizer.

    Attributes:
        totals: float64 (3,) on the device: sums of loss, hits and images since the epoch began, of this rank's share.
        peaks: (2,) on the device: the loss of the run's first step, and the highest loss of a step since the epoch began.
        step, seconds: done and spent in training so far, over all resumes; rows: metrics.csv so far.
        saved: step of the newest whole checkpoint, None where there is none.
        parts: micro-batches that a batch is computed in.
        average: the moving average of the weights, if the recipe wants one.
    """

    totals: Tensor
    peaks: Tensor
    step: int = 0
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    saved: int | None = None
    parts: int = 1
    average: Average | None = None

    def meant(self, job: Job) -> Net:
        """The net that is validated, evaluated and kept: the mean of the weights, or the weights themselves."""
        return job.net if self.average is None else self.average.net

    def as_dict(self, job: Job, totals: Tensor) -> dict[str, Any]:
        """The state for a checkpoint; `totals`: (ranks, 3), those of each rank."""
        return {
            **{name: getattr(self, name) for name in ("step", "seconds", "rows", "parts", "peaks")},
            "totals": totals,
            "net": job.net.state_dict(),
            "optimizer": job.optimizer.state_dict(),
            "average": None if self.average is None else self.average.net.state_dict(),
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
    """(state, warnings) from the run's newest whole checkpoint; the job's net and optimizer are set to it. Raises DataError if
    there is none.
    """
    state, steps = fresh_state(job), run.config.plan.steps
    most = SPARE + 8 * TENSORS * sum(tensor.numel() for tensor in job.net.state_dict().values())
    saved, warnings = job.ranks.decided(
        lambda: load_checkpoint(run, lambda found: _require_fit(found, job, state.average, steps), most)
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
        state.average.net.load_state_dict(saved["average"])
    if "peaks" in saved:  # those of earlier versions have none
        state.peaks.copy_(saved["peaks"])
    return state, warnings


class _Numbers(Form):
    step: Count
    seconds: Seconds
    rows: tuple[Epoch, ...]
    parts: Annotated[int, Within(1, 10**6)]


def _require_fit(saved: Any, job: Job, average: Average | None, steps: int) -> None:
    """Raises DataError, which says why, if a checkpoint does not fit the job or a run of `steps` steps: a whole file with the
    right checksum can still be of another net.
    """
    if not isinstance(saved, dict):
        raise DataError(f"it holds a {type(saved).__name__}")
    numbers = {name: saved[name] for name in ("step", "seconds", "rows", "parts") if name in saved}
    if (found := _Numbers.from_dict(numbers)).step > steps:
        raise DataError(f"step is {found.step:,}, and the run has {steps:,}")
    totals = saved.get("totals")
    if not isinstance(totals, Tensor) or not totals.numel() or totals.numel() % 3 or not totals.isfinite().all():
        raise DataError("totals is not three finite sums of each rank")
    for name, net in {"net": job.net, **({} if average is None else {"average": average.net})}.items():
        own, given = net.state_dict(), saved.get(name)
        if not isinstance(given, dict) or given.keys() != own.keys():
            raise DataError(f"{name} does not have the names of this net's tensors")
        for key, tensor in own.items():
            _require_tensor(given[key], tensor, f"{name}.{key}")
    _require_optimizer(saved.get("optimizer"), job.optimizer)


def _require_tensor(saved: Any, own: Tensor, name: str) -> None:
    if not isinstance(saved, Tensor) or saved.shape != own.shape or saved.dtype != own.dtype:
        shape = f"{tuple(saved.shape)} {saved.dtype}" if isinstance(saved, Tensor) else type(saved).__name__
        raise DataError(f"{name} must be {tuple(own.shape)} {own.dtype}, got {shape}")
    if not saved.isfinite().all():
        raise DataError(f"{name} holds numbers that are not finite")


def _require_optimizer(saved: Any, own: torch.optim.Optimizer) -> None:
    """The moments of each parameter have its shape. What the optimizer is set to is the recipe's, and is not taken from there."""
    places = {place for group in own.state_dict()["param_groups"] for place in group["params"]}
    parameters = dict(enumerate(parameter for group in own.param_groups for parameter in group["params"]))
    if not isinstance(saved, dict) or not isinstance(state := saved.get("state"), dict) or not state.keys() <= places:
        raise DataError("optimizer does not have the state of this net's parameters")
    names = _MOMENTS[type(own)]
    for place, moments in state.items():
        if not isinstance(moments, dict) or not moments.keys() <= names:
            raise DataError(f"optimizer.state[{place}] is not that of {type(own).__name__}")
        for key, value in moments.items():
            if value is None:
                continue
            like = torch.zeros((), dtype=torch.float32) if key == "step" else parameters[place]
            _require_tensor(value, like, f"optimizer.state[{place}].{key}")


_MOMENTS: dict[type[torch.optim.Optimizer], set[str]] = {
    SGD: {"momentum_buffer"},
    Adam: {"step", "exp_avg", "exp_avg_sq"},
    AdamW: {"step", "exp_avg", "exp_avg_sq"},
}
