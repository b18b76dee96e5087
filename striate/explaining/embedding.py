"""A run's images as points in two dimensions: images that are similar to the net lie near each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from striate.classifier import Classifier
from striate.data.images import Labels, Pictures, Pixels
from striate.drawing.images import data_uri, to_image
from striate.drawing.theme import HUES, PAPER, Palette
from striate.drawing.vega import plotted, themed
from striate.errors import UsageError
from striate.evaluation.subject import Subject
from striate.texts import percent

THUMBNAIL = 96
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


def embed(subject: Subject, run: str) -> Embedding:
    """The first 2,000 images of a run's split by the first two principal components of the net's last features.

    Raises:
        UsageError: there are too few images.
    """
    shown, split = subject.sized, subject.split
    count = min(MOST, len(shown))
    if count < 3:
        raise UsageError(f"{subject.name} has {len(shown)} {split} images: an embedding needs three or more")
    pixels: Pictures = shown.pixels[:count]
    features, logits = last_features(subject.classifier, pixels)
    points, explained = principal_components(features)
    return Embedding(
        title=f"{run}: {count:,} {split} images",
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


def embedding_chart(found: Embedding, *, pictures: bool, palette: Palette = PAPER) -> alt.Chart:
    """The points, coloured by true class; a cross for a misclassified image. With `pictures` each point holds its own."""
    rows = [
        {
            "x": round(float(point[0]), 4),
            "y": round(float(point[1]), 4),
            "class": found.classes[label],
            "predicted": found.classes[guess],
            "answer": "correct" if label == guess else "misclassified",
            "file": name,
            **({"image": _thumbnail(pixels)} if pictures else {}),
        }
        for point, label, guess, name, pixels in zip(
            found.points, found.labels, found.predicted, found.names, found.pixels, strict=True
        )
    ]
    side: Any = "bottom" if pictures else "right"  # below, a page that is narrow shows it whole
    shown = [name for name in found.classes if name in {row["class"] for row in rows}]
    titles = [
        f"{number} component, {percent(share, 0)} of the variance"
        for number, share in zip(("first", "second"), found.explained, strict=True)
    ]
    hues = alt.Scale(domain=shown, range=[HUES[i % len(HUES)] for i in range(len(shown))])
    shapes = alt.Scale(domain=["correct", "misclassified"], range=["circle", "cross"])
    classes = alt.Legend(orient=side, symbolLimit=40, columns=4 if pictures else 1)
    chart = (
        plotted(rows)
        .mark_point(filled=True, size=34, opacity=0.75)
        .encode(
            x=alt.X("x:Q", title=titles[0], axis=alt.Axis(labels=False, ticks=False)),
            y=alt.Y("y:Q", title=titles[1], axis=alt.Axis(labels=False, ticks=False, grid=False)),
            color=alt.Color("class:N", scale=hues, legend=classes),
            shape=alt.Shape("answer:N", scale=shapes, legend=alt.Legend(orient=side, symbolFillColor=palette.text)),
            tooltip=[f"{key}:N" for key in ("class", "predicted", "file", *(["image"] if pictures else []))],
        )
    )
    title = alt.TitleParams(found.title, subtitle="two principal components of the input of the last layer")
    sized: alt.Chart = chart.properties(width=620, height=520, title=title)
    return themed(sized.interactive() if pictures else sized, palette)


def _thumbnail(pixels: Pixels) -> str:
    image = to_image(pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return data_uri(image, "PNG" if max(image.size) <= 32 else "JPEG")
