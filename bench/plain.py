"""The plain arm: Fashion-MNIST trained as the tutorials write it. Frozen: nothing here is ever made faster.

A data set with per-picture transforms, a DataLoader that shuffles, batches of 64, Adam at 1e-3, test accuracy after each epoch.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from striate.data.named import NAMED, find


@dataclass(frozen=True)
class Epoch:
    """Seconds of training (evaluation apart), and the accuracy on the test images after it."""

    seconds: float
    accuracy: float


def torchvision_root(folder: Path, name: str = "fashion-mnist", data_dir: str | None = None) -> Path:
    """Lays the official files of `fashion-mnist` or `mnist` out as torchvision wants them, in `folder`."""
    source = find(NAMED[name], data_dir)
    if source is None:
        raise SystemExit(f"the benchmark needs {NAMED[name].title}: name its folder with STRIATE_DATA")
    raw = folder / {"fashion-mnist": "FashionMNIST", "mnist": "MNIST"}[name] / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for file in NAMED[name].sha256:
        packed = source / f"{file}.gz"
        (raw / file).write_bytes(
            gzip.decompress(packed.read_bytes()) if packed.is_file() else (source / file).read_bytes()
        )
    return folder


class PlainLoop:
    """The tutorial's loop, an epoch at a time, so that it can be timed in turn with another."""

    def __init__(self, root: Path, make_net: Callable[[], nn.Module], seed: int, workers: int = 0) -> None:
        torch.manual_seed(seed)
        transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.2860,), (0.3530,))])
        self.train_loader = DataLoader(
            datasets.FashionMNIST(root, train=True, transform=transform),
            batch_size=64,
            shuffle=True,
            num_workers=workers,
        )
        self.test_loader = DataLoader(datasets.FashionMNIST(root, train=False, transform=transform), batch_size=64)
        self.net = make_net()
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)

    def epoch(self) -> Epoch:
        begin = time.perf_counter()
        self.net.train()
        for x, y in self.train_loader:
            loss = self.loss(self.net(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        seconds = time.perf_counter() - begin
        return Epoch(seconds, self.test())

    def test(self) -> float:
        self.net.eval()
        correct = 0
        with torch.no_grad():
            for x, y in self.test_loader:
                correct += (self.net(x).argmax(1) == y).sum().item()
        return correct / len(self.test_loader.dataset)  # type: ignore[arg-type]
