"""Recording what a net does, operation by operation.

Functional calls, branches, skips, views and in-place writes are all seen, because the recording sits below them
(`TorchDispatchMode`), not on the modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload

from striate.anatomy.graph import Graph, Node, Shape
from striate.anatomy.operations import count_macs, name_of
from striate.anatomy.tensors import Given, Tracker, dims_along, key_of, shape_of, storage_of, tensors_in
from striate.nets.hooks import hooked

_SPLITS = {"split", "split_with_sizes", "unbind", "chunk"}


@dataclass(slots=True)
class Call:
    """A module that is running."""

    module: str
    number: int
    inputs: tuple[Shape, ...]
    first_node: int = 0
    """Number of nodes that there were when it began."""


def picture_type(module: nn.Module) -> torch.dtype | None:
    """The type of the images that a net computes with: the type of its first real weight; torch's default if None."""
    return next((value.dtype for value in module.parameters() if value.is_floating_point()), None)


@dataclass(slots=True)
class _Value:
    """A tracked tensor: the node that made it (None: it does not depend on the image), the parameters in it."""

    node: int | None
    parameters: tuple[str, ...] = ()
    picture: bool = False
    masked: bool = False
    """Parameters that were multiplied or overwritten by something that is none: some may be zero for ever."""


@dataclass(eq=False)
class Recorder(Tracker[_Value]):  # type: ignore[no-untyped-call]
    """Records each aten operation as a Node, and runs it on the meta device whatever device its tensors are on."""

    module: nn.Module
    input_shape: Shape
    calls: list[Call] = field(default_factory=lambda: [Call("", 0, ())])

    def __post_init__(self) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.sizes = {name: parameter.numel() for name, parameter in self.module.named_parameters()}
        for name, parameter in self.module.named_parameters():
            self.remember(parameter, _Value(None, (name,)))
        self.picture = torch.empty(self.input_shape, device="meta", dtype=picture_type(self.module))
        self.remember(self.picture, _Value(self._add("input", (), self.input_shape).index, picture=True))

    def following_modules(self) -> AbstractContextManager[None]:
        """Keeps `calls` up to date. Operations of a TorchScript module are those of the module that holds it."""
        counts: dict[str, int] = {}

        def enter(name: str, inputs: tuple[Any, ...]) -> None:
            shapes = tuple(tuple(tensor.shape) for tensor in tensors_in(*inputs))
            self.calls.append(Call(name, counts.get(name, 0), shapes, len(self.nodes)))
            counts[name] = counts.get(name, 0) + 1

        def leave(name: str, output: Any) -> None:
            if self.calls[-1].first_node == len(self.nodes) and isinstance(output, Tensor):
                self._passed_through(output)
            self.calls.pop()

        return hooked(self.module.named_modules(), leave, before=enter)

    def ran(self, func: OpOverload, arguments: Mapping[str, Any], given: list[Given], results: list[Tensor]) -> None:
        values = [self.known.get(one.key) or _Value(None) for one in given]
        operands = list(zip((one.tensor for one in given), values, strict=True))
        read = list(zip((one.shape for one in given), values, strict=True))
        parameters = tuple(dict.fromkeys(name for value in values for name in value.parameters))
        name = name_of(func.namespace, func.overloadpacket.__name__)
        attributes = _attributes(name, arguments, operands)
        weights = sum(self.sizes[parameter] for parameter in parameters)
        macs = count_macs(name, [shape for shape, _ in read], tuple(results[0].shape), attributes, weights)
        if macs == 0 and all(value.node is None for value in values):
            # a mask on a weight, a random draw: no part of the graph, but parameters are carried along
            masked = any(value.masked for value in values) or _hides(name, operands)
            for tensor in results:
                self.remember(tensor, _Value(None, parameters, masked=masked))
            if func._schema.is_mutable and masked:  # an in-place write of a mask into a weight
                for key in self.on.get(key_of(results[0])[0], []):
                    self.known[key] = replace(self.known[key], masked=True)
            return
        parts = results if name in _SPLITS else results[:1]
        for part, tensor in enumerate(parts):
            own = {**attributes, "part": part} if len(parts) > 1 else attributes
            fresh = 0 if storage_of(tensor) in self.on else tensor.numel() * tensor.element_size()
            shape = tuple(tensor.shape)
            node = self._add(name, read, shape, attributes=own, parameters=parameters, macs=macs, bytes=fresh)
            if func._schema.is_mutable:
                self._written(tensor, node)
            self.remember(tensor, _Value(node.index, picture=node.reads_picture))
        for tensor in results[len(parts) :]:
            self.remember(tensor, _Value(node.index, picture=node.reads_picture))

    def _add(self, operation: str, operands: Sequence[tuple[Shape, _Value]], shape: Shape, **more: Any) -> Node:
        """Adds a node: an operation of torch's, the image, a module that does nothing, what an in-place write changes."""
        call = self.calls[-1]
        node = Node(
            index=len(self.nodes), operation=operation, module=call.module, call=call.number, shape=shape,
            operands=tuple(value.node for _, value in operands), operand_shapes=tuple(shape for shape, _ in operands),
            reads_picture=not operands or any(value.picture for _, value in operands), **more,
        )  # fmt: skip
        self.nodes.append(node)
        return node

    def _passed_through(self, tensor: Tensor) -> None:
        """A module that ran without an operation (dropout in eval mode) gets a node too: readers look for it."""
        key, shape = key_of(tensor), tuple(tensor.shape)
        value = self.known.get(key)
        if value is not None and value.node is not None:
            self.known[key] = replace(value, node=self._add("identity", [(shape, value)], shape).index)

    def _written(self, tensor: Tensor, node: Node) -> None:
        """An in-place write changes every tensor that shares the storage: each now depends on what it held and on the write."""
        own = key_of(tensor)
        for key in self.on.get(own[0], []):
            if key == own:
                continue
            value, shape = self.known[key], shape_of(key)
            write = (node.shape, _Value(node.index, picture=node.reads_picture))
            operands = [write] if value.node is None else [(shape, value), write]
            places = {"dims": dims_along(key, own)}
            joined = self._add("write", operands, shape, attributes=places, parameters=value.parameters)
            self.known[key] = _Value(joined.index, picture=joined.reads_picture)

    def graph(self, outputs: list[Tensor]) -> Graph:
        """The recorded graph so far."""
        made_by = [self.known.get(key_of(tensor)) for tensor in outputs]
        named = list(self.module.named_modules())
        return Graph(
            nodes=tuple(self.nodes),
            outputs=tuple(value.node for value in made_by if value is not None and value.node is not None),
            input_shape=self.input_shape,
            modules={name: type(part).__name__ for name, part in named},
            leaves=frozenset(name for name, part in named if next(part.children(), None) is None),
            placeholders=frozenset(name for name, part in named if type(part) in (nn.Identity, nn.Sequential)),
            recurrent=frozenset(name for name, part in named if isinstance(part, nn.RNNBase)),
            parameters=self.sizes,
            frozen=frozenset(name for name, value in self.module.named_parameters() if not value.requires_grad),
        )


