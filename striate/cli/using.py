"""striate evaluate, predict, runs"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate.cli.output import percent, show_fields, show_json, show_table

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder, as in runs/lenet5-fashion-mnist.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
TrustCode = Annotated[
    bool,
    typer.Option("--trust-code", help="Run the file that holds the net, though it has changed or came with the run."),
]


def evaluate(
    run: RunPath,
    data: Annotated[
        str | None, typer.Option(help="A set or folder with the run's classes; the run's own if left out.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    device: Device = "auto",
    data_dir: Annotated[
        Path | None, typer.Option(help="Where to look for named sets first.", envvar="STRIATE_DATA")
    ] = None,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run's net on labelled pictures; the result is kept in the run and its report."""
    from striate import experiment
    from striate.run import Run

    opened = Run.open(run, trust_code=trust_code)
    evaluation = experiment.evaluate(opened, data, split=split, device=device, data_dir=data_dir)
    summary, folder = evaluation.summary, opened.path / "evaluations" / evaluation.key
    if as_json:
        show_json({**summary, "folder": str(folder)})
        return
    show_fields(
        {
            "accuracy": f"{percent(summary['accuracy'])} of {summary['n']:,} {split} pictures "
            f"(95 % interval {percent(summary['low'])} to {percent(summary['high'])})",
            "macro F1": percent(summary["macro_f1"]),
            "mistakes": ", ".join(
                f"{row['truth']} taken for {row['predicted']} {row['count']}x" for row in summary["most_confused"][:3]
            )
            or "none",
            "folder": folder,
            "report": opened.path / "report.html",
        }
    )


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


def runs(
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """List the runs there are, oldest first."""
    from striate.run import list_runs

    found = [run.overview() for run in list_runs(out)]
    if as_json:
        show_json(found)
    elif not found:
        print(f"no runs in {out} yet: striate train")
    else:
        show_table(
            [
                {
                    "run": row["run"],
                    "status": row["status"],
                    "net": row["net"],
                    "data": row["data"],
                    "epochs": f"{row['epochs']:g}",
                    "accuracy": "" if row["accuracy"] is None else percent(row["accuracy"]),
                    "95 % interval": "" if row["low"] is None else f"{percent(row['low'])} to {percent(row['high'])}",
                    "seconds": f"{row['seconds']:.1f}",
                }
                for row in found
            ],
            right=("epochs", "accuracy", "seconds"),
        )
