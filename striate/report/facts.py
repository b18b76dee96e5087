"""The statements of the report and the card about a run, derived from its files."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from striate.outcome import Row
from striate.report.wording import duration, large, percent, points
from striate.runfiles import read_csv, read_json
from striate.runforms.config import Plan, PreprocessingConfig, RunConfig
from striate.runforms.data import Data
from striate.runforms.evaluation import Bin, ClassFigures, EvaluationFigures, Kept, Robustness, Seen, Views, ViewsRow
from striate.strictjson import to_json
from striate.texts import thousands

if TYPE_CHECKING:
    from striate.run import Run

Evaluations = Mapping[str, EvaluationFigures]
"""Evaluations by the name of their folder."""
PHASES = {
    "start": "starting Python and PyTorch",
    "load": "loading the data",
    "measure": "benchmarking this machine",
    "augment": "preparing batches",
    "forward": "forward pass",
    "backward": "backward pass",
    "optimizer": "updating the weights",
    "validate": "validation after each epoch",
    "checkpoint": "saving checkpoints",
    "log": "TensorBoard or MLflow log",
    "evaluate": "calibration and the final test",
    "report": "report and charts",
    "other": "everything else",
}
"""The phases of summary.json's `seconds` in words; `total` is their sum."""
NAMED = 12
"""Classes that a sentence names."""
PARTS = {"train": "for training", "validation": "for validation", "test": "for the final test"}
"""Split -> its purpose, in words."""


def measured(row: Row, key: str) -> float | None:
    """A number of a row of metrics.csv, or None where it was not measured (no such column, empty, NaN)."""
    item = row.get(key)
    if item is None or item == "":
        return None
    number = float(item)
    return number if math.isfinite(number) else None


def address(run: Run) -> str:
    """The run as one types it in a shell, `runs/lenet5`: its folder and the one above, never a whole path of this machine."""
    path = run.path.resolve()
    return shlex.quote(f"{path.parent.name}/{path.name}" if path.parent.name else path.name)


def views(evaluation: Seen | ViewsRow, config: RunConfig) -> str:
    """Its views: `centre`, `multi-crop at 256, 288, 320`; the scale is left out if it is the size of the net's images."""
    usual = evaluation.scales in ((), (min(config.preprocessing.size),))
    return evaluation.views if usual else f"{evaluation.views} at {', '.join(map(str, evaluation.scales))}"


def first_of_each(evaluations: Evaluations) -> Evaluations:
    """The first evaluation of each set of images: of several views, one is shown in full."""
    found: dict[tuple[str, str], tuple[str, EvaluationFigures]] = {}
    for key, evaluation in evaluations.items():
        found.setdefault((evaluation.data, evaluation.split), (key, evaluation))
    return dict(found.values())


def same_pictures(evaluations: Sequence[EvaluationFigures]) -> bool:
    """Whether any two are of the same images, seen in different ways."""
    return len({(found.data, found.split) for found in evaluations}) < len(evaluations)


class ViewsOf(NamedTuple):
    """A table of views, and which images its rows are of."""

    data: str
    split: str
    rows: list[ViewsRow]
    impossible: Mapping[str, str]


def read_views(run: Run, evaluations: Evaluations) -> list[ViewsOf]:
    """The tables of views of the run's evaluations."""
    found = []
    for path in sorted((run.path / "evaluations").glob("*-views.json")):
        table = read_json(run.path, f"evaluations/{path.name}", Views) or Views(rows=())
        if rows := [row for row in table.rows if row.key in evaluations]:
            first = evaluations[rows[0].key]
            found.append(ViewsOf(first.data, first.split, rows, table.impossible))
    return found


def lacking(evaluation: EvaluationFigures) -> list[str]:
    """Notes on images that the figures leave out or count differently."""
    n, split, said = evaluation.n, evaluation.split, []
    if unanswered := evaluation.unanswered:
        said.append(
            f"For {thousands(unanswered)} of {thousands(n)} {split} images, the net returned NaN or infinity. They "
            f"count as misclassified; loss and calibration error are those of the others."
        )
    if absent := [row.class_ for row in evaluation.per_class if not row.support]:
        more = f" and {thousands(len(absent) - NAMED)} more" if len(absent) > NAMED else ""
        said.append(f"No {split} images of {', '.join(absent[:NAMED])}{more}: the figures say nothing about them.")
    if evaluation.by_position:
        said.append(
            f"These images have class numbers but no names; classes were matched by position: {evaluation.by_position}."
        )
    return said


def macs(plan: Plan) -> str:
    """Multiply-adds of an image, and what they lack: operations whose cost is not known."""
    if plan.macs is not None:
        return f"{large(plan.macs)} multiply-adds"
    lacking = " and ".join(f"{count} {operation}" for operation, count in plan.macs_not_counted.items())
    return f"{large(plan.macs_counted or 0)} multiply-adds and those of {lacking or 'operations'}, which are not known,"


def hardest(evaluation: EvaluationFigures) -> ClassFigures:
    """The row of the class with the lowest F1, among those that have images."""
    return min((row for row in evaluation.per_class if row.support), key=lambda row: row.f1)


def uneven(evaluations: Sequence[EvaluationFigures]) -> bool:
    """Whether there is a balanced accuracy that says something else than the accuracy."""
    return any(
        found.balanced_accuracy is not None and abs(found.balanced_accuracy - found.accuracy) > 5e-4
        for found in evaluations
    )


