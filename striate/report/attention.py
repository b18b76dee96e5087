"""What a run's net looks at: images of its evaluation, each beside the evidence for the predicted class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from striate.classifier import Classifier
from striate.data.images import Pictures
from striate.drawing.heat import Heat, overlay
from striate.drawing.images import Pixels, resized
from striate.drawing.sheet import Sheet, Tile, shown_side
from striate.errors import UsageError
from striate.explaining.attributing import attribution
from striate.files import write_atomic
from striate.outcome import Row
from striate.report.facts import caption, worst_mistakes

EACH = 4
"""Correct predictions that are shown, and as many mistakes."""
SIDE, GAP = 112, 4
"""Pixels of an image's longer side, about, and between the two of a pair."""


def write_attention(classifier: Classifier, folder: Path, pixels: Pictures, predictions: Sequence[Row]) -> Path | None:
    """Writes attention.png into an evaluation's folder: Grad-CAM of correct predictions, a row, and of the worst
    mistakes, a row, each for the predicted class.

    Args:
        classifier: what was evaluated.
        folder: of the evaluation.
        pixels: uint8 (N, H, W, C), all images evaluated, as the net saw them.
        predictions: rows of predictions.csv; `index` is the place in `pixels`.

    Returns:
        the file; None where the net has no feature maps that say where: see `striate.explaining`.
    """
    right = _spread([row for row in predictions if row["truth"] == row["predicted"]])
    rows = [part for part in (right, worst_mistakes(predictions, EACH)) if part]
    chosen = [row for part in rows for row in part]
    shown = pixels[np.array([row["index"] for row in chosen])]
    names = {name: label for label, name in enumerate(classifier.classes)}
    inputs = classifier.preprocessing.tensor(shown).to(classifier.device)
    try:
        heat = attribution(classifier.net, inputs, [names[row["predicted"]] for row in chosen])
    except (UsageError, RuntimeError):
        # No maps of 4x4 or more, or, in an external net, maps that no gradient reaches; no memory for gradients.
        (folder / "attention.png").unlink(missing_ok=True)
        return None
    pairs = map(_pair, shown, heat)
    tiles = [[Tile(next(pairs), caption(row)) for row in part] for part in rows]
    sheet = Sheet(
        rows=tuple(("", tuple(part)) for part in tiles),
        side=max(tiles[0][0].pixels.shape[:2]),
        columns=EACH,
        fine=1,
    )
    write_atomic(folder / "attention.png", sheet.png())
    return folder / "attention.png"


def _spread(rows: Sequence[Row]) -> list[Row]:
    """Rows at equal distances: neither the best ones nor the worst."""
    places = (np.arange(EACH) + 0.5) * len(rows) / EACH
    return [rows[k] for k in np.unique(places.astype(np.int64))] if rows else []


def _pair(pixels: Pixels, heat: Heat) -> Pixels:
    """An image and, beside it, the same with its map, both large enough to be looked at."""
    longest = max(pixels.shape[:2])
    scale = shown_side(longest, SIDE, SIDE) / longest
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    large = np.asarray(resized(pixels, width, height)).reshape(height, width, -1)
    smooth = np.asarray(Image.fromarray(heat, mode="F").resize((width, height), Image.Resampling.BILINEAR))
    gap = np.full((height, GAP, 3), 128, np.uint8)
    return np.concatenate([np.broadcast_to(large, (height, width, 3)), gap, overlay(large, smooth)], axis=1)
