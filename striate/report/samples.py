"""Grids of a data set's images, as they are and as the net is fed them: what `striate data` draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from striate.data import DataSet, Preprocessing
from striate.data.augmentation import USUAL, Augmentation
from striate.data.batches import Batches, Order
from striate.drawing.sheet import Sheet, captioned
from striate.files import write_beside, write_new

PER_CLASS, MOST = 8, 160
"""Images of each class, and of all together."""
EPOCHS = 5
"""Number of epochs for which an augmentation is shown."""


def write_sample_grid(dataset: DataSet, path: Path | None = None) -> Path:
    """Draws training images of every class, a row a class, and returns the PNG's path.

    Args:
        dataset: images of any size.
        path: where; if None, `<name>-samples.png` in this folder, with a number added rather than overwriting
            another image.

    Raises:
        UsageError: `path` was given and holds something else.
    """
    data = dataset.train
    each = max(1, min(PER_CLASS, MOST // len(data.classes)))
    members = [np.flatnonzero(data.labels == label)[:each] for label in range(len(data.classes))]
    chosen = data.select(np.concatenate(members).astype(np.int64))
    captions = [data.classes[label] for label in chosen.labels]
    return _write(captioned(chosen.pixels[:], captions, PER_CLASS), f"{dataset.name}-samples", path)


def write_augmented_grid(dataset: DataSet, augmentation: Augmentation | None = None, path: Path | None = None) -> Path:
    """Draws eight training images as they are, and below them what the net is fed instead.

    Args:
        dataset: images of any size.
        augmentation: a row for each of five epochs with it; if None, a row for each kind at its usual strength, without the
            mirror where it changes what an image means.
        path: as for `write_sample_grid`; `<name>-augmented.png` if None.

    Raises:
        UsageError: `path` was given and holds something else.
    """
    data = dataset.train
    rows: list[tuple[str, Augmentation, int]] = [("as it is", Augmentation(), 0)]
    if augmentation is not None:
        rows += [(f"epoch {epoch + 1}", augmentation, epoch) for epoch in range(EPOCHS)]
    else:
        kinds = [kind for kind in USUAL if kind != "flip" or dataset.flippable]
        rows += [(str(Augmentation.parse(kind)), Augmentation.parse(kind), 0) for kind in kinds]
    height, width, channels = data.shape
    preprocessing = Preprocessing(
        size=(height, width), channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels
    )
    chosen = torch.linspace(0, len(data) - 1, min(PER_CLASS, len(data))).round().long()
    chosen = torch.from_numpy(np.argsort(data.labels, kind="stable"))[chosen]  # of as many classes as possible
    pictures, captions = [], []
    for name, kind, epoch in rows:
        batches = Batches(data, preprocessing, kind, Order(len(data), 0), torch.device("cpu"))
        pixels, targets = batches.augmented(epoch, chosen)
        pictures.append(pixels.round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
        captions += [f"{name}\n{_shares(data.classes, target)}" for target in targets]
    return _write(captioned(np.concatenate(pictures), captions, PER_CLASS), f"{dataset.name}-augmented", path)


def _shares(classes: Sequence[str], target: torch.Tensor) -> str:
    if target.ndim == 0:
        return classes[int(target)]
    shares = sorted(zip(target.tolist(), classes, strict=True), reverse=True)
    held = [(share, name) for share, name in shares if share >= 0.005]
    return held[0][1] if len(held) == 1 else ", ".join(f"{name} {share:.2f}" for share, name in held)


def _write(sheet: Sheet, stem: str, path: Path | None) -> Path:
    content = sheet.png()
    return write_new(path, content) if path else write_beside(Path(), stem, "png", content)
