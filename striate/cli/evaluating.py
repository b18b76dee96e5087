"""striate evaluate"""

from __future__ import annotations

from typing import Annotated

import typer

from striate.cli.options import AsJson, DataDir, Device, RunPath, TrustCode
from striate.cli.output import percent, show_fields, show_json


def evaluate(
    run: RunPath,
    data: Annotated[
        str | None, typer.Option(help="A set or folder with the run's classes; the run's own if left out.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    device: Device = "auto",
    data_dir: DataDir = None,
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
