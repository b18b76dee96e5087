"""How well a score separates the images that a net was made for from out-of-distribution ones, of none of its classes.

A score is higher the more an image looks like the net's own; float (N,).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Scores = npt.NDArray[np.float64]


def max_softmax(logits: Floats) -> Scores:
    """(N,): the greatest probability of the softmax (Hendrycks & Gimpel 2017, arXiv:1610.02136) of logits (N, classes)."""
    return np.asarray(np.exp(max_logit(logits) - energy(logits)))


def max_logit(logits: Floats) -> Scores:
    """(N,): the greatest logit (Hendrycks et al. 2022, arXiv:1911.11132) of logits (N, classes)."""
    return np.asarray(logits.max(axis=1), dtype=np.float64)


def energy(logits: Floats) -> Scores:
    """(N,): log of the sum of exp(logits), which is the negative energy of Liu et al. 2020 (arXiv:2010.03759) at T = 1."""
    return np.asarray(np.logaddexp.reduce(logits.astype(np.float64), axis=1))


OF_LOGITS: Mapping[str, Callable[[Floats], Scores]] = {
    "max_softmax": max_softmax,
    "max_logit": max_logit,
    "energy": energy,
}
"""The scores that need nothing but logits, (N, classes), as the net gives them, before any temperature."""


def nearest_cosine(features: Floats, references: Floats, k: int = 1) -> Scores:
    """(N,): cosine of each of the features, (N, D), with its k-th nearest reference (R, D), both of length 1.

    The k-th nearest neighbour of Sun et al. 2022 (arXiv:2204.06507): for vectors of length 1 the order of cosines is the order
    of distances. Where there are fewer than k references it is the farthest.
    """
    cosines = features @ references.T
    place = max(0, len(references) - k)
    return np.asarray(np.partition(cosines, place, axis=1)[:, place], dtype=np.float64)


def threshold_keeping(own: Floats, keep: float = 0.95) -> float:
    """The greatest score at which at least the share `keep` of one's own images have that score or a higher one.

    Raises ValueError for no images, scores that are no numbers, or a share outside of ]0, 1].
    """
    if own.ndim != 1 or not len(own) or np.isnan(own).any():
        raise ValueError(f"scores must be numbers (N,), N >= 1, got {own.shape} with {np.isnan(own).sum()} NaN")
    if not 0 < keep <= 1:
        raise ValueError(f"the share to keep is above 0 and at most 1, got {keep}")
    # 0.95 x 20 can be 19.000000000000004, which must not become 20.
    wanted = max(1, int(np.ceil(keep * len(own) - 1e-9)))
    return float(np.sort(own)[len(own) - wanted])
