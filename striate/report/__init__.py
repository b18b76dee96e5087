"""What a run shows: charts, grids of pictures, the report and the model card, all made from the files of the run
directory.

Importing this package is light: Altair and vl-convert are loaded when the first chart is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.report.facts import percent, worst_mistakes
from striate.run import write_atomic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from striate.run import Run

__all__ = ["worst_mistakes", "write_all", "write_mistakes", "write_samples"]

MOST_SAMPLES = 60


def write_all(run: Run) -> list[Path]:
    """Write all that can be made from the run's files alone, and return what was written: curves.png, a
    confusion.png for each evaluation, report.html and README.md. Pictures come first (`write_samples`,
    `write_mistakes`), since the report shows them."""
    from striate.report import card, charts, html

    written = []
    metrics = run.metrics
    if metrics:
        written.append(charts.save_png(charts.curves(metrics), run.path / "curves.png"))
    for key, found in run.evaluations.items():
        matrix = charts.confusion(found["confusion"], found["classes"])
        written.append(charts.save_png(matrix, run.path / "evaluations" / key / "confusion.png"))
    return [*written, html.write_report(run), card.write_card(run)]


def write_samples(run: Run, pixels: NDArray[np.uint8], labels: Sequence[int] | NDArray[np.integer[Any]]) -> Path:
    """Write samples.png: some training pictures with their classes, the same number of each class, class by class.

    Args:
        pixels: uint8 (N, H, W, C), as the net sees them, before they are made floats. The first ones of each class
            are shown.
        labels: (N) positions in the run's list of classes.
    """
    from striate.report.grids import grid

    classes = run.data["classes"]
    columns = min(10, len(classes)) if len(classes) > 4 else 8
    each = max(1, 40 // len(classes)) if len(classes) > 4 else 8
    found: dict[int, list[int]] = {}
    for i, label in enumerate(labels):
        found.setdefault(int(label), []).append(i)
    if len(classes) > 4:  # a column for each class
        chosen = [places[k] for k in range(each) for _, places in sorted(found.items()) if k < len(places)]
    else:  # a row for each class
        chosen = [i for _, places in sorted(found.items()) for i in places[:each]]
    chosen = chosen[:MOST_SAMPLES]
    captions = [classes[int(labels[i])] for i in chosen]
    return _save(grid(pixels[chosen], captions, columns=columns), run.path / "samples.png")


def write_mistakes(folder: Path, pixels: NDArray[np.uint8], mistakes: Sequence[dict[str, Any]]) -> Path | None:
    """Write mistakes.png into an evaluation's folder: each picture with its true class, the answer and the confidence.

    Args:
        pixels: uint8 (N, H, W, C), the pictures of `mistakes` in their order, as the net saw them.
        mistakes: N rows of predictions.csv, chosen by `worst_mistakes`. Without any nothing is written.
    """
    from striate.report.grids import grid

    if not mistakes:
        return None
    captions = [f"{row['truth']}\nread as {row['predicted']}, {percent(row['confidence'], 0)}" for row in mistakes]
    return _save(grid(pixels, captions, columns=8), folder / "mistakes.png")


def _save(image: Any, path: Path) -> Path:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=6)
    write_atomic(path, content.getvalue())
    return path
