"""The figures of evaluation.json from log-probabilities and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from striate.data import ImageData
from striate.errors import DataError
from striate.metrics.calibration import (
    accuracy_by_confidence,
    brier_score,
    expected_calibration_error,
    reliability,
    tempered,
)
from striate.metrics.classification import (
    balanced_accuracy,
    confusion_matrix,
    macro_f1,
    macro_f1_interval,
    most_confused,
    per_class,
    top_k_hits,
    wilson,
)
from striate.outcome import Row
from striate.runforms.evaluation import Bin, ClassFigures, Confused, EvaluationFigures, Kept, Seen

LogProbabilities = npt.NDArray[np.float64]
"""(N, classes): natural logarithms of probabilities, each row summing to 1."""

PER_CLASS_COLUMNS = ("class", "support", "precision", "recall", "low", "high", "f1")
PREDICTION_COLUMNS = ("index", "path", "truth", "predicted", "confidence", "second", "second_confidence", "loss")


def summarise(
    outputs: LogProbabilities,
    labels: npt.NDArray[np.int64],
    classes: Sequence[str],
    *,
    seen: Seen = Seen(data="", split="", views=""),  # noqa: B008
    temperature: float | None = None,
) -> EvaluationFigures:
    """The figures of an evaluation, each explained in docs/evaluation.md.

    Images for which the net gave NaN or infinity are `unanswered`: they count as misclassified, and have no part in loss, Brier
    score, calibration and the confusion matrix.

    Args:
        outputs: (N, classes) log-probabilities.
        labels: (N) positions in `classes`.
        classes: their names.
        seen: which images these are, and how each was viewed.
        temperature: the run's, which divides the logits for `by_confidence` and the figures called `..._calibrated`.

    Raises:
        DataError: the net gave no number for any of them.
    """
    answered, total = _answered(outputs), len(labels)
    if not answered.any():
        raise DataError(f"the net returns NaN for all {total} images")
    predicted = np.where(answered, outputs.argmax(1), len(classes))  # a column more, for those without an answer
    whole = confusion_matrix(labels, predicted, len(classes) + 1)[:-1]
    confusion, correct = whole[:, :-1], int((predicted == labels).sum())
    outputs, labels = outputs[answered], labels[answered]
    low, high = wilson(correct, total)
    macro_low, macro_high = macro_f1_interval(whole)
    said = outputs if temperature is None else tempered(outputs, temperature)
    calibrated = {} if temperature is None else certainty(said, labels)._asdict()
    return EvaluationFigures(
        **asdict(seen),
        n=total,
        unanswered=int(total - answered.sum()),
        correct=correct,
        accuracy=correct / total,
        low=low,
        high=high,
        balanced_accuracy=balanced_accuracy(whole),
        top5=top_k_hits(outputs, labels, 5) / total if len(classes) > 5 else None,
        **certainty(outputs, labels)._asdict(),
        brier=brier_score(np.exp(outputs), labels),
        macro_f1=macro_f1(whole),
        macro_f1_low=macro_low,
        macro_f1_high=macro_high,
        temperature=temperature,
        **{f"{name}_calibrated": figure for name, figure in calibrated.items()},
        by_confidence=tuple(map(Kept.from_dict, accuracy_by_confidence(np.exp(said.max(1)), said.argmax(1) == labels))),
        classes=tuple(classes),
        confusion=tuple(map(tuple, confusion.tolist())),
        per_class=tuple(map(ClassFigures.from_dict, per_class(whole, classes))),
        most_confused=tuple(map(Confused.from_dict, most_confused(confusion, classes))),
    )


class Certainty(NamedTuple):
    """How good log-probabilities are: their loss, and how far their confidence is from accuracy."""

    loss: float
    ece: float
    reliability: tuple[Bin, ...]


def certainty(outputs: LogProbabilities, labels: npt.NDArray[np.int64]) -> Certainty:
    """The figures of finite outputs (N, classes)."""
    confidence, hits = np.exp(outputs.max(1)), outputs.argmax(1) == labels
    bins = tuple(map(Bin.from_dict, reliability(confidence, hits)))
    return Certainty(float(_losses(outputs, labels).mean()), expected_calibration_error(confidence, hits), bins)


def prediction_rows(outputs: LogProbabilities, data: ImageData, *, temperature: float | None = None) -> list[Row]:
    """A row an image, of `PREDICTION_COLUMNS`; where the net gave no number, prediction and figures are None.

    Confidence is that of `striate predict`, calibrated where there is a temperature; loss is the cross-entropy of the net's own
    probabilities, whose mean is the evaluation's loss.
    """
    answered = _answered(outputs)
    outputs = np.where(answered[:, None], outputs, 0.0)
    spoken = outputs if temperature is None else tempered(outputs, temperature)
    predicted = outputs.argmax(1)
    others = outputs.copy()
    every = np.arange(len(outputs))
    others[every, predicted] = -np.inf
    second = others.argmax(1)
    confidence, second_confidence = np.exp(spoken[every, predicted]), np.exp(spoken[every, second])
    losses = _losses(outputs, data.labels)
    return [
        {
            "index": index,
            "path": data.paths[index] if data.paths else "",
            "truth": data.classes[data.labels[index]],
            "predicted": data.classes[predicted[index]],
            "confidence": round(float(confidence[index]), 6),
            "second": data.classes[second[index]],
            "second_confidence": round(float(second_confidence[index]), 6),
            "loss": round(float(losses[index]), 6),
            **({} if answered[index] else _NO_ANSWER),
        }
        for index in range(len(data))
    ]


_NO_ANSWER: Mapping[str, None] = dict.fromkeys(("predicted", "confidence", "second", "second_confidence", "loss"))


def _answered(outputs: LogProbabilities) -> npt.NDArray[np.bool_]:
    """bool (N,): for which images the net gave numbers. A logit of minus infinity is none either."""
    return np.asarray(np.isfinite(outputs).all(axis=1))


def _losses(outputs: LogProbabilities, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Cross-entropy of each image."""
    return np.asarray(-outputs[np.arange(len(labels)), labels] + 0.0)
