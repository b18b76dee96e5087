"""Restores what running a copy of a module changes outside it: random generators, counters and tables that its class or its file
keeps; and keeps what it prints off the terminal.
"""

from __future__ import annotations

import functools
import io
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import Any

import torch
from torch import nn

_OTHERS = {"torch", "torchvision", "timm", "striate", "builtins", "typing", "collections", "abc"}
_MISSING = object()
_CONTAINERS = (dict, list, set)


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Inside, a copy of `module` can be run: at the end random generators, its classes and the globals of its files are as they
    were, and nothing was printed.
    """
    with ExitStack() as stack:
        stack.enter_context(same_generators())
        for names in _namespaces(module):
            stack.callback(_remember(names))
        if sys.modules.get("torch._dynamo") is not None:  # what was compiled runs as it was written
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(redirect_stdout(io.StringIO()))
        yield


@contextmanager
def same_generators() -> Iterator[None]:
    """At the end, the global generators of torch, on every device in use, of Python and of NumPy are where they were."""
    state, legacy = random.getstate(), sys.modules.get("numpy.random")
    numpy_state = None if legacy is None else legacy.get_state()
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(state)
        if legacy is not None and numpy_state is not None:
            legacy.set_state(numpy_state)


def _namespaces(module: nn.Module) -> Iterator[Any]:
    """The classes of the module's parts, and the Python modules that they were written in, but for torch's and the like."""
    kinds = dict.fromkeys(kind for part in module.modules() for kind in type(part).__mro__)
    own = [kind for kind in kinds if kind.__module__.split(".")[0] not in _OTHERS]
    yield from own
    files = dict.fromkeys(kind.__module__ for kind in own)
    yield from (sys.modules[name] for name in files if name in sys.modules)


def _remember(names: Any) -> Callable[[], None]:
    """Restores the values of a class or a Python module, and the content of its lists, dicts, sets and caches."""
    before = {name: value for name, value in vars(names).items() if not name.startswith("__")}
    held = [(value, value.copy()) for value in before.values() if isinstance(value, _CONTAINERS)]
    caches = [
        (value, value.cache_info().currsize)
        for value in map(_unbound, before.values())
        if isinstance(value, functools._lru_cache_wrapper)
    ]

    def put_back() -> None:
        for name in [name for name in vars(names) if not name.startswith("__") and name not in before]:
            delattr(names, name)
        for name, value in before.items():
            if vars(names).get(name, _MISSING) is not value:
                setattr(names, name, value)
        for value, content in held:
            _refill(value, content)
        for cache, size in caches:
            if cache.cache_info().currsize != size:  # what was added is on the meta device; the rest is computed again
                cache.cache_clear()

    return put_back


def _unbound(value: Any) -> Any:
    return value.__func__ if isinstance(value, staticmethod | classmethod) else value


def _refill(container: Any, content: Any) -> None:
    if isinstance(container, list):
        if len(container) != len(content) or any(a is not b for a, b in zip(container, content, strict=True)):
            container[:] = content
        return
    same = container.keys() == content.keys() if isinstance(container, dict) else container == content
    if not same or (isinstance(container, dict) and any(container[key] is not content[key] for key in content)):
        container.clear()
        container.update(content)
