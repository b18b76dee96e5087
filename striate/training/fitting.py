"""Whether what a checkpoint holds fits the run: a whole file with the right checksum can still be of another net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from striate.choices import Within
from striate.errors import DataError
from striate.forms import read
from striate.runforms.kinds import Count, Seconds
from striate.runforms.summary import Epoch
from striate.training.average import Average
from striate.training.job import Job

TENSORS = 6
"""A checkpoint has weights, two moments of each and a running mean of them, in at most eight bytes a value; and some to spare."""
SPARE = 2**26


@dataclass(frozen=True, kw_only=True, slots=True)
class _Numbers:
    step: Count
    seconds: Seconds
    rows: tuple[Epoch, ...]
    parts: Annotated[int, Within(1, 10**6)]


def most_bytes(job: Job) -> int:
    """Bytes of a checkpoint of the job, at most."""
    values: int = sum(tensor.numel() for tensor in job.net.state_dict().values())
    return SPARE + 8 * TENSORS * values


def require_fit(saved: Any, job: Job, average: Average | None, steps: int) -> None:
    """Raises DataError, which says what, if a checkpoint does not fit the job; neither is changed.

    Args:
        saved: what was read.
        average: the running mean of the weights, where the recipe wants one.
        steps: of the run in all.
    """
    if not isinstance(saved, dict):
        raise DataError(f"it holds a {type(saved).__name__}")
    parts = {name: saved.get(name) for name in ("step", "seconds", "rows", "parts") if name in saved}
    if (found := read(_Numbers, parts)).step > steps:
        raise DataError(f"step is {found.step:,}, and the run has {steps:,}")
    totals = saved.get("totals")
    if not isinstance(totals, Tensor) or not totals.numel() or totals.numel() % 3 or not totals.isfinite().all():
        raise DataError("totals is not three finite sums of each rank")
    _require_state(saved.get("net"), job.net.state_dict(), "net")
    if average is not None:
        _require_state(saved.get("average"), average.state_dict(), "average")
    _require_optimizer(saved.get("optimizer"), job.optimizer)


def _require_state(saved: Any, own: Mapping[str, Tensor], name: str) -> None:
    if not isinstance(saved, dict) or saved.keys() != own.keys():
        raise DataError(f"{name} does not have the names of this net's tensors")
    for key, tensor in own.items():
        _require_tensor(saved[key], tensor, f"{name}.{key}")


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
    torch.optim.SGD: {"momentum_buffer"},
    torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
}