def place_in(path: str, location: str | None) -> str:
    """An image's file relative to the data folder, `val/ants/9.jpg`; for other data, its folder and name."""
    place = Path(path)
    if location and place.is_relative_to(location):
        return place.relative_to(location).as_posix()
    return "/".join(place.parts[-2:])


def mean_confidence(bins: Sequence[Bin]) -> float:
    """The mean confidence of its predictions, by its `reliability`."""
    return sum(part.n * part.confidence for part in bins) / sum(part.n for part in bins)


def accuracy_of_surest(kept: Sequence[Kept], share: float) -> float:
    """The accuracy on the most confident share of the images, by its `by_confidence`."""
    return min(kept, key=lambda row: abs(row.kept - share)).accuracy


def has_weights(run: Run) -> bool:
    """Whether there is a net to use: a run that was stopped before its end has checkpoints only."""
    return any((run.path / "weights").glob("*.safetensors"))


def describe_curve(metrics: Sequence[Row], quantity: str) -> str:
    """Where a curve began and ended, in words: `Training from 1.601 to 0.497, validation from ... .`"""
    parts = []
    for word, key in (("training", f"train_{quantity}"), ("validation", f"val_{quantity}")):
        numbers = [number for row in metrics if (number := measured(row, key)) is not None]
        shown = [percent(number) if quantity == "accuracy" else f"{number:.3f}" for number in numbers]
        if len(shown) == 1:
            parts.append(f"{word} {shown[0]}")
        elif shown:
            parts.append(f"{word} from {shown[0]} to {shown[-1]}")
    words = ", ".join(parts)
    return f"{words[0].upper()}{words[1:]}."


def read_predictions(folder: Path) -> list[Row]:
    """predictions.csv of an evaluation's folder, numbers as numbers, None for no answer; empty where there is none."""
    return read_csv(folder.parent.parent, f"evaluations/{folder.name}/predictions.csv", _prediction)


def _prediction(row: dict[str, str]) -> Row:
    figures = {key: measured(row, key) for key in ("confidence", "loss")}
    return {**row, "truth": row["truth"], "predicted": row["predicted"], "index": int(row["index"]), **figures}


def read_robustness(folder: Path) -> Robustness | None:
    """robustness.json of an evaluation's folder; None where it was not tried."""
    found = read_json(folder.parent.parent, f"evaluations/{folder.name}/robustness.json", Robustness)
    return found if found is not None and found.corruptions else None


def worst_mistakes(predictions: Sequence[Row], count: int = 24) -> list[Row]:
    """The `count` misclassified images of largest loss, worst first; equal ones by index."""
    wrong = [row for row in predictions if row["predicted"] and row["truth"] != row["predicted"]]
    return sorted(wrong, key=lambda row: (-row["loss"], row["index"]))[:count]


def caption(row: Row) -> str:
    """A row of predictions.csv under its image: the true class, on a second line the predicted one if it is another."""
    read = ", " if row["truth"] == row["predicted"] else f"\npredicted {row['predicted']}, "
    return f"{row['truth']}{read}{percent(row['confidence'], 0)}"


def parts(data: Data) -> dict[str, int]:
    """Images in each part of the data that has any: training, validation, test, then whatever else there is."""
    return {part: count for part in (*PARTS, *data.counts) if (count := data.counts.get(part))}


def chance_loss(evaluation: EvaluationFigures) -> float:
    """The loss of giving every class the same probability: ln(number of classes)."""
    return math.log(len(evaluation.classes))


def size(preprocessing: PreprocessingConfig) -> str:
    """The images that the net takes: `28 × 28 pixels in grey`."""
    height, width = preprocessing.size
    text = f"{height} × {width} pixels in {'grey' if preprocessing.channels == 1 else 'colour'}"
    if ends := preprocessing.range:
        from striate.data.values import plain  # loads torch, which most reports do without

        text += (
            f", of values from {plain(ends[0])} (black) to {plain(ends[1])} (white) where they have more than 8 bits"
        )
    return text


def cell(key: str, item: Any) -> str:
    """A figure of metrics.csv as the table of epochs shows it."""
    if item is None:
        return ""
    if key.endswith("accuracy"):
        return percent(item, 2)
    if key.endswith("loss"):
        return f"{item:.4f}"
    if key == "seconds":
        return duration(item)
    return f"{item:.4g}" if key == "lr" else thousands(item)


def pace(metrics: Sequence[Row]) -> float:
    """Images a second while training: the median of the epochs."""
    return float(statistics.median(row["pictures_per_second"] for row in metrics if row.get("pictures_per_second")))


def interpret_accuracy(metrics: Sequence[Row]) -> str:
    """A description of the accuracy curves, in a sentence or two."""
    seen = [(row["epoch"], number) for row in metrics if (number := measured(row, "val_accuracy")) is not None]
    if not seen:
        return ""
    last_epoch, last = seen[-1]
    best_epoch, best = max(seen, key=lambda pair: pair[1])
    words = f"Validation accuracy after epoch {last_epoch}: {percent(last)}"
    words += "." if best_epoch == last_epoch else f"; best: {percent(best)} after epoch {best_epoch}."
    training = measured(metrics[-1], "train_accuracy")
    if training is not None and training - last > 0.03:
        words += f" Training accuracy is {points(training - last)} higher: the gap is overfitting."
    return words


def quoted(run: Run) -> str:
    """The run's address as a Python string."""
    return to_json(shlex.split(address(run))[0])
