"""The presentation of a run: charts, grids of images, the report and the model card, all made from the files of its
directory.

Importing this package is light: Altair and vl-convert are loaded when the first chart is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from striate.files import write_atomic
from striate.report.facts import caption, read_robustness, worst_mistakes

if TYPE_CHECKING:
    import altair as alt
    from numpy.typing import NDArray

    from striate.data.images import Pictures
    from striate.outcome import Row
    from striate.run import Run

__all__ = ["undrawable", "worst_mistakes", "write_all", "write_mistakes", "write_samples"]

MOST_SAMPLES = 60
LARGE_SAMPLE = 128  # pixels: eight such images stand side by side
LARGE_MISTAKE = 168  # six of them


def undrawable() -> str | None:
    """Why no charts can be drawn in this process; None if they can."""
    from striate.drawing import vega

    return vega.undrawable()


def write_all(run: Run) -> list[Path]:
    """Writes all that can be made from the run's files alone, and returns what was written: curves.png, the charts of each
    evaluation, report.html and README.md.

    The report shows the images of `write_samples`, `write_mistakes` and `striate.report.attention.write_attention`: call these
    first. Where no charts can be drawn (`undrawable`), their files are left out.
    """
    from striate.drawing.vega import save_png
    from striate.report import card, html

    written = [save_png(chart, run.path / name) for name, chart in _charts(run)] if undrawable() is None else []
    return [*written, html.write_report(run), card.write_card(run)]


def _charts(run: Run) -> Iterator[tuple[str, alt.TopLevelMixin]]:
    """Each chart with the name of its file; those without figures are left out."""
    from striate.report.charts import classes, confidence, learning, robustness

    if metrics := run.metrics:
        yield "curves.png", learning.curves(metrics)
    for key, found in run.evaluations.items():
        folder = f"evaluations/{key}"
        yield f"{folder}/confusion.png", classes.confusion(found.confusion, found.classes)
        yield f"{folder}/per_class.png", classes.per_class(found.per_class)
        if found.reliability:
            yield f"{folder}/reliability.png", confidence.reliability(found.reliability)
        if found.by_confidence:
            yield f"{folder}/coverage.png", confidence.coverage(found.by_confidence)
        if worse := read_robustness(run.path / folder):
            yield f"{folder}/robustness.png", robustness.robustness(worse)


def write_samples(run: Run, pixels: Pictures, labels: NDArray[np.integer[Any]]) -> Path:
    """Writes samples.png: training images with their classes, a column for each class; a row for each where they are
    four or fewer; one of each where they are many.

    Args:
        run: its data.json names the classes.
        pixels: uint8 (N, H, W, C), all training images as the net sees them; only those that are shown are copied.
        labels: (N) positions in the run's list of classes.
    """
    from striate.drawing.sheet import LEGIBLE, captioned

    classes = run.data.classes
    few = len(classes) <= 4
    first = [places for label in range(len(classes)) if len(places := np.flatnonzero(labels == label)[:8])]
    most = 8 if few else 4 if len(classes) <= 10 else max(1, 40 // len(classes))
    each = min(most, *(len(places) for places in first), len(pixels))
    table = np.array([places[:each] for places in first])
    chosen = (table if few else table.T).ravel()[:MOST_SAMPLES]
    captions = [classes[label] for label in labels[chosen]]
    columns, side = (each, LARGE_SAMPLE) if few else (min(10, len(first)), LEGIBLE)
    return _write(run.path / "samples.png", captioned(pixels[chosen], captions, columns, side).png())


def write_mistakes(folder: Path, pixels: Pictures, predictions: Sequence[Row]) -> Path | None:
    """Writes mistakes.png into an evaluation's folder: the worst mistakes, each with the true class, the predicted class
    and its confidence.

    Args:
        folder: of the evaluation.
        pixels: uint8 (N, H, W, C), all images evaluated, as the net saw them.
        predictions: rows of predictions.csv; `index` is the place in `pixels`. Without mistakes nothing is written.
    """
    from striate.drawing.sheet import captioned

    mistakes = worst_mistakes(predictions)
    if not mistakes:
        (folder / "mistakes.png").unlink(missing_ok=True)  # of an earlier evaluation
        return None
    shown = pixels[np.array([row["index"] for row in mistakes])]
    return _write(folder / "mistakes.png", captioned(shown, map(caption, mistakes), most=LARGE_MISTAKE).png())


def _write(path: Path, content: bytes) -> Path:
    write_atomic(path, content)
    return path
