"""Arguments and options that several commands share."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from striate.settings import Settings

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder, as in runs/lenet5-fashion-mnist.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code", help="Run the Python file that defines the net, although it comes from another machine."
    ),
]


def _help(name: str) -> str:
    """What Settings says of a field, for the other commands that have the option."""
    return next(str(item.metadata["help"]) for item in fields(Settings) if item.name == name)


Device = Annotated[str, typer.Option(help=_help("device"))]
Splits = Annotated[str | None, typer.Option(help=_help("splits"))]
Range = Annotated[str | None, typer.Option(help=_help("range"), metavar="LOW,HIGH")]
Exclude = Annotated[list[str] | None, typer.Option(help=_help("exclude"))]
DataDir = Annotated[Path | None, typer.Option(help=_help("data_dir"), envvar="STRIATE_DATA")]
