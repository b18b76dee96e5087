"""The graph of operations of any net, recorded in one run on the meta device: shapes without numbers, so no memory and no data.

Nodes are aten operations that depend on the picture, and products of parameters alone with what follows from them (learned
queries, tables of positions), in the order in which they ran; edges go from the operation that made a tensor to the one that
reads it. Functional calls, branches, skips, views and in-place writes are all seen, because the recording sits below them
(`TorchDispatchMode`), not on the modules.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._pytree import tree_map_only

from striate.anatomy.operations import count_macs, name_of
from striate.anatomy.shapes import quick_result, tensors_in
from striate.nets.copying import Copies
from striate.nets.elsewhere import described, outputs_in
from striate.nets.undisturbed import undisturbed
from striate.nets.weightless import LightMode

Shape = tuple[int, ...]
_META = torch.device("meta")
_SPLITS = {"split", "split_with_sizes", "unbind", "chunk"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operation that depends on the picture, or a product that does not."""

    index: int
    operation: str
    """aten's name without overload: `convolution`, `add`, `cat`, with the namespace of others in front; `input` for the picture
    itself."""
    module: str
    """Path of the innermost module that ran it, as in `named_modules()`; empty for the net itself."""
    call: int
    """Which call of that module, from 0: a module used twice has two."""
    inputs: tuple[int, ...]
    """Nodes whose outputs it reads, in the order of its arguments."""
    shape: Shape
    """Of its (first) output, the batch dimension first."""
    attributes: Mapping[str, Any]
    """Arguments that are no tensors, by aten's names; `kernel` (kh, kw) of a convolution; `weight`, the shape of a weight."""
    parameters: tuple[str, ...]
    """Parameters that it reads."""
    macs: int | None
    """Multiply-accumulates for the batch that was traced; None if they are not known."""
    bytes: int
    """Of newly stored output; 0 for a view or an in-place write."""
    operands: tuple[int | None, ...] = ()
    """For each tensor among its arguments the node that made it; None if none did."""
    operand_shapes: tuple[Shape, ...] = ()
    reads_picture: bool = True


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
    buffers_bytes: int
    parameter_bytes: int

    def consumers(self) -> list[list[int]]:
        """For each node the nodes that read its output."""
        readers: list[list[int]] = [[] for _ in self.nodes]
        for node in self.nodes:
            for source in dict.fromkeys(node.inputs):
                readers[source].append(node.index)
        return readers


@dataclass(slots=True)
class Call:
    """A module that is running."""

    module: str
    number: int
    inputs: tuple[Shape, ...]
    first_node: int = 0
    """Number of nodes that there were when it began."""


@dataclass(eq=False)
class TraceFailure(Exception):
    """The net could not be run on this input. Holds what ran before, and where it stopped; `limits` turns it into advice."""

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
        first: TraceFailure | None = None
        if not copies.needs_values:
            try:
                return _trace(copies.make(_META), shape)
            except TraceFailure as failure:
                if not wants_values(failure.cause):
                    raise
                first = failure
        # It asks for the value of a weight, or of a pixel.
        try:
            graph = _trace(copies.make(), shape)
        except TraceFailure as again:
            if first is None or not wants_values(again.cause):
                raise
            raise first from first.cause  # a copy with values, and a picture without them: that adds nothing
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
            calls = tuple(recorder.calls)
            failed = recorder.failed or ("", ())
            raise TraceFailure(error, calls, *failed, recorder.graph([])) from error
    return recorder.graph(tensors)


class NothingGiven(Exception):
    """The net ran and gave no tensor."""


def set_mode(module: nn.Module, training: bool) -> None:
    """As `module.train(training)`, which exported programs refuse."""
    try:
        module.train(training)
    except NotImplementedError:
        for part in module.modules():
            part.training = training


def picture_type(module: nn.Module) -> torch.dtype | None:
    """Of the pictures that a net computes with: the type of its first real weight; torch's default if None."""
    return next((value.dtype for value in module.parameters() if value.is_floating_point()), None)


