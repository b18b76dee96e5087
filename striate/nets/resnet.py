"""ResNet: He, Zhang, Ren, Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385 (CVPR 2016).

Table 1 (ImageNet) and section 4.2 (CIFAR-10). Tensors are N C H W. Every convolution has batch norm behind it and no bias.

    ImageNet   conv1 64@112   pool1 56   conv2 @56   conv3 @28   conv4 @14   conv5 @7   average   1000
    CIFAR      conv1 16@32    conv2 16@32   conv3 32@16   conv4 64@8   average   10

A unit adds what it learned to its own input: relu(F(x) + shortcut(x)). Where the map changes its shape, the shortcut is
option A (every second pixel, zeros for the new maps), B (a 1x1 projection) or C (projections everywhere).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import UsageError
from striate.nets.blocks import global_head, he_init, named
from striate.nets.net import Net


@dataclass(frozen=True, kw_only=True, slots=True)
class ResNetForm:
    """What tells the forms of ResNet apart. The defaults are the paper's ResNet-18."""

    depths: tuple[int, ...] = (2, 2, 2, 2)
    """Units of each group, conv2 and on."""
    width: int = 64
    """Maps of the first group; each next one has twice as many and half the size."""
    bottleneck: bool = False
    """Units of 1x1, 3x3 and 1x1 with four times the maps in the end, for units of two 3x3."""
    shortcut: Literal["A", "B", "C", "none"] = "B"
    """The paper's options; `none` is the plain net."""
    stride_on_3x3: bool = False
    """A bottleneck that halves the size does it in its 3x3 and not in its first 1x1: "v1.5"."""
    large_stem: bool = True
    """conv1 of 7x7 at stride 2 and 3x3 max pooling at stride 2, for conv1 of 3x3 alone."""
    stem_stride: int = 1
    """Of that small conv1."""
    conv_bias: bool = False
    """Biases in the convolutions although batch norm follows."""
    shortcut_norm: bool = True
    """Batch norm behind a projection."""


