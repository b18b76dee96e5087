"""How often intervals of macro F1 cover the truth.

Nets are simulated, so that the truth is known: a net is the probability of each answer to each class. Compared are our
interval, the jackknife with a normal or a logit form, and the bootstrap's percentiles and bias-corrected form (BCa).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from bench.record import append, conditions
from striate.metrics.classification import macro_f1_interval

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]
Z = float(norm.ppf(0.975))
RESAMPLES = 1000


def worlds(kind: str, count: int, seed: int = 0) -> Any:
    """`count` times (images, probabilities (classes, classes) of truth and answer)."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        if kind == "2 to 20 classes":
            classes, pictures = int(generator.integers(2, 21)), int(generator.integers(200, 2001))
            accuracy = generator.uniform(0.05, 0.95)
            shares = generator.dirichlet(np.full(classes, (1e6, 5.0, 1.0)[generator.integers(3)]))
        else:
            classes, pictures, accuracy = {"100 classes of 10": (100, 1000, 0.7), "10 classes, 99 %": (10, 200, 0.99)}[
                kind
            ]
            shares = np.full(classes, 1 / classes)
        cells = np.zeros((classes, classes))
        for k in range(classes):
            right = 1 / (1 + np.exp(-np.log(accuracy / (1 - accuracy)) - generator.normal(0, 0.7)))
            cells[k] = np.insert((1 - right) * generator.dirichlet(np.ones(classes - 1)), k, right)
        yield pictures, shares[:, None] * cells


def score(cells: Floats) -> Floats:
    """Macro F1 of (..., classes, classes), classes without images counted as 0."""
    both = cells.sum(-1) + cells.sum(-2)
    return np.asarray((2 * np.diagonal(cells, axis1=-2, axis2=-1) / np.maximum(both, 1e-300)).mean(-1))


def intervals(confusion: Any, generator: np.random.Generator) -> dict[str, Interval]:
    """Each form's interval of one confusion matrix."""
    total, seen = confusion.sum(), float(score(confusion))
    rows, columns = np.nonzero(confusion)
    counts = confusion[rows, columns]
    without = np.repeat(confusion[None].astype(float), len(rows), 0)
    without[np.arange(len(rows)), rows, columns] -= 1
    influence = seen - score(without)  # of leaving one image of a cell out
    influence -= (counts * influence).sum() / total
    error = float(np.sqrt((counts * influence**2).sum()))
    drawn = np.zeros((RESAMPLES, *confusion.shape))
    drawn[:, rows, columns] = generator.multinomial(total, counts / total, size=RESAMPLES)
    boot = score(drawn)
    below = norm.ppf(np.clip(((boot < seen).mean() + (boot <= seen).mean()) / 2, 1e-4, 1 - 1e-4))
    spread = (counts * influence**2).sum()
    skew = (counts * influence**3).sum() / (6 * spread**1.5) if spread else 0.0
    ends = [norm.cdf(below + (below + z) / (1 - skew * (below + z))) for z in (-Z, Z)]
    logit = np.log(seen / (1 - seen)) if 0 < seen < 1 else np.inf
    step = Z * error / (seen * (1 - seen)) if 0 < seen < 1 else 0.0
    return {
        "ours": macro_f1_interval(confusion),
        "jackknife, normal": (seen - Z * error, seen + Z * error),
        "jackknife, logit": (float(1 / (1 + np.exp(step - logit))), float(1 / (1 + np.exp(-step - logit)))),
        "bootstrap, percentiles": tuple(np.quantile(boot, (0.025, 0.975)).tolist()),
        "bootstrap, BCa": tuple(np.quantile(boot, ends).tolist()),
    }


def coverage(kind: str, count: int) -> None:
    """A row for each form."""
    generator = np.random.default_rng(1)
    found: dict[str, list[tuple[bool, float]]] = {}
    for pictures, cells in worlds(kind, count):
        confusion = generator.multinomial(pictures, cells.ravel()).reshape(cells.shape)
        truth = float(score(cells))
        for form, (low, high) in intervals(confusion, generator).items():
            found.setdefault(form, []).append((low <= truth <= high, high - low))
    for form, rows in found.items():
        covered, width = np.mean(rows, axis=0)
        row = {"nets": kind, "simulated": count, "form": form, "covers": round(covered, 4), "width": round(width, 4)}
        append("intervals", {**conditions(), **row})


def main() -> None:
    """Rows of intervals.csv."""
    for kind, count in (("2 to 20 classes", 3000), ("100 classes of 10", 600), ("10 classes, 99 %", 2000)):
        coverage(kind, count)


if __name__ == "__main__":
    main()
