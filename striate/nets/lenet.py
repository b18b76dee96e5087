"""LeNet-5: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition", Proc. IEEE.

Section II.B, Fig. 2 and Table I. Layers bear the paper's names: C convolution, S sub-sampling, F full connection.
Sizes at the default inputs, 28x28 with padding 2 (modern) and 32x32 (1998):

    C1 6@28x28   S2 6@14x14   C3 16@10x10   S4 16@5x5   C5 120   F6 84   output 10

`lenet5` is the net as it is drawn today. `lenet5_1998` is the paper's own, with the parts that later were dropped: the
partly connected C3, sub-sampling with a coefficient and a bias to learn, the scaled tanh, and an output that measures
the distance to a drawing of each digit.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from striate.errors import UsageError
from striate.nets.blocks import named, xavier_init
from striate.nets.net import Net
from striate.nets.netspec import Family, NetSpec, variant

# Table I: the maps of S2 that each of the sixteen maps of C3 sees.
C3_INPUTS = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip

# Fig. 3: the codes of 0 to 9, drawings 7 wide and 12 high; ink is +1, paper -1. The bars over some tell 0 from O and o.
DIGITS = """
.#####. ...##.. .#####. ####### .#####. .#####. ..####. ####### .#####. .#####.
....... ..###.. ....... .....## ....... ....... .##.... .....## ##...## ##..###
..###.. .####.. .#####. ....##. ....... ####### ##..... .....## ##...## ##...##
.##.##. ...##.. ##...## ...##.. .##..## ##..... ##..... ....##. ##...## ##...##
##...## ...##.. #....## ..####. .##..## ##..... ######. ...##.. .#####. ##..###
##...## ...##.. ....##. .....## ###..## .####.. ###..## ...##.. ##...## .######
##...## ...##.. ..###.. .....## ##...## ..####. ##...## ..##... ##...## .....##
##...## ...##.. .##.... .....## ##...## .....## ##...## ..##... ##...## .....##
.##.##. ...##.. ##..... ##...## ##..### ##...## ###..## ..##... ##...## ....##.
..###.. .###### ####### .#####. .###### .#####. .#####. ..##... .#####. .####..
....... ....... ....... ....... .....## ....... ....... ....... ....... .......
....... ....... ....... ....... .....## ....... ....... ....... ....... .......
"""


def digit_codes() -> Tensor:
    """The ten fixed codes of the 1998 output, (10, 84) of +1 and -1, each drawing read row by row."""
    rows = [line.split() for line in DIGITS.split("\n") if line]
    drawings = ["".join(row[digit] for row in rows) for digit in range(10)]
    return torch.tensor([[1.0 if dot == "#" else -1.0 for dot in drawing] for drawing in drawings])


class ScaledTanh(nn.Module):
    """f(a) = 1.7159 tanh(2/3 a), so that f(1) = 1 and f(-1) = -1 (appendix A). Any shape."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsampling(nn.Module):
    """Sums 2x2 neighbours, times a coefficient, plus a bias, both learned a map. (N, C, H, W) -> (N, C, H/2, W/2)."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.ones(maps, 1, 1))
        self.bias = nn.Parameter(torch.zeros(maps, 1, 1))
        self.average = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.average(x) * 4  # the sum over the four
        return x * self.coefficient + self.bias


class PartialConv(nn.Module):
    """C3: each map a 5x5 convolution over its own maps of S2. (N, 6, H, W) -> (N, 16, H-4, W-4).

    Maps with equally many inputs are done as one grouped convolution over a copy of these inputs side by side.
    """

    def __init__(self) -> None:
        super().__init__()
        counts = sorted({len(inputs) for inputs in C3_INPUTS})
        self.convs = nn.ModuleList()
        for position, count in enumerate(counts):
            sources = [inputs for inputs in C3_INPUTS if len(inputs) == count]
            self.convs.append(nn.Conv2d(count * len(sources), len(sources), 5, groups=len(sources)))
            self.register_buffer(f"sources{position}", torch.tensor(sources).flatten())

    def forward(self, x: Tensor) -> Tensor:
        parts = [
            conv(x.index_select(1, self.get_buffer(f"sources{position}"))) for position, conv in enumerate(self.convs)
        ]
        return torch.cat(parts, 1)


class EuclideanRBF(nn.Module):
    """Logits (N, 10) = -1/2 squared distance of F6 (N, 84) to each digit's fixed code.

    The paper's output y is the squared distance itself, small for the right class (eq. 7). With this sign and factor
    the codes are the means of ten unit Gaussians, and the softmax of the logits is their posterior.
    """

    codes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("codes", digit_codes())

    def forward(self, x: Tensor) -> Tensor:
        return (x.unsqueeze(1) - self.codes).square().sum(2) / -2


def paper_init(net: nn.Module) -> None:
    """Appendix A: weights and biases uniform within 2.4 / fan_in of 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | Subsampling):
            bound = 2.4 / (4 if isinstance(module, Subsampling) else module.weight[0].numel())
            for parameter in module.parameters():
                nn.init.uniform_(parameter, -bound, bound)


