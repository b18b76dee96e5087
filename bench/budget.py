"""`striate train lenet5 --data fashion-mnist --budget 60s --json`: accuracy, and how near to the budget it ends; 3m, 10m too."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time

from bench.record import append, conditions
from bench.startup import STRIATE

SEEDS = {60: 3, 180: 1, 600: 1}
"""Of each budget, in seconds."""


def main(*budgets: str) -> None:
    """All budgets, or those that are named, in seconds."""
    for budget in map(int, budgets or SEEDS):
        measure(budget, SEEDS[budget])


def measure(budget: int, seeds: int) -> None:
    """Whole commands, from start to exit, seeds from 0 on."""
    accuracies, seconds, epochs = [], [], []
    with tempfile.TemporaryDirectory() as out:
        for seed in range(seeds):
            begin = time.perf_counter()
            command = [STRIATE, "train", "lenet5", "--data", "fashion-mnist", "--budget", f"{budget}s", "--json"]
            done = subprocess.run([*command, "--seed", str(seed), "--out", out], check=True, capture_output=True)
            seconds.append(time.perf_counter() - begin)
            result = json.loads(done.stdout)
            accuracies.append(result["accuracy"])
            epochs.append(result["epochs"])
    append(
        "budget",
        {
            **conditions(),
            "budget_seconds": budget,
            "seeds": seeds,
            "accuracy_mean": round(statistics.mean(accuracies), 4),
            "accuracy_range": f"{min(accuracies):.4f} to {max(accuracies):.4f}",
            "seconds_median": round(statistics.median(seconds), 2),
            "seconds_range": f"{min(seconds):.2f} to {max(seconds):.2f}",
            "epochs_median": round(statistics.median(epochs), 1),
        },
    )


if __name__ == "__main__":
    main()
