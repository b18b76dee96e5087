"""How long one waits: `striate --help`, `striate nets`, and from Enter to the first printed accuracy of `striate train`.

`python -m bench startup:CHECKOUT` measures another checkout of the repository in turns with this one, in this environment.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.record import append, conditions

REPEATS = 5
HERE = Path(__file__).parents[1]
STRIATE = shutil.which("striate", path=str(Path(sys.executable).parent)) or "striate"
"""The command of this environment, as the other measurements start it."""
COMMANDS = {"help": ["--help"], "nets": ["nets"], "nets_resnet50": ["nets", "resnet50"]}


def seconds_of(checkout: Path, command: list[str]) -> float:
    """Seconds from Enter to the end of a command."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "striate", *command], check=True, capture_output=True, **_of(checkout))
    return time.perf_counter() - begin


def first_accuracy_seconds(checkout: Path, out: str) -> float:
    """Seconds from the start of `striate train` to its first line with an accuracy."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "striate", "train", "--out", out],
        stderr=subprocess.PIPE,
        text=True,
        stdout=subprocess.DEVNULL,
        **_of(checkout),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch") and "validation" in line:
            break
    seconds = time.perf_counter() - begin
    process.kill()
    process.communicate()
    return seconds


def main(other: str | None = None) -> None:
    """The checkouts take turns; the first run of each is not counted: it warms the file cache."""
    arms = [HERE] if other is None else [HERE, Path(other).resolve()]
    found: dict[Path, dict[str, list[float]]] = {
        arm: {name: [] for name in (*COMMANDS, "first_accuracy")} for arm in arms
    }
    with tempfile.TemporaryDirectory() as out:
        for _ in range(REPEATS + 1):
            for arm in arms:
                for name, command in COMMANDS.items():
                    found[arm][name].append(seconds_of(arm, command))
                found[arm]["first_accuracy"].append(first_accuracy_seconds(arm, out))
    for arm in arms:
        row: dict[str, Any] = {**conditions(), "repeats": REPEATS}
        if arm != HERE:
            row["commit"] = subprocess.run(
                ["git", "describe", "--always", "--dirty"], cwd=arm, capture_output=True, text=True
            ).stdout.strip()
        for name, seconds in found[arm].items():
            counted = seconds[1:]
            row[f"{name}_median_seconds"] = round(statistics.median(counted), 3)
            row[f"{name}_range"] = f"{min(counted):.3f} to {max(counted):.3f}"
        append("startup", row)


def _of(checkout: Path) -> dict[str, Any]:
    """What makes `python -m striate` that of a checkout: the folder it is started in comes before all others."""
    return {"cwd": checkout, "env": {**os.environ, "PYTHONPATH": str(checkout)}}


if __name__ == "__main__":
    main()
