"""What the report and the card say about a run, worked out from its files: numbers as words, and which evaluation
leads."""

from __future__ import annotations

import csv
import json
import math
import shlex
import statistics
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from striate.run import Run

SPACE = "\u00a0"  # keeps a number and its unit on one line

PHASES = {
    "start": "starting Python and PyTorch",
    "load": "loading the data",
    "measure": "measuring this machine",
    "augment": "preparing the batches",
    "forward": "forward pass",
    "backward": "backward pass",
    "optimizer": "updating the weights",
    "validate": "validation after each epoch",
    "checkpoint": "saving checkpoints",
    "evaluate": "the final test",
    "report": "report and charts",
    "other": "everything else",
}
"""The phases of summary.json's `seconds` in words; `total` is their sum."""


PARTS = {
    "train": "to learn from",
    "validation": "to watch the learning (validation)",
    "test": "for the test, seen only at the end",
}
"""data.json's `counts`, each part's purpose."""


def percent(fraction: float, digits: int = 1) -> str:
    """0.8936 -> `89.4 %`, with a space that does not break. Rounding never claims all or nothing: 0.9999 -> `>99.9 %`,
    0.0001 -> `<0.1 %`."""
    shown = f"{100 * fraction:.{digits}f}"
    smallest = 10.0**-digits
    if fraction < 1 and float(shown) >= 100:
        shown = f">{100 - smallest:.{digits}f}"
    elif fraction > 0 and float(shown) == 0:
        shown = f"<{smallest:.{digits}f}"
    return f"{shown}{SPACE}%"


def digits_for(count: int) -> int:
    """Decimals of a percentage that `count` pictures can bear: one, or two from 10,000 on."""
    return 2 if count >= 10_000 else 1


def thousands(number: float) -> str:
    """61706 -> `61,706`."""
    return f"{number:,.0f}"


def large(number: float) -> str:
    """416520 -> `0.42 million`; below 100,000 the number itself."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if number >= size / 10:
            return f"{number / size:.3g}{SPACE}{word}"
    return thousands(number)


def duration(seconds: float) -> str:
    """0.42 -> `0.42 s`, 48.2 -> `48.2 s`, 192 -> `3 min 12 s`, 3780 -> `1 h 03 min`."""
    if seconds < 59.95:
        return f"{seconds:.2f}{SPACE}s" if seconds < 1 else f"{seconds:.1f}{SPACE}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{SPACE}min{SPACE}{whole % 60:02d}{SPACE}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60}{SPACE}h{SPACE}{minutes % 60:02d}{SPACE}min"


def value(item: Any) -> str:
    """A value of a configuration as one reads it: `none`, `yes`, `28 × 28`, `0.1307, 0.3081`."""
    if item is None or item == "":
        return "none"
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, float):
        return f"{item:.6g}"
    if isinstance(item, list | tuple):
        return ", ".join(value(part) for part in item) or "none"
    if isinstance(item, dict):
        return ", ".join(f"{key}: {value(part)}" for key, part in item.items()) or "none"
    return str(item)


def measured(row: dict[str, Any], key: str) -> float | None:
    """A number of a row of metrics.csv, or None where it was not measured (no such column, empty, NaN)."""
    item = row.get(key)
    if item is None or item == "":
        return None
    number = float(item)
    return number if math.isfinite(number) else None


def address(run: Run) -> str:
    """The run as one types it in a shell, `runs/lenet5`: its folder and the one above, never a whole path of
    somebody's machine."""
    path = run.path.resolve()
    return shlex.quote(f"{path.parent.name}/{path.name}" if path.parent.name else path.name)


def leading(config: dict[str, Any], evaluations: dict[str, dict[str, Any]]) -> str | None:
    """The key of the evaluation that the headline quotes: of the set that the run was trained on, its test
    pictures, each seen once (`centre`), as far as there are such. None without an evaluation on that set: a run is
    not known for its accuracy on others."""
    own = [key for key, found in evaluations.items() if found["data"] == config["data"]["name"]]
    tests = [key for key in own if evaluations[key]["split"] == "test"]
    centre = [key for key in tests if evaluations[key]["views"] == "centre"]
    return next(iter(centre + tests + own), None)


def has_weights(run: Run) -> bool:
    """Whether there is a net to use: a run that was stopped before its end has checkpoints only."""
    return any((run.path / "weights").glob("*.safetensors"))


def course(metrics: Sequence[dict[str, Any]], quantity: str) -> str:
    """Where a curve began and ended, in words: `Training from 1.601 to 0.497, validation from ... .`; empty without
    any figure."""
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


def moment(iso: str) -> str:
    """`2026-11-22T09:40:00+00:00` -> `2026-11-22 09:40 UTC`; anything else as it is."""
    try:
        time = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{time:%Y-%m-%d %H:%M} {time.tzname() or ''}".rstrip()


