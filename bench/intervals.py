"""How often intervals of macro F1 cover the truth, and what temperatures of few pictures do to the loss on new ones.

Nets are simulated, so that the truth is known: a net is the probability of each answer to each class. Compared are our
interval, the jackknife with a normal or a logit form, and the bootstrap's percentiles and bias-corrected form (BCa).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp
from scipy.stats import norm

from bench.record import append, conditions
from striate.metrics import macro_f1_interval

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]
Z = float(norm.ppf(0.975))
RESAMPLES = 1000
SMOOTHINGS = (0.0, 0.5, 1.0)
"""Pictures of no class that are added when a temperature is fitted."""


def worlds(kind: str, count: int, seed: int = 0) -> Any:
    """`count` times (pictures, probabilities (classes, classes) of truth and answer)."""
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
    """Macro F1 of (..., classes, classes), classes without pictures counted as 0."""
    both = cells.sum(-1) + cells.sum(-2)
    return np.asarray((2 * np.diagonal(cells, axis1=-2, axis2=-1) / np.maximum(both, 1e-300)).mean(-1))


def intervals(confusion: Any, generator: np.random.Generator) -> dict[str, Interval]:
    """Each form's interval of one confusion matrix."""
    total, seen = confusion.sum(), float(score(confusion))
    rows, columns = np.nonzero(confusion)
    counts = confusion[rows, columns]
    without = np.repeat(confusion[None].astype(float), len(rows), 0)
    without[np.arange(len(rows)), rows, columns] -= 1
    influence = seen - score(without)  # of leaving one picture of a cell out
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


def fitted(logits: Floats, labels: Any, smoothing: float) -> float:
    """The temperature of least loss between 1/20 and 20, targets smoothed by so many pictures of no class."""
    share = smoothing / (len(labels) + smoothing)

    def loss(log_inverse: float) -> float:
        scaled = logits * np.exp(log_inverse)
        own = (1 - share) * scaled[np.arange(len(labels)), labels] + share * scaled.mean(1)
        return float((logsumexp(scaled, axis=1) - own).mean())

    return float(np.exp(-minimize_scalar(loss, bounds=(-np.log(20), np.log(20)), method="bounded").x))


def temperatures(pictures: int, repeats: int = 60) -> None:
    """A row for each smoothing: the loss on 4,000 new pictures above that of the true temperature; its mean and its worst."""
    generator = np.random.default_rng(2)

    def draw(count: int, classes: int, spread: float, factor: float) -> tuple[Floats, Any]:
        # Normal logits, for which the posterior is the softmax; the net says it `factor` times too sharply.
        labels = generator.integers(0, classes, count)
        logits = generator.normal(0, spread, (count, classes))
        logits[np.arange(count), labels] += spread**2
        return logits * factor, labels

    def loss(logits: Floats, labels: Any, temperature: float) -> float:
        return float(-log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean())

    above: dict[float, list[float]] = {smoothing: [] for smoothing in SMOOTHINGS}
    for classes, spread in ((2, 2.0), (10, 2.0), (10, 3.3), (2, 3.0)):
        for factor in (0.5, 1.0, 2.0):
            new = draw(4000, classes, spread, factor)
            best = loss(*new, factor)
            some = [draw(pictures, classes, spread, factor) for _ in range(repeats)]
            for smoothing in SMOOTHINGS:
                above[smoothing].append(float(np.mean([loss(*new, fitted(*one, smoothing)) - best for one in some])))
    for smoothing, values in above.items():
        row = {
            "pictures": pictures,
            "smoothing": smoothing,
            "loss": round(np.mean(values), 4),
            "worst": round(max(values), 4),
        }
        append("temperature", {**conditions(), **row})


def main() -> None:
    """Rows of intervals.csv and temperature.csv."""
    for kind, count in (("2 to 20 classes", 3000), ("100 classes of 10", 600), ("10 classes, 99 %", 2000)):
        coverage(kind, count)
    for pictures in (10, 20, 50, 200, 1000):
        temperatures(pictures)


if __name__ == "__main__":
    main()
