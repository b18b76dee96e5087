"""A net together with its auxiliary heads, as training runs it."""

from __future__ import annotations

from torch import Tensor, nn

from striate.nets.external import outputs_in
from striate.nets.net import Net


class WithHeads(nn.Module):
    """Runs `net` and, if `heads` is set and it is a catalogue net, its auxiliary heads. Its state's names begin with `net.`"""

    def __init__(self, net: nn.Module, heads: bool = True) -> None:
        super().__init__()
        self.net = net
        self.heads = heads

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, C, H, W) -> all outputs, the net's own last."""
        if not (self.heads and isinstance(self.net, Net)):
            return outputs_in(self.net(x))
        outputs = []
        for name, stage in self.net.stages.items():
            x = stage(x)
            if name in self.net.auxiliary:
                outputs.append(self.net.auxiliary[name][1](x))
        return [*outputs, self.net.head(x)]
