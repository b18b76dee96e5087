"""GoogLeNet: Szegedy et al. 2014, "Going deeper with convolutions", arXiv:1409.4842 (CVPR 2015), and BN-Inception:
Ioffe and Szegedy 2015, "Batch normalization", arXiv:1502.03167.

Table 1 and Fig. 3 of the one, Fig. 5 of the other. Tensors are N C H W. Sizes at 224x224:

    conv1 64@112   pool1 56   conv2 192@56   pool2 28   3a 256   3b 480@28   pool3 14   4a 512 ... 4e 832@14   pool4 7
    5a 832   5b 1024@7   average   1000

An Inception block runs four branches over the same map and puts what they found side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from striate.nets.blocks import global_head, he_init, named, response_norm, xavier_init
from striate.nets.net import Net
from striate.nets.netspec import Family, NetSpec, torchvision_accuracy, variant

# Table 1: channels of 1x1 | 1x1 ahead of 3x3, 3x3 | 1x1 ahead of 5x5, 5x5 | 1x1 behind the pooling.
BLOCKS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}

# Fig. 5 of the batch norm paper: channels of 1x1 | 1x1, 3x3 | 1x1, 3x3, 3x3 | 1x1 behind the pooling; 0 is no such convolution.
# Blocks without 1x1 halve the size. The sums of 4c, 4d and 4e are 608, 608 and 1056; the figure prints 576, 576, 1024.
BN_BLOCKS = {
    "3a": (64, 64, 64, 64, 96, 32),
    "3b": (64, 64, 96, 64, 96, 64),
    "3c": (0, 128, 160, 64, 96, 0),
    "4a": (224, 64, 96, 96, 128, 128),
    "4b": (192, 96, 128, 96, 128, 128),
    "4c": (160, 128, 160, 128, 160, 128),
    "4d": (96, 128, 192, 160, 192, 128),
    "4e": (0, 128, 192, 192, 256, 0),
    "5a": (352, 192, 320, 160, 224, 128),
    "5b": (352, 192, 320, 192, 224, 128),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class GoogLeNetForm:
    """What tells the forms of GoogLeNet apart. The defaults are the paper's."""

    batch_norm: Literal["none", "blocks", "all"] = "none"
    """Where batch norm stands between convolution and ReLU: nowhere, in the Inception blocks, everywhere."""
    conv_bias: bool = True
    """Biases in the convolutions."""
    norm_epsilon: float = 1e-5
    """Epsilon of batch norm."""
    response_norm: bool = True
    """Response normalisation behind pool1 and conv2."""
    auxiliary: bool = True
    """Two more heads, on 4a and 4d, with weight 0.3 in the loss."""
    average_first: bool = True
    """An auxiliary head begins with 5x5 average pooling at stride 3; without, it averages to 4x4 whatever the size."""
    large_kernel: int = 5
    """Kernel of the branch with the larger kernel."""
    stem: tuple[int, int] = (7, 2)
    """Kernel and stride of conv1."""
    pool2: bool = True
    """Max pooling behind conv2; with it and conv1's stride of 2 the stem has stride 8."""
    ceil_pools: bool = True
    """Max pooling rounds its size up, without padding; else it pads by 1."""
    pool4: int = 3
    """Kernel of pool4."""
    dropout: float = 0.4
    """Dropout rate before the classifier."""
    hidden: int = 0
    """Units of a hidden layer in the head; 0 is none."""


class Branches(nn.Module):
    """Runs branches over one input and puts their channels side by side. (N, C, H, W) -> (N, sum of channels, H', W')."""

    def __init__(self, branches: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleDict(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches.values()], 1)


