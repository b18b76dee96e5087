"""What a run's net looks at: pictures of its evaluation, and beside them what spoke for the answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from striate.classifier import Classifier
from striate.data.images import Pictures
from striate.errors import UsageError
from striate.explaining import attribution, overlay
from striate.report import save_png
from striate.report.facts import worst_mistakes
from striate.report.grids import beside, grid, legible, stacked
from striate.report.wording import percent

EACH = 4
"""Answers that were right, and as many that were wrong."""


def write_attention(
    classifier: Classifier,
    folder: Path,
    pixels: Pictures,
    predictions: Sequence[dict[str, Any]],
) -> Path | None:
    """Writes attention.png into an evaluation's folder: Grad-CAM of answers that were right, a row, and of the worst
    mistakes, a row, each for the class that the net named.

    Args:
        classifier: what was evaluated.
        folder: of the evaluation.
        pixels: uint8 (N, H, W, C), all pictures evaluated, as the net saw them.
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
        # No maps of 4x4 or more, or, in a net from elsewhere, maps that no gradient reaches; no memory for gradients.
        (folder / "attention.png").unlink(missing_ok=True)
        return None
    tiles = iter([_tile(picture, warmth) for picture, warmth in zip(shown, heat, strict=True)])
    sheets = [
        grid(np.stack([next(tiles) for _ in part]), [_caption(row) for row in part], columns=EACH, scale=1)
        for part in rows
    ]
    return save_png(stacked(sheets), folder / "attention.png")


def _spread(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows at equal distances: neither the best ones nor the worst."""
    places = (np.arange(EACH) + 0.5) * len(rows) / EACH
    return [rows[k] for k in np.unique(places.astype(np.int64))] if rows else []


def _tile(picture: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A picture and, beside it, the same with its map, both large enough to be looked at."""
    large = legible(picture)
    height, width = large.shape[:2]
    smooth = Image.fromarray(heat, mode="F").resize((width, height), Image.Resampling.BILINEAR)
    return beside(large, overlay(large, np.asarray(smooth)))


def _caption(row: dict[str, Any]) -> str:
    sure = percent(row["confidence"], 0)
    if row["truth"] == row["predicted"]:
        return f"{row['truth']}, {sure}"
    return f"{row['truth']}\nread as {row['predicted']}, {sure}"
