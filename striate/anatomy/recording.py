"""Recording what a net does, operation by operation.

Functional calls, branches, skips, views and in-place writes are all seen, because the recording sits below them
(`TorchDispatchMode`), not on the modules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload

from striate.anatomy.graph import Graph, Node, Shape
from striate.anatomy.operations import count_macs, name_of
from striate.anatomy.tensors import MetaMode, dims_along, key_of, named_arguments, shape_of, tensors_in
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
    """What is known of a tensor: the node that made it (None: it does not depend on the image), the parameters in it."""

    node: int | None
    parameters: tuple[str, ...] = ()
    picture: bool = False
    masked: bool = False
    """Parameters that were multiplied or overwritten by something that is none: some may be zero for ever."""


@dataclass(eq=False)
class Recorder(MetaMode):  # type: ignore[no-untyped-call]
    """Records each aten operation as a Node, and runs it on the meta device whatever device its tensors are on."""

    module: nn.Module
    input_shape: Shape
    calls: list[Call] = field(default_factory=lambda: [Call("", 0, ())])
    failed: tuple[str, tuple[Shape, ...]] | None = None

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes: list[Node] = []
        self.values: dict[tuple[Any, ...], _Value] = {}
        self.aliases: dict[int, list[tuple[Any, ...]]] = {}  # storage -> keys of the tensors on it
        self.sizes: dict[str, int] = {}  # values of each parameter
        self.alive: list[Tensor] = []  # so that no storage's address is used again
        for name, parameter in self.module.named_parameters():
            self._remember(parameter, _Value(None, (name,)))
            self.sizes[name] = parameter.numel()
        self.picture = torch.empty(self.input_shape, device="meta", dtype=picture_type(self.module))
        self.nodes.append(self._joint("input", (), self.input_shape, {}, ()))
        self._remember(self.picture, _Value(0, picture=True))

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

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = tensors_in(*args, kwargs)
        values = [self.values.get(key_of(tensor)) or _Value(None) for tensor in tensors]
        shapes = tuple(tuple(tensor.shape) for tensor in tensors)
        try:
            output = self.run(func, args, kwargs)
            _check_not_empty(output)
        except Exception:
            self.failed = (func.overloadpacket.__name__, shapes)
            raise
        if outputs := tensors_in(output):
            self._record(func, named_arguments(func, args, kwargs), list(zip(tensors, values, strict=True)), outputs)
        return output

    def _record(
        self,
        func: OpOverload,
        arguments: Mapping[str, Any],
        operands: list[tuple[Tensor, _Value]],
        outputs: list[Tensor],
    ) -> None:
        parameters = tuple(dict.fromkeys(name for _, value in operands for name in value.parameters))
        inputs = tuple(value.node for _, value in operands if value.node is not None)
        picture = any(value.picture for _, value in operands)
        name = name_of(func.namespace, func.overloadpacket.__name__)
        attributes = _attributes(name, arguments, operands)
        shapes = tuple(tuple(tensor.shape) for tensor, _ in operands)
        values = sum(self.sizes[parameter] for parameter in parameters)
        macs = count_macs(name, shapes, tuple(outputs[0].shape), attributes, values)
        if (
            not inputs and macs == 0
        ):  # a mask on a weight, a random draw: no part of the graph, but parameters are carried along
            masked = any(value.masked for _, value in operands) or _hides(name, operands)
            for tensor in outputs:
                self._remember(tensor, _Value(None, parameters, masked=masked))
            if func._schema.is_mutable and masked:
                self._masked(outputs[0])
            return
        made_by = tuple(value.node for _, value in operands)
        parts = outputs if name in _SPLITS else outputs[:1]
        for part, tensor in enumerate(parts):
            if len(parts) > 1:
                attributes = {**attributes, "part": part}
            fresh = 0 if tensor.untyped_storage()._cdata in self.aliases else tensor.numel() * tensor.element_size()
            node = Node(
                index=len(self.nodes), operation=name, module=self.calls[-1].module, call=self.calls[-1].number,
                inputs=inputs, shape=tuple(tensor.shape), attributes=attributes, parameters=parameters, macs=macs,
                bytes=fresh, operands=made_by, operand_shapes=shapes, reads_picture=picture,
            )  # fmt: skip
            self.nodes.append(node)
            if func._schema.is_mutable:
                self._written(tensor, node)
            self._remember(tensor, _Value(node.index, picture=picture))
        for tensor in outputs[len(parts) :]:
            self._remember(tensor, _Value(self.nodes[-1].index, picture=picture))

    def _masked(self, tensor: Tensor) -> None:
        """An in-place write of a mask into a weight."""
        for key in self.aliases.get(key_of(tensor)[0], []):
            self.values[key] = replace(self.values[key], masked=True)

    def _joint(
        self, name: str, operands: Sequence[tuple[Shape, _Value]], shape: Shape, attributes: Mapping[str, Any],
        parameters: tuple[str, ...],
    ) -> Node:  # fmt: skip
        """A node that is no operation of torch's: the image, a module that does nothing, what an in-place write changes."""
        call = self.calls[-1]
        return Node(
            index=len(self.nodes), operation=name, module=call.module, call=call.number, shape=shape, macs=0, bytes=0,
            inputs=tuple(value.node for _, value in operands if value.node is not None), attributes=attributes,
            parameters=parameters, operands=tuple(value.node for _, value in operands),
            operand_shapes=tuple(shape for shape, _ in operands),
            reads_picture=not operands or any(value.picture for _, value in operands),
        )  # fmt: skip

    def _passed_through(self, tensor: Tensor) -> None:
        """A module that ran without an operation (dropout in eval mode) gets a node too: readers look for it."""
        value = self.values.get(key_of(tensor))
        if value is not None and value.node is not None:
            shape = tuple(tensor.shape)
            self.nodes.append(self._joint("identity", [(shape, value)], shape, {}, ()))
            self.values[key_of(tensor)] = replace(value, node=len(self.nodes) - 1)

    def _written(self, tensor: Tensor, node: Node) -> None:
        """An in-place write changes every tensor that shares the storage: each now depends on what it held and on the write."""
        own = key_of(tensor)
        for key in self.aliases.get(own[0], []):
            value = self.values[key]
            if key == own:
                continue
            shape = shape_of(key)
            write = (node.shape, _Value(node.index, picture=node.reads_picture))
            operands = [write] if value.node is None else [(shape, value), write]
            places = {"dims": dims_along(key, own)}
            joined = self._joint("write", operands, shape, places, value.parameters)
            self.nodes.append(joined)
            self.values[key] = _Value(joined.index, picture=joined.reads_picture)

    def _remember(self, tensor: Tensor, value: _Value) -> None:
        key = key_of(tensor)
        if key not in self.values:
            self.aliases.setdefault(key[0], []).append(key)
        self.values[key] = value
        self.alive.append(tensor)

    def graph(self, outputs: list[Tensor]) -> Graph:
        """What was recorded so far."""
        made_by = [self.values.get(key_of(tensor)) for tensor in outputs]
        named = list(self.module.named_modules())
        return Graph(
            nodes=tuple(self.nodes),
            outputs=tuple(value.node for value in made_by if value is not None and value.node is not None),
            input_shape=self.input_shape,
            modules={name: type(part).__name__ for name, part in named},
            leaves=frozenset(name for name, part in named if next(part.children(), None) is None),
            placeholders=frozenset(name for name, part in named if type(part) in (nn.Identity, nn.Sequential)),
            recurrent=frozenset(name for name, part in named if isinstance(part, nn.RNNBase)),
            parameters={name: parameter.numel() for name, parameter in self.module.named_parameters()},
            frozen=frozenset(name for name, value in self.module.named_parameters() if not value.requires_grad),
            parameter_bytes=sum(p.numel() * p.element_size() for p in self.module.parameters()),
            buffers_bytes=sum(b.numel() * b.element_size() for b in self.module.buffers()),
        )


_WEIGHTS_SECOND = {"convolution", "_convolution", "torchvision::deform_conv2d"}
_MASKING = {
    "mul",
    "where",
    "masked_fill",
    "masked_scatter",
    "tril",
    "triu",
    "index_put",
    "copy",
    "fill",
    "zero",
    "scatter",
}


def _attributes(name: str, arguments: Mapping[str, Any], operands: Sequence[tuple[Tensor, _Value]]) -> dict[str, Any]:
    """The arguments that are no tensors, and what is to be known of those that are."""
    attributes: dict[str, Any] = {key: value for key, value in arguments.items() if not _holds_tensors(value)}
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


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value))


def _check_not_empty(output: Any) -> None:
    """meta's shape rules let a convolution shrink to nothing where the real one refuses."""
    first = output[0] if isinstance(output, tuple | list) and output else output
    if isinstance(first, Tensor) and first.is_meta and 0 in first.shape and math.prod(first.shape[:2]) != 0:
        raise RuntimeError(f"Calculated output size {tuple(first.shape[2:])} is too small")
