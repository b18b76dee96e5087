"""Commands as frozen dataclasses: each field is an argument or option, made here for the parser, and a call does the work.

The options that several commands share are base classes, whose help is that of the same field of `Settings`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from striate.choices import RENAMED
from striate.cli.output import show_fields, show_json, show_line
from striate.errors import UsageError
from striate.settings import Settings
from striate.settings import option as option

if TYPE_CHECKING:
    from striate.data import DataSet

R = TypeVar("R")
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")
_OWN = dict.fromkeys(("Augmentation", "Recipe", "DataSet", "MapStyle")) | {"nn": SimpleNamespace(Module=None)}
"""The types of settings that nothing that is typed becomes."""


def argument(help: str, metavar: str | None = None, default: Any = MISSING) -> Any:
    """A field that is given by its place, not by its name; required without a default."""
    return option(default, help, argument=True, metavar=metavar)


def setting(name: str) -> Any:
    """The field of that name of `Settings`, for another command that has the option."""
    item = next(item for item in fields(Settings) if item.name == name)
    return option(item.default, **{**item.metadata, "group": ""})


def run_path() -> Any:
    """The argument that names a run."""
    return argument("The run's folder, as in runs/lenet5-fashion-mnist.", "RUN")


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclass(frozen=True, kw_only=True)
class Command:
    """A command: its subclasses are frozen dataclasses, whose docstring is the help. A call does the work."""

    as_json: bool = option(False, "Print the result as JSON.", names="--json")

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True, eq=False, repr=False)(
            cls
        )  # each method costs every start of the program time

    def __call__(self) -> None:
        """Does what the command is for."""
        raise NotImplementedError

    def show(self, value: Any, fields: Mapping[str, Any]) -> None:
        """The result: `value` as JSON where that was asked for, else `fields` with their names."""
        if self.as_json:
            show_json(value)
        else:
            show_fields(fields)


class TrustCode(Command):
    """The option of commands that open a run."""

    trust_code: bool = option(
        False, "Run the Python file that defines the net, although it comes from another machine."
    )


class Device(Command):
    """The option of commands that use a net."""

    device: str = setting("device")


class DataDir(Command):
    """The option of commands that read data sets."""

    data_dir: Path | None = setting("data_dir")


class Reading(DataDir):
    """The options of commands that read images of files."""

    exclude: Sequence[str] = setting("exclude")
    splits: str | None = setting("splits")
    range: str | None = setting("range")

    def load(self, name: str, **how: Any) -> DataSet:
        """The data set, read on all cores. `how`: further arguments of `striate.data.load_data`."""
        from striate.data import load_data
        from striate.machine import usable_cores

        dataset = load_data(
            name, data_dir=self.data_dir, workers=usable_cores(), exclude=self.exclude, splits=self.splits, range=self.range,
            **how,
        )  # fmt: skip
        dataset.require_excluded()
        return dataset


def call_with(function: Callable[..., R], asked: Any, **own: Any) -> R:
    """Calls a function of the library with those fields of a command that it has parameters for. `own` replaces fields."""
    names = inspect.signature(function).parameters
    return function(**{item.name: getattr(asked, item.name) for item in fields(asked) if item.name in names} | own)


def add_command(app: typer.Typer, name: str, kind: type[Command]) -> None:
    """Adds a command to the program or to a group of it."""
    hints = get_type_hints(kind, localns=_OWN)
    nested: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

    def call(**given: Any) -> None:
        for old, name in RENAMED.items():
            if (value := given.pop(old, None)) is not None:
                given[name] = _renamed(old, name, value, given[name])
        for name, of in nested.items():
            given[name] = of(**{item.name: given.pop(item.name) for item in fields(of)})
        kind(**given)()

    parameters = list(_parameters(kind, hints))
    call.__doc__ = kind.__doc__
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(name, cls=PlainCommand)(call)


def _parameters(kind: Any, hints: dict[str, Any]) -> Iterator[inspect.Parameter]:
    """One for each field of a class, its own before those of its bases, and for each old name, which the help does not show.

    A field that is a dataclass stands for its fields; one without help, for what the parser gives by itself.
    """
    items = {item.name: item for item in fields(kind)}
    own_first = (name for one in kind.__mro__ for name in inspect.get_annotations(one) if name in items)
    for name in dict.fromkeys(own_first):
        about, default, hint = dict(items[name].metadata), items[name].default, hints[name]
        if is_dataclass(hint):
            yield from _parameters(hint, get_type_hints(hint, localns=_OWN))
            continue
        if default == ():
            default, hint = [], list[str]
        elif get_origin(hint) in (Union, UnionType):
            hint = get_args(hint)[0] if default is not None else get_args(hint)[0] | None
        yield _parameter(name, default, Annotated[hint, _info(name, default, about)] if about else hint)
    for old, name in RENAMED.items():
        if name in items:
            yield _parameter(
                old, None, Annotated[get_args(hints[name])[0] | None, typer.Option(f"--{old}", hidden=True)]
            )


def _parameter(name: str, default: Any, hint: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if default is MISSING else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _info(name: str, default: Any, about: dict[str, Any]) -> Any:
    """The parser's settings of a field besides its type and default."""
    group, long = about.pop("group") or None, option_of(name)
    if about.pop("argument", False):
        return typer.Argument(**about)
    names = about.pop("names", f"{long}/{long.replace('--', '--no-')}" if default is True else long)
    parser = parse_duration if name == "budget" else None
    return typer.Option(*names.split(), rich_help_panel=group, parser=parser, **about)


