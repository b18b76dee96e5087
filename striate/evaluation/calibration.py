"""Calibration: what a net's validation pictures tell of its confidence, and of which pictures are like the ones it knows.

The figures that chose the score are in docs/prediction.md; `python -m bench strangers` measures them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from striate.data import ImageData, Preprocessing
from striate.data.images import Indices, Pictures
from striate.errors import DataError, UsageError
from striate.files import write_atomic, write_json
from striate.inference import BATCH, logits
from striate.metrics.calibration import expected_calibration_error, tempered, weigh_temperature
from striate.metrics.strangers import OF_LOGITS, Scores, nearest_cosine, threshold_keeping
from striate.nets import Net
from striate.nets.elsewhere import logits_in
from striate.run import Run
from striate.runfiles import place

Score = Literal["nearest", "energy", "max_logit", "max_softmax"]
DEFAULT_SCORE: Score = "nearest"
"""The best of those tried (docs/prediction.md)."""
KEEP = 0.95
"""Share of the validation pictures that are to be kept."""
FEWEST = 19
"""Validation pictures below which none can be refused: the lowest of n is refused by one new picture in n + 1, more than 5 %."""
REFERENCES = 1000
"""Validation pictures that others are compared with, at most."""
NEIGHBOUR = 5
"""Which of the nearest counts: with the first one, a single odd reference made strangers known (bench/LOG.md)."""
LONGEST = 2**14
"""Values of a feature vector, at most: larger maps are averaged over a coarser grid."""
FILE = "calibration.safetensors"
MOST_REFERENCES = 2 * REFERENCES * LONGEST + 2**20
"""Bytes of that file."""

Features = npt.NDArray[np.float32]


def calibrate(
    run: Run,
    net: Net,
    preprocessing: Preprocessing,
    data: ImageData,
    device: torch.device,
    score: Score = DEFAULT_SCORE,
) -> dict[str, Any]:
    """Fits temperature and threshold on a run's validation pictures, keeps them in the run, and returns calibration.json.

    calibration.json has n, temperature, how (`fitted`; `shrunk` towards 1 or `left out`, which is 1, where the pictures are too
    few to tell), likeliest (the temperature before that), loss and ece of the validation pictures with it and before it, and
    abstain: the score, the share to keep and the threshold; a picture with a lower score is a stranger. Below `FEWEST` pictures
    there is no abstain. Pictures for which the net gives no finite logits are left out, and counted as not_finite. The references
    of the score `nearest` go into calibration.safetensors; without that file `without_references` counts, a score of logits.

    Args:
        net: as the run keeps it: with its last weights, or its best ones.
        data: the validation pictures, at least one, none of which it was trained on.

    Raises:
        DataError: the net gives no finite logits for any of them.
    """
    data = preprocessing.resized(data)
    references: Features | None = None
    chosen: Indices | None = None
    if score == "nearest":
        chosen = np.linspace(0, len(data) - 1, min(REFERENCES, len(data))).round().astype(np.int64)
        # As the file will have them, so that what is fitted is what will be compared.
        of_chosen, features = observe(net, preprocessing, data.pixels[chosen], device)
        answered = np.isfinite(of_chosen).all(1) & np.isfinite(features).all(1)
        chosen, features = chosen[answered], features[answered]
        if not len(chosen):
            raise DataError(f"{run.path}: the net's features of {len(data)} validation pictures are no finite numbers")
        references = features.astype(np.float16).astype(np.float32)
    outputs, of_pictures = _scored(net, preprocessing, data.pixels, device, score, references, chosen)
    finite = np.isfinite(outputs).all(axis=1)
    if not finite.any():
        raise DataError(f"{run.path}: the net gives no finite logits for any of {len(data)} validation pictures")
    outputs, of_pictures, labels = outputs[finite], of_pictures[finite], data.labels[finite]
    weighed = weigh_temperature(outputs, labels)
    before, after = tempered(outputs, 1.0), tempered(outputs, weighed.temperature)
    abstain: dict[str, Any] = _threshold(score, of_pictures)
    if references is not None:
        # The references are made of pictures, so a run may be handed on without them.
        abstain["without_references"] = _threshold("energy", OF_LOGITS["energy"](outputs))
    calibration: dict[str, Any] = {
        "split": "validation",
        "n": len(labels),
        "not_finite": len(data) - len(labels),
        "temperature": weighed.temperature,
        "how": weighed.how,
        "likeliest": weighed.likeliest,
        **_fit(before, labels, "_before"),
        **_fit(after, labels, ""),
    }
    if len(labels) >= FEWEST:
        calibration["abstain"] = abstain
    else:
        references = None
        (run.path / FILE).unlink(missing_ok=True)
    if references is not None:
        from safetensors.numpy import save

        write_atomic(run.path / FILE, save({"references": references.astype(np.float16)}))
    write_json(run.path / "calibration.json", calibration)
    return calibration


def temperature_of(run: Run) -> float:
    """What a run's logits are divided by before the softmax: as its calibration says, 1 where it has none."""
    return float(run.calibration.get("temperature", 1.0))


