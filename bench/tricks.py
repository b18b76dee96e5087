"""What each part of recipe `fast` gives: LeNet-5 with batch norm on Fashion-MNIST, three epochs, one part left out at a time.

Accuracies are those of the validation split, means of three seeds; seconds are of training, their medians. Each run
is a process of its own, and all arms take their turn before the next seed begins.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

import striate
from bench.record import append, conditions
from striate import machine
from striate.namedrecipes import FAST_NORM
from striate.recipe import Recipe, ResizeSchedule
from striate.training import step
from striate.training.progress import Progress

NET, EPOCHS, SEEDS = "lenet5-bn", 3, 3
FAST = replace(FAST_NORM, epochs=EPOCHS)
RECIPES: dict[str, Recipe] = {
    "fast": FAST,
    "constant rate": replace(FAST, schedule="constant"),
    "constant rate of a quarter": replace(FAST, schedule="constant", lr=FAST.lr / 4),
    "no warm-up": replace(FAST, warmup=0.0),
    "no Nesterov": replace(FAST, nesterov=False),
    "no momentum": replace(FAST, nesterov=False, momentum=0.0),
    "no label smoothing": replace(FAST, label_smoothing=0.0),
    "no decay": replace(FAST, weight_decay=0.0),
    "decay of biases and norms too": replace(FAST, decay_all=True),
    "the tutorials' Adam at a constant 1e-3": replace(
        FAST, optimizer="adam", lr=1e-3, momentum=0.0, nesterov=False, weight_decay=0.0, schedule="constant"
    ),
    "batches of 64, half the rate": replace(FAST, batch_size=64, lr=FAST.lr / 2),
    "20 pixels for the first half": replace(FAST, resize_schedule=ResizeSchedule([(0.0, 20), (0.5, 28)])),
}


def unfused() -> None:
    """Optimizers go over the weights one by one."""
    fused = vars(step)["SGD"]
    vars(step)["SGD"] = lambda groups, **options: fused(groups, **{**options, "fused": False})


def denormals() -> None:
    """Tiny numbers stay what they are."""
    torch.set_flush_denormal = lambda on: True  # type: ignore[assignment]


def freed() -> None:
    """What is freed goes back to the system."""
    machine._keep_freed_memory = lambda: None


PATCHES: dict[str, Callable[[], None]] = {
    "optimizer not fused": unfused,
    "denormals kept": denormals,
    "freed memory handed back": freed,
}
MANNERS: dict[str, dict[str, Any]] = {
    "always NCHW": {"layout": "nchw"},
    "always NHWC": {"layout": "nhwc"},
    "one thread": {"threads": 1},
}
ARMS = (*RECIPES, *PATCHES, *MANNERS)


def arm(name: str, seed: int) -> None:
    """One run, in this process; prints its validation accuracy and its seconds of training."""
    if name in PATCHES:
        PATCHES[name]()
    with tempfile.TemporaryDirectory() as folder:
        recipe = replace(RECIPES.get(name, FAST), seed=seed)
        manner = MANNERS.get(name, {})
        run = striate.train(
            NET, "fashion-mnist", recipe=recipe, out=folder, validation=0.1, progress=Progress(quiet=True), **manner
        )
        seconds = sum(epoch["seconds"] for epoch in run.metrics)
        print(json.dumps({"accuracy": run.metrics[-1]["val_accuracy"], "seconds": seconds}))


def main() -> None:
    """All arms, seed by seed; a row each."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in ARMS}
    for seed in range(SEEDS):
        for name in ARMS:
            command = [sys.executable, "-m", "bench.tricks", name, str(seed)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            results[name].append(json.loads(done.stdout.splitlines()[-1]))
    whole = statistics.median(run["seconds"] for run in results["fast"])
    now = conditions()
    for name, runs in results.items():
        accuracies = [run["accuracy"] for run in runs]
        seconds = statistics.median(run["seconds"] for run in runs)
        append(
            "tricks",
            {
                **now,
                "net": NET,
                "epochs": EPOCHS,
                "arm": name,
                "validation_accuracy": round(statistics.mean(accuracies), 4),
                "accuracy_range": f"{min(accuracies):.4f} to {max(accuracies):.4f}",
                "seconds": round(seconds, 2),
                "seconds_of_fast": round(seconds / whole, 3),
                "seeds": len(runs),
            },
        )


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]))
