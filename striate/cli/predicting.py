"""striate predict"""

from __future__ import annotations

from typing import Annotated

import typer

from striate.cli.options import AsJson, Device, RunPath, TrustCode
from striate.cli.output import show_json


def predict(
    run: RunPath,
    pictures: Annotated[list[str], typer.Argument(metavar="PICTURE...", help="Picture files.")],
    top: Annotated[int, typer.Option(min=1, help="How many of the likeliest classes to show.")] = 3,
    device: Device = "auto",
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Say what is in pictures. One that cannot be read is named, the rest are still predicted, and the exit code is 3."""
    from striate.predicting import predict as predict_pictures
    from striate.run import Run

    predictions = predict_pictures(Run.open(run, trust_code=trust_code), pictures, top=top, device=device)
    if as_json:
        show_json([prediction.as_dict() for prediction in predictions])
    else:
        for prediction in predictions:
            typer.echo(str(prediction), err=prediction.error is not None)
    if any(prediction.error is not None for prediction in predictions):
        raise typer.Exit(3)
