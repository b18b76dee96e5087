"""VGG: Simonyan and Zisserman 2014, "Very deep convolutional networks for large-scale image recognition", arXiv:1409.1556.

Table 1: nets A to E. Tensors are N C H W; total stride 32. Every convolution is 3x3 with stride 1 and padding 1 (net C has
1x1 too) with a ReLU behind it; five groups of them, each closed by 2x2 max pooling; then 4096, 4096 and the classes.

    224x224   64@224   128@112   256@56   512@28   512@14   512@7 -> 4096 -> 4096 -> 1000
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from striate.nets.blocks import he_init, named, response_norm
from striate.nets.net import Net

WIDTHS = (64, 128, 256, 512, 512)

# Table 1: kernel sizes of each group's convolutions.
A = ((3,), (3,), (3, 3), (3, 3), (3, 3))
B = ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3))
C = ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1))
D = ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
E = ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3))


@dataclass(frozen=True, kw_only=True, slots=True)
class VGGForm:
    """What tells the forms of VGG apart. The defaults are the paper's net A; any width multiple is a form."""

    kernels: Sequence[Sequence[int]] = A
    """Kernel sizes of each group's convolutions, five groups."""
    width: float = 1.0
    """Multiple of the maps, 64 to 512."""
    hidden: int = 4096
    """Units of fc6 and fc7."""
    batch_norm: bool = False
    """Batch norm between each convolution and its ReLU."""
    conv_bias: bool = True
    """A bias in each convolution."""
    response_norm: bool = False
    """AlexNet's response normalisation after the first convolution: net A-LRN."""
    first_pool: bool = True
    """Max pooling behind the first group."""
    side: int = 7
    """Height and width of the map that fc6 sees."""


def group(inputs: int, maps: int, kernels: Sequence[int], form: VGGForm, norm_first: bool) -> nn.Sequential:
    """Convolutions with ReLUs: (N, inputs, H, W) -> (N, maps, H, W)."""
    layers: dict[str, nn.Module | None] = {}
    for number, kernel in enumerate(kernels, 1):
        layers |= {
            f"conv{number}": nn.Conv2d(inputs, maps, kernel, padding=kernel // 2, bias=form.conv_bias),
            f"norm{number}": nn.BatchNorm2d(maps) if form.batch_norm else None,
            f"relu{number}": nn.ReLU(),
        }
        inputs = maps
    return named(layers | {"response_norm": response_norm() if norm_first else None})


def vgg(channels: int, classes: int, init: str, form: VGGForm) -> Net:
    """Groups of small convolutions, each at half the size and up to twice the width of the one before.

    `init="paper"` is section 3.1: weights N(0, variance 0.01), biases 0. With it the paper trained net A alone, and began
    the deeper ones from A's weights; `default` is He's, which trains all of them.
    """
    stages: dict[str, nn.Module] = {}
    inputs = channels
    for number, (base, kernels) in enumerate(zip(WIDTHS, form.kernels, strict=True), 1):
        maps = max(1, round(base * form.width))
        stages[f"conv{number}"] = group(inputs, maps, kernels, form, form.response_norm and number == 1)
        if number > 1 or form.first_pool:
            stages[f"pool{number}"] = nn.MaxPool2d(2)
        inputs = maps
    head = named(
        {
            "pool": nn.AdaptiveAvgPool2d(form.side),
            "flatten": nn.Flatten(),
            "fc6": nn.Linear(inputs * form.side**2, form.hidden),
            "relu6": nn.ReLU(),
            "drop6": nn.Dropout(0.5),
            "fc7": nn.Linear(form.hidden, form.hidden),
            "relu7": nn.ReLU(),
            "drop7": nn.Dropout(0.5),
            "classifier": nn.Linear(form.hidden, classes),
        }
    )
    net = Net(stages, head)
    if init == "paper":
        paper_init(net)
    else:
        he_init(net)
    return net


def paper_init(net: nn.Module) -> None:
    """Section 3.1: weights N(0, variance 1e-2), biases 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=0.1)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
