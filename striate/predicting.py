"""Prediction: what a run's net sees in pictures that nobody has labelled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from striate.data import Preprocessing
from striate.data.decode import upright
from striate.data.images import Pixels
from striate.errors import DataError
from striate.inference import BATCH, load_net, logits
from striate.machine import pick_device, use_cores
from striate.run import Run

Picture = str | Path | bytes | Image.Image | Pixels
"""A file, a file's bytes, a PIL picture, or uint8 pixels (H, W) or (H, W, C)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What the net says of one picture.

    Attributes:
        picture: the file's path, or its place among the pictures given, as in `picture 2`.
        label: the likeliest class; None if the picture could not be read.
        confidence: its probability, 0 to 1, as the softmax gives it.
        top: the likeliest classes with their probabilities, best first.
        error: why the picture could not be read, or None.
    """

    picture: str
    label: str | None = None
    confidence: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "top": [{"class": name, "confidence": value} for name, value in self.top]}

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.picture}: {self.error}"
        return f"{self.picture}: " + ", ".join(f"{name} {value:.1%}" for name, value in self.top)


def predict(run: Run, pictures: Sequence[Picture], *, top: int = 3, device: str = "auto") -> list[Prediction]:
    """Predictions in the order of the pictures; one that cannot be read gets an error and the rest are still predicted.

    Args:
        run: a finished run.
        pictures: files, bytes, PIL pictures or pixel arrays, of any size and mode.
        top: how many of the likeliest classes to give.
        device: see `striate.machine.pick_device`.

    Raises:
        DataError: the run has no weights, or they are damaged.
    """
    chosen = pick_device(device)
    use_cores()
    net = load_net(run, chosen)
    preprocessing = Preprocessing.from_dict(run.config["preprocessing"])
    predictions: list[Prediction] = []
    for start in range(0, len(pictures), BATCH):
        part = pictures[start : start + BATCH]
        predictions += _predict_batch(net, preprocessing, part, start, tuple(run.data["classes"]), top, chosen)
    return predictions


def read(preprocessing: Preprocessing, picture: Picture) -> Pixels:
    """uint8 (H, W, C): the pixels that the net is fed for a picture. Raises DataError if it cannot be read."""
    if isinstance(picture, str | Path | bytes):
        return preprocessing.read(picture)
    if isinstance(picture, np.ndarray):
        if (
            picture.dtype != np.uint8
            or picture.ndim not in (2, 3)
            or (picture.ndim == 3 and picture.shape[2] not in (1, 3))
        ):
            raise DataError(f"pixels must be uint8 (H, W), (H, W, 1) or (H, W, 3), got {picture.dtype} {picture.shape}")
        picture = Image.fromarray(picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture)
    return preprocessing.pixels(upright(picture))


def _predict_batch(
    net: torch.nn.Module,
    preprocessing: Preprocessing,
    pictures: Iterable[Picture],
    start: int,
    classes: tuple[str, ...],
    top: int,
    device: torch.device,
) -> list[Prediction]:
    pixels: list[Pixels] = []
    found: list[tuple[str, str | None]] = []
    for number, picture in enumerate(pictures, start=start + 1):
        name = str(picture) if isinstance(picture, str | Path) else f"picture {number}"
        try:
            pixels.append(read(preprocessing, picture))
            found.append((name, None))
        except DataError as error:
            found.append((name, str(error).removeprefix(f"{name}: ")))
    if not pixels:
        return [Prediction(picture=name, error=error) for name, error in found]
    probabilities = iter(logits(net, preprocessing, np.stack(pixels), device).double().softmax(1))
    return [
        Prediction(picture=name, error=error)
        if error is not None
        else _prediction(name, next(probabilities), classes, top)
        for name, error in found
    ]


def _prediction(name: str, probabilities: torch.Tensor, classes: tuple[str, ...], top: int) -> Prediction:
    values, indices = probabilities.topk(min(max(1, top), len(classes)))
    best = tuple((classes[int(i)], float(value)) for value, i in zip(values, indices, strict=True))
    return Prediction(picture=name, label=best[0][0], confidence=best[0][1], top=best)