def conv(
    inputs: int, maps: int, kernel: int, form: GoogLeNetForm, *, stride: int = 1, in_block: bool = True
) -> nn.Sequential:
    """Convolution, batch norm where the form has it, ReLU; keeps the size but for the stride."""
    norm = form.batch_norm == "all" or (form.batch_norm == "blocks" and in_block)
    return named(
        {
            "conv": nn.Conv2d(inputs, maps, kernel, stride, kernel // 2, bias=form.conv_bias),
            "norm": nn.BatchNorm2d(maps, eps=form.norm_epsilon) if norm else None,
            "relu": nn.ReLU(),
        }
    )


def inception(inputs: int, maps: tuple[int, ...], form: GoogLeNetForm) -> Branches:
    """Fig. 2b, with the six numbers of a row of Table 1."""
    one, reduce3, three, reduce5, five, project = maps
    return Branches(
        {
            "conv1x1": conv(inputs, one, 1, form),
            "conv3x3": named({"reduce": conv(inputs, reduce3, 1, form), "conv": conv(reduce3, three, 3, form)}),
            "conv5x5": named(
                {"reduce": conv(inputs, reduce5, 1, form), "conv": conv(reduce5, five, form.large_kernel, form)}
            ),
            "pool": named({"pool": nn.MaxPool2d(3, 1, 1), "project": conv(inputs, project, 1, form)}),
        }
    )


def auxiliary_head(inputs: int, classes: int, form: GoogLeNetForm) -> nn.Sequential:
    """Section 5: 4x4 averages, 128 channels, 1024 units, dropout 0.7. (N, inputs, H, W) -> logits (N, classes)."""
    return named(
        {
            "average": nn.AvgPool2d(5, 3) if form.average_first else None,
            "pool": nn.AdaptiveAvgPool2d(4),
            "conv": conv(inputs, 128, 1, form),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(128 * 4 * 4, 1024),
            "relu": nn.ReLU(),
            "dropout": nn.Dropout(0.7),
            "classifier": nn.Linear(1024, classes),
        }
    )


def googlenet(channels: int, classes: int, init: str, form: GoogLeNetForm) -> Net:
    """A stem, nine Inception blocks, global average pooling, one linear layer.

    The paper does not say how its weights began: `init="paper"` is Glorot's, as in Caffe's reimplementation; `default` is He's.
    """

    def pool(kernel: int = 3) -> nn.MaxPool2d:
        return nn.MaxPool2d(kernel, 2, ceil_mode=True) if form.ceil_pools else nn.MaxPool2d(kernel, 2, 1)

    def normalised(layers: dict[str, nn.Module]) -> nn.Sequential:
        return named(layers | {"norm": response_norm() if form.response_norm else None})

    kernel, stride = form.stem
    stages: dict[str, nn.Module] = {
        "conv1": conv(channels, 64, kernel, form, stride=stride, in_block=False),
        "pool1": normalised({"pool": pool()}),
        "conv2": normalised(
            {"reduce": conv(64, 64, 1, form, in_block=False), "conv": conv(64, 192, 3, form, in_block=False)}
        ),
    }
    if form.pool2:
        stages["pool2"] = pool()
    inputs = 192
    auxiliary: dict[str, tuple[float, nn.Module]] = {}
    for name, maps in BLOCKS.items():
        stages[f"inception{name}"] = inception(inputs, maps, form)
        inputs = maps[0] + maps[2] + maps[4] + maps[5]
        if form.auxiliary and name in ("4a", "4d"):
            auxiliary[f"inception{name}"] = (0.3, auxiliary_head(inputs, classes, form))
        if name == "3b":
            stages["pool3"] = pool()
        elif name == "4e":
            stages["pool4"] = pool(form.pool4)
    head = global_head(inputs, classes, form.dropout)
    if form.hidden:
        head = named(
            {
                "pool": nn.AdaptiveAvgPool2d(1),
                "flatten": nn.Flatten(),
                "dropout": nn.Dropout(form.dropout),
                "fc": nn.Linear(inputs, form.hidden),
                "relu": nn.ReLU(),
                "classifier": nn.Linear(form.hidden, classes),
            }
        )
    return initialise(Net(stages, head, auxiliary), init)


def initialise(net: Net, init: str) -> Net:
    """`paper`: Glorot's; `default`: He's."""
    if init == "paper":
        xavier_init(net)
    else:
        he_init(net)
    return net


def bn_inception(channels: int, classes: int, init: str) -> Net:
    """The net of the batch norm paper: two 3x3 for each 5x5, batch norm everywhere, average pooling in most blocks.

    `init` as in `googlenet`.
    """
    form = GoogLeNetForm(batch_norm="all", conv_bias=False)
    stages: dict[str, nn.Module] = {
        "conv1": conv(channels, 64, 7, form, stride=2),
        "pool1": nn.MaxPool2d(3, 2, ceil_mode=True),
        "conv2": named({"reduce": conv(64, 64, 1, form), "conv": conv(64, 192, 3, form)}),
        "pool2": nn.MaxPool2d(3, 2, ceil_mode=True),
    }
    inputs = 192
    for name, (one, reduce3, three, reduce_double, double, project) in BN_BLOCKS.items():
        stride = 1 if one else 2
        branches: dict[str, nn.Module] = {"conv1x1": conv(inputs, one, 1, form)} if one else {}
        branches["conv3x3"] = named(
            {"reduce": conv(inputs, reduce3, 1, form), "conv": conv(reduce3, three, 3, form, stride=stride)}
        )
        branches["twice3x3"] = named(
            {
                "reduce": conv(inputs, reduce_double, 1, form),
                "conv1": conv(reduce_double, double, 3, form),
                "conv2": conv(double, double, 3, form, stride=stride),
            }
        )
        kind = nn.MaxPool2d if name == "5b" or not project else nn.AvgPool2d
        branches["pool"] = named(
            {"pool": kind(3, stride, 1), "project": conv(inputs, project, 1, form) if project else None}
        )
        stages[f"inception{name}"] = Branches(branches)
        inputs = one + three + double + (project or inputs)
    return initialise(Net(stages, global_head(inputs, classes)), init)


def inception_mnist(channels: int, classes: int, init: str) -> Net:
    """A tutorial's small net for MNIST: two convolutions, with an Inception block of 88 channels behind each.

    There is no activation inside the blocks. Both values of `init` leave the weights as torch draws them, as the tutorial
    does; He's would double the variance at each layer that has no ReLU behind it.
    """

    def block(inputs: int) -> Branches:
        return Branches(
            {
                "conv1x1": nn.Conv2d(inputs, 16, 1),
                "conv5x5": named({"reduce": nn.Conv2d(inputs, 16, 1), "conv": nn.Conv2d(16, 24, 5, padding=2)}),
                "twice3x3": named(
                    {
                        "reduce": nn.Conv2d(inputs, 16, 1),
                        "conv1": nn.Conv2d(16, 24, 3, padding=1),
                        "conv2": nn.Conv2d(24, 24, 3, padding=1),
                    }
                ),
                "pool": named({"pool": nn.AvgPool2d(3, 1, 1), "project": nn.Conv2d(inputs, 24, 1)}),
            }
        )

    stages = {
        "conv1": nn.Conv2d(channels, 10, 5),
        "pool1": named({"pool": nn.MaxPool2d(2), "relu": nn.ReLU()}),
        "inception1": block(10),
        "conv2": nn.Conv2d(88, 20, 5),
        "pool2": named({"pool": nn.MaxPool2d(2), "relu": nn.ReLU()}),
        "inception2": block(20),
    }
    head = {"pool": nn.AdaptiveAvgPool2d(4), "flatten": nn.Flatten(), "classifier": nn.Linear(88 * 4 * 4, classes)}
    return Net(stages, named(head))


_PAPER = NetSpec(
    name="googlenet",
    title="GoogLeNet",
    family="googlenet",
    year=2014,
    citation="C. Szegedy et al.: Going deeper with convolutions. CVPR 2015, arXiv:1409.4842",
    source="Table 1, Fig. 3, section 5 (auxiliary heads)",
    deviations=(
        "response normalisation by AlexNet's formula; the paper gives no constants",
        "conv1 is a plain 7x7; the parameters and operations that Table 1 gives for it fit a separable one",
    ),
    geometry="paper",
    input=(3, 224, 224),
    min_size=79,
    classes=1000,
    params=6_998_552,
    params_training=13_378_280,
    macs=1_582_671_872,
    results=(
        "ImageNet validation, one net, one crop: 10.07 % top-5 error (Szegedy et al. 2014, Table 3)",
        "ILSVRC-2014 test, seven nets, 144 crops: 6.67 % top-5 error (Szegedy et al. 2014, Table 2)",
    ),
    builder=partial(googlenet, form=GoogLeNetForm()),
)
# fmt: off
_NATIVE = variant(
    _PAPER, "googlenet-native", "GoogLeNet with batch norm for small images", "Table 1", 5_982_250, 308_253_440,
    year=2015, geometry="native", input=(1, 28, 28), min_size=1, classes=10, params_training=None,
    deviations=(
        "stem: conv1 is 3x3 at stride 1 for 7x7 at stride 2, and there is no pool2: stride 2 for 8",
        "batch norm between convolution and ReLU, no biases there, no response normalisation, no auxiliary heads",
    ),
    batch_norm="all", conv_bias=False, response_norm=False, auxiliary=False, stem=(3, 1), pool2=False, ceil_pools=False,
)

FAMILY = Family(
    name="googlenet",
    title="GoogLeNet",
    new="Branches of several filter sizes side by side, made affordable by 1x1 convolutions ahead of them, and auxiliary "
    "classifiers on the way.",
    mattered="It won ILSVRC-2014 with 7 million parameters where AlexNet had 61, and batch norm was first shown "
    "on it, in BN-Inception.",
    drawn="googlenet",
    recipe={
        "source": "Szegedy et al. 2014, section 6: momentum 0.9, rate less 4 % every 8 epochs; rate, batch and decay are not "
        "given, those of Caffe's reference solver here",
        "epochs": 250, "batch_size": 32, "weight_decay": 2e-4, "milestones": tuple((8 * i / 250, 0.96**i) for i in range(1, 32)),
        "augmentation": "flip",
    },
    torchvision=(
        (r"\.norm\.", ".bn."),
        (r"^stages\.conv2\.conv\.", "conv3."),
        (r"^stages\.conv2\.reduce\.", "conv2."),
        (r"\.branches\.conv1x1\.", ".branch1."),
        (r"\.branches\.conv3x3\.reduce\.", ".branch2.0."),
        (r"\.branches\.conv3x3\.conv\.", ".branch2.1."),
        (r"\.branches\.conv5x5\.reduce\.", ".branch3.0."),
        (r"\.branches\.conv5x5\.conv\.", ".branch3.1."),
        (r"\.branches\.pool\.project\.", ".branch4.1."),
        (r"^auxiliary_heads\.inception4a\.", "aux1."),
        (r"^auxiliary_heads\.inception4d\.", "aux2."),
        (r"^(aux\d)\.fc\.", r"\1.fc1."),
        (r"^(aux\d)\.classifier\.", r"\1.fc2."),
        (r"^head\.classifier\.", "fc."),
        (r"^stages\.", ""),
    ),
    rows=(
        _PAPER,
        variant(_PAPER, "googlenet-torchvision", "GoogLeNet, torchvision's", "torchvision's googlenet", 6_624_904, 1_498_376_192,
                year=2015, min_size=15, params_training=13_004_888,
                deviations=(
                    "batch norm (epsilon 0.001) between convolution and ReLU, no biases there, no response normalisation",
                    "the 5x5 branch is 3x3: a known mistake, kept because the published weights were trained with it",
                    "pool4 is 2x2; dropout 0.2 in the head; the auxiliary heads average to 4x4",
                ),
                results=(torchvision_accuracy(69.778, 89.53),), torchvision="googlenet",
                batch_norm="all", conv_bias=False, norm_epsilon=1e-3, response_norm=False, average_first=False, large_kernel=3,
                pool4=2, dropout=0.2),
        variant(_PAPER, "googlenet-bn", "GoogLeNet with batch norm", "Table 1", 7_005_832, 1_582_671_872,
                year=2015, params_training=13_385_816,
                deviations=("batch norm between convolution and ReLU, no biases there, no response normalisation",),
                batch_norm="all", conv_bias=False, response_norm=False),
        variant(_PAPER, "googlenet-bn-tutorial", "GoogLeNet with batch norm, two linear layers in the head",
                "A tutorial's Inception v1 for a folder of images", 7_041_172, 1_582_700_544,
                year=2015, geometry="tutorial", min_size=1, classes=4, params_training=None,
                deviations=(
                    "batch norm in the blocks, whose convolutions keep their biases; none in the stem, no response normalisation",
                    "no auxiliary heads; a hidden layer of 1024 units in the head; four outputs",
                    "logits; the tutorial puts a softmax there, ahead of the cross-entropy, and its loss cannot fall below 0.744",
                ),
                known_findings=("bias-before-batchnorm",), biases_before_norm=("stages.inception*.conv.bias",),
                results=("two classes of skin images: 87.6 % best, 85.5 % last test accuracy (its tutorial)",),
                batch_norm="blocks", response_norm=False, auxiliary=False, ceil_pools=False, hidden=1024),
        variant(_PAPER, "googlenet-d2l", "GoogLeNet, one channel", "Dive into Deep Learning 1.0.3, section 8.4",
                5_977_530, 276_066_304, geometry="tutorial", input=(1, 96, 96), min_size=1, classes=10, params_training=None,
                deviations=(
                    "one channel, ten classes, 96x96",
                    "no response normalisation, no auxiliary heads, no dropout; max pooling pads by 1",
                ),
                response_norm=False, auxiliary=False, ceil_pools=False, dropout=0),
        variant(_PAPER, "inception-mnist", "Two Inception blocks for MNIST", "A tutorial's net after Fig. 2 of the paper",
                97_298, 6_019_200, geometry="tutorial", input=(1, 28, 28), min_size=16, classes=10, params_training=None,
                deviations=(
                    "two blocks of 88 channels, each behind a 5x5 convolution and max pooling; flattens 88@4x4",
                    "two 3x3 in a row for the larger kernel, average pooling in the block, no activation inside it",
                ),
                known_findings=("missing-activation",), builder=inception_mnist),
        _NATIVE,
        variant(_NATIVE, "googlenet-native-light", "GoogLeNet with batch norm for small images, a quarter of the work",
                "Table 1", 5_982_250, 104_789_504, pool2=True,
                deviations=("stem: conv1 is 3x3 at stride 1 for 7x7 at stride 2: stride 4 for 8", _NATIVE.deviations[1])),
        variant(_PAPER, "bn-inception", "BN-Inception", "Fig. 5", 11_285_224, 2_032_600_064,
                year=2015, min_size=7, params_training=None, builder=bn_inception,
                citation="S. Ioffe, C. Szegedy: Batch normalization: accelerating deep network training by reducing internal "
                "covariate shift. ICML 2015, arXiv:1502.03167",
                deviations=(
                    "4c, 4d and 4e have the channels of Fig. 5, which sum to 608, 608 and 1056; it prints 576, 576 and 1024 "
                    "beside them",
                    "conv1 is a plain 7x7, where the paper has a separable one of depth multiplier 8",
                ),
                results=("ImageNet validation, one crop: 74.8 % top-1 accuracy, BN-x30 (Ioffe and Szegedy 2015, Fig. 3)",)),
    ),
)
# fmt: on
