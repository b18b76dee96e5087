"""The smallest input, and explanations of what does not fit. Run: pytest tests/anatomy/test_input_size.py"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from striate.anatomy import inspect
from striate.anatomy.input_size import runs, smallest_input
from striate.errors import UsageError
from striate.nets import CATALOGUE, build
from tests.anatomy.fast_rows import ROWS


@pytest.mark.full
@pytest.mark.parametrize("name", ROWS)
def test_the_smallest_input_is_the_one_that_the_row_declares(name: str) -> None:
    with torch.device("meta"):
        net = build(name)
    channels = CATALOGUE[name].input[0]
    side = smallest_input(net, channels)
    assert side == CATALOGUE[name].min_size
    assert runs(net, (1, channels, side, side))
    assert side == 1 or not runs(net, (1, channels, side - 1, side - 1))


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "vgg11-native"])
def test_the_real_net_agrees_about_its_smallest_input(name: str) -> None:
    net, channels = build(name).eval(), CATALOGUE[name].input[0]
    side = smallest_input(net, channels)
    assert side is not None
    assert net(torch.rand(1, channels, side, side)).shape == (1, CATALOGUE[name].classes)
    with pytest.raises(RuntimeError):
        net(torch.rand(1, channels, side - 1, side - 1))


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("alexnet", 63),
        ("vgg16", 32),
        *(pytest.param(*row, marks=pytest.mark.slow) for row in (("googlenet", 15), ("densenet121", 29))),
    ],
)
def test_published_smallest_inputs(name: str, side: int) -> None:
    """torchvision's own `min_size` of its weights."""
    assert inspect(f"torchvision:{name}").smallest_input == side


def test_a_net_that_takes_nothing_has_no_smallest_input() -> None:
    assert smallest_input(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(5, 4, 1)), 3, at_most=64) is None


def explanation(net: nn.Module, input: tuple[int, int, int]) -> str:
    with pytest.raises(UsageError) as caught:
        inspect(net, input)
    return str(caught.value)


def convolutions() -> list[nn.Module]:
    return [
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
    ]  # fmt: skip


def test_a_linear_layer_of_the_wrong_size_gets_the_right_number() -> None:
    text = explanation(nn.Sequential(*convolutions(), nn.Linear(400, 10)), (1, 28, 28))
    assert "layer 7 (Linear) fails" in text
    assert "256 = 16 channels of 4x4" in text
    assert "16 channels of 5x5 were expected" in text
    assert "in_features=256" in text
    assert "smallest square image that it takes is 32x32" in text
    mended = nn.Sequential(*convolutions(), nn.Linear(256, 10))
    assert inspect(mended, (1, 28, 28)).rows[-1].shape == (10,)
    assert inspect(nn.Sequential(*convolutions(), nn.Linear(400, 10)), (1, 32, 32)).rows[-1].shape == (10,)


def test_a_forgotten_flatten_is_named() -> None:
    text = explanation(nn.Sequential(nn.Conv2d(1, 6, 5), nn.Linear(3456, 10)), (1, 28, 28))
    assert "were not flattened" in text
    assert "in_features=3456" in text


def test_wrong_channels_are_named() -> None:
    text = explanation(nn.Sequential(nn.Conv2d(3, 6, 5)), (1, 28, 28))
    assert "built for 3 input channels and gets 1" in text
    assert "in_channels=1" in text
    text = explanation(nn.Sequential(nn.Conv2d(1, 6, 5), nn.BatchNorm2d(8)), (1, 28, 28))
    assert "num_features=6" in text


def test_a_window_wider_than_the_map_is_spelled_out() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.Conv2d(4, 4, 3, dilation=3))
    text = explanation(net, (1, 12, 12))
    assert "layer 1 (Conv2d) fails" in text
    assert "7 pixels (3 taps, dilation 3)" in text
    assert "5 + 2*0 = 5" in text
    assert "smallest square image that it takes is 15x15" in text
    with torch.device("meta"):
        text = explanation(build("vgg16"), (3, 20, 20))
    assert "stages.pool5 (MaxPool2d)" in text
    assert "smallest square image that it takes is 32x32" in text


class Branches(nn.Module):
    def __init__(self, cat: bool) -> None:
        super().__init__()
        self.cat, self.a, self.b = cat, nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, H, W) -> never
        return torch.cat([self.a(x), self.b(x)], 1) if self.cat else self.a(x) + self.b(x)


@pytest.mark.parametrize("cat", [True, False])
def test_branches_that_do_not_meet(cat: bool) -> None:
    text = explanation(Branches(cat), (3, 32, 32))
    assert "8x16x16 and 8x32x32" in text
    assert "differ in height and width" in text


class Reshaped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, 7)


class Choosing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_reshapes_and_values() -> None:
    assert "3,072 values an image (3x32x32)" in explanation(Reshaped(), (3, 32, 32))
    assert "depends on pixel values" in explanation(Choosing(), (3, 32, 32))


def test_lazy_layers_are_named() -> None:
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(10))
    assert "lazy layers" in explanation(net, (3, 8, 8))
    assert "net(torch.zeros(1, 3, 8, 8))" in explanation(net, (3, 8, 8))
    net(torch.zeros(1, 3, 8, 8))
    assert inspect(net, (3, 8, 8)).totals.parameters == 4 * 28 + 1450


def test_input_of_the_wrong_form() -> None:
    for input in ((28, 28), (0, 28, 28)):
        with pytest.raises(UsageError, match="channels, height and width"):
            inspect("lenet5", input)
    with pytest.raises(UsageError, match="batch must be at least 1"):
        inspect("lenet5", batch=0)
