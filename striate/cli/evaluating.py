"""striate evaluate"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from striate.cli.options import DataDir, Device, TrustCode, call_with, option, run_path
from striate.cli.output import aside, show_fields, show_json, show_line, show_table
from striate.errors import UsageError
from striate.texts import duration, interval, percent, share

if TYPE_CHECKING:
    from striate.evaluation import Evaluation, ViewsTable
    from striate.run import Run
    from striate.runforms.evaluation import EvaluationFigures, Robustness


class Evaluate(Device, DataDir, TrustCode):
    """Evaluate a run on labelled images; adds the result to its report."""

    run: Path = run_path()
    data: str | None = option(None, "Data set or folder with the run's classes. Default: the run's own.")
    split: str = option("test", "Split: train, validation or test.")
    views: str | None = option(
        None,
        "Views of each image: centre, flip, ten-crop, multi-crop, dense or multi-scale. Several (centre,dense), or all, make a "
        "table.",
    )
    scales: str | None = option(
        None, "Shorter side of the whole image in pixels, such as 224,256,288. Default: that of the view."
    )
    protocol: str | None = option(None, "Views and scales of a paper, such as vgg-table4-256; see docs/evaluation.md.")
    robustness: bool = option(False, "Also measure accuracy under 30 corruptions of the same images.")

    def __call__(self) -> None:
        from striate import experiment
        from striate.report import undrawable
        from striate.run import Run
        from striate.training import Progress

        names, scales = _names(self.views, self.protocol), _scales(self.scales)
        run, on_progress = Run.open(self.run, trust_code=self.trust_code), Progress().reading
        if names is None or len(names) > 1:
            if scales is not None or self.robustness:
                option = "robustness is" if self.robustness else "scales are"
                raise UsageError(f"--{option} for a single view: choose one with --views")
            with aside():
                table = call_with(experiment.compare_views, self, run=run, views=names, on_progress=on_progress)
            _show_views(run, table, self.as_json)
        else:
            own = {"views": names[0], "scales": scales, "robust": self.robustness, "on_progress": on_progress}
            with aside():
                evaluation = call_with(experiment.evaluate, self, run=run, **own)
            _show_evaluation(run, evaluation, self.as_json)
        if reason := undrawable():
            show_line(f"warning: {reason}", err=True)


def _names(views: str | None, protocol: str | None) -> list[str] | None:
    """The views that were asked for; None for all of them."""
    if protocol is not None:
        if views is not None:
            raise UsageError("--protocol includes the views: leave out --views")
        return [protocol]
    names = [name.strip() for name in (views or "centre").split(",")]
    return None if names == ["all"] else names


def _scales(scales: str | None) -> list[int] | None:
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
        "no answer": f"the net returned NaN or infinity for {summary.unanswered:,} images; they count as misclassified"
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
    """Remarks about the classes, if any."""
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
