"""Planted mistakes are pointed out by name, and good nets are left in peace. Run: pytest tests/anatomy/test_findings.py"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.anatomy import inspect, trace
from striate.anatomy.findings import Finding, find_mistakes
from striate.nets import CATALOGUE, build
from tests.anatomy.fast_rows import ROWS


class Good(nn.Module):
    """A small net without a mistake; each planted one changes one thing of it."""

    def __init__(self, bias: bool = False, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc = nn.Linear(16, classes)

    def features(self, x: Tensor) -> Tensor:  # (N, 3, H, W) -> (N, 16)
        x = F.relu(self.norm(self.conv1(x)))
        return F.relu(self.conv2(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))


class SoftmaxModule(Good):
    def __init__(self) -> None:
        super().__init__()
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.softmax(self.fc(self.features(x)))


class SoftmaxFunction(Good):
    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(self.fc(self.features(x)), dim=1).view(-1, 10)


class LinearBiasBeforeNorm(Good):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.hidden(self.features(x)))


class DeadBranch(Good):
    def __init__(self) -> None:
        super().__init__()
        self.extra = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        self.extra(x)  # x = was forgotten
        return self.fc(self.features(x))


class ForgottenLayer(Good):
    def __init__(self) -> None:
        super().__init__()
        self.conv3 = nn.Conv2d(16, 16, 3)


class DetachedLayer(Good):
    """Read in the forward pass, but no gradient comes back: not unused, so left alone here."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).detach())


class NoActivationFunctional(Good):
    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.norm(self.conv1(x)), training=self.training)
        return self.fc(F.relu(self.conv2(x)).mean((2, 3)))


class TwoLinear(Good):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(16, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(self.features(x))) + self.fc(self.features(x))


def found(net: nn.Module, classes: int | None = 10, batch: int | None = 32, side: int = 8) -> tuple[Finding, ...]:
    return find_mistakes(net, trace(net, (1, 3, side, side)), classes=classes, batch=batch)


PLANTED: list[tuple[Callable[[], nn.Module], dict[str, int], str, str]] = [
    (SoftmaxModule, {}, "softmax-before-loss", "softmax"),
    (SoftmaxFunction, {}, "softmax-before-loss", "_softmax"),
    (lambda: Good(bias=True), {}, "bias-before-batchnorm", "conv1"),
    (LinearBiasBeforeNorm, {}, "bias-before-batchnorm", "hidden.0"),
    (Good, {"batch": 1}, "batchnorm-at-batch-1", "norm"),
    (DeadBranch, {}, "dead-branch", "extra.2"),
    (ForgottenLayer, {}, "unused-parameters", "conv3"),
    (NoActivationFunctional, {}, "missing-activation", "conv1 -> conv2"),
    (TwoLinear, {}, "missing-activation", "fc1 -> fc2"),
    (lambda: Good(classes=1000), {}, "wrong-number-of-classes", "fc"),
    (lambda: Good(classes=2), {}, "wrong-number-of-classes", "fc"),
]


@pytest.mark.parametrize(("make", "setting", "name", "place"), PLANTED)
def test_a_planted_mistake_is_named_with_its_place(
    make: Callable[[], nn.Module], setting: dict[str, int], name: str, place: str
) -> None:
    (finding,) = found(make(), **setting)
    assert finding.name == name
    assert finding.where == (place,)
    assert name in str(finding)
    assert place in str(finding)
    assert finding.why
    assert finding.remedy


def test_several_mistakes_are_all_named() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 6), nn.Flatten(), nn.Softmax(dim=1)
    )  # fmt: skip
    assert {f.name for f in found(net)} == {
        "bias-before-batchnorm", "missing-activation", "softmax-before-loss", "wrong-number-of-classes",
    }  # fmt: skip


@pytest.mark.parametrize("make", [Good, DetachedLayer])
def test_a_good_net_is_left_in_peace(make: Callable[[], nn.Module]) -> None:
    assert found(make()) == ()
    assert found(make(), classes=None, batch=None) == ()


def test_linear_bottlenecks_and_depthwise_pairs_are_left_in_peace() -> None:
    for name in ("mobilenet_v2", "shufflenet_v2_x0_5", "resnet18"):
        assert inspect(f"torchvision:{name}").findings == (), name


def test_batch_1_over_single_values_stops_training() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))
    (finding,) = found(net, batch=1)
    assert "error" in finding.why
    with pytest.raises(ValueError, match="more than 1 value"):
        net.train()(torch.rand(1, 3, 8, 8))


def test_the_floor_of_the_loss_behind_a_softmax_is_true() -> None:
    (finding,) = find_mistakes(SoftmaxModule(), trace(SoftmaxModule(), (1, 3, 8, 8)))
    best = F.cross_entropy(torch.eye(10), torch.arange(10)).item()
    assert f"{best:.3f}" in finding.why
    assert round(math.log(1 + 3 / math.e), 3) == 0.744  # the figure of a well-known tutorial with four outputs


def test_torchvision_auxiliary_heads_are_no_unused_parameters() -> None:
    from torchvision import models

    with torch.device("meta"):
        net = models.googlenet(weights=None, init_weights=False, aux_logits=True)
    assert find_mistakes(net, trace(net, (1, 3, 224, 224)), classes=1000) == ()


@pytest.mark.parametrize("name", ROWS)
def test_the_catalogue_raises_what_it_declares(name: str) -> None:
    with torch.device("meta"):
        net = build(name)
    spec = CATALOGUE[name]
    findings = find_mistakes(net, trace(net, (1, *spec.input)), classes=spec.classes)
    assert {finding.name for finding in findings} == set(spec.known_findings), [str(f) for f in findings]


def test_a_recurrent_layer_after_a_linear_one_is_no_missing_activation() -> None:
    class Recurrent(Good):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRU(16, 16, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            rows = self.conv2(F.relu(self.norm(self.conv1(x)))).mean(3).transpose(1, 2)
            return self.fc(self.cell(rows)[0].amax(1))

    assert inspect(Recurrent(), (3, 8, 8)).findings == ()
