"""The running mean of the weights (exponential moving average; Polyak and Juditsky 1992 for the plain mean)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from striate.nets import Net
from striate.nets.copying import copied


class Average:
    """A net whose weights are the running mean of another's.

    After step t (1, 2, ...) each floating tensor is mean + (1 - d) x (weights - mean) with d = min(decay, t / (t + 10)): the
    first steps, which are far from where training ends, are forgotten sooner. Counters are copied.

    Args:
        net: the net that is trained; its present weights are the first mean.
        decay: share of the mean that a step keeps, 0 < decay < 1.
    """

    def __init__(self, net: Net, decay: float) -> None:
        self.net = copied(net).requires_grad_(False).eval()
        self.decay = decay

    def update(self, net: Net, step: int) -> None:
        """Takes the weights in that `net` has after `step` steps."""
        decay = min(self.decay, step / (step + 10))
        means, values = [], []
        for mean, value in zip(self._tensors(self.net), self._tensors(net), strict=True):
            if mean.is_floating_point():
                means.append(mean)
                values.append(value)
            else:
                mean.copy_(value)
        torch._foreach_lerp_(means, values, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """State of the moving average."""
        return self.net.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.net.load_state_dict(state)

    @staticmethod
    def _tensors(net: Net) -> list[Tensor]:
        return [tensor.detach() for tensor in (*net.parameters(), *net.buffers())]