class Strangers:
    """Tells a run's own kind of pictures from strangers, as its calibration says.

    A run that was handed on without calibration.safetensors does it by energy.

    Raises:
        UsageError: the run has no calibration.
        DataError: its files are damaged.
    """

    def __init__(self, run: Run) -> None:
        if "abstain" not in run.calibration and (seen := run.calibration.get("n")):
            raise UsageError(
                f"{run.path} was validated with {seen} pictures, too few to say when to abstain: {FEWEST} are needed. "
                "Train with more of them, as --validation 0.2 gives"
            )
        if "abstain" not in run.calibration:
            raise UsageError(
                f"{run.path} has no calibration.json, so nothing says when to abstain. Its validation pictures do:",
                f"striate evaluate {run.path} --split validation",
            )
        abstain = run.calibration["abstain"]
        references = place(run.path, FILE, MOST_REFERENCES)
        if references is None:
            abstain = abstain.get("without_references") or abstain
        self.score: Score = abstain["score"]
        self.threshold = float(abstain["threshold"])
        self.references = _read_references(run.path / FILE) if self.score == "nearest" else None

    def known(self, outputs: npt.NDArray[np.float32], features: Features) -> npt.NDArray[np.bool_]:
        """bool (N,): which pictures are like those of validation, of what `observe` gives for them.

        Raises DataError if the references are those of another net.
        """
        return scores(self.score, outputs, features, self.references) >= self.threshold


def observe(
    net: Net, preprocessing: Preprocessing, pixels: Pictures, device: torch.device, batch_size: int | None = None
) -> tuple[npt.NDArray[np.float32], Features]:
    """(logits (N, classes), features (N, D)) of uint8 (N, H, W, C).

    The features are the maps that enter the head, each vector scaled to length 1. Maps of more than `LONGEST` values are
    averaged over the finest square grid that has no more. A net from elsewhere gives its logits for features.
    """
    with _entering(net) as features:
        outputs = logits(net, preprocessing, pixels, device, batch_size)
    return outputs.numpy(), torch.cat(features).numpy()


def scores(score: Score, outputs: npt.NDArray[np.float32], features: Features, references: Features | None) -> Scores:
    """(N,): higher for pictures more like those that the net knows. `references`: for `nearest` only, (R, D)."""
    if references is None:
        return OF_LOGITS[score](outputs)
    if references.shape[1:] != features.shape[1:]:
        raise DataError(
            f"{FILE} is of another net: it has references of {references.shape[1:]} values, and this net's features have "
            f"{features.shape[1]}"
        )
    return nearest_cosine(features, references, NEIGHBOUR)


def _scored(
    net: Net,
    preprocessing: Preprocessing,
    pixels: Pictures,
    device: torch.device,
    score: Score,
    references: Features | None,
    chosen: Indices | None,
) -> tuple[npt.NDArray[np.float32], Scores]:
    """(logits, scores) of validation pictures; none is its own reference. Some at a time: features can be large."""
    outputs, found = [], []
    for start in range(0, len(pixels), BATCH):
        part, features = observe(net, preprocessing, pixels[start : start + BATCH], device)
        outputs.append(part)
        found.append(scores(score, part, features, references))
        if references is not None and chosen is not None:
            rows = chosen[(chosen >= start) & (chosen < start + len(part))] - start
            found[-1][rows] = nearest_cosine(features[rows], references, NEIGHBOUR + 1)
    return np.concatenate(outputs), np.concatenate(found)


def _threshold(score: Score, of_pictures: Scores) -> dict[str, Any]:
    return {"score": score, "keep": KEEP, "threshold": threshold_keeping(of_pictures, KEEP)}


def _fit(outputs: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], suffix: str) -> dict[str, float]:
    """Loss and ECE of log-probabilities."""
    hits = outputs.argmax(1) == labels
    return {
        f"loss{suffix}": float(-outputs[np.arange(len(labels)), labels].mean()),
        f"ece{suffix}": expected_calibration_error(np.exp(outputs.max(1)), hits),
    }


@contextmanager
def _entering(net: Net) -> Iterator[list[Tensor]]:
    """Collects the feature vectors of what enters the head, batch by batch."""
    found: list[Tensor] = []

    def take(head: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        maps = logits_in(inputs[0])  # what a net from elsewhere gives may hold its logits
        if maps is None:
            return  # the head says so
        if maps.ndim == 4:
            side = max(1, math.isqrt(LONGEST // maps.shape[1]))
            maps = functional.adaptive_avg_pool2d(maps, (min(side, maps.shape[2]), min(side, maps.shape[3])))
        found.append(functional.normalize(maps.flatten(1).float(), dim=1).cpu())

    handle = net.head.register_forward_pre_hook(take)
    try:
        yield found
    finally:
        handle.remove()


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
