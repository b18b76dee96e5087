"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder, as in runs/lenet5-fashion-mnist.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code", help="Run the file that holds the net, though no training here has; it is trusted then."
    ),
]
Splits = typer.Option(
    help="Which folders are splits, as in train=training_set,test=test_set; none if every folder is a class. By their names if "
    "left out."
)
DataDir = Annotated[Path | None, typer.Option(help="Where to look for named sets first.", envvar="STRIATE_DATA")]
