"""A net watched while it runs, operation by operation: what each reads, writes and draws, and the line of code that asked for it.

`trace` gives the graph of what depends on the image. Here everything counts: random draws, state, unregistered tensors, values.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload

from striate.anatomy.tensors import Given, Tracker, key_of, storage_of, tensors_in
from striate.nets.external import inner
from striate.nets.hooks import hooked, set_mode
from striate.nets.outputs import outputs_in

Shape = tuple[int, ...]
_OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
_INSIDE = frozenset(vars(nn.Module()))
"""Attributes that every module has: its parameters, buffers, children, hooks."""
_SWITCHES = ("train", "training", "dropout", "dropout_p", "p")
"""Arguments that switch the draws of an operation off when they are zero or False."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operation of a forward pass."""

    operation: str
    """aten's name without overload and without the underscore of in-place forms."""
    module: str
    """Path of the innermost module that ran it; empty for the net itself."""
    line: str
    """`net.py:12`, the innermost line that is not torch's own; empty where there is none."""
    inputs: tuple[int, ...]
    """Steps whose results it reads; -1 is the image itself."""
    operands: tuple[Shape, ...]
    result: Shape
    """Shape of its first result."""
    attributes: Mapping[str, Any]
    """Its arguments that are no tensors."""
    draws: bool
    view: bool
    """Whether its result is another view of an operand."""
    reads: tuple[str, ...]
    """Parameters and buffers."""
    writes: tuple[str, ...]
    """Parameters, buffers and unregistered tensors that are changed in place."""
    loose: tuple[str, ...]
    """Tensors that it reads and that are neither parameters nor buffers nor made in this pass: where they were found, or ``."""
    trained: bool
    """Whether one of those is a weight: a parameter, or a tensor that takes a gradient."""
    nan: bool
    """Whether a result holds NaN; False where values are not looked at."""
    infinite: bool

    @property
    def place(self) -> str:
        """The module, the operation and the line, if known."""
        where = self.module or self.operation
        return f"{where} ({self.line})" if self.line else where


@dataclass(frozen=True, slots=True)
class Watched:
    """A forward pass.

    Attributes:
        live: indices of the steps that the output depends on, in order.
        output: what the net gave.
    """

    steps: tuple[Step, ...]
    live: tuple[int, ...]
    output: Any


def watch(module: nn.Module, image: Tensor, values: bool = False) -> Watched:
    """Runs `module` once in eval mode on `image` (N, C, H, W), whose device may be meta, and gives what it did.

    The module's state changes as its forward pass changes it: give a copy.

    Args:
        values: whether results are searched for NaN and infinity; not on the meta device.
    """
    set_mode(module, training=False)
    watcher = _Watcher(module, image, values)
    with watcher.following_modules(), torch.no_grad(), watcher:
        output = module(image)
    return watcher.result(output)


def unowned(module: nn.Module) -> dict[str, Tensor]:
    """Tensors in attributes that are neither parameters nor buffers, by the path at which they are found: `layers[0].weight`.

    Lists, tuples, dicts and sets are looked through, with the modules and tensors in them.
    """
    owned = {storage_of(tensor) for tensor in (*module.parameters(), *module.buffers())}
    found: dict[str, Tensor] = {}
    seen: set[int] = {id(part) for part in module.modules()}
    stack: list[tuple[str, object]] = []
    for name, part in module.named_modules():
        stack += [(f"{name}.{key}".removeprefix("."), value) for key, value in vars(part).items() if key not in _INSIDE]
    while stack:
        path, value = stack.pop(0)
        if isinstance(value, Tensor):
            if storage_of(value) not in owned:
                found[path] = value
            continue
        if id(value) in seen or not isinstance(value, nn.Module | list | tuple | dict | set | frozenset):
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module):
            tensors = (*value.named_parameters(), *value.named_buffers())
            stack += [(f"{path}.{name}", tensor) for name, tensor in tensors]
        elif isinstance(value, dict):
            stack += [(f"{path}[{key!r}]", item) for key, item in value.items()]
        else:
            stack += [(f"{path}[{place}]", item) for place, item in enumerate(value)]
    return found


