"""Counts of right and wrong, by class. Labels are int64 (N,) in 0 .. classes - 1, logits float (N, classes)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.metrics.intervals import wilson

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]


def confusion_matrix(truth: Ints, predicted: Ints, classes: int) -> Ints:
    """int64 (classes, classes): how often each class (row) was taken for each class (column)."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def top_k_hits(logits: Floats, truth: Ints, k: int) -> int:
    """Number of the N with the true class among their k largest logits; ties go to the lower class index.

    So k = 1 agrees with `argmax`, where scikit-learn's `top_k_accuracy_score` gives ties to the higher index.
    """
    own = logits[np.arange(len(truth)), truth][:, None]
    # Not `logits > own`: a logit that is not a number must never make a hit.
    before = ~(logits <= own) | ((logits == own) & (np.arange(logits.shape[1]) < truth[:, None]))
    return int((before.sum(axis=1) < k).sum())


def per_class(confusion: Ints, classes: Sequence[str]) -> list[dict[str, object]]:
    """A row a class: class, support, precision, recall, low, high (Wilson's 95 % interval of the recall), f1.

    The confusion matrix may have a column more, of images that got no answer. A ratio over nothing is 0; the recall of a class
    without images lies anywhere from 0 to 1.
    """
    rows = []
    for index, name in enumerate(classes):
        hits, support, predicted = (
            int(value) for value in (confusion[index, index], confusion[index].sum(), confusion[:, index].sum())
        )
        low, high = wilson(hits, support) if support else (0.0, 1.0)
        rows.append(
            {
                "class": name,
                "support": support,
                "precision": hits / predicted if predicted else 0.0,
                "recall": hits / support if support else 0.0,
                "low": low,
                "high": high,
                "f1": 2 * hits / (support + predicted) if support + predicted else 0.0,
            }
        )
    return rows


def macro_f1(confusion: Ints) -> float:
    """Mean F1 of the classes that have images or were predicted, as scikit-learn's `f1_score(average="macro")`."""
    both = confusion.sum(axis=0)[: len(confusion)] + confusion.sum(axis=1)
    present = both > 0
    return float((2 * confusion.diagonal()[present] / both[present]).mean())


def balanced_accuracy(confusion: Ints) -> float:
    """Mean recall of the classes that have images: what accuracy would be, had every class as many."""
    support = confusion.sum(axis=1)
    present = support > 0
    return float((confusion.diagonal()[present] / support[present]).mean())


def most_confused(confusion: Ints, classes: Sequence[str], count: int = 10) -> list[dict[str, str | int]]:
    """The most frequent mistakes: rows of truth, predicted, count; at most `count` of them."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    pairs = [(int(place) // len(classes), int(place) % len(classes)) for place in order]
    return [{"truth": classes[i], "predicted": classes[j], "count": int(wrong[i, j])} for i, j in pairs if wrong[i, j]]
