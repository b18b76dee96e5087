"""The catalogue's rows as parameters of a test: a few of every family at once, the others marked slow."""

from __future__ import annotations

from typing import Any

import pytest

from striate.nets import CATALOGUE

FAST = {
    "lenet5", "lenet5-1998", "lenet5-bn", "alexnet", "alexnet-native", "vgg16", "vgg16-tutorial", "nin-cifar10", "googlenet",
    "inception-mnist", "bn-inception", "resnet18", "resnet50", "resnet20", "resnet20-exclusive-gating", "preresnet20",
    "densenet40-k12", "densenet-tutorial",
}  # fmt: skip

ROWS: list[Any] = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in CATALOGUE]
