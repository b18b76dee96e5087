"""The options of `striate train`, made from the fields of Settings; and help in groups."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, Optional, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from striate.choices import RENAMED
from striate.cli.output import show_line
from striate.errors import UsageError
from striate.settings import Settings, plain_types

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


_OLD = {old: name for old, name in RENAMED.items() if name in Settings.__slots__}
"""Old name of an option -> its new name. The old one is hidden from the help and works, with a hint, for one release."""


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command whose parameter `settings` is a Settings one option a field in that parameter's place."""

    def call(**given: Any) -> None:
        own = {item.name: given.pop(item.name) for item in fields(Settings)}
        for old, name in _OLD.items():
            if (value := given.pop(old)) is not None:
                option, hint = (f"--{word.replace('_', '-')}" for word in (name, old))
                if own[name] is not None:
                    raise UsageError(f"{hint} is the old name of {option}: give one of them")
                show_line(
                    f"hint: {hint} is now called {option} and means the same; the next release drops {hint}", err=True
                )
                own[name] = value
        command(settings=Settings(**own), **given)

    hints = get_type_hints(command, include_extras=True)
    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        parameters += (
            _options() if parameter.name == "settings" else [parameter.replace(annotation=hints[parameter.name])]
        )
    call.__doc__ = command.__doc__
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _options() -> list[inspect.Parameter]:
    made = []
    for item in fields(Settings):
        kind, optional = plain_types()[item.name]
        about: Any = {
            "help": item.metadata["help"],
            "metavar": item.metadata["metavar"] or None,
            "envvar": item.metadata["environment"] or None,
            "parser": parse_duration if item.name == "budget" else None,
        }
        default = item.default
        if item.name == "net":
            info = typer.Argument(**about)
        else:
            option = item.name.replace("_", "-")
            long = f"--{option}/--no-{option}" if default is True else f"--{option}"
            names = [long, *filter(None, [item.metadata["short"]])]
            info = typer.Option(*names, rich_help_panel=item.metadata["group"], **about)
        if default == ():
            kind, default = list[str], []
        hint: Any = Annotated[Optional[kind] if optional else kind, info]  # noqa: UP045  # `kind` is made, not written
        made.append(inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint))
    for old, name in _OLD.items():
        hint = Annotated[Optional[plain_types()[name][0]], typer.Option(f"--{old}", hidden=True)]  # noqa: UP045
        made.append(inspect.Parameter(old, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint))
    return made


def option_of(parameter: str) -> str:
    """The option that gives a parameter of the library: of a recipe's fields some are reached by `--set` alone."""
    if parameter == "path":  # of the file that a command writes
        return "--output"
    dashed = parameter.replace("_", "-")
    recipe = sys.modules.get("striate.recipe")  # whose fields nobody names unless it is loaded
    only_set = recipe is not None and parameter in recipe.Recipe.__slots__ and parameter not in Settings.__slots__
    return f"--set {dashed}" if only_set else f"--{dashed}"


class GroupedCommand(TyperCommand):
    """A command whose `--help` shows options under the headings of their groups; those without one come last."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments and options into the help."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                heading = parameter.rich_help_panel or "Other" if isinstance(parameter, TyperOption) else "Arguments"
                groups.setdefault(heading, []).append(record)
        for heading in sorted(groups, key=lambda name: name == "Other"):
            with formatter.section(heading):
                formatter.write_dl(groups[heading])


class PlainGroup(TyperGroup):
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