class Residual(nn.Module):
    """relu(body(x) + shortcut(x)). (N, C, H, W) -> (N, maps, H/stride, W/stride)."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return y


class ZeroPadShortcut(nn.Module):
    """Option A: every stride-th pixel, with maps of zeros appended. (N, inputs, H, W) -> (N, maps, H/stride, W/stride)."""

    def __init__(self, inputs: int, maps: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.zeros = maps - inputs

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.zeros))


def body(inputs: int, width: int, stride: int, form: ResNetForm) -> nn.Sequential:
    """F(x): two 3x3 convolutions that leave `width` maps, or a bottleneck that leaves four times as many."""
    if form.bottleneck:
        strides = (1, stride, 1) if form.stride_on_3x3 else (stride, 1, 1)
        convs = list(zip((1, 3, 1), (width, width, 4 * width), strides, strict=True))
    else:
        convs = [(3, width, stride), (3, width, 1)]
    layers: dict[str, nn.Module | None] = {}
    for number, (kernel, maps, step) in enumerate(convs, 1):
        layers |= {
            f"conv{number}": nn.Conv2d(inputs, maps, kernel, step, kernel // 2, bias=form.conv_bias),
            f"norm{number}": nn.BatchNorm2d(maps),
            f"relu{number}": nn.ReLU() if number < len(convs) else None,
        }
        inputs = maps
    return named(layers)


def shortcut(inputs: int, maps: int, stride: int, form: ResNetForm) -> nn.Module:
    """Section 3.3 and the options of section 4.1."""
    if form.shortcut != "C" and stride == 1 and inputs == maps:
        return nn.Identity()
    if form.shortcut == "A":
        return ZeroPadShortcut(inputs, maps, stride)
    conv = nn.Conv2d(inputs, maps, 1, stride, bias=form.conv_bias)
    return named({"conv": conv, "norm": nn.BatchNorm2d(maps) if form.shortcut_norm else None})


def unit(inputs: int, width: int, stride: int, form: ResNetForm) -> nn.Module:
    """A residual unit, or without shortcut what is left of it."""
    maps = 4 * width if form.bottleneck else width
    function = body(inputs, width, stride, form)
    if form.shortcut == "none":
        return named({"body": function, "relu": nn.ReLU()})
    return Residual(function, shortcut(inputs, maps, stride, form))


def resnet(channels: int, classes: int, init: str, form: ResNetForm) -> Net:
    """A stem, groups of units, global average pooling, one linear layer.

    Both values of `init` are the paper's, which is He's (section 3.4).
    """
    kernel, stride = (7, 2) if form.large_stem else (3, form.stem_stride)
    stages: dict[str, nn.Module] = {
        "conv1": named(
            {
                "conv": nn.Conv2d(channels, form.width, kernel, stride, kernel // 2, bias=form.conv_bias),
                "norm": nn.BatchNorm2d(form.width),
                "relu": nn.ReLU(),
            }
        )
    }
    if form.large_stem:
        stages["pool1"] = nn.MaxPool2d(3, 2, 1)
    maps, width = form.width, form.width
    for group, depth in enumerate(form.depths):
        units = []
        for number in range(depth):
            units.append(unit(maps, width, 2 if group and number == 0 else 1, form))
            maps = 4 * width if form.bottleneck else width
        stages[f"conv{group + 2}"] = nn.Sequential(*units)
        width *= 2
    net = Net(stages, global_head(maps, classes))
    he_init(net)
    return net


def cifar_form(depth: int, shortcut: Literal["A", "B", "C", "none"] = "A") -> ResNetForm:
    """Section 4.2: depth 6n+2, three groups of n units with 16, 32 and 64 maps.

    Raises:
        UsageError: a depth that is no 6n+2.
    """
    units, rest = divmod(depth - 2, 6)
    if rest or units < 1:
        raise UsageError(f"depth must be 6n+2 with n at least 1, got {depth}: use {6 * max(units, 1) + 2}")
    return ResNetForm(depths=(units,) * 3, width=16, shortcut=shortcut, large_stem=False)


def resnet_mnist(channels: int, classes: int, init: str, *, scale: float = 1.0, conv_shortcut: bool = False) -> Net:
    """A tutorial's small residual net: two convolutions, each with pooling and a unit of two 3x3 behind it, no batch norm.

    Its exercise, two shortcuts of He et al. 2016 (arXiv:1603.05027): `scale` multiplies both the input and what is
    added to it; `conv_shortcut` puts a 1x1 convolution on the shortcut. Both values of `init` leave the weights as torch
    draws them, as the tutorial does; He's would double the variance at each addition.
    """

    def residual(maps: int) -> Residual:
        function = {
            "conv1": nn.Conv2d(maps, maps, 3, padding=1),
            "relu": nn.ReLU(),
            "conv2": nn.Conv2d(maps, maps, 3, padding=1),
            "scale": Scale(scale) if scale != 1 else None,
        }
        path = nn.Conv2d(maps, maps, 1) if conv_shortcut else Scale(scale) if scale != 1 else nn.Identity()
        return Residual(named(function), path)

    stages = {
        "conv1": named({"conv": nn.Conv2d(channels, 16, 5), "relu": nn.ReLU()}),
        "pool1": nn.MaxPool2d(2),
        "residual1": residual(16),
        "conv2": named({"conv": nn.Conv2d(16, 32, 5), "relu": nn.ReLU()}),
        "pool2": nn.MaxPool2d(2),
        "residual2": residual(32),
    }
    head = {"pool": nn.AdaptiveAvgPool2d(4), "flatten": nn.Flatten(), "classifier": nn.Linear(32 * 4 * 4, classes)}
    return Net(stages, named(head))


class Scale(nn.Module):
    """Multiplies by a constant. Any shape."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def extra_repr(self) -> str:
        return f"{self.factor}"
