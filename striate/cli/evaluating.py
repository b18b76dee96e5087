"""striate evaluate"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.options import AsJson, DataDir, Device, RunPath, TrustCode
from striate.cli.output import aside, show_fields, show_json, show_line, show_table
from striate.errors import UsageError
from striate.texts import duration, interval, percent, share

if TYPE_CHECKING:
    from striate.evaluation import Evaluation, ViewsTable
    from striate.run import Run
    from striate.runforms.evaluation import EvaluationFigures, Robustness


def evaluate(
    run: RunPath,
    data: Annotated[
        str | None, typer.Option(help="Data set or folder with the run's classes. Default: the run's own.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split: train, validation or test.")] = "test",
    views: Annotated[
        str | None,
        typer.Option(
            help="Views of each image: centre, flip, ten-crop, multi-crop, dense or multi-scale. Several (centre,dense), or "
            "all, make a table."
        ),
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option(help="Shorter side of the whole image in pixels, such as 224,256,288. Default: that of the view."),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="Views and scales of a paper, such as vgg-table4-256; see docs/evaluation.md."),
    ] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Also measure accuracy under 30 corruptions of the same images.")
    ] = False,
    device: Device = "auto",
    data_dir: DataDir = None,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run on labelled images; adds the result to its report."""
    from striate import experiment
    from striate.report import undrawable
    from striate.run import Run
    from striate.training import Progress

    names = _names(views, protocol)
    sides = _sides(scales)
    opened = Run.open(run, trust_code=trust_code)
    on_progress = Progress().reading
    if names is None or len(names) > 1:
        if sides is not None or robustness:
            raise UsageError(f"--{'robustness is' if robustness else 'scales are'} for one view: name one with --views")
        with aside():
            table = experiment.compare_views(
                opened, data, split=split, views=names, device=device, data_dir=data_dir, on_progress=on_progress
            )
        _show_views(opened, table, as_json)
    else:
        with aside():
            evaluation = experiment.evaluate(
                opened, data, split=split, views=names[0], scales=sides, robust=robustness, device=device,
                data_dir=data_dir, on_progress=on_progress,
            )  # fmt: skip
        _show_evaluation(opened, evaluation, as_json)
    if reason := undrawable():
        typer.echo(f"warning: {reason}", err=True)


def _names(views: str | None, protocol: str | None) -> list[str] | None:
    """The views that were asked for; None for all of them."""
    if protocol is not None:
        if views is not None:
            raise UsageError("--protocol includes the views: leave out --views")
        return [protocol]
    names = [name.strip() for name in (views or "centre").split(",")]
    return None if names == ["all"] else names


def _sides(scales: str | None) -> list[int] | None:
    if scales is None:
        return None
    try:
        return [int(scale) for scale in scales.split(",")]
    except ValueError:
        raise UsageError(f"--scales takes whole numbers of pixels, as in 224,256,288, got {scales!r}") from None


def _show_evaluation(run: Run, evaluation: Evaluation, as_json: bool) -> None:
    summary, folder = evaluation.summary, run.path / "evaluations" / evaluation.key
    if as_json:
        measured = {} if evaluation.robustness is None else {"robustness": evaluation.robustness.as_dict()}
        show_json({**summary.as_dict(), **measured, "folder": str(folder)})
        return
    fields = {
        "accuracy": f"{share(summary, 'accuracy')} of {summary.n:,} {summary.split} images "
        f"(95 % interval {interval(summary)})",
        "no answer": f"the net gave no number (NaN or infinity) for {summary.unanswered:,} images; they count as misclassified"
        if summary.unanswered
        else None,
        "top 5": None if summary.top5 is None else share(summary, "top5"),
        "macro F1": f"{share(summary, 'macro_f1')} (95 % interval {interval(summary, 'macro_f1_low', 'macro_f1_high')})",
        "confidence": _confidence(summary),
        "views": _views(summary) if summary.views_each > 1 else None,
        "robustness": evaluation.robustness and _robustness(evaluation.robustness),
        "classes": _classes(summary),
        "mistakes": ", ".join(f"{row.truth} as {row.predicted} ({row.count})" for row in summary.most_confused[:3])
        or "none",
        **_places(folder, run),
    }
    show_fields({name: value for name, value in fields.items() if value is not None})


def _classes(summary: EvaluationFigures) -> str | None:
    """What has to be said of the classes, if anything."""
    said = []
    if summary.by_position:
        said.append(f"matched by position, because these images have class numbers but no names: {summary.by_position}")
    if absent := summary.absent:
        more = f" and {len(absent) - 12} more" if len(absent) > 12 else ""
        said.append(f"no images of {', '.join(absent[:12])}{more}: accuracy says nothing about them")
    return "; ".join(said) or None


def _confidence(summary: EvaluationFigures) -> str:
    """The calibration error, before and after temperature scaling."""
    text, after = f"calibration error (ECE) {percent(summary.ece, 2)}", summary.ece_calibrated
    return text if after is None else f"{text}; {percent(after, 2)} after temperature scaling"


def _robustness(worse: Robustness) -> str:
    """The mean over all corruptions, and the hardest one."""
    hardest = min(worse.corruptions, key=lambda row: row.accuracy)
    return (
        f"{percent(worse.clean)} accuracy on {worse.n:,} clean images, {percent(worse.mean or 0.0)} mean over "
        f"{len(worse.corruptions)} corruptions; lowest: {hardest.name} at level {hardest.level}, {percent(hardest.accuracy)}"
    )


def _views(summary: EvaluationFigures) -> str:
    """`dense at 224, 256 and 288 pixels, 6 views per image`"""
    sides = ", ".join(map(str, summary.scales))
    mirrored = "" if summary.mirrored or summary.views_each == 1 else ", none mirrored"
    return f"{summary.views} at {sides} pixels, {summary.views_each} views per image{mirrored}"


def _show_views(run: Run, table: ViewsTable, as_json: bool) -> None:
    place = run.path / "evaluations" / table.name
    if as_json:
        show_json({**table.as_dict(), "file": str(place)})
        return
    rows = [
        {
            "views": row.protocol or row.views,
            "scales": ",".join(map(str, row.scales)),
            "passes": row.views_each,
            "accuracy": share(row, "accuracy"),
            "95 % interval": interval(row),
            "gained": f"+{row.gained}",
            "lost": f"-{row.lost}",
            "macro F1": share(row, "macro_f1"),
            "loss": f"{row.loss:.3f}",
            "time": duration(row.seconds),
        }
        for row in table.rows
    ]
    show_table(rows, right=("passes", "accuracy", "gained", "lost", "macro F1", "loss", "time"))
    first = table.evaluations[0].summary
    show_line()
    show_line(
        f"{first.n:,} {first.split} images. Passes: views per image. Gained: correct here, misclassified with "
        f"{rows[0]['views']}; lost: the reverse."
    )
    for name, reason in table.impossible.items():
        show_line(f"not {name}: {reason}")
    show_line()
    show_fields(_places(place, run))


def _places(result: Path, run: Run) -> dict[str, object]:
    return {"file" if result.suffix else "folder": result, "report": run.path / "report.html"}
