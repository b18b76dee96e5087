"""`predict` on 10,000 JPEG files: its memory against 1,000 of them, and its rate against what decoding and net allow together.

Decoding alone (by as many threads as there are cores), the net alone on images that are decoded already, and prediction with
its CSV are timed in turns, in one process. Memory is the peak of the whole command, a process of its own. The images are made
here: 28x28 ones, of which the files cost most, and 320x240 ones as a web page has them.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import striate
from bench.cache import timed
from bench.record import append, conditions
from bench.startup import STRIATE
from striate.classifier import Classifier
from striate.data.images import Pixels
from striate.data.inputs import image_files
from striate.predicting.writing import write_predictions
from striate.run import Run
from striate.training import Progress

PICTURES, FEW, REPEATS = 10_000, 1_000, 3
CASES = {"lenet5": (28, 28), "resnet20": (320, 240)}
"""Net: width and height of the files."""


def files(folder: Path, width: int, height: int) -> Path:
    """A folder of JPEG files with coarse shapes and some noise, as photos have them; its folder `few` has the first of them."""
    generator = np.random.default_rng(0)
    for number in range(PICTURES):
        coarse = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((width, height))
        noise = generator.integers(-8, 9, (height, width, 3), dtype=np.int16)
        pixels = np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)
        part = folder / ("few" if number < FEW else "rest")
        part.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(part / f"{number}.jpg", quality=85)
    return folder


def peak(run: Run, folder: Path, output: Path) -> tuple[float, float]:
    """(MB, seconds) of the whole command."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [STRIATE, "predict", run.path, folder, "--output", output], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 1e3, time.perf_counter() - begin


def rates(run: Run, folder: Path, output: Path) -> list[dict[str, float]]:
    """Images a second of decoding, net, and prediction, for each repeat."""
    classifier = Classifier.of(run)
    paths = image_files(folder).files

    def decode() -> list[list[Pixels]]:
        return [[pixels for _, pixels in part if not isinstance(pixels, str)] for part in classifier.decoded(paths)]

    batches = [np.stack(part) for part in decode()]

    def infer() -> None:
        for pixels in batches:
            classifier.logits(pixels)

    def predict() -> None:
        with output.open("wb") as file:
            write_predictions(classifier.predict_many([folder]), file, "csv", 3)

    work = {"decode": decode, "net": infer, "predict": predict}
    return [{name: len(paths) / timed(step) for name, step in work.items()} for _ in range(REPEATS)]


def main() -> None:
    """A row for each net."""
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        for net, (width, height) in CASES.items():
            run = striate.train(net, epochs=0.2, name=net, out=scratch / "runs", progress=Progress(quiet=True))
            folder = files(scratch / net, width, height)
            few, _ = peak(run, folder / "few", scratch / f"{net}-few.csv")
            all_of_them, seconds = peak(run, folder, scratch / f"{net}.csv")
            found = rates(run, folder, scratch / f"{net}-again.csv")
            shares = [row["predict"] * (1 / row["decode"] + 1 / row["net"]) for row in found]
            append(
                "predict",
                {
                    **conditions(),
                    "net": net,
                    "files": f"{PICTURES} of {width}x{height}",
                    "peak_mb_of_1000": round(few),
                    "peak_mb_of_10000": round(all_of_them),
                    **{f"{name}_per_second": round(statistics.median(row[name] for row in found)) for name in found[0]},
                    "share_of_both_together": round(statistics.median(shares), 3),
                    "share_range": f"{min(shares):.3f} to {max(shares):.3f}",
                    "command_seconds": round(seconds, 1),
                },
            )


if __name__ == "__main__":
    main()
