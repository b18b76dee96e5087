"""A run directory made of plausible files, without any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from striate.files import write_atomic, write_csv, write_json, write_yaml
from striate.report.facts import read_predictions
from striate.run import Run

FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
METRICS = [
    "epoch",
    "step",
    "seconds",
    "lr",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "pictures_per_second",
]


def metrics_of(epochs: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": e,
            "step": 141 * e,
            "seconds": round(3.213 * e, 3),
            "lr": round(0.004 * (1 - e / epochs) + 1e-6, 9),
            "train_loss": 0.2871 + 0.9 / e**1.3,
            "train_accuracy": 0.8953 - 0.21 / e**1.2,
            "val_loss": 0.3312 + 0.6 / e**1.3,
            "val_accuracy": 0.8847 - 0.13 / e**1.2,
            "pictures_per_second": 2900.4 + 7 * e,
        }
        for e in range(1, epochs + 1)
    ]


def evaluation_of(classes: list[str], each: int, seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """evaluation.json and the rows of predictions.csv, `each` images a class, worked out by plain loops."""
    rng = np.random.default_rng(seed)
    k = len(classes)
    rows: list[dict[str, Any]] = []
    for index in range(k * each):
        truth = index % k
        right = rng.random() < 0.97 - 0.2 * truth / k
        predicted = truth if right else int((truth + 1 + rng.integers(0, min(3, k - 1))) % k)
        confidence = float(rng.uniform(0.6, 1)) if right else float(rng.uniform(0.35, 0.99))
        loss = -float(np.log(confidence if predicted == truth else (1 - confidence) * 0.7))
        names = {"truth": classes[truth], "predicted": classes[predicted]}
        rows.append({"index": index, "path": "", **names, "confidence": round(confidence, 6), "loss": round(loss, 6)})
    matrix = [[0] * k for _ in range(k)]
    for row in rows:
        matrix[classes.index(row["truth"])][classes.index(row["predicted"])] += 1
    per_class = []
    for i, name in enumerate(classes):
        found, called = matrix[i][i], sum(row[i] for row in matrix)
        precision, recall = found / called if called else 0.0, found / each
        f1 = 2 * precision * recall / (precision + recall) if found else 0.0
        per_class.append({"class": name, "support": each, "precision": precision, "recall": recall, "f1": f1})
    n, correct = len(rows), sum(matrix[i][i] for i in range(k))
    p, z = correct / n, 1.959964
    centre, half = (p + z * z / (2 * n)), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    pairs = [(matrix[i][j], i, j) for i in range(k) for j in range(k) if i != j and matrix[i][j]]
    evaluation = {
        "data": "fashion-mnist-sample",
        "split": "test",
        "views": "centre",
        "n": n,
        "correct": correct,
        "accuracy": p,
        "low": float((centre - half) / (1 + z * z / n)),
        "high": float((centre + half) / (1 + z * z / n)),
        "top5": None if k <= 5 else min(1.0, p + 0.08),
        "loss": float(np.mean([row["loss"] for row in rows])),
        "macro_f1": float(np.mean([row["f1"] for row in per_class])),
        "ece": 0.0231,
        "confusion": matrix,
        "classes": classes,
        "per_class": per_class,
        "most_confused": [
            {"truth": classes[i], "predicted": classes[j], "count": count}
            for count, i, j in sorted(pairs, reverse=True)[:10]
        ],
    }
    return evaluation, rows


def with_certainty(evaluation: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What later versions keep besides: intervals, reliability, accuracy by confidence; worked out by plain loops."""
    found = evaluation | {"macro_f1_low": evaluation["macro_f1"] - 0.02, "macro_f1_high": evaluation["macro_f1"] + 0.02}
    found["per_class"] = []
    for row in evaluation["per_class"]:
        bounds = binomtest(round(row["recall"] * row["support"]), row["support"]).proportion_ci(method="wilson")
        found["per_class"].append(row | {"low": float(bounds.low), "high": float(bounds.high)})
    found["balanced_accuracy"] = sum(row["recall"] for row in evaluation["per_class"]) / len(evaluation["per_class"])
    bins = []
    for k in range(15):
        inside = [row for row in rows if k / 15 < row["confidence"] <= (k + 1) / 15]
        if inside:
            right = [row["truth"] == row["predicted"] for row in inside]
            mean = sum(row["confidence"] for row in inside) / len(inside)
            part = {"low": k / 15, "high": (k + 1) / 15, "n": len(inside)}
            bins.append(part | {"confidence": mean, "accuracy": sum(right) / len(right)})
    found["reliability"] = bins
    found["ece"] = sum(part["n"] * abs(part["accuracy"] - part["confidence"]) for part in bins) / len(rows)
    surest = sorted(rows, key=lambda row: -row["confidence"])
    found["by_confidence"] = []
    for k in range(1, 21):
        kept = surest[: max(1, round(len(rows) * k / 20))]
        right = [row["truth"] == row["predicted"] for row in kept]
        figures = {"kept": k / 20, "threshold": kept[-1]["confidence"], "accuracy": sum(right) / len(right)}
        found["by_confidence"].append(figures)
    return found