@dataclass(slots=True)
class _Value:
    """What is known of a tensor: the node that made it (None: it does not depend on the picture), the parameters in it."""

    node: int | None
    parameters: tuple[str, ...] = ()
    picture: bool = False
    masked: bool = False
    """Parameters that were multiplied or overwritten by something that is none: some may be zero for ever."""


def _key(tensor: Tensor) -> tuple[Any, ...]:
    """A tensor's identity: its place in its storage. (Python objects do not do: autograd makes new ones for views.)"""
    return (tensor.untyped_storage()._cdata, tensor.storage_offset(), *tensor.shape, -1, *tensor.stride())


@dataclass(eq=False)
class Recorder(LightMode):  # type: ignore[no-untyped-call]
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
        self.metas: dict[tuple[Any, ...], Tensor] = {}
        self.sizes: dict[str, int] = {}  # values of each parameter
        self.alive: list[Tensor] = []  # so that no storage's address is used again
        for name, parameter in self.module.named_parameters():
            self._remember(parameter, _Value(None, (name,)))
            self.sizes[name] = parameter.numel()
        self.picture = torch.empty(self.input_shape, device="meta", dtype=picture_type(self.module))
        self.nodes.append(self._joint("input", (), self.input_shape, {}, ()))
        self._remember(self.picture, _Value(0, picture=True))

    @contextmanager
    def following_modules(self) -> Iterator[None]:
        """Keeps `calls` up to date by hooks, which are removed at the end."""
        counts: dict[str, int] = {}
        handles = []

        def enter(name: str) -> Any:
            def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
                shapes = tuple(tuple(tensor.shape) for tensor in tensors_in(*args))
                self.calls.append(Call(name, counts.get(name, 0), shapes, len(self.nodes)))
                counts[name] = counts.get(name, 0) + 1

            return hook

        def leave(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if self.calls[-1].first_node == len(self.nodes) and isinstance(output, Tensor):
                self._passed_through(output)
            self.calls.pop()

        try:
            for name, part in self.module.named_modules():
                if isinstance(part, torch.jit.ScriptModule):
                    continue  # it takes no hooks: its operations are those of the module that holds it
                handles.append(part.register_forward_pre_hook(enter(name)))
                handles.append(part.register_forward_hook(leave))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = tensors_in(*args, kwargs)
        values = [self.values.get(_key(tensor)) or _Value(None) for tensor in tensors]
        on_meta = any(tensor.is_meta for tensor in tensors)
        if on_meta and not all(tensor.is_meta for tensor in tensors):
            args, kwargs = tree_map_only(Tensor, self._to_meta, (tuple(args), kwargs))
        if on_meta and "device" in kwargs:
            kwargs = {**kwargs, "device": torch.device("meta")}
        shapes = [tuple(tensor.shape) for tensor in tensors]
        try:
            output = quick_result(func, args, kwargs) if on_meta else None
            output = func(*args, **kwargs) if output is None else output
            _check_not_empty(output)
        except Exception:
            self.failed = (func.overloadpacket.__name__, tuple(shapes))
            raise
        self._record(func, args, kwargs, list(zip(tensors, values, strict=True)), output)
        return output

    def _to_meta(self, tensor: Tensor) -> Tensor:
        if tensor.is_meta:
            return tensor
        return self.metas.setdefault(_key(tensor), tensor.detach().to("meta"))

    def _record(
        self,
        func: OpOverload,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        operands: list[tuple[Tensor, _Value]],
        output: Any,
    ) -> None:
        outputs = tensors_in(output)
        if not outputs:
            return
        parameters = tuple(dict.fromkeys(name for _, value in operands for name in value.parameters))
        inputs = tuple(value.node for _, value in operands if value.node is not None)
        picture = any(value.picture for _, value in operands)
        name = name_of(func.namespace, func.overloadpacket.__name__)
        arguments = _arguments(func, args, kwargs)
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
        for key in self.aliases.get(_key(tensor)[0], []):
            self.values[key] = replace(self.values[key], masked=True)

    def _joint(
        self, name: str, operands: Sequence[tuple[Shape, _Value]], shape: Shape, attributes: Mapping[str, Any],
        parameters: tuple[str, ...],
    ) -> Node:  # fmt: skip
        """A node that is no operation of torch's: the picture, a module that does nothing, what an in-place write changes."""
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
        value = self.values.get(_key(tensor))
        if value is not None and value.node is not None:
            shape = tuple(tensor.shape)
            self.nodes.append(self._joint("identity", [(shape, value)], shape, {}, ()))
            self.values[_key(tensor)] = replace(value, node=len(self.nodes) - 1)

    def _written(self, tensor: Tensor, node: Node) -> None:
        """An in-place write changes every tensor that shares the storage: each now depends on what it held and on the write."""
        own = _key(tensor)
        for key in self.aliases.get(own[0], []):
            value = self.values[key]
            if key == own:
                continue
            shape = tuple(key[2 : key.index(-1, 2)])
            write = (node.shape, _Value(node.index, picture=node.reads_picture))
            operands = [write] if value.node is None else [(shape, value), write]
            places = {"dims": _places(key, own)}
            joined = self._joint("write", operands, shape, places, value.parameters)
            self.nodes.append(joined)
            self.values[key] = _Value(joined.index, picture=joined.reads_picture)

    def _remember(self, tensor: Tensor, value: _Value) -> None:
        key = _key(tensor)
        if key not in self.values:
            self.aliases.setdefault(key[0], []).append(key)
        self.values[key] = value
        self.alive.append(tensor)

    def graph(self, outputs: list[Tensor]) -> Graph:
        """What was recorded so far."""
        made_by = [self.values.get(_key(tensor)) for tensor in outputs]
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


def _arguments(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments by name, defaults too."""
    schema = func._schema.arguments
    defaults = {item.name: item.default_value for item in schema[len(args) :] if item.has_default_value()}
    return {item.name: value for item, value in zip(schema, args, strict=False)} | defaults | dict(kwargs)


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
        attributes["fixed"] = fixed  # tensors that are neither parameters nor made of the picture
    if any(value.masked and value.node is None for _, value in operands):
        attributes["masked"] = True
    return attributes


def _hides(name: str, operands: Sequence[tuple[Tensor, _Value]]) -> bool:
    """Whether an operation without the picture may make zeros of parameters."""
    if name.rstrip("_") not in _MASKING or not any(value.parameters for _, value in operands):
        return False
    others = [tensor for tensor, value in operands if not value.parameters]
    return name.rstrip("_") != "mul" or any(tensor.numel() > 1 for tensor in others)


def _places(whole: tuple[Any, ...], part: tuple[Any, ...]) -> tuple[int, ...] | None:
    """For each dimension of a tensor the dimension of a view of the same storage that runs along it, -1 where the view holds one
    index or some of them; None if the view lies in the storage otherwise. Both by their keys."""
    (length, stride), (part_length, part_stride) = ((_sizes(key)) for key in (whole, part))
    offset = part[1] - whole[1]
    found: list[int] = []
    partial = []
    free = [d for d, n in enumerate(part_length) if n > 1]
    for n, s in zip(length, stride, strict=True):
        match = next((d for d in free if part_stride[d] == s), None) if n > 1 else None
        if match is not None:
            free.remove(match)
            if part_length[match] > n:
                return None
        if n > 1 and (match is None or part_length[match] < n):
            partial.append((n, s, 1 if match is None else part_length[match]))
        found.append(-1 if match is None else match)
    if free or len(set(stride)) < len([n for n in length if n > 1]):
        return None
    for n, s, taken in sorted(partial, key=lambda entry: -entry[1]):
        begin, offset = divmod(offset, s) if s else (0, offset)
        if not 0 <= begin <= n - taken:
            return None
    return tuple(found) if offset == 0 else None


def _sizes(key: tuple[Any, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides of a tensor by its key."""
    end = key.index(-1, 2)
    return key[2:end], key[end + 1 :]


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value))


def _check_not_empty(output: Any) -> None:
    """meta's shape rules let a convolution shrink to nothing where the real one refuses."""
    first = output[0] if isinstance(output, tuple | list) and output else output
    if isinstance(first, Tensor) and first.is_meta and 0 in first.shape and math.prod(first.shape[:2]) != 0:
        raise RuntimeError(f"Calculated output size {tuple(first.shape[2:])} is too small")
