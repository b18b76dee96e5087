"""Copies of any module, whatever it holds; running a copy changes nothing in the original.

`copy.deepcopy` refuses tensors that have a history, locks and open files, lets a class answer as it likes, and leaves hooks and
lambdas with the module that they were written for: running such a copy changes the original. Here a module is taken apart by
Python's pickler, which finds every object once, and put together again in the same process; nothing is written or imported.
"""

from __future__ import annotations

import contextvars
import copy
import copyreg
import io
import pickle
import sys
import threading
import types
import weakref
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch._ops import OpOverload, OpOverloadPacket

from striate.errors import UsageError, out_of_memory
from striate.nets.netspec import NetFacts
from striate.texts import with_article

_Module = TypeVar("_Module", bound=nn.Module)
_LOCKS: dict[type, Any] = {type(make()): make for make in (threading.Lock, threading.RLock)}
_BY_REFERENCE = (
    type, types.ModuleType, types.BuiltinFunctionType, types.CodeType, types.MethodDescriptorType, types.WrapperDescriptorType,
    contextvars.ContextVar, NetFacts, torch.dtype, torch.device, torch.layout, torch.memory_format, bytes, str,
    OpOverload, OpOverloadPacket,
)  # fmt: skip


def plain(module: nn.Module) -> nn.Module:
    """The module without `torch.compile` and torch's wrappers for several devices: its state has the names of its author."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while (wrapped := isinstance(module, wrappers)) or _is_compiled(module):
        module = cast(nn.Module, module.module if wrapped else module._orig_mod)
    return module


def copied(module: _Module, device: torch.device | str | None = None) -> _Module:
    """A copy with the same values, on `device`, or where its tensors are. Raises UsageError as `Copies` does."""
    return cast(_Module, Copies(module).make(None if device is None else torch.device(device)))


class Copies:
    """Makes any number of copies of a module as it is now.

    In place of what cannot be copied, such as an open file or a generator, they have something that says so when it is used.
    Raises UsageError if objects refer to each other too deep.
    """

    def __init__(self, module: nn.Module) -> None:
        self.original = module
        self.needs_values = False
        """Whether its forward has been found to ask for values of weights: it cannot be run on the meta device."""
        file = io.BytesIO()
        self._pickler = _Pickler(file)
        try:
            self._pickler.dump(module)
        except RecursionError as error:
            raise self._refused("its objects refer to each other more than a thousand deep") from error
        self._taken = file.getbuffer()

    def make(self, device: torch.device | None = None) -> nn.Module:
        """One copy, its tensors on `device`; on the meta device they have no values, and take no memory."""
        unpickler = _Unpickler(io.BytesIO(self._taken), self._pickler.kept, device)
        try:
            module: nn.Module = unpickler.load()
        except Exception as error:
            if out_of_memory(error):
                raise
            raise self._refused(f"{type(error).__name__}: {error}") from error
        if unpickler.alive:
            vars(module)["_kept_alive"] = unpickler.alive
        return module

    def _refused(self, why: str) -> UsageError:
        name = type(self.original).__name__
        return UsageError(f"{name} cannot be copied, and a net that was given is only ever run as a copy: {why}")


class Uncopyable:
    """Stands in a copy for something that cannot be copied."""

    def __init__(self, what: str) -> None:
        vars(self)["what"] = what

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise UncopyableError(
            f"its forward uses {vars(self)['what']}, which cannot be copied, and only copies of a net are run, so that it stays "
            "as it is: make it in forward, or leave it out of the module"
        )

    __getattr__ = __setattr__ = __call__ = __iter__ = __next__ = __enter__ = __exit__ = __getitem__ = __len__ = _refuse


class UncopyableError(Exception):
    """A copy was run and needs something that only the original has."""


def _is_compiled(module: object) -> bool:
    """Whether `torch.compile` made it; torch's compiler is loaded if so, and is not loaded to find out."""
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    return compiler is not None and isinstance(module, compiler.OptimizedModule)


class _Uncompiled(nn.Module):
    """Stands in a copy for a module that `torch.compile` made: the names of its state are the same."""

    _orig_mod: nn.Module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_orig_mod"), name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._orig_mod(*args, **kwargs)


def _fill(thing: Any, state: dict[str, Any]) -> None:
    vars(thing).update(state)


def _fill_cell(cell: types.CellType, contents: tuple[Any, ...]) -> None:
    (cell.cell_contents,) = contents


def _fill_function(function: Any, state: tuple[Any, ...]) -> None:
    function.__defaults__, function.__kwdefaults__, attributes, function.__module__, function.__qualname__ = state
    vars(function).update(attributes)


def _same(thing: Any) -> Any:
    return thing


def _refer(thing: Any) -> Any:
    """A weak reference to it. The unpickler has its own, which keeps the copy alive."""
    return weakref.ref(thing)


@dataclass(eq=False, slots=True)
class _Kept:
    """Objects that the copy shares by reference: the globals of a function, an object that is found by its name."""

    thing: Any


