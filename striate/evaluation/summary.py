"""What an evaluation says: log-probabilities and labels in, the figures of evaluation.json out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.data import ImageData
from striate.metrics import (
    confusion_matrix,
    expected_calibration_error,
    most_confused,
    per_class,
    top_k_hits,
    wilson,
)

LogProbabilities = npt.NDArray[np.float64]
"""(N, classes): natural logarithms of probabilities, each row summing to 1."""


def summarise(outputs: LogProbabilities, labels: npt.NDArray[np.int64], classes: Sequence[str]) -> dict[str, Any]:
    """n, correct, accuracy with its 95 % interval (low, high), top5, loss, macro_f1, ece, classes, confusion (rows are
    the truth), per_class, most_confused.

    Args:
        outputs: (N, classes) log-probabilities.
        labels: (N) positions in `classes`.
        classes: their names.
    """
    predicted = outputs.argmax(1)
    hits = predicted == labels
    confusion = confusion_matrix(labels, predicted, len(classes))
    low, high = wilson(int(hits.sum()), len(labels))
    rows = per_class(confusion, classes)
    return {
        "n": len(labels),
        "correct": int(hits.sum()),
        "accuracy": int(hits.sum()) / len(labels),
        "low": low,
        "high": high,
        "top5": top_k_hits(outputs, labels, 5) / len(labels) if len(classes) > 5 else None,
        "loss": float(_losses(outputs, labels).mean()),
        "macro_f1": float(np.mean([row["f1"] for row in rows])),
        "ece": expected_calibration_error(np.exp(outputs.max(1)), hits),
        "classes": list(classes),
        "confusion": confusion.tolist(),
        "per_class": rows,
        "most_confused": most_confused(confusion, classes),
    }


def prediction_rows(outputs: LogProbabilities, data: ImageData) -> list[dict[str, Any]]:
    """A row a picture: index, path, truth, predicted, confidence, loss."""
    predicted = outputs.argmax(1)
    confidence = np.exp(outputs.max(1))
    losses = _losses(outputs, data.labels)
    return [
        {
            "index": index,
            "path": data.paths[index] if data.paths else "",
            "truth": data.classes[data.labels[index]],
            "predicted": data.classes[predicted[index]],
            "confidence": round(float(confidence[index]), 6),
            "loss": round(float(losses[index]), 6),
        }
        for index in range(len(data))
    ]


def _losses(outputs: LogProbabilities, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Cross-entropy of each picture."""
    return np.asarray(-outputs[np.arange(len(labels)), labels] + 0.0)
