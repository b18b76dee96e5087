"""Plain values from a file, checked and made into frozen dataclasses: types and limits stand in the annotations.

    class Net(Form):
        channels: Annotated[int, Within(1, 64)]

    read(Net, {"channels": 99}, "net")  # DataError: net.channels must be a whole number from 1 to 64, got 99

A field without a default must be there. Keys that a class does not know are allowed, so that a later version can add some; what
they hold is bounded too. `Form` is the base of such classes: it reads itself from plain values, and writes itself as such.
"""

from __future__ import annotations

import functools
import math
import reprlib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal, Self, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from striate.choices import Within
from striate.errors import DataError, UsageError, either

Made = TypeVar("Made")
Reader = Callable[[Any, str], Any]
"""(value, name of the field) -> what becomes of the value."""

LONGEST = 100_000
"""Characters of a text, unless its field says otherwise."""
LARGEST = 2**63
"""Whole numbers are smaller than this, unless their field says otherwise."""
DEEPEST = 20
"""Levels of lists and mappings in what no class describes."""

RARE, WHOLE = object(), object()
"""Notes beside a type. `RARE`: the field is written only where it has another value than its default. `WHOLE`: it
keeps the whole mapping that the class was read from, other keys included, and the class is written as that."""
Rare = Annotated[Made | None, RARE]
Whole = Annotated[dict[str, object], WHOLE]


@typing.dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class Form:
    """The permitted content of a mapping in a file: each
    subclass is a frozen dataclass, whose `__post_init__` raises DataError where fields
    do not go together.
    """

    def __init_subclass__(cls) -> None:
        """Makes the subclass a dataclass."""
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """The typed form of plain values. Raises DataError, which names the field."""
        return read(cls, values)

    @classmethod
    def renewed(cls, values: dict[str, object]) -> dict[str, object]:
        """Plain values of an earlier version as this one would have written them; all that is known of its format is here."""
        return values

    def as_dict(self) -> dict[str, object]:
        """The inverse of `from_dict`: lists, mappings and scalars."""
        kinds = get_type_hints(type(self), include_extras=True)
        found: dict[str, object] = {}
        for one in fields(self):  # type: ignore[arg-type]
            value, notes = getattr(self, one.name), getattr(kinds[one.name], "__metadata__", ())
            if WHOLE in notes:
                return dict(value)
            usual = one.default if one.default_factory is MISSING else one.default_factory()
            if RARE not in notes or value != usual:
                found[one.name.rstrip("_")] = written(value)
        return found


