"""What a temperature that was fitted on few images does to the loss on new ones: rules against leaving it out.

Nets are simulated so that the truth is known: labels are drawn from softmax(logits / T) of a population of 1,000 images, and
the loss on new ones is its expectation over that population. Cells are 3 kinds of logits (alike in spread; of unlike spread; each
image with a temperature of its own) x 2, 10 or 100 classes x accuracies of 0.3 to 0.99 x true temperatures of 0.3 to 5.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from bench.record import append, conditions
from striate.metrics.calibration import DOUBT, SPREAD

Floats = npt.NDArray[np.float64]
GRID = np.linspace(np.log(0.05), np.log(20), 101)
"""Logarithms of temperatures."""
ONE = int(np.argmin(np.abs(GRID)))
PICTURES = (5, 10, 20, 50, 100, 200, 500, 1000)
POPULATION, TRIALS = 1000, 40


def population(kind: str, classes: int, accuracy: float, temperature: float, draw: Any) -> tuple[Floats, Floats]:
    """(probabilities, logits) of a net that is right so often, and too sure by `temperature`."""
    base = draw.normal(size=(POPULATION, classes))
    if kind != "alike":
        base *= draw.lognormal(0, 0.7, (POPULATION, 1))
    low, high = 1e-3, 1e3
    for _ in range(50):
        scale = np.sqrt(low * high)
        truth = np.exp(base * scale - logsumexp(base * scale, axis=1, keepdims=True))
        low, high = (scale, high) if truth.max(1).mean() < accuracy else (low, scale)
    own = draw.lognormal(0, 0.4, (POPULATION, 1)) if kind == "own" else 1.0
    return truth, base * scale * temperature * own


def rules(losses: Floats, halves: Floats, count: int) -> dict[str, Floats]:
    """Logarithms of the temperatures that each rule finds, of losses (trials, grid) without and with smoothing."""

    def prior(spread: float) -> Floats:
        return np.asarray(GRID[(count * losses + GRID**2 / (2 * spread**2)).argmin(1)])

    def doubted(found: Floats, doubt: float) -> Floats:
        place = np.searchsorted(GRID, found - 1e-9)
        evidence = 2 * count * (losses[:, ONE] - losses[np.arange(len(losses)), place])
        return np.asarray(found * np.clip(1 - (doubt / np.maximum(evidence, 1e-12)) ** 2, 0, 1))

    found = {"likeliest": GRID[losses.argmin(1)], "half an image": GRID[halves.argmin(1)]}
    found["half an image, from 100 on"] = found["half an image"] * (count >= 100)
    found |= {f"prior {spread:g}": prior(spread) for spread in (0.2, SPREAD, 1.0)}
    return found | {f"prior {SPREAD:g}, doubt {doubt:g}": doubted(prior(SPREAD), doubt) for doubt in (4.0, DOUBT, 12.0)}


def trials(
    cell: tuple[Floats, Floats], count: int, draw: Any, rule: Callable[..., dict[str, Floats]]
) -> dict[str, Floats]:
    """rule -> by how much its temperature raises the expected loss on new images, a value a trial."""
    truth, logits = cell
    inverse = np.exp(-GRID)
    sums = np.stack([logsumexp(logits * each, axis=1) for each in inverse], 1)
    expected = sums.mean(0) - inverse * (truth * logits).sum(1).mean()
    cumulated, means = truth.cumsum(1), logits.mean(1)
    losses, halves = np.empty((2, TRIALS, len(GRID)))
    for trial in range(TRIALS):
        seen = draw.integers(0, len(truth), count)
        labels = (draw.random((count, 1)) > cumulated[seen]).sum(1).clip(max=truth.shape[1] - 1)
        own, total = logits[seen, labels].mean(), sums[seen].mean(0)
        share = 0.5 / (count + 0.5)
        losses[trial] = total - inverse * own
        halves[trial] = total - inverse * ((1 - share) * own + share * means[seen].mean())
    return {
        name: np.interp(found, GRID, expected) - expected[ONE] for name, found in rule(losses, halves, count).items()
    }


def main() -> None:
    """Rows of calibration.csv: for each rule and number of images what it changes the loss by, on the whole and at worst."""
    draw = np.random.default_rng(0)
    changes: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for kind, classes, accuracy, temperature in itertools.product(
        ("alike", "unlike", "own"), (2, 10, 100), (0.3, 0.6, 0.9, 0.99), (0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0)
    ):
        if accuracy < 1.15 / classes:
            continue
        cell = population(kind, classes, accuracy, temperature, draw)
        for count in PICTURES:
            for name, values in trials(cell, count, draw, rules).items():
                error = float(values.std() / np.sqrt(len(values)))
                changes.setdefault((count, name), []).append((float(values.mean()), error))
    machine = conditions()
    for (count, name), cells in sorted(changes.items()):
        worst, error = max(cells)
        row = {"pictures": count, "rule": name, "loss": round(float(np.mean([mean for mean, _ in cells])), 4)}
        append("calibration", {**machine, **row, "worst": round(worst, 4), "error_of_worst": round(error, 4)})


if __name__ == "__main__":
    main()
