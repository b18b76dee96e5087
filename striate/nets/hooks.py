"""Hooks and evaluation mode that are removed from the net when they are no longer needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from striate.nets.external import inner
from striate.nets.net import Net


def set_mode(module: nn.Module, training: bool) -> None:
    """As `module.train(training)`, which exported programs refuse."""
    try:
        module.train(training)
    except NotImplementedError:
        for part in module.modules():
            part.training = training


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Puts the net into evaluation mode, and each of its modules back into its own mode afterwards."""
    modes = {module: module.training for module in net.modules()}
    set_mode(net, training=False)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def parts_of(net: Net) -> dict[str, nn.Module]:
    """The modules of a net by path: relative to its stages; for an external net, to the module that its author wrote."""
    parts = dict((net.stages if inner(net) is net else inner(net)).named_modules())
    del parts[""]
    return parts


@contextmanager
def hooked(
    parts: Iterable[tuple[str, nn.Module]],
    after: Callable[[str, Any], object],
    before: Callable[[str, tuple[Any, ...]], object] | None = None,
) -> Iterator[None]:
    """Calls `before(name, inputs)` and `after(name, output)` at each call of the modules.

    Args:
        parts: (name, module), as `named_modules` gives them. TorchScript's modules take no hooks and are passed over.
    """
    handles: list[RemovableHandle] = []
    try:
        for name, module in parts:
            if isinstance(module, torch.jit.ScriptModule):
                continue
            if before is not None:
                handles.append(module.register_forward_pre_hook(partial(_call, before, name)))
            handles.append(module.register_forward_hook(partial(_call, after, name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _call(listener: Callable[[str, Any], object], name: str, module: nn.Module, *values: Any) -> None:
    listener(name, values[-1])


@contextmanager
def capture(module: nn.Module, *, entering: bool = False) -> Iterator[list[Any]]:
    """Collects the outputs of a module, call by call, as part of the autograd graph.

    The net goes on with a copy, since what follows may write into it.

    Args:
        entering: collect what enters the module instead, its first argument.
    """
    kept: list[Any] = []

    def keep(value: Any) -> Any:
        kept.append(value)
        return value.clone() if isinstance(value, Tensor) else value

    handle = (
        module.register_forward_pre_hook(lambda _, given: (keep(given[0]), *given[1:]))
        if entering
        else module.register_forward_hook(lambda _, given, output: keep(output))
    )
    try:
        yield kept
    finally:
        handle.remove()
