"""The sums that are printed are true, and are those of the textbooks. Run: pytest tests/anatomy/test_explain.py"""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from striate.anatomy import inspect
from striate.anatomy.explain import Bottleneck, bottlenecks, explain_row
from striate.anatomy.sizes import conv_sizes
from striate.errors import UsageError
from striate.nets import CATALOGUE

FAST = ("lenet5", "alexnet", "vgg16", "googlenet", "resnet18", "resnet20", "nin-cifar10", "densenet40-k12")


def calculated(text: str) -> int:
    """The value of a printed sum, by Python."""
    expression = text.replace("floor", "math.floor").replace("ceil", "math.ceil")
    assert re.fullmatch(r"[\d\s()*/+\-.a-z]+", expression), expression
    import math

    return int(eval(expression, {"math": math}))


@pytest.mark.parametrize("name", [p if p in FAST else pytest.param(p, marks=pytest.mark.slow) for p in CATALOGUE])
def test_every_printed_sum_is_true_and_gives_the_rows_number(name: str) -> None:
    anatomy = inspect(name)
    parameters = macs = 0
    for row in anatomy.rows:
        for line in explain_row(anatomy.graph, row):
            what, _, text = line.partition(": ")
            left, equals, right = text.partition(" = ")
            number = re.match(r"[\d,]+", right if equals else text)
            if number is None:
                assert what == "size"
                continue
            value = int(number.group().replace(",", ""))
            if equals:
                assert calculated(left) == value, line
            if line.startswith(("size: floor", "size: ceil")) and "outside" not in line:
                assert value == row.shape[-1]
            parameters += value * (what == "parameters")
            macs += value * (what == "MACs")
    assert macs == anatomy.totals.macs
    assert parameters == anatomy.totals.parameters


def test_alexnets_sizes() -> None:
    """55, 27, 27, 13, 13, 13, 13, 6, as every tutorial has them."""
    anatomy = inspect("alexnet")
    sums = [line for row in anatomy.rows for line in explain_row(anatomy.graph, row) if line.startswith("size: floor")]
    assert sums[0] == "size: floor((227 - 11 + 2*0) / 4) + 1 = 55"
    assert [int(line.split()[-1]) for line in sums] == [55, 27, 27, 13, 13, 13, 13, 6]


def test_the_bottleneck_of_the_tutorials() -> None:
    """100x100x128 through 256 filters of 5x5, by way of 32 channels."""
    layer = Bottleneck(path="", size=(100, 100), channels=128, squeezed=32, filters=256, kernel=(5, 5))
    assert layer.parameters_without == 5 * 5 * 128 * 256 + 256
    assert layer.parameters == (128 * 32 + 32) + (5 * 5 * 32 * 256 + 256)
    assert layer.macs_without == 8_192_000_000
    assert layer.macs == 2_088_960_000
    assert "3.92 times fewer MACs" in str(layer)
    plain = nn.Sequential(nn.Conv2d(128, 256, 5, padding=2))
    squeezed = nn.Sequential(nn.Conv2d(128, 32, 1), nn.ReLU(), nn.Conv2d(32, 256, 5, padding=2))
    for net, parameters, macs in (
        (plain, layer.parameters_without, layer.macs_without),
        (squeezed, layer.parameters, layer.macs),
    ):
        totals = inspect(net, (128, 100, 100)).totals
        assert (totals.parameters, totals.macs) == (parameters, macs)


def test_bottlenecks_of_nets_are_found() -> None:
    assert len(bottlenecks(inspect("googlenet").graph)) == 2 * 9  # in each block the 3x3 and the 5x5
    assert (
        len(bottlenecks(inspect("torchvision:resnet50").graph)) == 16 - 1
    )  # the first block does not squeeze 64 to 64
    assert bottlenecks(inspect("vgg16").graph) == ()
    assert "Savings by the 1x1 bottlenecks" in inspect("googlenet").explain()
    assert "bottlenecks" not in inspect("vgg16").explain()


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_the_calculator_agrees_with_the_layer(
    kernel: int, stride: int, padding: int, dilation: int, transposed: bool
) -> None:
    kind = nn.ConvTranspose1d if transposed else nn.Conv1d

    def real(kernel: int, stride: int, padding: int, dilation: int) -> int:
        layer = kind(1, 1, kernel, stride=stride, padding=padding, dilation=dilation)
        return int(layer(torch.zeros(1, 1, 17)).shape[-1])

    result = conv_sizes(17, kernel, stride, padding, dilation=dilation, transposed=transposed)
    assert result.output == real(kernel, stride, padding, dilation)
    assert calculated(result.sum.partition(" = ")[0]) == result.output
    for other in result.same_size[:3]:
        assert real(other.kernel, other.stride, other.padding, other.dilation) == result.output
        assert other != result.setting


def test_unread_pixels_are_counted() -> None:
    """The last pixels have no gradient."""
    for length, kernel, stride, padding in (
        (224, 11, 4, 0),
        (224, 11, 4, 2),
        (30, 3, 4, 0),
        (31, 2, 5, 1),
        (227, 11, 4, 0),
    ):
        picture = torch.zeros(1, 1, length, requires_grad=True)
        layer = nn.Conv1d(1, 1, kernel, stride=stride, padding=padding)
        nn.init.ones_(layer.weight)
        layer(picture).sum().backward()
        assert picture.grad is not None
        last = int(picture.grad[0, 0].nonzero()[-1])
        assert conv_sizes(length, kernel, stride, padding).unused == length - 1 - last


def test_the_calculator_prints_its_sum() -> None:
    text = str(conv_sizes(227, 11, 4, 0))
    assert text.startswith("227 -> 55\n  floor((227 - 11 + 2*0) / 4) + 1 = 55")
    assert "The same size from 227:" in text
    assert "the last pixel is not read by any window" in str(conv_sizes(224, 11, 4))
    assert conv_sizes(28, 5).same_padding == 2
    assert conv_sizes(28, 4).same_padding is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((5, 11), "kernel of at most 5, or a padding of at least 3"),
        ((5, 0), "kernel must be at least 1"),
        ((5, 3, 0), "stride must be at least 1"),
        ((5, 3, 1, -1), "padding must be at least 0"),
        ((0, 3), "input must be at least 1"),
    ],
)
def test_settings_that_make_nothing(settings: tuple[int, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        conv_sizes(*settings)
    with pytest.raises(UsageError, match="nothing remains"):
        conv_sizes(1, 1, 1, 2, transposed=True)
