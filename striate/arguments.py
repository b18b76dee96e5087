"""Arguments of the public functions, checked against what their signatures say: a wrong type is an error in words, not a
traceback from somewhere inside.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import numbers
import os
import sys
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, cast

from striate.choices import Within
from striate.errors import UsageError, either, param
from striate.texts import with_article

_P = ParamSpec("_P")
_T = TypeVar("_T")
_S = TypeVar("_S")
_PLAIN: dict[object, tuple[Any, str]] = {
    None: (types.NoneType, "None"),
    types.NoneType: (types.NoneType, "None"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "a text"),
    Path: (str | os.PathLike, "a path"),
}
_KNOWN = {
    "Run": "a Run, as striate.load() gives it",
    "DataSet": "a DataSet, as striate.load_data() gives it",
    "MapStyle": "data as striate.load_data() takes it: (images, labels), a torch or Hugging Face Dataset, a dict of splits",
    "Module": "a torch.nn.Module",
}
_LISTS = (tuple, list, collections.abc.Sequence, collections.abc.Iterable)
_SHOWN = 60
"""Characters of a wrong value that an error shows."""


def checked(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """The function with its arguments checked against its annotations, without using the values.

    NumPy's numbers are numbers; True and False are none; a path may be a text. What only type checkers know is left to the
    function. A missing or unknown argument, or one of another type, is a UsageError that says what it must be.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise UsageError(f"{function.__name__}(): {error}; it takes {', '.join(signature.parameters)}") from None
        hints = _hints(function)
        for name, value in given.items():
            if name in hints:
                check(name, value, hints[name])
        return function(*args, **kwargs)

    return wrapper


def takes(make: Callable[_P, _S]) -> Callable[[Callable[[_S], _T]], Callable[_P, _T]]:
    """Gives a function of one object the signature by which that object is made, for people, editors and type checkers."""

    def wrap(work: Callable[[_S], _T]) -> Callable[_P, _T]:
        @functools.wraps(work)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            return work(make(*args, **kwargs))

        returns = inspect.signature(work).return_annotation
        call.__signature__ = inspect.signature(make).replace(return_annotation=returns)  # type: ignore[attr-defined]
        return call

    return wrap


def check_fields(thing: Any, **names: Any) -> None:
    """As `checked`, for the fields of a dataclass. `names`: what its annotations name and its module does not import."""
    hints: dict[str, Any] = {}
    for kind in filter(is_dataclass, reversed(type(thing).__mro__)):
        hints.update(_hints(cast(Hashable, kind), tuple(names.items())))
    for field in fields(thing):
        if field.name in hints:
            check(field.name, getattr(thing, field.name), hints[field.name])


def check(name: str, value: object, hint: Any) -> None:
    """Raises UsageError if a value is not what the annotation says, or beyond the limits or none of the words in it."""
    if _fits(value, hint):
        if limit := _missed(value, hint):
            raise UsageError(f"{param(name)} must be {limit}, got {value!r}")
        return
    shown = repr(value)
    if len(shown) > _SHOWN or "\n" in shown:
        shown = f"{shown.splitlines()[0][:_SHOWN]}..."
    wanted = " or ".join(dict.fromkeys(_words(hint)))
    if isinstance(value, type):
        made = f": make one, as in {value.__name__}()" if any(issubclass(value, one) for one in _classes(hint)) else ""
        raise UsageError(f"{param(name)} must be {wanted}, got the class {value.__name__}{made}")
    of_type = "" if value is None or isinstance(value, str | bool | int | float) else f", a {type(value).__name__}"
    raise UsageError(f"{param(name)} must be {wanted}, got {shown}{of_type}{_instead(value, hint)}")


def _missed(value: Any, hint: Any) -> str:
    """The limit that a value of the right type is beyond, or the words of which it is none; empty where all is well."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        limits = (str(note) for note in inside[1:] if isinstance(note, Within) and not note.holds(value))
        return _missed(value, inside[0]) or next(limits, "")
    if origin is Literal:
        return "" if value in inside else either([str(one) for one in inside])
    if origin in (typing.Union, types.UnionType):
        missed = [_missed(value, one) for one in inside if _fits(value, one)]
        return "" if "" in missed else missed[0]
    return ""


def _classes(hint: Any) -> list[type]:
    return [one for one in (hint, *typing.get_args(hint)) if isinstance(one, type) and one is not type(None)]


def _instead(value: object, hint: Any) -> str:
    """Advice for data in another form, where data is expected."""
    if "MapStyle" not in {one.__name__ for one in _classes(hint)}:
        return ""
    if hasattr(value, "dataset"):
        return ". For a DataLoader, give its dataset: loader.dataset"
    return ". A Dataset must support reading by position: for an iterable one, use list(dataset)" * hasattr(
        value, "__iter__"
    )


@functools.cache
def _hints(annotated: Hashable, names: tuple[tuple[str, Any], ...] = ()) -> Mapping[str, Any]:
    """The annotations as objects, except those with names that only type checkers know."""
    scope = {**vars(sys.modules[annotated.__module__]), **dict(names)}
    found = {}
    for name, text in inspect.get_annotations(cast(type, annotated)).items():
        try:
            alone = types.SimpleNamespace(__annotations__={name: text})
            found[name] = typing.get_type_hints(alone, scope, include_extras=True)[name]
        except (NameError, AttributeError, TypeError):
            continue
    return found


def _fits(value: object, hint: Any) -> bool:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _fits(value, inside[0])
    if hint is bool:
        return type(value).__name__ in ("bool", "bool_")  # NumPy's too
    if hint in _PLAIN:
        right = isinstance(value, _PLAIN[hint][0]) and not isinstance(value, bool)
        return right and not (hint is Path and "\0" in str(value))
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inside)
    if origin is Literal:
        return any(_fits(value, type(one)) for one in inside)
    if origin is None:
        unchecked = getattr(hint, "_is_protocol", False) and not getattr(hint, "_is_runtime_protocol", False)
        return not isinstance(hint, type) or unchecked or isinstance(value, hint)
    if origin not in _LISTS:
        return not isinstance(origin, type) or isinstance(value, origin)
    if isinstance(value, str | bytes):  # a text is no list of texts
        return False
    if origin is collections.abc.Iterable:
        return isinstance(value, collections.abc.Iterable)
    if not isinstance(value, collections.abc.Sequence) and not hasattr(value, "__array__"):
        return False
    things = list(value)  # type: ignore[call-overload]
    if origin is tuple and inside[-1:] != (...,):
        return len(things) == len(inside) and all(map(_fits, things, inside))
    return not inside or all(_fits(one, inside[0]) for one in things)


def _words(hint: Any) -> list[str]:
    """The accepted values, in words."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _words(inside[0])
    if hint is bool:
        return ["True or False"]
    if hint in _PLAIN:
        return [_PLAIN[hint][1]]
    if origin in (typing.Union, types.UnionType):
        return [word for one in inside for word in _words(one)]
    if origin is Literal:
        return [repr(one) for one in inside]
    if origin is tuple and inside[-1:] != (...,):
        return [f"{len(inside)} values, each {' or '.join(dict.fromkeys(w for one in inside for w in _words(one)))}"]
    if origin in _LISTS:
        return [f"a list, each item {' or '.join(_words(inside[0]))}" if inside else "a list"]
    if getattr(hint, "__name__", "") in _KNOWN:
        return [_KNOWN[hint.__name__]]
    if origin is collections.abc.Callable:
        return ["a callable"]
    return [with_article(getattr(hint, "__name__", str(hint)))]
