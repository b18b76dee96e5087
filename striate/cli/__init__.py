"""The command line. Each command parses, calls one library function and shows what came back."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from striate import __version__
from striate.cli import (
    anatomy,
    cache,
    data,
    doctor,
    evaluating,
    explaining,
    exporting,
    nets,
    predicting,
    runs,
    sharing,
    training,
)
from striate.cli.ending import ready_streams, run_to_end
from striate.cli.options import PlainGroup, add_command, option_of
from striate.errors import commanding
from striate.machine import leave, sleep_soon

app = typer.Typer(
    name="striate",
    cls=PlainGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The workbench for classic convolutional networks: inspect, train, evaluate, explain and export them.",
    epilog="Start with: striate train",
)
for name, kind in {
    "train": training.Train,
    "evaluate": evaluating.Evaluate,
    "predict": predicting.Predict,
    "export": exporting.Export,
    "explain": explaining.Explain,
    "look": explaining.Look,
    "push": sharing.Push,
    "pull": sharing.Pull,
    "runs": runs.Runs,
    "follow": runs.Follow,
    "stop": runs.Stop,
    "nets": nets.Nets,
    "inspect": anatomy.Inspect,
    "conv": anatomy.Conv,
    "doctor": doctor.Doctor,
}.items():
    add_command(app, name, kind)
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"striate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    debug: bool = typer.Option(
        False, "--debug", help="Show the full traceback of an error. May also follow a command."
    ),
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and ends the process: 0 done, 1 failed, 2 usage, 3 the data must be repaired, 4 a check failed,
    129, 130 or 143 interrupted after saving.
    """
    ready_streams()
    sleep_soon()
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        with commanding(option_of):
            run_to_end(lambda: app(arguments, prog_name="striate", standalone_mode=True), debug)
    except SystemExit as ended:
        if "LOCAL_WORLD_SIZE" in os.environ:  # under torchrun
            leave(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
        raise
