"""95 % confidence intervals of what was measured on some images, as a statement about all images like them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


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