def read_predictions(folder: Path) -> list[dict[str, Any]]:
    """predictions.csv of an evaluation's folder, numbers as numbers; empty where there is none."""
    path = folder / "predictions.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            row | {"index": int(row["index"]), "confidence": float(row["confidence"]), "loss": float(row["loss"])}
            for row in csv.DictReader(file)
        ]


def worst_mistakes(predictions: Sequence[dict[str, Any]], count: int = 24) -> list[dict[str, Any]]:
    """The `count` wrong predictions of largest loss, worst first; equal ones by index, so that the choice is always
    the same."""
    wrong = [row for row in predictions if row["truth"] != row["predicted"]]
    return sorted(wrong, key=lambda row: (-row["loss"], row["index"]))[:count]


def most_common_share(evaluation: dict[str, Any]) -> float:
    """The accuracy of always answering the most frequent class of the pictures evaluated."""
    return float(max(row["support"] for row in evaluation["per_class"]) / evaluation["n"])


def parts(data: dict[str, Any]) -> dict[str, int]:
    """Pictures in each part of the data that has any: training, validation, test, then whatever else there is."""
    order = list(PARTS)
    known = {part: data["counts"][part] for part in order if data["counts"].get(part)}
    return known | {part: count for part, count in data["counts"].items() if count}


def support(evaluation: dict[str, Any], name: str) -> int:
    """How many of the pictures evaluated are of class `name`."""
    return int(next(row["support"] for row in evaluation["per_class"] if row["class"] == name))


def ignorance(evaluation: dict[str, Any]) -> float:
    """The loss of giving every class the same probability: ln(number of classes)."""
    return math.log(len(evaluation["classes"]))


def epochs(count: float) -> str:
    """`1 epoch`, `12 epochs`, `11.4 epochs`."""
    return f"{count:.4g} {'epoch' if count == 1 else 'epochs'}"


def size(preprocessing: dict[str, Any]) -> str:
    """The pictures that the net takes: `28 × 28 pixels in grey`."""
    height, width = preprocessing["size"]
    return f"{height} × {width} pixels in {'grey' if preprocessing['channels'] == 1 else 'colour'}"


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


def pace(metrics: list[dict[str, Any]]) -> float:
    """Pictures a second while training: the median of the epochs."""
    return float(statistics.median(row["pictures_per_second"] for row in metrics if row.get("pictures_per_second")))


def reading(metrics: list[dict[str, Any]]) -> str:
    """What the accuracy curves say, in a sentence or two."""
    seen = [(row["epoch"], number) for row in metrics if (number := measured(row, "val_accuracy")) is not None]
    if not seen:
        return ""
    last_epoch, last = seen[-1]
    best_epoch, best = max(seen, key=lambda pair: pair[1])
    words = f"After epoch {last_epoch} it named {percent(last)} of them right"
    words += "." if best_epoch == last_epoch else f", at best {percent(best)} after epoch {best_epoch}."
    training = measured(metrics[-1], "train_accuracy")
    if training is not None and training - last > 0.03:
        gap = f"{100 * (training - last):.1f}"
        words += (
            f" On its training pictures it did better by {gap} points: so much it knows by heart and cannot carry over."
        )
    return words


def quoted(run: Run) -> str:
    """The run's address as a Python string."""
    return json.dumps(shlex.split(address(run))[0], ensure_ascii=False)


def limits(run: Run, evaluation: dict[str, Any] | None) -> list[str]:
    """What one must not expect of the net, as far as the run's files tell; `evaluation` is the leading one."""
    classes, title = run.data["classes"], run.data.get("title") or run.data["name"]
    names = f": {', '.join(classes)}" if len(classes) <= 12 else ""
    said = [
        f"It knows {len(classes)} classes and nothing else{names}. Whatever it is shown, it answers with one of them, "
        "and it can be very sure of it.",
        f"It was trained and measured on pictures like those of {title}. Pictures from another source, with another "
        "camera, light, background or crop, can do much worse: measure it on your own before you rely on it.",
        f"It sees {size(run.config['preprocessing'])}. Details smaller than that are lost before the net begins.",
    ]
    if evaluation is None:
        return [*said, "It has not been tested on pictures kept apart, so how good it is on new ones is not known."]
    worst = min(evaluation["per_class"], key=lambda row: float(row["recall"]))
    if worst["recall"] < 1:
        said.append(
            f"Its accuracy is a mean over classes that differ: of {worst['class']} it finds only "
            f"{percent(worst['recall'])} ({thousands(worst['support'])} pictures)."
        )
    return [
        *said,
        f"Its confidence is off by {percent(evaluation['ece'])} on average (calibration error, measured on the same "
        "pictures): read it as an indication and not as a probability of being right.",
        f"One run with one seed ({run.config['recipe']['seed']}). Another seed gives another net, with an "
        "accuracy that differs a little by luck alone: compare nets over several seeds.",
    ]