def robustness_of(clean: float) -> dict[str, Any]:
    """robustness.json of a net that suffers from noise most."""
    rows = [
        {
            "name": name,
            "level": level,
            "value": level / 20,
            "n": 200,
            "accuracy": round(clean * (1 - level * loss), 4),
            "low": round(clean * (1 - level * loss) - 0.06, 4),
            "high": min(1.0, round(clean * (1 - level * loss) + 0.05, 4)),
        }
        for name, loss in (("gaussian-noise", 0.16), ("blur", 0.1), ("rotation", 0.12), ("contrast", 0.02))
        for level in range(1, 6)
    ]
    return {"clean": clean, "n": 200, "corruptions": rows}


CALIBRATION = {
    "split": "validation", "n": 1000, "temperature": 1.318, "loss_before": 0.3312, "loss": 0.3123, "ece_before": 0.0412,
    "ece": 0.0131, "abstain": {"score": "energy", "keep": 0.95, "threshold": 3.2109},
}  # fmt: skip


def add_certainty(run: Run) -> Run:
    """The same run with all that later versions keep."""
    (key,) = run.evaluations
    folder = run.path / "evaluations" / key
    rows = [dict(row) for row in read_predictions(folder)]
    found = with_certainty(run.evaluations[key].as_dict(), rows)
    tempered = {"temperature": 1.318, "ece_calibrated": 0.0099, "reliability_calibrated": found["reliability"]}
    write_json(folder / "evaluation.json", found | tempered)
    write_json(folder / "robustness.json", robustness_of(0.85))
    write_json(run.path / "calibration.json", CALIBRATION)
    return Run.open(run.path)


def write_evaluation(path: Path, key: str, evaluation: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    write_json(path / "evaluations" / key / "evaluation.json", evaluation)
    write_csv(path / "evaluations" / key / "predictions.csv", rows, list(rows[0]))
    write_csv(path / "evaluations" / key / "per_class.csv", evaluation["per_class"], list(evaluation["per_class"][0]))


def write_run(
    path: Path,
    classes: list[str] = FASHION,
    *,
    epochs: int = 12,
    status: str = "finished",
    evaluated: bool = True,
    each: int = 200,
) -> Run:
    """A run of LeNet-5; `epochs` of 12 are done."""
    path.mkdir(parents=True)
    k = len(classes)
    recipe = {
        "name": "fast", "source": "bench/LOG.md", "epochs": 12, "budget": None, "batch_size": 64, "optimizer": "adamw",
        "lr": 0.004, "momentum": 0.0, "nesterov": False, "weight_decay": 0.01, "schedule": "one-cycle", "warmup": 0.2,
        "steps": [], "label_smoothing": 0.0, "augmentation": "none", "validation": 0.1, "seed": 17,
    }  # fmt: skip
    plan = {
        "steps": 1692, "steps_per_epoch": 141, "epochs": 12.0, "seconds_per_epoch": 3.19, "device": "cpu", "threads": 2,
        "params": 61706, "macs": 416520, "layout": "nchw",
    }  # fmt: skip
    config = {
        "format": 1,
        "striate": "0.1.0",
        "net": {"name": "lenet5", "channels": 1, "classes": k, "init": "default"},
        "data": {"name": "fashion-mnist-sample", "location": "fashion-mnist-sample"},
        "preprocessing": {"size": [28, 28], "channels": 1, "mean": [0.2861], "std": [0.353]},
        "recipe": recipe,
        "plan": plan,
    }
    write_yaml(path / "config.yaml", config)
    write_json(
        path / "environment.json",
        {
            "striate": "0.1.0",
            "torch": "2.14.1",
            "python": "3.11.7",
            "platform": "Linux-6.1-x86_64",
            "cpu": "AMD EPYC",
            "cores": 2,
            "threads": 2,
            "device": "cpu",
        },
    )
    write_json(
        path / "data.json",
        {
            "name": "fashion-mnist-sample",
            "title": "Fashion-MNIST (sample of 12,000 images)",
            "source": "Xiao, Rasul, Vollgraf: Fashion-MNIST, https://arxiv.org/abs/1708.07747",
            "licence": "MIT",
            "classes": classes,
            "counts": {"train": 900 * k, "test": 200 * k, "validation": 100 * k},
            "shape": [28, 28, 1],
            "fingerprint": "sha256:0f2c7b1ad94e55d3c9f6",
            "class_counts": {"train": [900] * k, "test": [200] * k, "validation": [100] * k},
            "unreadable": {},
        },
    )
    write_csv(path / "metrics.csv", metrics_of(12)[:epochs], METRICS)
    seconds = {
        "load": 0.41, "measure": 0.83, "augment": 1.92, "forward": 13.37, "backward": 20.11, "optimizer": 2.04,
        "validate": 1.11, "checkpoint": 0.03, "evaluate": 0.29, "report": 1.46, "other": 0.52,
    }  # fmt: skip
    write_json(
        path / "summary.json",
        {
            "status": status,
            "started": "2026-11-22T09:40:00+00:00",
            "finished": "2026-11-22T09:40:42+00:00",
            "seconds": seconds | {"total": sum(seconds.values())},
            "command": "striate train --name first --seed 17",
        },
    )
    if status == "finished":
        write_atomic(path / "weights" / "last.safetensors", b"weights")
    if evaluated:
        write_evaluation(path, "fashion-mnist-sample-test-centre", *evaluation_of(classes, each))
    return Run.open(path)