def _renamed(old: str, name: str, value: Any, given: Any) -> Any:
    """The value of an option that has a new name, with a hint on stderr; the old name works for one release."""
    long, hint = option_of(name), option_of(old)
    if given is not None:
        raise UsageError(f"{hint} is the old name of {long}: give one of them")
    show_line(f"hint: {hint} is now called {long} and means the same; the next release drops {hint}", err=True)
    return value


def option_of(parameter: str) -> str:
    """The option that gives a parameter of the library: of a recipe's fields some are reached by `--set` alone."""
    if parameter == "path":  # of the file that a command writes
        return "--output"
    dashed = parameter.replace("_", "-")
    recipe = sys.modules.get("striate.recipe")  # whose fields nobody names unless it is loaded
    only_set = recipe is not None and parameter in recipe.Recipe.__slots__ and parameter not in Settings.__slots__
    return f"--set {dashed}" if only_set else f"--{dashed}"


class _AsGiven:
    """Takes defaults and texts as they are. Everything else is read by Pydantic, which takes a tenth of a second to import."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is param.default or value is None or type(value) is param.type_descriptor.annotation:
            return value
        param._runtime_param = None
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


class _Light:
    """A command or group that loads Pydantic only when it has something to read."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The arguments and options."""
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in found:
            if getattr(parameter, "_runtime_param", None) is None:
                parameter._runtime_param = _AsGiven()
        return found


class PlainCommand(_Light, TyperCommand):
    """A command whose `--help` shows options under the headings of their groups, if there are any; those without come last."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments and options into the help."""
        groups: dict[str, list[tuple[str, str]]] = {}
        parameters = self.get_params(ctx)
        rest = "Other" if any(getattr(parameter, "rich_help_panel", None) for parameter in parameters) else "Options"
        for parameter in parameters:
            if (record := parameter.get_help_record(ctx)) is not None:
                heading = parameter.rich_help_panel or rest if isinstance(parameter, TyperOption) else "Arguments"
                groups.setdefault(heading, []).append(record)
        for heading in sorted(groups, key=lambda name: name == rest):
            with formatter.section(heading):
                formatter.write_dl(groups[heading])


class PlainGroup(_Light, TyperGroup):
    """The commands. A value that is no value of its option's is answered in plain words, not in those of the parser."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command that was asked for."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValueError) and (found := getattr(error.__cause__, "errors", None)):
                first = found()[0]
                what = {"float_parsing": "a number", "int_parsing": "a whole number"}.get(first["type"])
                error.message = (
                    f"{first['input']!r} is not {what}" if what else first["msg"].removeprefix("Value error, ")
                )
            raise


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `90`, `5m`, `1.5h` or `1h30m`. Raises UsageError for anything else."""
    match = _DURATION.fullmatch(text.strip().lower())
    if not text.strip() or match is None:
        raise UsageError(f"a budget is a time such as 90s, 5m or 1h30m, got {text!r}")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
