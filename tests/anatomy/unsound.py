"""Nets that are no function of one image, each with what is to be said of it."""

from __future__ import annotations

import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Base(nn.Module):
    def __init__(self, channels: int = 3, classes: int = 3) -> None:
        super().__init__()
        self.a = nn.Conv2d(channels, 8, 3)
        self.head = nn.Linear(8, classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x).relu().mean((2, 3))

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x).mean(3).transpose(1, 2)


class LayersInAList(nn.Module):
    def __init__(self, channels: int = 3, classes: int = 3) -> None:
        super().__init__()
        self._layers = [nn.Conv2d(channels, 8, 3), nn.Conv2d(8, 8, 3)]
        self.head = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self._layers:
            x = layer(x).relu()
        return self.head(x.mean((2, 3)))


class LayersInADict(nn.Module):
    def __init__(self, channels: int = 3, classes: int = 3) -> None:
        super().__init__()
        self.parts = {"stem": [nn.Conv2d(channels, 8, 3)]}
        self.head = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.parts["stem"][0](x).relu().mean((2, 3)))


class DropoutAlwaysOn(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.dropout(self.features(x), 0.5))


class Noise(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x) + 0.1 * torch.randn(8))


class SoftmaxOverTheBatch(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.head(self.features(x)), 0)


class NormalisedByTheBatch(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = self.features(x)
        return self.head((f - f.mean(0)) / (f.std(0) + 1e-5))


class NoRunningStatistics(Base):
    def __init__(self, channels: int = 3, classes: int = 3) -> None:
        super().__init__(channels, classes)
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.a(x)).relu().mean((2, 3)))


class Sorted(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x)).sort(0).values


class FirstForAll(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = self.features(x)
        return self.head(f - f[0])


class Similarities(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = self.features(x)
        return self.head((f @ f.T).softmax(1) @ f)


class Attends(Base):
    """batch_first was forgotten."""

    def __init__(self, channels: int = 3, classes: int = 3) -> None:
        super().__init__(channels, classes)
        self.attention = nn.MultiheadAttention(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self.rows(x)
        return self.head(self.attention(rows, rows, rows, need_weights=False)[0].mean(1))


class ReadsTheBatch(Base):
    """batch_first was forgotten."""

    def __init__(self, channels: int = 3, classes: int = 3) -> None:
        super().__init__(channels, classes)
        self.recurrent = nn.LSTM(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.recurrent(self.rows(x))[0][:, -1])


class Counts(Base):
    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.head(self.features(x)) * self.calls


class RunsInEvaluation(Base):
    def __init__(self, channels: int = 3, classes: int = 3) -> None:
        super().__init__(channels, classes)
        self.register_buffer("level", torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = self.features(x)
        self.level.mul_(0.5).add_(f.detach().mean(0))  # type: ignore[operator]
        return self.head(f - self.level)  # type: ignore[operator]


class DrawsInPython(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x)) * random.random()


class DrawsInNumPy(Base):
    generator = np.random.default_rng(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x) + torch.from_numpy(self.generator.random(8, np.float32)))


class StandardisesEachImage(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)
        return self.head(self.features(x))


class Squeezes(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.adaptive_avg_pool2d(self.a(x), 1).squeeze())


class DrawnTable(Base):
    """Random features that nobody keeps."""

    def __init__(self, channels: int = 3, classes: int = 3) -> None:
        super().__init__(channels, classes)
        self.table = torch.randn(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x) @ self.table)


class DropsKeys(Base):
    """The dropout of attention stays on; it moves the answers by less than a hundredth."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self.rows(x)
        return self.head(F.scaled_dot_product_attention(rows, rows, rows, dropout_p=0.2).mean(1))


class Whitens(Base):
    """By the covariance of the batch, which moves the answers by less than a hundredth."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = self.features(x)
        return self.head(f @ (f.T @ f / len(f)))


LAYER = nn.Linear(8, 8)


class ReadsAGlobalLayer(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(LAYER(self.features(x)))


class LeavesItsTable(Base):
    """The buffer is in no file of weights."""

    def __init__(self, channels: int = 3, classes: int = 3) -> None:
        super().__init__(channels, classes)
        self.register_buffer("table", torch.randn(8, 8), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x) @ self.table)  # type: ignore[operator]


CASES = {
    LayersInAList: ("weights-nobody-owns", "_layers[0]"),
    LayersInADict: ("weights-nobody-owns", "parts['stem'][0]"),
    DropoutAlwaysOn: ("draws-in-evaluation", "unsound.py:"),
    Noise: ("draws-in-evaluation", "randn"),
    SoftmaxOverTheBatch: ("softmax-over-batch", "softmax"),
    NormalisedByTheBatch: ("reduced-over-batch", "mean"),
    NoRunningStatistics: ("batch-statistics", "norm"),
    Sorted: ("ordered-over-batch", "sort"),
    FirstForAll: ("reduced-over-batch", "select"),
    Similarities: ("images-contracted", "mm"),
    Attends: ("attention-over-batch", "attention"),
    ReadsTheBatch: ("images-as-sequence", "recurrent"),
    Counts: ("state-changes-in-evaluation", "mul"),
    RunsInEvaluation: ("state-changes-in-evaluation", "level"),
    DrawsInPython: ("state-changes-in-evaluation", "mul"),
    DrawsInNumPy: ("answer-changes", "the forward pass"),
    StandardisesEachImage: ("not-finite", "div"),
    Squeezes: ("wrong-output-shape", "the output"),
    DrawnTable: ("answer-lost-by-loading", "table"),
    DropsKeys: ("draws-in-evaluation", "unsound.py:"),
    Whitens: ("images-contracted", "mm (unsound.py:"),
    ReadsAGlobalLayer: ("weights-nobody-owns", "addmm (unsound.py:"),
    LeavesItsTable: ("answer-lost-by-loading", "table"),
}
"""Net -> name of the finding, and what its place says."""
UNSEEN = (DrawsInNumPy, StandardisesEachImage, Squeezes, DrawnTable, LeavesItsTable)
"""What only the answers show."""