class _Pickler(pickle.Pickler):
    """Takes a module apart. Tensors, classes, plain functions and the like are kept aside, by number."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=4)
        self.kept: list[Any] = []
        self._number: dict[int, int] = {}

    def persistent_id(self, thing: Any) -> int | None:
        aside = (
            isinstance(thing, (*_BY_REFERENCE, Tensor, torch.jit.ScriptModule, torch.Generator, _Kept))
            or type(thing) in _LOCKS
            # A function without objects of its own, which running it could change.
            or (
                type(thing) is types.FunctionType
                and not (thing.__closure__ or thing.__defaults__ or thing.__kwdefaults__ or vars(thing))
            )
        )
        if not aside:
            return None
        if id(thing) not in self._number:
            self._number[id(thing)] = len(self.kept)
            self.kept.append(thing)
        return self._number[id(thing)]

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, nn.Module):
            return self._module(thing)
        if isinstance(thing, types.FunctionType):
            state = (thing.__defaults__, thing.__kwdefaults__, dict(vars(thing)), thing.__module__, thing.__qualname__)
            made = (thing.__code__, _Kept(thing.__globals__), thing.__name__, None, thing.__closure__)
            return types.FunctionType, made, state, None, None, _fill_function
        if isinstance(thing, types.CellType):
            try:
                return types.CellType, (), (thing.cell_contents,), None, None, _fill_cell
            except ValueError:  # nothing is in it yet
                return types.CellType, ()
        if isinstance(thing, types.MethodType):
            return types.MethodType, (thing.__func__, thing.__self__)
        if isinstance(thing, Uncopyable):
            return Uncopyable, (vars(thing)["what"],)
        if isinstance(thing, weakref.ref):
            return _refer, (thing(),)
        return self._other(thing)

    def _module(self, module: nn.Module) -> Any:
        kind = type(module)
        state: Any = dict(vars(module))
        usual = vars(nn.Module())
        if _is_compiled(module):
            state = {name: state[name] for name in usual if name in state}
            return object.__new__, (_Uncompiled,), state, None, None, _fill
        if isinstance(module, torch.fx.GraphModule):  # its graph and code are not changed by running it
            own = {name for name, value in state.items() if name not in usual and not isinstance(value, Tensor)}
            state |= {name: _Kept(state[name]) for name in own}
        state.pop("_compiled_call_impl", None)
        said = kind.__getstate__ not in (nn.Module.__getstate__, object.__getstate__)
        if said and kind.__module__.split(".")[0] != "torch":  # the author says what its state is
            return object.__new__, (kind,), module.__getstate__()  # type: ignore[no-untyped-call]
        return object.__new__, (kind,), state, None, None, _fill

    def _other(self, thing: Any) -> Any:
        try:
            reduced = copyreg.dispatch_table.get(type(thing))
            found = thing.__reduce_ex__(4) if reduced is None else reduced(thing)
        except Exception:
            found = None
        if isinstance(found, str):  # it is found by that name
            return _same, (_Kept(thing),)
        return found if isinstance(found, tuple) else (Uncopyable, (with_article(type(thing).__name__),))


class _Unpickler(pickle.Unpickler):
    """Puts a module together again."""

    def __init__(self, file: io.BytesIO, kept: list[Any], device: torch.device | None) -> None:
        super().__init__(file)
        self.kept, self.device = kept, device
        self.made: dict[int, Any] = {}
        self.storages: dict[int, torch.UntypedStorage] = {}
        self.alive: list[Any] = []
        """Targets of weak references, which nothing else may hold."""

    def persistent_load(self, number: int) -> Any:
        if number not in self.made:
            self.made[number] = self._make(self.kept[number])
        return self.made[number]

    def _make(self, thing: Any) -> Any:
        if isinstance(thing, Tensor):
            return self._tensor(thing)
        if isinstance(thing, torch.jit.ScriptModule):
            return self._script(thing)
        if isinstance(thing, torch.Generator):
            return thing.clone_state()
        if isinstance(thing, _Kept):
            return thing.thing
        if thing is _refer:
            return self._refer
        return _LOCKS[type(thing)]() if type(thing) in _LOCKS else thing

    def _script(self, module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
        """A scripted or traced module keeps its values, also where the rest has none: it cannot be on the meta device."""
        with torch.no_grad():
            script = copy.deepcopy(module)
            if self.device is not None and self.device.type != "meta":
                script = script.to(self.device)
        for parameter, given in zip(script.parameters(), module.parameters(), strict=True):
            parameter.detach_().requires_grad_(given.requires_grad)
        return script

    def _refer(self, thing: Any) -> Any:
        if thing is None:
            return lambda: None
        self.alive.append(thing)
        return weakref.ref(thing)

    def _tensor(self, tensor: Tensor) -> Tensor:
        """A tensor of the same form without history; tensors that share values in the original share them in the copy."""
        kind = type(tensor)
        plain_kind = kind in (Tensor, nn.Parameter) or isinstance(tensor, nn.Buffer)
        if not plain_kind or tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_conj():
            return copy.deepcopy(tensor.detach()).requires_grad_(tensor.requires_grad)
        device = self.device or tensor.device
        with torch.no_grad(), torch.inference_mode(False):
            fresh = torch.empty(0, dtype=tensor.dtype, device=device)
            fresh.set_(self._storage(tensor, device), tensor.storage_offset(), tensor.shape, tensor.stride())
        if kind is nn.Parameter:
            fresh = nn.Parameter(fresh, requires_grad=tensor.requires_grad)
        else:
            fresh.requires_grad_(tensor.requires_grad and tensor.is_leaf)
            if isinstance(tensor, nn.Buffer):
                fresh = nn.Buffer(fresh, persistent=tensor.persistent)
        vars(fresh).update(vars(tensor))
        return fresh

    def _storage(self, tensor: Tensor, device: torch.device) -> torch.UntypedStorage:
        given = tensor.untyped_storage()
        key = given._cdata
        if key not in self.storages:
            made = torch.UntypedStorage(given.nbytes(), device=device)  # type: ignore[no-untyped-call]
            if device.type != "meta" and given.device.type != "meta":
                made.copy_(given)
            self.storages[key] = made
        return self.storages[key]
