"""A made set whose class is a small patch at a random place, and small nets that the tests of explaining share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from striate.nets import Net, build
from striate.nets.netspec import NetFacts

CLASSES = 4
"""Three textures, and no patch at all. Without the last, one texture would be the answer where the two others are not seen."""


def patches(
    count: int, side: int, patch: int, seed: int, dot: int = 1
) -> tuple[torch.Tensor, torch.Tensor, np.ndarray[Any, Any]]:
    """(images (N, 1, side, side), labels (N,), top left corners of the patches (N, 2)).

    Images are of random black and white dots; the patch has the dots in rows, columns or as a chess board. It is as bright
    and as full of contrast as the rest, so that only a net that has learnt these textures finds it.
    """
    generator = np.random.default_rng(seed)
    rough = -(-side // dot)
    pictures = generator.integers(0, 2, (count, rough, rough)).repeat(dot, 1).repeat(dot, 2)[:, :side, :side]
    rows, columns = np.mgrid[:patch, :patch] // dot
    textures = np.stack([rows % 2, columns % 2, (rows + columns) % 2])
    labels = np.arange(count) % CLASSES
    corners = generator.integers(0, side - patch + 1, (count, 2))
    for picture, label, (top, left) in zip(pictures, labels, corners, strict=True):
        if label < len(textures):
            picture[top : top + patch, left : left + patch] = textures[label] ^ generator.integers(0, 2)
    return torch.from_numpy(pictures * 2.0 - 1).float()[:, None], torch.from_numpy(labels), corners


def trained_on_patches(name: str, side: int, patch: int, *, count: int, epochs: int, rate: float, dot: int = 1) -> Net:
    """A net of the catalogue, trained by a plain loop."""
    torch.manual_seed(0)
    net = build(name, channels=1, classes=CLASSES)
    inputs, labels, _ = patches(count, side, patch, seed=1, dot=dot)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
    batches = count // 32
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * batches)
    net.train()
    for _ in range(epochs):
        for chosen in torch.randperm(count)[: batches * 32].split(32):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            F.cross_entropy(net(inputs[chosen]), labels[chosen]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return net.eval()


def small_net(stages: dict[str, nn.Module], head: nn.Module, channels: int = 1, classes: int = 3, size: int = 8) -> Net:
    """A Net of these parts, with the least facts that it needs."""
    net = Net(stages, head)
    net.spec = NetFacts(name="made", title="Made", family="made", input=(channels, size, size), min_size=1, origin={})
    net.channels, net.classes = channels, classes
    return net.eval()


class Linear(nn.Module):
    """(N, C, H, W) -> logits (N, 3), each a weighted sum of the pixels plus its bias."""

    def __init__(self, channels: int = 2, size: int = 8) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(3, channels, size, size, generator=generator))
        self.bias = nn.Parameter(torch.randn(3, generator=generator))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nchw,kchw->nk", x, self.weight) + self.bias


def enlarged(
    small: np.ndarray[Any, Any], height: int, width: int, middle: float, stride: float
) -> np.ndarray[Any, Any]:
    """Bilinear, position k where pixel middle + k * stride is, the border repeated: one value after the other."""
    h, w = small.shape
    large = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y = min(max((i - middle) / stride, 0), h - 1)
            x = min(max((j - middle) / stride, 0), w - 1)
            top, left = int(y), int(x)
            below, right = min(top + 1, h - 1), min(left + 1, w - 1)
            upper = small[top, left] * (1 - (x - left)) + small[top, right] * (x - left)
            lower = small[below, left] * (1 - (x - left)) + small[below, right] * (x - left)
            large[i, j] = upper * (1 - (y - top)) + lower * (y - top)
    return large
