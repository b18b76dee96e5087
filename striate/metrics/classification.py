"""Figures by class, and 95 % confidence intervals. Labels are int64 (N,) in 0 .. classes - 1, logits float (N, classes)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


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


def wilson(correct: int, total: int, z: float = Z95) -> tuple[float, float]:
    """(low, high): Wilson's score interval of a proportion (Wilson 1927), 95 % unless `z` says otherwise.

    Unlike the usual normal interval it never leaves 0 to 1 and holds its level near both ends.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"needs 0 <= correct <= total and total >= 1, got {correct} of {total}")
    return _score(correct / total, total, z)


def macro_f1_interval(confusion: npt.NDArray[np.int64], z: float = Z95) -> tuple[float, float]:
    """(low, high) of the macro F1 of `confusion`, int64 (classes, classes), rows the truth, and perhaps a
    column more, of images without an answer; 95 % unless `z` says otherwise.

    Its variance is the delta method's for multinomial counts (Takahashi et al. 2022, doi:10.1007/s10489-021-02635-5). The
    interval has Wilson's form, with as many images as give a proportion that variance, because the normal form fails near 1,
    and a middle corrected for F1's bias. It covers the truth oftener than the bootstrap's forms do, most where classes are
    small or nearly all is right (bench/results/intervals.csv), and draws nothing. Classes that have no images and were never
    predicted do not count, as in `macro_f1`.
    """
    hits = confusion.diagonal()
    both = confusion.sum(axis=0)[: len(confusion)] + confusion.sum(axis=1)
    present = both > 0
    both = np.maximum(both, 1)
    f1 = 2 * hits / both
    score = float(f1[present].mean())
    # What one more image of a cell adds to the sum of F1s: of its row's and its column's class -F1 / both, 2 / both if right.
    rows, columns = np.nonzero(confusion)
    # A column more is of images without an answer, and of no class.
    of_column = np.append(f1 / both, 0.0)[columns]
    added = (2 * (rows == columns) - f1[rows]) / both[rows] - of_column
    counts = confusion[rows, columns]
    # Its mean over the images is 0, as F1 does not change when all counts do by one factor.
    variance = float((counts * np.square(added)).sum()) / int(present.sum()) ** 2
    if variance > 0:
        pictures = score * (1 - score) / variance
    else:  # all right or all wrong: as many as if each class were as often wrong as the others
        pictures = int(present.sum()) ** 2 / float((2 / both[present]).sum())
    # E[F1] is less than F1 by F1 (1 - F1) / both, to the second order.
    middle = score + float((f1 * (1 - f1) / both)[present].mean())
    low, high = _score(min(middle, 1.0), pictures, z)
    return min(low, score), max(high, score)


def _score(share: float, total: float, z: float) -> tuple[float, float]:
    """Wilson's interval of a proportion seen in `total` draws, which need not be a whole number."""
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # In real numbers an end never passes the share itself; in floating point, at 0 and 1, it would.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
