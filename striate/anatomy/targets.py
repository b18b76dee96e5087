"""What `striate inspect` can be pointed at: a net of the catalogue, an object in a file, a torchvision or a timm model."""

from __future__ import annotations

import importlib
import importlib.util
import inspect as python_inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from striate.anatomy.shapes import weightless
from striate.errors import UsageError, unknown_name
from striate.nets import build

Input = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A net to be looked at, on the meta device where we built it ourselves."""

    name: str
    module: nn.Module
    input: Input | None
    """(C, H, W) that it takes by default; None if nothing says so."""
    classes: int | None
    """Number of classes that was asked for, or that the catalogue's row has."""


def resolve(target: str, *, channels: int | None = None, classes: int | None = None) -> Target:
    """Finds and builds what `target` names, without weights.

    Args:
        target: a catalogue name (`lenet5`), `FILE.py:OBJECT` (a module, or a function or class without required arguments
            that makes one; the file is run), `torchvision:NAME` or `timm:NAME`.
        channels: of the input; the net's own default if None. An object in a file is taken as it is.
        classes: likewise.

    Raises:
        UsageError: there is no such net, file or object, or it takes no such channels or classes.
    """
    scheme, colon, name = target.rpartition(":")
    if not colon:
        return _from_catalogue(target, channels, classes)
    if scheme == "torchvision":
        return _from_torchvision(name, channels, classes)
    if scheme == "timm":
        return _from_timm(name, channels, classes)
    if scheme.endswith(".py"):
        return _from_file(Path(scheme), name, classes)
    raise UsageError(f"{target!r} names no net: give a catalogue name, FILE.py:OBJECT, torchvision:NAME or timm:NAME")


def _from_catalogue(name: str, channels: int | None, classes: int | None) -> Target:
    if name.endswith(".py"):
        raise UsageError(f"which net in {name}? Write {name}:OBJECT, the name of a module, class or function in it")
    with weightless():
        net = build(name, channels=channels, classes=classes)
    return Target(name=name, module=net, input=(net.channels, *net.spec.input[1:]), classes=net.classes)


def _from_torchvision(name: str, channels: int | None, classes: int | None) -> Target:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise unknown_name("torchvision model", name, known, "torchvision.models.list_models()")
    builder = torchvision.models.get_model_builder(name)
    options: dict[str, Any] = {"weights": None}
    if "weights_backbone" in python_inspect.signature(builder).parameters:
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    if classes is not None:
        options["num_classes"] = classes
    module = _built(lambda: builder(**options))
    published = next(iter(torchvision.models.get_model_weights(name)), None)
    side = published.transforms().crop_size[0] if published is not None else 224
    if channels not in (None, 3):
        raise UsageError(
            f"torchvision:{name} takes 3-channel pictures, got {channels}: torchvision has no argument for it"
        )
    return Target(name=f"torchvision:{name}", module=module, input=(3, side, side), classes=classes)


def _from_timm(name: str, channels: int | None, classes: int | None) -> Target:
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise UsageError("timm is not installed: pip install 'striate[timm]'") from error
    known = timm.list_models()
    if name.split(".")[0] not in known:
        raise unknown_name("timm model", name, known, "timm.list_models()")
    options: dict[str, Any] = {}
    if channels is not None:
        options["in_chans"] = channels
    if classes is not None:
        options["num_classes"] = classes
    module: nn.Module = _built(lambda: timm.create_model(name, pretrained=False, **options))
    default: Input = tuple(module.default_cfg["input_size"])  # type: ignore[index]
    return Target(
        name=f"timm:{name}", module=module, input=(default[0] if channels is None else channels, *default[1:]),
        classes=classes,
    )  # fmt: skip


def _built(build: Callable[[], Any]) -> Any:
    """A net without weights; with weights where its construction computes with tensors, which the meta device cannot."""
    try:
        with weightless():
            return build()
    except (NotImplementedError, RuntimeError):
        return build()


def _from_file(path: Path, name: str, classes: int | None) -> Target:
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    if not name:
        raise UsageError(f"which net in {path}? Write {path}:OBJECT, the name of a module, class or function in it")
    found = _import(path)
    if not hasattr(found, name):
        known = [key for key, value in vars(found).items() if isinstance(value, nn.Module) or callable(value)]
        raise unknown_name(f"object in {path}", name, known, ", ".join(known) or "none")
    value = getattr(found, name)
    if not isinstance(value, nn.Module):
        value = _make(value, f"{path}:{name}")
    if not isinstance(value, nn.Module):
        raise UsageError(f"{path}:{name} gives a {type(value).__name__}, not a torch.nn.Module")
    return Target(name=f"{path}:{name}", module=value, input=None, classes=classes)


def _import(path: Path) -> object:
    """Runs the user's file as a module of its own; it may import its neighbours."""
    spec = importlib.util.spec_from_file_location(f"striate_target_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles look it up there
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} failed when it was imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


def _make(factory: Callable[[], object] | object, name: str) -> object:
    if not callable(factory):
        raise UsageError(
            f"{name} is a {type(factory).__name__}: it must be a net, or a class or function that makes one"
        )
    parameters = python_inspect.signature(factory).parameters.values()
    needed = [
        p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if needed:
        raise UsageError(
            f"{name} needs the arguments {', '.join(needed)}: give them defaults, or name a function without arguments"
        )
    try:
        return _built(factory)
    except Exception as error:
        raise UsageError(f"{name} could not be built: {type(error).__name__}: {error}") from error