@dataclass(eq=False)
class _Watcher(Tracker[tuple[int, ...]]):  # type: ignore[no-untyped-call]
    """Records the steps."""

    module: nn.Module
    image: Tensor
    values: bool
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.calls = [""]
        self.owned: dict[int, str] = {}
        for name, tensor in (*inner(self.module).named_buffers(), *inner(self.module).named_parameters()):
            self.owned[storage_of(tensor)] = name
        loose = unowned(inner(self.module))
        self.loose = {storage_of(tensor): path for path, tensor in loose.items()}
        self.remember(self.image, (-1,))

    def following_modules(self) -> AbstractContextManager[None]:
        """Keeps `calls` up to date, by the paths that the author of the module knows."""
        parts = inner(self.module).named_modules()
        return hooked(parts, lambda *_: self.calls.pop(), before=lambda name, _: self.calls.append(name))

    def ran(self, func: OpOverload, arguments: Mapping[str, Any], given: list[Given], results: list[Tensor]) -> None:
        name = func.overloadpacket.__name__
        states = [storage_of(one.tensor) for one in given]
        fresh = [one.tensor for one in given if one.key not in self.known and one.key[0] not in self.on]
        loose = [t for t in fresh if t.is_floating_point() and storage_of(t) not in self.owned and name != "lift_fresh"]
        changed = _changed(func, arguments) if func._schema.is_mutable else []
        index = len(self.steps)
        floats = [] if not self.values else [t for t in results if t.is_floating_point() and t.numel()]
        known = {**self.loose, **self.owned}
        self.steps.append(
            Step(
                operation=name.rstrip("_"),
                module=self.calls[-1],
                line=_line(),
                inputs=tuple(dict.fromkeys(i for one in given for i in self.known.get(one.key, ()))),
                operands=tuple(one.shape for one in given),
                result=tuple(results[0].shape),
                attributes={key: value for key, value in arguments.items() if not tensors_in(value)},
                draws=_draws(func, arguments),
                view=not func._schema.is_mutable and storage_of(results[0]) in states,
                reads=tuple(dict.fromkeys(self.owned[state] for state in states if state in self.owned)),
                writes=tuple(dict.fromkeys(known[storage_of(t)] for t in changed if storage_of(t) in known)),
                loose=tuple(dict.fromkeys(self.loose.get(storage_of(t), "") for t in loose)),
                trained=any(t.requires_grad or isinstance(t, nn.Parameter) for t in loose),
                nan=any(bool(t.isnan().any()) for t in floats),
                infinite=any(bool(t.isinf().any()) for t in floats),
            )
        )
        for tensor in changed:
            for key in self.on.get(storage_of(tensor), []):
                self.known[key] = (*self.known[key], index)
        for tensor in (*results, *changed):
            self.remember(tensor, (index,))
        self.alive += [one.tensor for one in given]

    def result(self, output: Any) -> Watched:
        stack = [index for tensor in outputs_in(output) for index in self.known.get(key_of(tensor), ())]
        live: set[int] = set()
        while stack:
            index = stack.pop()
            if index >= 0 and index not in live:
                live.add(index)
                stack += self.steps[index].inputs
        return Watched(tuple(self.steps), tuple(sorted(live)), output)


def _draws(func: OpOverload, arguments: Mapping[str, Any]) -> bool:
    """Whether the operation draws random numbers: its aten schema says whether it can, its arguments whether it does."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    return not any(arguments.get(name, True) in (0, False) for name in _SWITCHES)


def _changed(func: OpOverload, arguments: Mapping[str, Any]) -> list[Tensor]:
    """The operands that it writes into."""
    written = [item.name for item in func._schema.arguments if item.alias_info is not None and item.alias_info.is_write]
    return [tensor for name in written for tensor in tensors_in(arguments.get(name))]


def _line() -> str:
    """The innermost line on the way here that is neither torch's nor of this package."""
    frame = sys._getframe(2)
    while frame.f_code is not watch.__code__ and frame.f_back is not None:
        path = frame.f_code.co_filename
        if not path.startswith((*_OURS, "<")):
            return f"{Path(path).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
