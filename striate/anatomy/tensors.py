"""Tensors as a dispatch mode sees them: run on the meta device, known by their storage, named as arguments of an operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_map_only

from striate.anatomy.shapes import quick_result
from striate.nets.metadevice import LightMode

META = torch.device("meta")
Key = tuple[int, ...]
Known = TypeVar("Known")


class MetaMode(LightMode):  # type: ignore[no-untyped-call]
    """Runs what reads a tensor on the meta device there, whatever device its other tensors are on, and calls `ran` after it."""

    failed: tuple[str, tuple[tuple[int, ...], ...]] = ("", ())
    """The operation that refused its arguments, and their shapes."""

    def ran(self, func: OpOverload, arguments: Mapping[str, Any], given: list[Given], results: list[Tensor]) -> None:
        """Called after each operation with its arguments by name, the tensors among them, and its results."""

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [Given(tensor, key_of(tensor), tuple(tensor.shape)) for tensor in tensors_in(*args, kwargs)]
        try:
            output = _run(func, args, kwargs, [one.tensor.is_meta for one in given])
        except Exception:
            self.failed = (func.overloadpacket.__name__, tuple(one.shape for one in given))
            raise
        if results := tensors_in(output):
            self.ran(func, named_arguments(func, args, kwargs), given, results)
        return output


class Given(NamedTuple):
    """A tensor that an operation was given, with its key and shape, which the operation can change."""

    tensor: Tensor
    key: Key
    shape: tuple[int, ...]


def _run(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], on_meta: list[bool]) -> Any:
    if not any(on_meta):
        return func(*args, **kwargs)
    if not all(on_meta):
        args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.detach().to(META), (tuple(args), dict(kwargs)))
    if "device" in kwargs:
        kwargs = {**kwargs, "device": META}
    output = quick_result(func, args, kwargs)
    output = func(*args, **kwargs) if output is None else output
    first = next(
        iter(tensors_in(output)), None
    )  # meta lets a convolution shrink to nothing, where the real one refuses
    if first is not None and 0 in first.shape and 0 not in first.shape[:2]:
        raise RuntimeError(f"Calculated output size {tuple(first.shape[2:])} is too small")
    return output


class Tracker(MetaMode, Generic[Known]):
    """Keeps what is known of each tensor while operations run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known: dict[Key, Known] = {}
        self.on: dict[int, list[Key]] = {}
        """Storage -> keys of the tensors on it."""
        self.alive: list[Tensor] = []
        """So that no storage's address is used again."""

    def remember(self, tensor: Tensor, what: Known) -> None:
        key = key_of(tensor)
        if key not in self.known:
            self.on.setdefault(key[0], []).append(key)
        self.known[key] = what
        self.alive.append(tensor)


def tensors_in(*values: Any) -> list[Tensor]:
    """The tensors among arguments or results, those in lists and dicts too, in order."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tensors_in(*value)
        elif isinstance(value, dict):
            found += tensors_in(*value.values())
    return found


def storage_of(tensor: Tensor) -> int:
    """The identity of what holds a tensor's values."""
    return tensor.untyped_storage()._cdata if tensor.layout == torch.strided else id(tensor)


def key_of(tensor: Tensor) -> Key:
    """A tensor's identity: its place in its storage. (Python objects do not do: autograd makes new ones for views.)"""
    if tensor.layout != torch.strided:
        return (id(tensor),)
    return (storage_of(tensor), tensor.storage_offset(), *tensor.shape, -1, *tensor.stride())


def shape_of(key: Key) -> tuple[int, ...]:
    """The shape of the tensor that has this key."""
    return _sizes(key)[0]


def dims_along(whole: Key, part: Key) -> tuple[int, ...] | None:
    """Each dimension of a tensor -> the dimension of a view of the same storage that runs along it, -1 where the view holds one
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


def _sizes(key: Key) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides of a tensor by its key."""
    end = key.index(-1, 2)
    return key[2:end], key[end + 1 :]


def named_arguments(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, object]:
    """All arguments of an operation by aten's names, defaults too."""
    schema = func._schema.arguments
    defaults = {item.name: item.default_value for item in schema[len(args) :] if item.has_default_value()}
    return {item.name: value for item, value in zip(schema, args, strict=False)} | defaults | dict(kwargs)
