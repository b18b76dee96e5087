"""Whether a net's confidence matches its accuracy, and the temperature that makes it so.

Confidence is the probability of the predicted class, (N,) in 0 .. 1; `correct`, bool (N,), whether that class was the true one.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]

BINS = 15
"""Equal bins of confidence, as Guo et al. 2017 take."""
COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of a temperature. Published ones lie between 0.5 and 5; only nets that are always wrong come near these."""
SPREAD = 0.5
"""Standard deviation of the logarithm of a temperature before anything is known: two of three lie between 0.6 and 1.65."""
DOUBT = 8.0
"""Evidence up to which a temperature is not used, twice the gain in log-likelihood: what chance gives one net in 200. With it and
`SPREAD` no kind of simulated net lost by being calibrated on 5 images or more, within 0.003 (bench/results/calibration.csv).
"""
NEARLY = 0.95
"""Share of a temperature's logarithm that is used, from which it counts as not shrunk."""


class Weighed(NamedTuple):
    """A temperature, and how it came about.

    Attributes:
        temperature: to be used.
        likeliest: before it was weighed against chance.
        evidence: twice the gain in log-likelihood of that one over 1.
    """

    temperature: float
    likeliest: float
    evidence: float

    @property
    def how(self) -> Literal["fitted", "shrunk", "left out"]:
        """How the likeliest temperature was used."""
        if self.temperature == 1:
            return "left out"
        used = math.log(self.temperature) / math.log(self.likeliest)
        return "fitted" if used >= NEARLY else "shrunk"


def reliability(confidence: Floats, correct: Bools, bins: int = BINS) -> list[dict[str, float]]:
    """A row a bin of confidence that has images: low, high (its bounds), n, confidence and accuracy (means of its images).

    Bins are ](i-1)/bins, i/bins], the first one including 0 (Guo et al. 2017, arXiv:1706.04599, section 2).
    """
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    said = np.bincount(place, weights=confidence, minlength=bins)
    right = np.bincount(place, weights=correct, minlength=bins)
    return [
        {
            "low": index / bins,
            "high": (index + 1) / bins,
            "n": int(counts[index]),
            "confidence": float(said[index] / counts[index]),
            "accuracy": float(right[index] / counts[index]),
        }
        for index in np.flatnonzero(counts).tolist()
    ]


def expected_calibration_error(confidence: Floats, correct: Bools, bins: int = BINS) -> float:
    """Mean distance between confidence and accuracy over the bins of `reliability`, by images (Guo et al. 2017, eq. 3)."""
    rows = reliability(confidence, correct, bins)
    return float(sum(row["n"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / len(confidence))


def brier_score(probabilities: Floats, truth: npt.NDArray[np.int64]) -> float:
    """Mean squared distance between probabilities (N, classes) and the truth, one-hot (Brier 1950): 0, perfect, to 2."""
    own = probabilities[np.arange(len(truth)), truth]
    return float((np.square(probabilities).sum(axis=1) - 2 * own + 1).mean())


def accuracy_by_confidence(confidence: Floats, correct: Bools, steps: int = 20) -> list[dict[str, float]]:
    """The accuracy if only the most confident images are kept: a row for each share 1/steps, 2/steps, ... 1 of the N.

    A row has kept (the share), threshold (the least confidence of those kept) and accuracy (of those kept). Of images of equal
    confidence, of which not all are kept, the average over all choices counts.
    """
    levels, counts = np.unique(-confidence, return_counts=True)
    right = np.bincount(np.searchsorted(levels, -confidence), weights=correct, minlength=len(levels))
    ends = np.cumsum(counts)
    kept = [-(-len(confidence) * step // steps) for step in range(1, steps + 1)]
    hits = np.interp(kept, np.append(0, ends), np.append(0.0, np.cumsum(right)))
    last = np.searchsorted(ends, kept)
    return [
        {"kept": step / steps, "threshold": float(-levels[place]), "accuracy": float(hit / number)}
        for step, (place, hit, number) in enumerate(zip(last, hits, kept, strict=True), start=1)
    ]


def tempered(logits: Floats, temperature: float) -> npt.NDArray[np.float64]:
    """float64 (N, classes): log_softmax(logits / temperature). Log-probabilities serve as logits."""
    scaled = logits.astype(np.float64) / temperature
    return np.asarray(scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True))


def weigh_temperature(logits: Floats, labels: npt.NDArray[np.int64]) -> Weighed:
    """The temperature T that makes the cross-entropy of softmax(logits / T) less on new images (Guo et al. 2017, section 4.2),
    between `COLDEST` and `HOTTEST`; 1 where the images are too few to tell.

    The likeliest T is that of least cross-entropy with a normal prior of log T around 0, `SPREAD` wide, without which T would
    fall to 0 where all N images are right. Its logarithm is then multiplied by 1 - (`DOUBT` / evidence)^2, or by 0 below
    `DOUBT`, so that what chance alone would give changes nothing. A thousand images hardly notice either.

    The cross-entropy is convex in 1 / T; its minimum with the prior is found by Newton's method inside of a bracket.

    Args:
        logits: (N, classes), N >= 1, of images that the net was not trained on.
        labels: (N,).

    Raises:
        ValueError: no images, or logits that are no finite numbers.
    """
    if not len(logits) or not np.isfinite(logits).all():
        raise ValueError(f"a temperature needs finite logits of at least one image, got {logits.shape}")
    own = logits[np.arange(len(labels)), labels][:, None].astype(np.float64)
    # Measured from the true class's logit: the loss is log(sum(exp(distances / T))).
    distances = logits - own
    weight = 1 / (len(logits) * SPREAD**2)
    low, high = 1 / HOTTEST, 1 / COLDEST
    inverse = 1.0
    for _ in range(100):
        slope, curvature = _derivatives(distances, inverse)
        slope += weight * math.log(inverse) / inverse
        curvature += weight * (1 - math.log(inverse)) / inverse**2
        if slope == 0:
            break
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        following = inverse - slope / curvature if curvature > 0 else low
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - inverse) <= 1e-12 * inverse:
            break
        inverse = following
    losses = [float(np.logaddexp.reduce(factor * distances, axis=1).mean()) for factor in (1.0, inverse)]
    evidence = 2 * len(logits) * (losses[0] - losses[1])
    share = 1 - (DOUBT / evidence) ** 2 if evidence > DOUBT else 0.0
    return Weighed(inverse**-share, 1 / inverse, evidence)


def _derivatives(distances: npt.NDArray[np.float64], inverse: float) -> tuple[float, float]:
    """First and second derivative with respect to 1 / T of the mean of log(sum(exp(distances / T)))."""
    weights = np.exp(inverse * (distances - distances.max(axis=1, keepdims=True)))
    weights /= weights.sum(axis=1, keepdims=True)
    mean = (weights * distances).sum(axis=1)
    variance = (weights * np.square(distances)).sum(axis=1) - np.square(mean)
    return float(mean.mean()), float(variance.mean())