def written(value: Any) -> Any:
    """A value of a form in plain types."""
    if isinstance(value, Form):
        return value.as_dict()
    if isinstance(value, Mapping):
        return {key: written(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [written(one) for one in value]
    return str(value) if hasattr(value, "parse") else value


def read(kind: type[Made], value: object, field: str = "") -> Made:
    """`value`, a mapping as JSON or YAML give it, as an object of the dataclass `kind`.

    Args:
        field: what `value` is called in errors; empty for a whole file.

    Raises:
        DataError: something is missing, of another type or beyond a limit; it names the field.
    """
    hint: Any = kind
    return cast(Made, _reader(hint)(value, field))


def shown(value: object) -> str:
    """A value for a message, on one line and short, however large it is."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return f"a number of {value.bit_length():,} bits"
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 60
    short.maxlevel = short.maxdict = 3
    try:
        return short.repr(value)
    except ValueError:  # a whole number of thousands of digits somewhere inside
        return f"a {type(value).__name__}"


@functools.cache
def _reader(hint: Any) -> Reader:
    """The reader of an annotation."""
    within: Within | None = None
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        within = _all([note for note in notes if isinstance(note, Within)])
    origin, inside = get_origin(hint), get_args(hint)
    if hint in (Any, object):
        return _plain
    if origin in (Union, types.UnionType):
        rest = [one for one in inside if one is not type(None)]
        optional = _reader(Annotated[rest[0], within] if within else rest[0])
        return lambda value, field: None if value is None else optional(value, field)
    if origin is Literal:
        return _choice(inside)
    if origin is tuple:
        return _list(inside, within)
    if origin is dict:
        return _mapping(_reader(inside[1]), within)
    if hasattr(hint, "parse"):
        return _parsed(hint)
    if is_dataclass(hint):
        return _object(hint)
    return _SCALARS[hint](within)


def _all(limits: list[Within]) -> Within | None:
    """The limits that hold all of them; None where there are none."""
    if len(limits) < 2:
        return next(iter(limits), None)
    return Within(
        max(one.low for one in limits), min(one.high for one in limits),
        max(one.above for one in limits), min(one.below for one in limits),
    )  # fmt: skip


def _wrong(field: str, wanted: str, value: object) -> DataError:
    return DataError(f"{field or 'it'} must be {wanted}, got {shown(value)}")


def _number(kinds: tuple[type, ...], word: str, default: Within, within: Within | None) -> Reader:
    limits = within or default
    words = word if within is None else f"{word} {within}"

    def reader(value: Any, field: str) -> Any:
        # NaN is within no limits.
        if type(value) not in kinds or not limits.holds(value) or math.isinf(value):
            raise _wrong(field, words, value)
        return value

    return reader


def _text(within: Within | None) -> Reader:
    limits = within or Within(0, LONGEST)

    def reader(value: Any, field: str) -> Any:
        if not isinstance(value, str) or not limits.holds(len(value)):
            raise _wrong(field, f"text of {limits} characters".replace("of from", "of"), value)
        return value

    return reader


_SCALARS: Mapping[Any, Callable[[Within | None], Reader]] = {
    int: functools.partial(_number, (int,), "a whole number", Within(-LARGEST, LARGEST)),
    float: functools.partial(_number, (int, float), "a number", Within(-1e300, 1e300)),
    str: _text,
    bool: lambda within: _choice((True, False)),
}


def _choice(allowed: tuple[Any, ...]) -> Reader:
    wanted = either([str(one).lower() if isinstance(one, bool) else str(one) for one in allowed])

    def reader(value: Any, field: str) -> Any:
        if not any(type(value) is type(one) and value == one for one in allowed):
            raise _wrong(field, wanted, value)
        return value

    return reader


def _list(inside: tuple[Any, ...], within: Within | None) -> Reader:
    """`tuple[X, ...]`, of any length or as `within` says; or `tuple[X, Y]`."""
    open_end = inside[-1] is Ellipsis
    readers = [_reader(one) for one in inside if one is not Ellipsis]
    limits = within or (Within() if open_end else Within(len(readers), len(readers)))
    some = f"a list of {limits} values".replace("of from", "of") if within else "a list"
    wanted = some if open_end else f"a list of {len(readers)} values"

    def reader(value: Any, field: str) -> Any:
        if not isinstance(value, list | tuple) or not limits.holds(len(value)):
            raise _wrong(field, wanted, value)
        return tuple(
            (readers[0] if open_end else readers[place])(one, f"{field}[{place}]") for place, one in enumerate(value)
        )

    return reader


def _mapping(of_value: Reader, within: Within | None) -> Reader:
    limits = within or Within()

    def reader(value: Any, field: str) -> Any:
        if not isinstance(value, dict) or not limits.holds(len(value)):
            raise _wrong(field, "names and values" if within is None else f"{within} names and values", value)
        for name in value:
            if not isinstance(name, str):
                raise _wrong(f"a name in {field or 'it'}", "text", name)
        return {name: of_value(one, _joined(field, name)) for name, one in value.items()}

    return reader


def _parsed(kind: Any) -> Reader:
    """The reader of a class that is written as text, which its `parse` reads; of one that is a tuple also as a list."""
    text = _text(None)

    def reader(value: Any, field: str) -> Any:
        try:
            if isinstance(value, kind):
                return value
            if issubclass(kind, tuple) and isinstance(value, list | tuple):
                return kind(value)
            return kind.parse(text(value, field))
        except UsageError as error:
            raise DataError(f"{field}: {error}") from error

    return reader


def _object(kind: Any) -> Reader:
    hints = get_type_hints(kind, include_extras=True)
    whole = {name for name, hint in hints.items() if WHOLE in getattr(hint, "__metadata__", ())}
    known = [one for one in fields(kind) if one.name not in whole]
    required = {one.name for one in known if one.default is MISSING and one.default_factory is MISSING}

    def reader(value: Any, field: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(field, "names and values", value)
        value = kind.renewed(value) if issubclass(kind, Form) else value
        names = {one.name: one.name.rstrip("_") for one in known}  # `class` is `class_` in Python
        given: dict[str, Any] = {name: dict(value) for name in whole}
        for name, key in names.items():
            if key in value:
                given[name] = _reader(hints[name])(value[key], _joined(field, key))
        for key in value.keys() - set(names.values()):
            _plain(value[key], _joined(field, str(key)))
        if missing := [names[name] for name in names if name in required and name not in given]:
            raise DataError(f"{_joined(field, missing[0])} is missing")
        try:
            return kind(**given)
        except UsageError as error:  # which begins with the option's name, as people type it
            option, _, rest = str(error).partition(" ")
            raise DataError(f"{_joined(field, option.lstrip('-').replace('-', '_'))} {rest}") from error

    return reader


def _plain(value: Any, field: str, depth: int = 0) -> Any:
    """Values without a class of their own: finite numbers, texts, and lists and mappings of them."""
    if depth > DEEPEST:
        raise DataError(f"{field[:80]}... has more than {DEEPEST} levels")
    if isinstance(value, dict):
        for name, one in value.items():
            if not isinstance(name, str):
                raise _wrong(f"a name in {field or 'it'}", "text", name)
            _plain(one, _joined(field, name), depth + 1)
    elif isinstance(value, list | tuple):
        for place, one in enumerate(value):
            _plain(one, f"{field}[{place}]", depth + 1)
    elif value is not None and not isinstance(value, bool):
        kind = next((one for one in (str, int, float) if isinstance(value, one)), None)
        if kind is None:
            raise _wrong(field, "text, a number, a list or names and values", value)
        _reader(kind)(value, field)
    return value


def _joined(field: str, name: str) -> str:
    name = name if len(name) <= 60 else f"{name[:60]}..."
    return f"{field}.{name}" if field else name
