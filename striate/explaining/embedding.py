"""A run's images as points in two dimensions: near each other where the net takes them for alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from striate.classifier import Classifier
from striate.data.images import Labels, Pictures, Pixels
from striate.errors import UsageError
from striate.evaluation import subject_of
from striate.run import Run

MOST = 2000
"""Images that are drawn: the first ones, which a split holds in no order of classes."""

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Embedding:
    """Principal components of what enters the last linear layer.

    Attributes:
        title: the run, and whose images.
        points: float64 (N, 2).
        explained: the share of the variance of the features that lies along each axis.
        pixels: uint8 (N, H, W, C); `labels`, `predicted`: (N,), positions in `classes`; `names`: of the images.
    """

    title: str
    points: Points
    explained: tuple[float, float]
    pixels: Pixels
    labels: Labels
    predicted: Labels
    classes: tuple[str, ...]
    names: tuple[str, ...]


def embed(
    run: Run,
    data: str | Path | None = None,
    *,
    split: str = "validation",
    device: str = "auto",
    data_dir: str | Path | None = None,
) -> Embedding:
    """The first 2,000 images of a split by the first two principal components of the net's last features.

    `data`: the run's own if None, see `striate.evaluation.evaluate`.

    Raises:
        DataError: the data or the run's weights are not there.
        UsageError: there is no such split, or the run kept no images for validation.
    """
    subject = subject_of(run, data, split, device, data_dir)
    shown = subject.sized
    count = min(MOST, len(shown))
    if count < 3:
        raise UsageError(f"{subject.name} has {len(shown)} {split} images: an embedding needs three or more")
    pixels: Pictures = shown.pixels[:count]
    features, logits = last_features(subject.classifier, pixels)
    points, explained = principal_components(features)
    return Embedding(
        title=f"{run.name}: {count:,} {split} images",
        points=points,
        explained=explained,
        pixels=np.asarray(pixels),
        labels=shown.labels[:count],
        predicted=logits.argmax(1),
        classes=shown.classes,
        names=tuple(Path(path).name for path in shown.paths[:count]) if shown.paths else tuple(map(str, range(count))),
    )


def last_features(classifier: Classifier, pixels: Pictures) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """((N, D) what enters the last linear layer, (N, classes) logits) of uint8 (N, H, W, C).

    A net without a linear layer gives what enters its head, averaged over the map.
    """
    linear = [part for part in classifier.net.modules() if isinstance(part, nn.Linear)]

    def vectors(entering: Tensor) -> Tensor:
        return (entering.mean((2, 3)) if entering.ndim == 4 else entering.flatten(1)).float()

    last = linear[-1] if linear else classifier.net.head
    outputs, features = classifier.watched(pixels, last, vectors, entering=True)
    return features.numpy(), outputs.numpy()


def principal_components(features: npt.NDArray[np.floating[Any]]) -> tuple[Points, tuple[float, float]]:
    """((N, 2), the share of variance along each), by a singular value decomposition in double precision.

    A component's sign is such that its largest weight is positive, so that the same features give the same image.
    """
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(features), 2))
    kept = min(2, len(values))
    signs = np.sign(right[np.arange(kept), np.abs(right[:kept]).argmax(1)])
    points[:, :kept] = left[:, :kept] * values[:kept] * signs
    total = float((values**2).sum()) or 1.0
    shares = [float(value**2) / total for value in values[:2]] + [0.0]
    return points, (shares[0], shares[1])
