"""A net as a graph of operations, as `tracing` records it.

Nodes are aten operations that depend on the image, and products of parameters alone with what follows from them (learned
queries, tables of positions), in the order in which they ran; edges go from the operation that made a tensor to the one that
reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from striate.anatomy.sizes import Window

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operation that depends on the image, or a product that does not."""

    index: int
    operation: str
    """aten's name without overload: `convolution`, `add`, `cat`, with the namespace of others in front; `input` for the image
    itself."""
    module: str
    """Path of the innermost module that ran it, as in `named_modules()`; empty for the net itself."""
    call: int
    """Which call of that module, from 0: a module used twice has two."""
    shape: Shape
    """Shape of its (first) output, the batch dimension first."""
    operands: tuple[int | None, ...]
    """The node behind each tensor argument, the one that made it; None if none did."""
    operand_shapes: tuple[Shape, ...]
    reads_picture: bool
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that are no tensors, by aten's names; `kernel` (kh, kw) of a convolution; `weight`, the shape of a weight."""
    parameters: tuple[str, ...] = ()
    """Parameters that it reads."""
    macs: int | None = 0
    """Multiply-accumulates for the batch that was traced; None if they are not known."""
    bytes: int = 0
    """Size of newly stored output; 0 for a view or an in-place write."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """Nodes whose outputs it reads, in the order of its arguments."""
        return tuple(index for index in self.operands if index is not None)

    def setting(self, name: str, side: int, usual: int = 1) -> int:
        """A number that aten gives for each side of a window, or once for all."""
        value = self.attributes.get(name)
        if isinstance(value, int):
            return value
        return int(value[side % len(value)]) if value else usual

    def window(self, side: int) -> Window:
        """The window of a convolution or a pool along one side of the feature map."""
        kernel = self.setting("kernel", side, 0) or self.setting("kernel_size", side)
        return Window(
            kernel=kernel, stride=self.setting("stride", side, kernel), padding=self.setting("padding", side, 0),
            dilation=self.setting("dilation", side),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A net as a graph of operations for one input shape."""

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    """Nodes that make the net's outputs."""
    input_shape: Shape
    """(N, C, H, W)"""
    modules: Mapping[str, str]
    """Path -> class name, of every module of the net, whether it ran or not."""
    leaves: frozenset[str]
    """Paths of the modules that have no children."""
    placeholders: frozenset[str]
    """Paths of torch's own Identity and Sequential, which compute nothing themselves."""
    recurrent: frozenset[str]
    """Paths of torch's own recurrent layers, each one layer of many products."""
    parameters: Mapping[str, int]
    """Name -> number of values, of every parameter, tied ones once."""
    frozen: frozenset[str]
    """Names of the parameters that training leaves as they are (`requires_grad` is False)."""

    def consumers(self) -> list[list[int]]:
        """The nodes that read each node's output."""
        readers: list[list[int]] = [[] for _ in self.nodes]
        for node in self.nodes:
            for source in dict.fromkeys(node.inputs):
                readers[source].append(node.index)
        return readers
