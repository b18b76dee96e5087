"""Python files that hold a user's net: read, hashed, run. `striate.trust` says when a run may run one."""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from striate.errors import UsageError, short_of_means, unknown_name

LARGEST = 2**24
"""Bytes of a Python file."""
CLASSES = ("classes", "num_classes")
CHANNELS = ("channels", "in_channels", "in_chans")
"""Arguments of a user's class or function that are given the data's numbers where it has them."""


@dataclass(frozen=True, slots=True)
class Source:
    """A Python file as it was read: what is hashed is what is run."""

    path: Path
    """Absolute."""
    code: bytes

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's bytes, in hexadecimal. What the file imports is not part of it."""
        return hashlib.sha256(self.code).hexdigest()


def source_path(target: str) -> Path | None:
    """The file of a target `FILE.py:OBJECT`; None of any other."""
    file, _, _ = target.rpartition(":")
    return Path(file) if file.endswith(".py") else None


def read_source(path: Path) -> Source:
    """The file as it is now. Raises UsageError if it is not there, or too large for a program."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    if (size := path.stat().st_size) > LARGEST:
        raise UsageError(f"{path} has {size:,} bytes, and at most {LARGEST:,} are read of a Python file")
    return Source(path.resolve(), path.read_bytes())


def find_object(source: Source, name: str, target: str) -> Any:
    """Runs the file and returns its object `name`: a module, or a class or function that makes one.

    Raises:
        UsageError: the file fails, or has no such object, or it is neither.
    """
    if not name:
        raise UsageError(
            f"which net in {source.path.name}? Write {target}OBJECT, the name of a module, class or function in it"
        )
    found = _run(source)
    if not hasattr(found, name):
        known = [key for key, value in vars(found).items() if isinstance(value, nn.Module) or callable(value)]
        raise unknown_name(f"object in {source.path}", name, known, ", ".join(known) or "none")
    value = getattr(found, name)
    if not (isinstance(value, nn.Module) or callable(value)):
        raise UsageError(
            f"{target} is a {type(value).__name__}: it must be a net, or a class or function that makes one"
        )
    return value


def arguments(factory: Callable[..., object], target: str, channels: int | None, classes: int | None) -> dict[str, int]:
    """The numbers of channels and classes, for those arguments of a class or function that have such a name.

    Raises:
        UsageError: it needs other arguments, or numbers that are not there.
    """
    parameters = [
        parameter
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    offered = dict.fromkeys(CLASSES, classes) | dict.fromkeys(CHANNELS, channels)
    numbers = {name: number for name, number in offered.items() if number is not None}
    needed = [p.name for p in parameters if p.default is p.empty and p.name not in numbers]
    if needed:
        options = {"--classes": CLASSES, "--input": CHANNELS}
        missing = [option for option, names in options.items() if any(name in names for name in needed)]
        instead = f"say {' and '.join(missing)}, or " if missing and set(needed) <= offered.keys() else ""
        raise UsageError(
            f"{target} needs the arguments {', '.join(needed)}: {instead}give them defaults, or name a function that needs "
            f"none but {', '.join(offered)}"
        )
    return {p.name: numbers[p.name] for p in parameters if p.name in numbers}


class _Loader(importlib.abc.SourceLoader):
    """Loads the bytes that were hashed, and neither reads nor writes compiled code beside the file."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def get_filename(self, fullname: str) -> str:
        return str(self.source.path)

    def get_data(self, path: str | bytes) -> bytes:
        return self.source.code


def _run(source: Source) -> ModuleType:
    """Runs the file as a module of its own; it may import its neighbours."""
    spec = importlib.util.spec_from_loader(f"striate_target_{source.path.stem}", _Loader(source))
    assert spec is not None, "a spec is made of every loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles look it up there
    sys.path.insert(0, str(source.path.parent))
    try:
        _Loader(source).exec_module(module)
    except Exception as error:
        if short_of_means(error):
            raise
        raise UsageError(f"{source.path} failed when it was imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(source.path.parent))
    return module
