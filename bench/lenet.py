"""LeNet-5 on Fashion-MNIST: the plain tutorial loop against recipe `fast`, in turns, in one run.

Both arms train the same net on all 60,000 images; the clock stands still while they are tested. Our epochs were fixed before
on a validation split: bench/LOG.md. The target is what the plain arm reaches after its 10 epochs, the mean of its seeds.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from pathlib import Path

import striate
from bench.plain import Epoch, PlainLoop, torchvision_root
from bench.record import append, conditions
from bench.startup import STRIATE
from striate.nets import build
from striate.run import Run

EPOCHS, SEEDS, PLAIN_EPOCHS = 4, 3, 10


def ours(out: Path, seed: int) -> Run:
    """A run on all training images, in a process of its own: what it sets for its process must not help the plain arm."""
    options = ["--epochs", EPOCHS, "--validation", 0, "--seed", seed, "--out", out, "--name", f"seed-{seed}"]
    command = [STRIATE, "train", "lenet5", "--data", "fashion-mnist", *map(str, options)]
    subprocess.run(command, check=True, capture_output=True)
    return striate.load(out / f"seed-{seed}")


def main() -> None:
    """Interleaved, seed by seed: half of the plain epochs, ours, the other half."""
    plain: list[list[Epoch]] = []
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        root = torchvision_root(Path(folder))
        for seed in range(SEEDS):
            loop = PlainLoop(root, lambda: build("lenet5"), seed)
            epochs = [loop.epoch() for _ in range(PLAIN_EPOCHS // 2)]
            runs.append(ours(Path(folder) / "runs", seed))
            plain.append(epochs + [loop.epoch() for _ in range(PLAIN_EPOCHS // 2)])
        workers = PlainLoop(root, lambda: build("lenet5"), 0, workers=2)
        with_workers = statistics.median(workers.epoch().seconds for _ in range(2))
        spent = [run.summary.seconds for run in runs]
        training = [sum(s[k] for k in ("augment", "forward", "backward", "optimizer")) for s in spent]
        plain_epoch = statistics.median(epoch.seconds for epochs in plain for epoch in epochs)
        plain_total = statistics.mean(sum(epoch.seconds for epoch in epochs) for epochs in plain)
        our_epoch = statistics.median(run.metrics[-1]["seconds"] / EPOCHS for run in runs)
        our_total = statistics.mean(run.metrics[-1]["seconds"] for run in runs)
        append(
            "lenet",
            {
                **conditions(),
                "plain_seconds_per_epoch": round(plain_epoch, 3),
                "plain_seconds_per_epoch_2_workers": round(with_workers, 3),
                "our_seconds_per_epoch": round(our_epoch, 3),
                "epoch_ratio": round(plain_epoch / our_epoch, 2),
                "data_share": round(sum(s["augment"] for s in spent) / sum(training), 4),
                "plain_epochs": PLAIN_EPOCHS,
                "plain_accuracy": round(statistics.mean(epochs[-1].accuracy for epochs in plain), 4),
                "our_epochs": EPOCHS,
                "our_accuracy": round(
                    statistics.mean(next(iter(run.evaluations.values())).accuracy for run in runs), 4
                ),
                "seeds": SEEDS,
                "plain_seconds": round(plain_total, 2),
                "our_seconds": round(our_total, 2),
                "time_ratio": round(plain_total / our_total, 2),
                "threads": runs[0].config.plan.threads,
            },
        )


if __name__ == "__main__":
    main()
