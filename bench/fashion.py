"""Fashion-MNIST: native nets against the tutorials that blow its images up, seconds to the accuracy that the tutorial printed;
and seconds to higher accuracies, with nothing to race against.

The slow arm is Dive into Deep Learning's (the executed notebooks of 2.0.0, Chinese edition): images resized to 224 or 96, ten
epochs of plain SGD at a constant rate. Its accuracy is the printed one; its seconds are those of steps timed here, in turn with
our runs, times the steps of ten epochs. Ours are `striate train` with the options below, which were fixed before on a
validation split (LOG.md; DenseNet's by what ResNet and GoogLeNet had shown), on all 60,000 images, without test-time
augmentation; their seconds are those of training as the run kept them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from bench.plain import torchvision_root
from bench.record import append, conditions
from bench.startup import STRIATE
from striate.nets import build

SEEDS = 3
SLOW_STEPS = 102
EPOCHS, PICTURES = 10, 60_000


@dataclass(frozen=True)
class Race:
    """A tutorial's net and recipe with the accuracy that it printed; our command, and how many times sooner it is to be there."""

    slow: str
    side: int
    batch: int
    lr: float
    accuracy: float
    ours: str
    factor: int


RACES = {
    "alexnet": Race("alexnet-tutorial", 224, 128, 0.01, 0.883, "alexnet-native --epochs 1.7", 40),
    "vgg11": Race(
        "vgg11-quarter-d2l", 224, 128, 0.05, 0.920, "vgg11-quarter-native --epochs 5.2 --lr 0.002 --augment flip", 40
    ),
    "nin": Race(
        "nin-tutorial",
        224,
        128,
        0.1,
        0.790,
        "nin-native --epochs 0.9 --resize-schedule 14,20@0.6,28@0.9 --batch-size 64",
        100,
    ),
    "resnet18": Race(
        "resnet18-d2l",
        96,
        256,
        0.05,
        0.893,
        "resnet18-native-light --epochs 2 --resize-schedule 20,28@0.4 --augment flip",
        15,
    ),
    "googlenet": Race("googlenet-d2l", 96, 128, 0.1, 0.886, "googlenet-native-light --epochs 1.8", 15),
    "densenet": Race(
        "densenet-tutorial",
        96,
        256,
        0.1,
        0.885,
        "densenet-native --epochs 1.6 --resize-schedule 20,28@0.7 --augment flip",
        15,
    ),
    "alexnet224": Race("alexnet-tutorial", 224, 128, 0.01, 0.883, "alexnet-tutorial --size 224 --epochs 3", 3),
}


@dataclass(frozen=True)
class Reach:
    """An accuracy, our command, and the minutes of training in which it is to be there; None: as long as it takes."""

    accuracy: float
    ours: str
    minutes: float | None = None


REACHES = {
    "93": Reach(0.930, "resnet12-native --epochs 10 --augment flip", 8),
    "nin88": Reach(0.880, "nin-native --epochs 4 --resize-schedule 14,20@0.6,28@0.9 --batch-size 64"),
    "resnet92": Reach(0.920, "resnet18-native-light --epochs 3.5 --resize-schedule 20,28@0.4 --augment flip"),
    "googlenet92": Reach(0.920, "googlenet-native-light --epochs 2.5"),
    "densenet92": Reach(0.920, "densenet-native --epochs 2.8 --resize-schedule 20,28@0.7 --augment flip"),
}


class TutorialLoop:
    """The loop as the tutorial writes it. Frozen: nothing here is ever made faster."""

    def __init__(self, root: Path, race: Race) -> None:
        torch.manual_seed(0)
        transform = transforms.Compose([transforms.Resize(race.side), transforms.ToTensor()])
        pictures = datasets.FashionMNIST(root, train=True, transform=transform)
        self.loader = DataLoader(pictures, race.batch, shuffle=True, num_workers=4)
        self.net = build(race.slow).train()
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=race.lr)
        self.batches: Iterator[tuple[Tensor, Tensor]] = iter(self.loader)

    def seconds(self, steps: int) -> list[float]:
        """Of so many steps; the workers run ahead, as they do in an epoch."""
        taken = []
        for _ in range(steps):
            begin = time.perf_counter()
            x, y = next(self.batches)
            self.optimizer.zero_grad()
            predicted = self.net(x)
            loss = self.loss(predicted, y)
            loss.backward()
            self.optimizer.step()
            (predicted.argmax(1) == y).sum().item()
            taken.append(time.perf_counter() - begin)
        return taken


def ours(command: str, seed: int, folder: str) -> dict[str, Any]:
    """What `striate train` says of a run on all training images."""
    whole = [STRIATE, "train", *command.split(), "--data", "fashion-mnist", "--validation", "0", "--json"]
    done = subprocess.run([*whole, "--seed", str(seed), "--out", folder], check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def race(name: str) -> None:
    """A third of the slow steps, then one of our runs, three times."""
    this = RACES[name]
    slow: list[float] = []
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        root = torchvision_root(Path(folder))
        for seed in range(SEEDS):
            loop = TutorialLoop(root, this)
            loop.seconds(2)
            slow += loop.seconds(SLOW_STEPS // SEEDS)
            del loop  # and its workers, which would take our cores
            runs.append(ours(this.ours, seed, folder))
    whole = statistics.mean(slow) * EPOCHS * -(-PICTURES // this.batch)
    figures = columns(this.ours, runs)
    append(
        "fashion",
        {
            **conditions(),
            "race": name,
            "slow_net": this.slow,
            "slow_side": this.side,
            "slow_step_seconds": round(statistics.mean(slow), 3),
            "slow_step_range": f"{min(slow):.3f} to {max(slow):.3f}",
            "slow_steps_timed": len(slow),
            "slow_seconds": round(whole),
            "accuracy_wanted": this.accuracy,
            **figures,
            "time_ratio": round(whole / figures["our_seconds"], 1),
            "wanted_ratio": this.factor,
        },
    )


def columns(command: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of a row: what our runs took and reached, one a seed."""
    seconds = [sum(run["seconds"][part] for part in ("augment", "forward", "backward", "optimizer")) for run in runs]
    accuracies = [run["accuracy"] for run in runs]
    return {
        "our_command": command,
        "our_seconds": round(statistics.mean(seconds), 1),
        "our_seconds_range": f"{min(seconds):.1f} to {max(seconds):.1f}",
        "our_command_seconds": round(statistics.mean(run["seconds"]["total"] for run in runs), 1),
        "our_accuracy": round(statistics.mean(accuracies), 4),
        "our_accuracy_range": f"{min(accuracies):.4f} to {max(accuracies):.4f}",
        "seeds": len(runs),
    }


def reach(name: str) -> None:
    """Our runs alone."""
    this = REACHES[name]
    with tempfile.TemporaryDirectory() as folder:
        runs = [ours(this.ours, seed, folder) for seed in range(SEEDS)]
    append(
        "fashion-reach",
        {
            **conditions(),
            "reach": name,
            "accuracy_wanted": this.accuracy,
            "minutes_wanted": this.minutes or "",
            **columns(this.ours, runs),
        },
    )


def main(*names: str) -> None:
    """All races and reaches, or those that are named."""
    if unknown := [name for name in names if name not in RACES | REACHES]:
        sys.exit(f"there is no race {unknown[0]!r}; there are: {', '.join(RACES | REACHES)}")
    for name in names or RACES | REACHES:
        (race if name in RACES else reach)(name)


if __name__ == "__main__":
    main()