_WEIGHTS_SECOND = {"convolution", "_convolution", "torchvision::deform_conv2d"}
_MASKING = {
    "mul", "where", "masked_fill", "masked_scatter", "tril", "triu", "index_put", "copy", "fill", "zero", "scatter",
}  # fmt: skip


def _attributes(name: str, arguments: Mapping[str, Any], operands: Sequence[tuple[Tensor, _Value]]) -> dict[str, Any]:
    """The arguments that are no tensors, and what is to be known of those that are."""
    attributes: dict[str, Any] = {key: value for key, value in arguments.items() if not tensors_in(value)}
    weight = arguments.get("weight")
    attributes["bias"] = isinstance(arguments.get("bias"), Tensor) or name == "addmm"
    if isinstance(weight, Tensor):
        attributes["weight"] = tuple(weight.shape)
        if name in _WEIGHTS_SECOND:
            attributes["kernel"] = tuple(weight.shape[2:])
    if name == "index":
        given = [(place, index.ndim) for place, index in enumerate(arguments["indices"]) if index is not None]
        plain = all(index is None or index.dtype not in (torch.bool, torch.uint8) for index in arguments["indices"])
        attributes["indexed"] = given if plain else None
    fixed = tuple(
        place
        for place, (tensor, value) in enumerate(operands)
        if value.node is None and not value.parameters and tensor.numel() > 1
    )
    if fixed:
        attributes["fixed"] = fixed  # tensors that are neither parameters nor made of the image
    if any(value.masked and value.node is None for _, value in operands):
        attributes["masked"] = True
    return attributes


def _hides(name: str, operands: Sequence[tuple[Tensor, _Value]]) -> bool:
    """Whether an operation without the image may make zeros of parameters."""
    if name.rstrip("_") not in _MASKING or not any(value.parameters for _, value in operands):
        return False
    others = [tensor for tensor, value in operands if not value.parameters]
    return name.rstrip("_") != "mul" or any(tensor.numel() > 1 for tensor in others)
