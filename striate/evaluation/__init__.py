"""Evaluation: a run's net on labelled pictures, every prediction kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from striate.data import DataSet, ImageData, Preprocessing, load_data
from striate.data.splits import recorded
from striate.errors import DataError, UsageError
from striate.evaluation.summary import PER_CLASS_COLUMNS, PREDICTION_COLUMNS, prediction_rows, summarise
from striate.inference import load_net, logits
from striate.machine import pick_device, usable_cores, use_cores
from striate.run import Run, write_csv, write_json

__all__ = ["Evaluation", "evaluate", "score", "write_evaluation"]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Evaluation:
    """How good a net is on some pictures.

    Attributes:
        key: the name of its folder in the run, `<data>-<split>-<views>`.
        summary: what evaluation.json holds: data, split, views, fingerprint, and what `summarise` gives.
        predictions: a row a picture: index, path, truth, predicted, confidence, loss.
        data: the pictures, at the size that the net was fed.
    """

    key: str
    summary: dict[str, Any]
    predictions: list[dict[str, Any]]
    data: ImageData


def evaluate(
    run: Run,
    data: str | Path | None = None,
    *,
    split: str = "test",
    device: str = "auto",
    data_dir: str | Path | None = None,
) -> Evaluation:
    """Evaluates the run's net and keeps the result in the run.

    Args:
        run: a finished run.
        data: a set's name or a folder; the run's own data if None. It must have the run's classes.
        split: `train`, `validation` or `test`.
        device: see `striate.machine.pick_device`.
        data_dir: where to look for named sets first.

    Raises:
        DataError: the data is not there, is damaged, or has other classes.
        UsageError: it has no such split.
    """
    chosen = pick_device(device)
    use_cores()
    preprocessing = Preprocessing.from_dict(run.config["preprocessing"])
    own = run.config["data"]["location"]
    dataset = load_data(
        data or own,
        data_dir=data_dir,
        size=preprocessing.size,
        channels=preprocessing.channels,
        workers=usable_cores(),
        group_by=run.config["data"].get("group_by") if data is None else None,
        exclude=run.config["data"].get("exclude", ()) if data is None else (),
        fit=preprocessing.fit,
    )
    pictures = _split(run, dataset, split, own=dataset.location == own)
    if pictures.classes != tuple(run.data["classes"]):
        raise DataError(
            f"{dataset.name} has other classes than {run.name} was trained on: "
            f"{', '.join(pictures.classes[:12])} against {', '.join(run.data['classes'][:12])}"
        )
    evaluation = score(load_net(run, chosen), preprocessing, pictures, chosen, name=dataset.name, split=split)
    write_evaluation(run, evaluation)
    return evaluation


def score(
    net: torch.nn.Module, preprocessing: Preprocessing, data: ImageData, device: torch.device, *, name: str, split: str
) -> Evaluation:
    """Evaluates a net on pictures; nothing is written. `name` and `split` say what the pictures are."""
    data = preprocessing.resized(data)
    outputs = logits(net, preprocessing, data.pixels, device).double().log_softmax(1).numpy()
    summary = {
        "data": name,
        "split": split,
        "views": "centre",
        "fingerprint": data.fingerprint(),
        **summarise(outputs, data.labels, data.classes),
    }
    predictions = prediction_rows(outputs, data)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "data"
    return Evaluation(key=f"{stem}-{split}-centre", summary=summary, predictions=predictions, data=data)


def write_evaluation(run: Run, evaluation: Evaluation) -> None:
    """Writes evaluation.json, per_class.csv and predictions.csv into the run's evaluations/<key>."""
    folder = run.path / "evaluations" / evaluation.key
    write_csv(folder / "predictions.csv", evaluation.predictions, PREDICTION_COLUMNS)
    write_csv(folder / "per_class.csv", evaluation.summary["per_class"], PER_CLASS_COLUMNS)
    write_json(folder / "evaluation.json", evaluation.summary)


def _split(run: Run, dataset: DataSet, split: str, own: bool) -> ImageData:
    """The pictures of a split. `own`: of the run's own data, whose validation pictures the run chose."""
    content = run.split_content() if own else None
    if content is not None and split in content:
        return recorded(dataset, content, split)
    held = run.validation_indices() if own else None
    if split == "validation" and held is not None and not len(held):
        raise UsageError(f"{run.name} kept no pictures for validation")
    if held is not None and split in ("train", "validation"):
        kept = np.setdiff1d(np.arange(len(dataset.train), dtype=np.int64), held)
        return dataset.train.select(held if split == "validation" else kept)
    if split not in dataset.splits:
        raise UsageError(f"{dataset.name} has no split {split!r}; it has: {', '.join(dataset.splits)}")
    return dataset.splits[split]
