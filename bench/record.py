"""Rows of measurements: what was measured, on what, at which commit."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from striate.machine import cpu_name, sgemm_gflops, usable_cores

RESULTS = Path(__file__).parent / "results"


def conditions() -> dict[str, Any]:
    """Date, commit, machine and the rate of its matrix product, which belong beside every figure."""
    root = Path(__file__).parents[1]
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip() or "unknown",
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "torch": torch.__version__,
        "sgemm_gflops": round(sgemm_gflops(), 1),
    }


def append(name: str, row: Mapping[str, Any]) -> None:
    """Adds a row to results/<name>.csv and prints it."""
    path = RESULTS / f"{name}.csv"
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(name, *(f"{key}={value}" for key, value in row.items()), sep="\n  ", flush=True)
