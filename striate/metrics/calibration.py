"""Whether a net is right as often as it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def expected_calibration_error(
    confidence: npt.NDArray[np.floating[Any]], correct: npt.NDArray[np.bool_], bins: int = 15
) -> float:
    """Mean distance between confidence and accuracy, over equal bins of confidence (Guo et al. 2017, arXiv:1706.04599, eq. 3).

    Args:
        confidence: (N,) probability of the predicted class, 0 to 1.
        correct: (N,) whether that class was the true one.
        bins: ](i-1)/bins, i/bins], the first one including 0.
    """
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(place, weights=correct.astype(np.float64) - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))
