"""A run's net on labelled images, and the run's report made again with the result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from striate.arguments import checked
from striate.data import DataLike, OnProgress
from striate.evaluation import Evaluation, ViewsTable
from striate.evaluation import compare_views as compare_run_views
from striate.evaluation import evaluate as evaluate_run
from striate.report import write_all, write_mistakes
from striate.report.attention import write_attention
from striate.run import Run


@checked
def evaluate(
    run: Run,
    data: DataLike | None = None,
    *,
    split: str = "test",
    views: str = "centre",
    scales: Sequence[int] | None = None,
    robust: bool = False,
    device: str = "auto",
    data_dir: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """`striate.evaluation.evaluate`, then the images of the worst mistakes and the report made again with the result."""
    evaluation = evaluate_run(
        run,
        data,
        split=split,
        views=views,
        scales=scales,
        robust=robust,
        device=device,
        data_dir=data_dir,
        on_progress=on_progress,
    )
    _show_all(run, [evaluation])
    return evaluation


@checked
def compare_views(
    run: Run,
    data: DataLike | None = None,
    *,
    split: str = "test",
    views: Sequence[str] | None = None,
    device: str = "auto",
    data_dir: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> ViewsTable:
    """`striate.evaluation.compare_views`, then images and report as of `evaluate`."""
    table = compare_run_views(
        run, data, split=split, views=views, device=device, data_dir=data_dir, on_progress=on_progress
    )
    _show_all(run, table.evaluations)
    return table


def show(run: Run, evaluation: Evaluation) -> None:
    """The images of an evaluation: the worst mistakes, and what the net looked at."""
    folder, pixels = run.path / "evaluations" / evaluation.key, evaluation.data.pixels
    write_mistakes(folder, pixels, evaluation.predictions)
    write_attention(evaluation.classifier, folder, pixels, evaluation.predictions)


def _show_all(run: Run, evaluations: Sequence[Evaluation]) -> None:
    for evaluation in evaluations:
        show(run, evaluation)
    write_all(run)
