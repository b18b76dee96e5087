"""Writes docs/commands.md, the reference of the command line, from the commands themselves.

    make docs

The page is made, never edited. A test compares it with what this script would write.
"""

from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperGroup

from striate.cli import app

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"


def commands(command: object, words: str = "striate") -> Iterator[tuple[str, TyperCommand]]:
    """Every command with the words that call it, in the order of `striate --help`; groups are entered."""
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{words} {name}")
    elif isinstance(command, TyperCommand):
        yield words, command


def section(words: str, command: TyperCommand) -> str:
    """A command as Markdown: its call, what it does, a table of its arguments and options."""
    context = typer.Context(command, info_name=words)
    pieces = " ".join(command.collect_usage_pieces(context))
    lines = [f"## {words}", "", f"    {words} {pieces}", "", " ".join((command.help or "").split()), ""]
    records = [parameter.get_help_record(context) for parameter in command.params]
    cells = [[" ".join(part.split()).replace("|", "\\|") for part in record] for record in records if record]
    return "\n".join(
        [*lines, "| option | what it does |", "|---|---|", *(f"| `{name}` | {told} |" for name, told in cells)]
    )


def page() -> str:
    """The whole reference as Markdown."""
    command = typer.main.get_command(app)
    head = (
        "# Commands\n\nEvery command and option, written by `make docs` from the program itself. "
        "Every command also takes `--help`, and `--debug`, which shows the traceback of an error."
    )
    return "\n\n".join([head, *(section(words, found) for words, found in commands(command))]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
