"""How long one waits: `striate --help`, and from Enter to the first printed accuracy of `striate train`."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.record import append, conditions

REPEATS = 5
STRIATE = shutil.which("striate", path=str(Path(sys.executable).parent)) or "striate"


def help_seconds() -> float:
    """Seconds of `striate --help`."""
    begin = time.perf_counter()
    subprocess.run([STRIATE, "--help"], check=True, capture_output=True)
    return time.perf_counter() - begin


def first_accuracy_seconds(out: str) -> float:
    """Seconds from the start of `striate train` to its first line with an accuracy."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [STRIATE, "train", "--out", out], stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch") and "validation" in line:
            break
    seconds = time.perf_counter() - begin
    process.kill()
    process.communicate()
    return seconds


def main() -> None:
    """One run of each is not counted: it warms the file cache."""
    with tempfile.TemporaryDirectory() as out:
        first_accuracy_seconds(out)
        first = [first_accuracy_seconds(out) for _ in range(REPEATS)]
    help_seconds()
    helps = [help_seconds() for _ in range(REPEATS)]
    append(
        "startup",
        {
            **conditions(),
            "repeats": REPEATS,
            "first_accuracy_median_seconds": round(statistics.median(first), 2),
            "first_accuracy_range": f"{min(first):.2f} to {max(first):.2f}",
            "help_median_seconds": round(statistics.median(helps), 3),
            "help_range": f"{min(helps):.3f} to {max(helps):.3f}",
        },
    )


if __name__ == "__main__":
    main()
