"""Abstaining: how well each score tells a net's own images from out-of-distribution ones.

LeNet-5 is trained on Fashion-MNIST by recipe `fast`, three seeds. The threshold of each score keeps 95 % of the run's validation
images; the own images are the 10,000 of the test set. The default score is the one that is best on those of
`CHOOSING`; MNIST's digits chose nothing and are what is reported. The photos are those of hymenoptera and CIFAR-10, from the tars
in the folder that STRIATE_DATA names. A residual net on the sample shows whether the order of the scores is LeNet's alone.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np
from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

import striate
from bench.cache import unpacked
from bench.record import append, conditions
from striate.classifier import Classifier
from striate.data import Preprocessing, load_data
from striate.data.images import Pixels
from striate.data.inputs import image_files
from striate.errors import DataError
from striate.evaluation.calibration import calibrate
from striate.outofdistribution import FILE, OutOfDistribution, scores
from striate.runforms.calibration import Score
from striate.training import Progress

CHOOSING = ("photos of ants and bees", "CIFAR-10", "noise", "own, inverted")
REPORTED = "MNIST"
RUNS = {"lenet5": ("fashion-mnist", (0, 1, 2), None), "resnet20": ("fashion-mnist-sample", (0,), 4)}
"""Net: data, seeds, epochs (None: those of the recipe)."""


def out_of_distribution(folder: Path, preprocessing: Preprocessing, own: Pixels) -> Mapping[str, Pixels]:
    """Images of none of the net's classes, by name, as it would be fed them."""
    generator = np.random.default_rng(0)
    return {
        "photos of ants and bees": _read(folder / "hymenoptera", preprocessing, 1),
        "CIFAR-10": _read(folder / "cifar10", preprocessing, 30),
        "noise": generator.integers(0, 256, (2000, *own.shape[1:]), dtype=np.uint8),
        "own, inverted": 255 - own[:2000],
        REPORTED: load_data("mnist").splits["test"].pixels[:],
    }


def _read(folder: Path, preprocessing: Preprocessing, step: int) -> Pixels:
    """Every `step`th image below a folder that can be read."""
    found = []
    for path in image_files(folder).files[::step]:
        try:
            found.append(preprocessing.read(path))
        except DataError:
            continue
    return np.stack(found)


def measure(name: str, seed: int, folder: Path) -> list[dict[str, object]]:
    """A row for each score and kind of out-of-distribution images, of one run."""
    data, _, epochs = RUNS[name]
    run = striate.train(
        name, data, seed=seed, epochs=epochs, name=f"{name}-{seed}", out=folder / "runs", progress=Progress(quiet=True)
    )
    dataset = load_data(data)
    classifier = Classifier.of(run, device="cpu")
    held_out = run.validation_indices()
    assert held_out is not None
    validation = dataset.train.select(held_out)
    test = dataset.splits["test"].pixels[:]
    own = classifier.observe(test)
    seen = {
        kind: classifier.observe(pixels)
        for kind, pixels in out_of_distribution(folder, classifier.preprocessing, test).items()
    }
    rows: list[dict[str, object]] = []
    for score in get_args(Score):
        calibrate(run, classifier, validation, score)
        fitted = OutOfDistribution(run)
        of_own = scores(score, *own, fitted.references)
        for kind, found in seen.items():
            of_others = scores(score, *found, fitted.references)
            rows.append(
                {
                    "score": score,
                    "images": kind,
                    "auroc": roc_auc_score(
                        np.arange(len(of_own) + len(of_others)) < len(of_own), np.r_[of_own, of_others]
                    ),
                    "refused": float((of_others < fitted.threshold).mean()),
                    "own_kept": float((of_own >= fitted.threshold).mean()),
                    "megabytes": (run.path / FILE).stat().st_size / 1e6 if score == "nearest" else 0.0,
                }
            )
    return rows


def main() -> None:
    """A row for each net, score and kind of out-of-distribution images: means over seeds, and the range of the share refused."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("hymenoptera", "cifar10"):
            unpacked(name, folder)
        for net, (data, seeds, _) in RUNS.items():
            found = [measure(net, seed, folder) for seed in seeds]
            facts = conditions()
            for rows in zip(*found, strict=True):
                shares = [row["refused"] for row in rows]
                append(
                    "ood",
                    {
                        **facts,
                        "net": net,
                        "data": data,
                        "seeds": len(seeds),
                        "score": rows[0]["score"],
                        "images": rows[0]["images"],
                        "auroc": round(statistics.mean(row["auroc"] for row in rows), 4),
                        "refused": round(statistics.mean(shares), 4),
                        "refused_range": f"{min(shares):.4f} to {max(shares):.4f}",
                        "own_kept": round(statistics.mean(row["own_kept"] for row in rows), 4),
                        "megabytes": round(rows[0]["megabytes"], 2),
                    },
                )


if __name__ == "__main__":
    main()