def lenet5(
    channels: int, classes: int, *, activation: type[nn.Module] = nn.ReLU, norm: bool = False, padding: int = 2
) -> Net:
    """LeNet-5 in its modern form: C3 sees all of S2, sub-sampling is average pooling, the output is linear.

    Args:
        channels, classes: of the images and the output.
        activation: module class after every layer but the last.
        norm: batch norm between each layer, whose bias stays, and its activation.
        padding: of C1; 2 takes 28x28 images where the paper has 32x32.
    """
    side = 5 if padding else 4  # of S4 at 28x28

    def layer(conv: nn.Conv2d) -> nn.Sequential:
        return named({"conv": conv, "norm": nn.BatchNorm2d(conv.out_channels) if norm else None, "act": activation()})

    stages = {
        "c1": layer(nn.Conv2d(channels, 6, 5, padding=padding)),
        "s2": nn.AvgPool2d(2),
        "c3": layer(nn.Conv2d(6, 16, 5)),
        "s4": nn.AvgPool2d(2),
    }
    head = named(
        {
            "pool": nn.AdaptiveAvgPool2d(side),
            "flatten": nn.Flatten(),
            "c5": nn.Linear(16 * side * side, 120),
            "norm5": nn.BatchNorm1d(120) if norm else None,
            "act5": activation(),
            "f6": nn.Linear(120, 84),
            "norm6": nn.BatchNorm1d(84) if norm else None,
            "act6": activation(),
            "classifier": nn.Linear(84, classes),
        }
    )
    return Net(stages, head)


def lenet5_1998(channels: int, classes: int) -> Net:
    """LeNet-5 as published: 60,000 parameters to learn.

    Raises:
        UsageError: classes is not 10; the codes of the output are the ten digits'.
    """
    if classes != 10:
        raise UsageError(
            f"lenet5-1998 has exactly 10 classes, got {classes}: its output compares with drawings of the ten digits; "
            "use lenet5"
        )

    def layer(name: str, module: nn.Module) -> nn.Sequential:
        return named({name: module, "act": ScaledTanh()})

    stages = {
        "c1": layer("conv", nn.Conv2d(channels, 6, 5)),
        "s2": layer("pool", Subsampling(6)),
        "c3": layer("conv", PartialConv()),
        "s4": layer("pool", Subsampling(16)),
        "c5": layer("conv", nn.Conv2d(16, 120, 5)),
    }
    head = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    return Net(stages, named(head | {"f6": nn.Linear(120, 84), "act6": ScaledTanh(), "rbf": EuclideanRBF()}))


# fmt: off
_LENET5 = NetSpec(
    name="lenet5", title="LeNet-5", family="lenet", year=1998,
    citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition. "
    "Proceedings of the IEEE 86(11), 1998",
    source="Section II.B, Fig. 2, in its usual modern form",
    deviations=(
        "C3 is connected to all maps of S2 (in the paper by a table of 60 connections)",
        "subsampling is average pooling, without trainable parameters or a squashing function",
        "ReLU instead of the scaled tanh",
        "linear output with cross-entropy instead of the distances to fixed codes",
        "padding 2 on C1 takes 28x28 images (the paper pads the images to 32x32)",
    ),
    input=(1, 28, 28), min_size=12, classes=10, params=61_706, macs=416_520, builder=lenet5, paper_init=paper_init,
)

FAMILY = Family(
    name="lenet",
    title="LeNet-5",
    new="Local filters that are learned and shared across the image, alternating with subsampling, and trained end to "
    "end by gradient descent instead of hand-designed feature extractors.",
    mattered="It read bank cheques and gave the field MNIST. Every later convolutional net keeps its plan: feature "
    "maps that shrink in size and grow in number, then fully connected layers.",
    drawn="lenet5",
    recipe={
        "source": "LeCun et al. 1998, section III.C: 20 passes, one image a step, global rates 5e-4, 2e-4, 1e-4, 5e-5, 1e-5 "
        "over mu = 0.02; plain gradient steps here for the paper's diagonal second-order ones",
        "epochs": 20, "batch_size": 1, "lr": 0.025, "momentum": 0.0,
        "milestones": ((0.1, 0.4), (0.25, 0.2), (0.4, 0.1), (0.6, 0.02)),
    },
    rows=(
        _LENET5,
        variant(
            _LENET5, "lenet5-1998", "LeNet-5 as published", "Section II.B, Fig. 2 and 3, Table I, appendix A",
            (60_000, 325_680),
            deviations=(
                "logits are -1/2 of the paper's outputs, so that the largest one is the prediction and cross-entropy "
                "applies (in the paper eq. 9, with a rubbish class)",
            ),
            input=(1, 32, 32), min_size=32, builder=lenet5_1998, init=paper_init,
            results=("MNIST: 0.95 % error; 0.8 % with distorted training images (LeCun et al. 1998, section III)",),
        ),
        variant(
            _LENET5, "lenet5-tutorial", "LeNet-5 with sigmoids", "Dive into Deep Learning 1.0.3, section 7.6",
            (61_706, 416_520),
            deviations=(
                "C3 is connected to all maps of S2, subsampling is average pooling, the output is linear",
                "sigmoid instead of the scaled tanh; Glorot initialisation",
                "padding 2 on C1 takes 28x28 images",
            ),
            geometry="tutorial", builder=partial(lenet5, activation=nn.Sigmoid), init=xavier_init, paper_init=xavier_init,
        ),
        variant(
            _LENET5, "lenet5-bn", "LeNet-5 with batch norm", "Dive into Deep Learning 1.0.3, section 8.5", (44_878, 281_640),
            deviations=(
                "as lenet5-tutorial, with batch norm after every layer except the last",
                "no padding on C1: S4 is 16@4x4 at 28x28",
            ),
            year=2015, geometry="tutorial", min_size=16, known_findings=("bias-before-batchnorm",),
            biases_before_norm=("stages.c1.conv.bias", "stages.c3.conv.bias", "head.c5.bias", "head.f6.bias"),
            builder=partial(lenet5, activation=nn.Sigmoid, norm=True, padding=0), init=xavier_init, paper_init=xavier_init,
        ),
    ),
)
# fmt: on
