"""Calibration on validation images: the temperature of a net's confidence, and a threshold for out-of-distribution images.

The figures that chose the score are in docs/prediction.md; `python -m bench ood` measures them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from striate.classifier import Classifier
from striate.data import ImageData
from striate.data.images import Indices, Pictures
from striate.errors import DataError
from striate.evaluation.summary import certainty
from striate.files import write_atomic, write_json
from striate.inference import BATCH
from striate.metrics.calibration import tempered, weigh_temperature
from striate.metrics.ood import OF_LOGITS, Scores, nearest_cosine, threshold_keeping
from striate.outofdistribution import FEWEST, FILE, NEIGHBOUR, REFERENCES, Features, scores
from striate.run import Run
from striate.runforms.calibration import Abstain, Calibration, Score, WithoutReferences

KEEP = 0.95
"""Share of the validation images that are to be kept."""


def calibrate(run: Run, classifier: Classifier, data: ImageData, score: Score = "nearest") -> Calibration:
    """Fits temperature and threshold on a run's validation images, and keeps them in the run.

    Below `FEWEST` images there is no threshold. The references of the score `nearest` go into calibration.safetensors.

    Args:
        classifier: its net as the run keeps it: with its last weights, or its best ones.
        data: the validation images, at least one, none of which it was trained on.
        score: the default is the best of those tried (docs/prediction.md).

    Raises:
        DataError: the net gives no finite logits for any of them.
    """
    data = classifier.preprocessing.resized(data)
    references: Features | None = None
    chosen: Indices | None = None
    if score == "nearest":
        chosen = np.linspace(0, len(data) - 1, min(REFERENCES, len(data))).round().astype(np.int64)
        # As the file will have them, so that what is fitted is what will be compared.
        of_chosen, features = classifier.observe(data.pixels[chosen])
        answered = np.isfinite(of_chosen).all(1) & np.isfinite(features).all(1)
        chosen, features = chosen[answered], features[answered]
        if not len(chosen):
            raise DataError(f"{run.path}: the net's features for {len(data)} validation images are not finite")
        references = features.astype(np.float16).astype(np.float32)
    outputs, of_pictures = _scored(classifier, data.pixels, score, references, chosen)
    finite = np.isfinite(outputs).all(axis=1)
    if not finite.any():
        raise DataError(f"{run.path}: the net gives no finite logits for any of {len(data)} validation images")
    outputs, of_pictures, labels = outputs[finite], of_pictures[finite], data.labels[finite]
    weighed = weigh_temperature(outputs, labels)
    before, after = (certainty(tempered(outputs, temperature), labels) for temperature in (1.0, weighed.temperature))
    abstain = None
    if len(labels) >= FEWEST:
        # The references are made of images, so a run may be handed on without them.
        energy = threshold_keeping(OF_LOGITS["energy"](outputs), KEEP)
        without = None if references is None else WithoutReferences(score="energy", keep=KEEP, threshold=energy)
        threshold = threshold_keeping(of_pictures, KEEP)
        abstain = Abstain(score=score, keep=KEEP, threshold=threshold, without_references=without)
    calibration = Calibration(
        n=len(labels),
        not_finite=len(data) - len(labels),
        temperature=weighed.temperature,
        how=weighed.how,
        likeliest=weighed.likeliest,
        loss_before=before.loss,
        ece_before=before.ece,
        loss=after.loss,
        ece=after.ece,
        abstain=abstain,
    )
    if abstain is None:
        (run.path / FILE).unlink(missing_ok=True)
    elif references is not None:
        from safetensors.numpy import save

        write_atomic(run.path / FILE, save({"references": references.astype(np.float16)}))
    write_json(run.path / "calibration.json", calibration.as_dict())
    return calibration


def _scored(
    classifier: Classifier,
    pixels: Pictures,
    score: Score,
    references: Features | None,
    chosen: Indices | None,
) -> tuple[npt.NDArray[np.float32], Scores]:
    """(logits, scores) of validation images; none is its own reference. Some at a time: features can be large."""
    outputs, found = [], []
    for start in range(0, len(pixels), BATCH):
        part, features = classifier.observe(pixels[start : start + BATCH])
        outputs.append(part)
        found.append(scores(score, part, features, references))
        if references is not None and chosen is not None:
            rows = chosen[(chosen >= start) & (chosen < start + len(part))] - start
            found[-1][rows] = nearest_cosine(features[rows], references, NEIGHBOUR + 1)
    return np.concatenate(outputs), np.concatenate(found)
