"""95 % confidence intervals of what was measured on some pictures, as a statement about all pictures like them."""

from __future__ import annotations

import math
from typing import Any

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
    p = correct / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def macro_f1_interval(confusion: npt.NDArray[np.int64], resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """(low, high) of the macro F1 by the bootstrap: the 2.5 % and 97.5 % quantiles over `resamples` sets of as many pictures,
    drawn with replacement (Efron 1979).

    Drawing pictures is drawing the counts of the confusion matrix from a multinomial distribution, so pictures are not touched.
    """
    present = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
    rows, columns = np.nonzero(confusion)
    counts = confusion[rows, columns]
    total = int(counts.sum())
    generator = np.random.default_rng(seed)
    scores = []
    block = max(1, 2**22 // len(counts))
    for start in range(0, resamples, block):
        drawn = generator.multinomial(total, counts / total, size=min(block, resamples - start))
        scores.append(_macro_f1(drawn, rows, columns, len(confusion)))
    share = present.sum() / len(confusion)
    low, high = np.quantile(np.concatenate(scores), (0.025, 0.975))
    return float(low), float(min(high, share))


def _macro_f1(
    drawn: npt.NDArray[np.int64], rows: npt.NDArray[Any], columns: npt.NDArray[Any], classes: int
) -> npt.NDArray[np.float64]:
    """(R,): macro F1 of R confusion matrices, of which `drawn` (R, cells) holds the counts at (rows, columns)."""
    hits, both = np.zeros((classes, len(drawn))), np.zeros((classes, len(drawn)))
    np.add.at(both, rows, drawn.T)
    np.add.at(both, columns, drawn.T)
    right = rows == columns
    hits[rows[right]] = drawn.T[right]
    return np.asarray((2 * hits / np.maximum(both, 1)).mean(axis=0))
