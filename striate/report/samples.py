"""A grid of a data set's pictures: what `striate data` draws."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from striate.data import DataSet
from striate.errors import UsageError
from striate.report.grids import grid
from striate.run import write_atomic

PER_CLASS, MOST = 8, 160
"""Pictures of each class, and of all together."""


def write_sample_grid(dataset: DataSet, path: Path | None = None) -> Path:
    """Draws training pictures of every class, a row a class, and returns the PNG's path.

    Args:
        dataset: pictures of any size.
        path: where; if None, `<name>-samples.png` in this folder, with a number added rather than overwriting
            another picture.

    Raises:
        UsageError: `path` was given and holds something else.
    """
    data = dataset.train
    each = max(1, min(PER_CLASS, MOST // len(data.classes)))
    members = [np.flatnonzero(data.labels == label)[:each] for label in range(len(data.classes))]
    chosen = data.select(np.concatenate(members).astype(np.int64))
    image = grid(chosen.pixels, [data.classes[label] for label in chosen.labels], columns=PER_CLASS)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    content = buffer.getvalue()
    number = 1
    while True:
        place = path or Path(f"{dataset.name}-samples{'' if number == 1 else f'-{number}'}.png")
        if not place.exists() or place.read_bytes() == content:
            write_atomic(place, content)
            return place
        if path is not None:
            raise UsageError(f"{path} exists already and is another picture: name another file")
        number += 1
