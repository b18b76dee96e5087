"""Which images are unlike those that a net knows, as the calibration of its run says (docs/prediction.md, Abstaining)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional

from striate.errors import DataError, UsageError
from striate.metrics.ood import OF_LOGITS, Scores, nearest_cosine
from striate.nets.outputs import logits_in
from striate.run import Run
from striate.runfiles import place
from striate.runforms.calibration import Abstain, Score, WithoutReferences

FEWEST = 19
"""Validation images below which none can be refused: the lowest of n is refused by one new image in n + 1, more than 5 %."""
REFERENCES = 1000
"""Validation images that others are compared with, at most."""
NEIGHBOUR = 5
"""Which of the nearest counts: with the first one, a single odd reference made others known (bench/LOG.md)."""
LONGEST = 2**14
"""Values of a feature vector, at most: larger maps are averaged over a coarser grid."""
FILE = "calibration.safetensors"
MOST_REFERENCES = 2 * REFERENCES * LONGEST + 2**20
"""Bytes of that file, at most."""

Features = npt.NDArray[np.float32]


class OutOfDistribution:
    """Tells images like those that a run was validated with from others, as its calibration says.

    A run that was handed on without calibration.safetensors does it by energy.

    Raises:
        UsageError: the run has no calibration.
        DataError: its files are damaged.
    """

    def __init__(self, run: Run) -> None:
        known = run.calibration
        if known is not None and known.abstain is None and known.n:
            raise UsageError(
                f"{run.path} was validated with {known.n} images, too few for a threshold to abstain: it needs "
                f"{FEWEST}. Train with more of them, for example with --validation 0.2"
            )
        if known is None or known.abstain is None:
            raise UsageError(
                f"{run.path} has no calibration.json, so there is no threshold to abstain. Fit it on the validation "
                f"images:",
                f"striate evaluate {run.path} --split validation",
            )
        abstain: Abstain | WithoutReferences = known.abstain
        if place(run.path, FILE, MOST_REFERENCES) is None:
            abstain = known.abstain.without_references or known.abstain
        self.score: Score = abstain.score
        self.threshold = float(abstain.threshold)
        self.references = _read_references(run.path / FILE) if self.score == "nearest" else None

    def known(self, outputs: npt.NDArray[np.float32], features: Features) -> npt.NDArray[np.bool_]:
        """bool (N,): which images are like those of validation, of what `Classifier.observe` gives for them.

        Raises DataError if the references are those of another net.
        """
        return scores(self.score, outputs, features, self.references) >= self.threshold


def scores(score: Score, outputs: npt.NDArray[np.float32], features: Features, references: Features | None) -> Scores:
    """(N,): higher for images more like those that the net knows. `references`: for `nearest` only, (R, D)."""
    if references is None:
        return OF_LOGITS[score](outputs)
    if references.shape[1:] != features.shape[1:]:
        raise DataError(
            f"{FILE} is of another net: it has references of {references.shape[1:]} values, and this net's features have "
            f"{features.shape[1]}"
        )
    return nearest_cosine(features, references, NEIGHBOUR)


def feature_vectors(entering: Any) -> Tensor:
    """(N, D), each of length 1, of what enters a net's head: maps of more than `LONGEST` values are averaged over the finest
    square grid that has no more. What an external net gives may hold its logits; they are its features.
    """
    maps = logits_in(entering)
    assert maps is not None  # else the head, which has looked for them too, said so
    if maps.ndim == 4:
        side = max(1, math.isqrt(LONGEST // maps.shape[1]))
        maps = functional.adaptive_avg_pool2d(maps, (min(side, maps.shape[2]), min(side, maps.shape[3])))
    return functional.normalize(maps.flatten(1).float(), dim=1)


def _read_references(path: Path) -> Features:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        references = load_file(path)["references"]
    except (OSError, KeyError, SafetensorError) as error:
        raise DataError(
            f"{path} cannot be read ({error}): it comes with calibration.json, from striate evaluate RUN --split validation"
        ) from error
    if references.ndim != 2 or references.dtype != np.float16 or not len(references):
        raise DataError(f"{path} is damaged: it holds {references.dtype} {references.shape}")
    return references.astype(np.float32)
