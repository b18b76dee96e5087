"""Evaluation: a run's net on labelled images, every prediction kept."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from striate.classifier import Classifier
from striate.data import DataLike, ImageData, OnProgress
from striate.errors import UsageError, param
from striate.evaluation.calibration import calibrate
from striate.evaluation.protocols import PROTOCOLS, VIEWS, Protocol, protocol
from striate.evaluation.robustness import robustness as accuracy_of_worse
from striate.evaluation.subject import Subject, subject_of
from striate.evaluation.summary import PER_CLASS_COLUMNS, PREDICTION_COLUMNS, prediction_rows, summarise
from striate.evaluation.views import log_probabilities
from striate.files import write_csv, write_json
from striate.outcome import Row
from striate.outofdistribution import FEWEST
from striate.run import Run
from striate.runforms.evaluation import EvaluationFigures, Robustness, Seen, Views, ViewsRow


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Evaluation:
    """The results of a net on some images.

    Attributes:
        key: the name of its folder in the run, `<data>-<split>-<views>`, with the scales where they were asked for.
        summary: what evaluation.json holds.
        predictions: a row an image, of `PREDICTION_COLUMNS`.
        data: the images, at the size that the net was fed.
        classifier: what was evaluated.
        robustness: what robustness.json holds, where it was asked for.
    """

    key: str
    summary: EvaluationFigures
    predictions: list[Row]
    data: ImageData
    classifier: Classifier
    robustness: Robustness | None = None


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class ViewsTable:
    """One net on the same images by several views.

    Attributes:
        name: of its file in the run's `evaluations`.
        rows: one for each view, compared with the first; `key`: the evaluation's folder.
        impossible: view -> why it is not possible for this net or these images.
        evaluations: those of the rows.
    """

    name: str
    rows: list[ViewsRow]
    impossible: dict[str, str]
    evaluations: list[Evaluation]

    def as_dict(self) -> dict[str, object]:
        """The table in plain types."""
        return Views(rows=tuple(self.rows), impossible=self.impossible).as_dict()


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
    """Evaluates the run's net and keeps the result in the run.

    A run that has no calibration.json gets it from its own validation images.

    Args:
        run: a finished run.
        data: a set's name, a folder, table or archive; the run's own data if None. Its classes are matched by name, and may be
            some of the run's. If it has the run's fingerprint it is the run's own data, moved.
        split: `train`, `validation` or `test`.
        views: the views of each image: one of `VIEWS`, or of `PROTOCOLS`, the papers'. docs/evaluation.md has them.
        scales: instead of the view's own, in pixels of the shorter side of the whole image.
        robust: also how much of the accuracy is left when the images get worse; for the view `centre`.
        device: see `striate.machine.pick_device`.
        data_dir: where to look for named sets first.
        on_progress: called with (done, total), counted in views of an image.

    Raises:
        DataError: the data is not there, is damaged, or has classes that the run does not know.
        UsageError: it has no such split; there is no such view, or none of this net.
    """
    wanted = protocol(views, run.config.preprocessing.size, scales)
    if robust and wanted.key != "centre":
        raise UsageError(f"robustness is measured with the view centre, got {wanted.key}: leave {param('views')} out")
    subject = subject_of(run, data, split, device, data_dir)
    evaluation = _evaluated(subject, wanted, on_progress)
    if robust:
        worse = accuracy_of_worse(subject.classifier, subject.sized, on_progress=on_progress)
        evaluation = replace(evaluation, robustness=worse)
    write_evaluation(run, evaluation)
    known = run.calibration
    complete = known is not None and (known.abstain is not None or known.n < FEWEST)
    if split == "validation" and subject.own and not complete:
        calibrate(run, subject.classifier, subject.sized)
    return evaluation


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
    """Evaluates the run's net by several views, keeps each evaluation in the run, and the table of all beside them.

    Args:
        run to on_progress: see `evaluate`.
        views: of `VIEWS` and `PROTOCOLS`; all of `VIEWS` if None, but for those that cannot be.

    Raises:
        DataError, UsageError: as `evaluate`.
    """
    names = list(VIEWS) if views is None else list(dict.fromkeys(views))
    protocols = [protocol(name, run.config.preprocessing.size) for name in names]
    subject = subject_of(run, data, split, device, data_dir)
    table = ViewsTable(name=f"{subject.stem}-views.json", rows=[], impossible={}, evaluations=[])
    for one in protocols:
        began = time.perf_counter()
        try:
            evaluation = _evaluated(subject, one, on_progress)
        except UsageError as error:
            if views is not None:
                raise
            table.impossible[one.name] = str(error)
            continue
        write_evaluation(run, evaluation)
        table.evaluations.append(evaluation)
        table.rows.append(_row(table.evaluations, time.perf_counter() - began))
    write_json(run.path / "evaluations" / table.name, table.as_dict())
    return table


def score(
    classifier: Classifier, data: ImageData, *, name: str, split: str, temperature: float | None = None
) -> Evaluation:
    """Evaluates a classifier on images by the view `centre`; nothing is written. `name` and `split` say what the images are.

    Args:
        temperature: that of the net's calibration, if it has one.
    """
    subject = Subject(classifier, data, name, split, temperature=temperature)
    return _evaluated(subject, protocol("centre", classifier.preprocessing.size))


def write_evaluation(run: Run, evaluation: Evaluation) -> None:
    """Writes evaluation.json, per_class.csv, predictions.csv, and robustness.json if there is one, into evaluations/<key>.

    evaluation.json comes last: without it the evaluation is not there, and what else of a new one was written goes.
    """
    folder = run.path / "evaluations" / evaluation.key
    new = not folder.exists()
    try:
        write_csv(folder / "predictions.csv", evaluation.predictions, PREDICTION_COLUMNS)
        write_csv(folder / "per_class.csv", [row.as_dict() for row in evaluation.summary.per_class], PER_CLASS_COLUMNS)
        if evaluation.robustness is not None:
            write_json(folder / "robustness.json", evaluation.robustness.as_dict())
        write_json(folder / "evaluation.json", evaluation.summary.as_dict())
    except BaseException:
        if new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _evaluated(subject: Subject, wanted: Protocol, on_progress: OnProgress | None = None) -> Evaluation:
    if wanted.name == "flip" and not subject.mirrored:
        raise UsageError(f"the view flip is not for {subject.name}: mirrored, its images mean something else")
    classifier, temperature = subject.classifier, None
    if wanted.key == "centre":
        logs = classifier.logits(subject.sized.pixels).double().log_softmax(1).numpy()
        temperature = subject.temperature  # it was fitted to this view
    else:
        logs = log_probabilities(classifier, subject.whole, wanted, mirrored=subject.mirrored, on_progress=on_progress)
    data = subject.sized
    seen = Seen(
        data=subject.name,
        split=subject.split,
        views=wanted.views,
        protocol=wanted.name if wanted.name in PROTOCOLS else None,
        scales=tuple(wanted.scales),
        views_each=wanted.passes(subject.mirrored),
        mirrored=wanted.passes(subject.mirrored) > wanted.passes(mirrored=False),
        fingerprint=data.fingerprint(),
        absent=tuple(name for name, count in zip(data.classes, data.class_counts(), strict=True) if not count),
        by_position=subject.by_position,
    )
    summary = summarise(logs, data.labels, data.classes, seen=seen, temperature=temperature)
    rows, key = prediction_rows(logs, data, temperature=temperature), f"{subject.stem}-{wanted.key}"
    return Evaluation(key=key, summary=summary, predictions=rows, data=data, classifier=classifier)


def _row(evaluations: Sequence[Evaluation], seconds: float) -> ViewsRow:
    """A row of `ViewsTable`, of the last one; it is compared with the first."""
    hits, before = (np.array([row["truth"] == row["predicted"] for row in evaluations[k].predictions]) for k in (-1, 0))
    summary = evaluations[-1].summary
    kept = ("views", "protocol", "scales", "views_each", "n", "correct", "accuracy", "low", "high", "macro_f1", "loss")
    return ViewsRow(
        **{key: getattr(summary, key) for key in kept},
        gained=int((hits & ~before).sum()),
        lost=int((before & ~hits).sum()),
        seconds=round(seconds, 1),
        key=evaluations[-1].key,
    )
