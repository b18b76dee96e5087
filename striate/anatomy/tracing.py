"""Tracing: one run of any net on the meta device, with shapes and without numbers, so that it takes no memory and no data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate.anatomy.graph import Graph, Shape
from striate.anatomy.recording import Call, Recorder
from striate.anatomy.tensors import META
from striate.nets.copying import Copies
from striate.nets.hooks import set_mode
from striate.nets.net import Net
from striate.nets.outputs import described, outputs_in
from striate.nets.undisturbed import undisturbed


@dataclass(eq=False)
class TraceFailure(Exception):
    """The net could not be run on this input. Holds what ran before, and where it stopped; `input_size` turns it into advice."""

    cause: Exception
    calls: tuple[Call, ...]
    """The modules that were running, outermost first."""
    operation: str
    """The aten operation that refused its arguments; empty if the failure lay outside one."""
    operands: tuple[Shape, ...]
    """Shapes of that operation's tensors."""
    graph: Graph

    def __str__(self) -> str:
        return str(self.cause)


def trace(module: nn.Module | Copies, input_shape: Sequence[int]) -> Graph:
    """Runs a copy of `module` once, in eval mode, on a meta tensor of `input_shape` (N, C, H, W): its graph of operations.

    The module is left as it was, whatever it holds, and so are random generators and what its class and file keep. Of one that
    is to be traced often `Copies` can be given.

    Raises:
        TraceFailure: the module cannot take that input.
        UsageError: it cannot be copied.
    """
    copies = module if isinstance(module, Copies) else Copies(module)
    shape = tuple(int(size) for size in input_shape)
    with undisturbed(copies.original):
        if copies.needs_values:
            return _trace(copies.make(), shape)
        try:
            return _trace(copies.make(META), shape)
        except TraceFailure as failure:
            if not wants_values(failure.cause):
                raise
            try:  # it asks for the value of a weight, or of a pixel
                graph = _trace(copies.make(), shape)
            except TraceFailure as again:
                if not wants_values(again.cause):
                    raise
                raise failure from failure.cause  # a copy with values, and an image without them: that adds nothing
        copies.needs_values = True
        return graph


def wants_values(error: BaseException) -> bool:
    """Whether a net on the meta device failed because it asked for a value, which a tensor has not there."""
    return isinstance(error, NotImplementedError) or any(word in str(error).lower() for word in ("meta", "no data"))


def _trace(module: nn.Module, shape: Shape) -> Graph:
    set_mode(module, training=False)
    recorder = Recorder(module, shape)
    with recorder.following_modules(), torch.no_grad(), recorder:
        try:
            output = module(recorder.picture)
            tensors = outputs_in(output)
            if not tensors:
                raise NothingGiven(f"it gives {described(output)}: let it return the logits, a tensor (N, classes)")
        except Exception as error:
            raise TraceFailure(error, tuple(recorder.calls), *recorder.failed, recorder.graph([])) from error
    return recorder.graph(tensors)


class NothingGiven(Exception):
    """The net ran and gave no tensor."""


class WithHeads(nn.Module):
    """Runs `net` and, if `heads` is set and it is a catalogue net, its auxiliary heads. Its state's names begin with `net.`"""

    heads = True

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

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
