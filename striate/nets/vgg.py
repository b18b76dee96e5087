"""VGG: Simonyan and Zisserman 2014, "Very deep convolutional networks for large-scale image recognition", arXiv:1409.1556.

Table 1: nets A to E. Tensors are N C H W; total stride 32. Every convolution is 3x3 with stride 1 and padding 1 (net C has
1x1 too) with a ReLU behind it; five groups of them, each closed by 2x2 max pooling; then 4096, 4096 and the classes.

    224x224   64@224   128@112   256@56   512@28   512@14   512@7 -> 4096 -> 4096 -> 1000
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

from striate.nets.blocks import conv_chain, hidden_head, named, normal_init, response_norm
from striate.nets.net import Net
from striate.nets.netspec import Family, NetSpec, torchvision_accuracy, variant

WIDTHS = (64, 128, 256, 512, 512)

# Table 1: kernel sizes of each group's convolutions.
A = ((3,), (3,), (3, 3), (3, 3), (3, 3))
B = ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3))
C = ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1))
D = ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
E = ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3))


@dataclass(frozen=True, kw_only=True, slots=True)
class VGGForm:
    """The options of the forms of VGG. The defaults are the paper's net A; any width multiple is a form."""

    kernels: Sequence[Sequence[int]] = A
    """Kernel sizes of each group's convolutions, five groups."""
    width: float = 1.0
    """Multiple of the channels, 64 to 512."""
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


def group(inputs: int, channels: int, kernels: Sequence[int], form: VGGForm, norm_first: bool) -> nn.Sequential:
    """Convolutions with ReLUs: (N, inputs, H, W) -> (N, channels, H, W)."""
    order = ("conv", "norm", "relu") if form.batch_norm else ("conv", "relu")
    layers = conv_chain(inputs, [(kernel, channels, 1) for kernel in kernels], order, form.conv_bias)
    return named(layers | {"response_norm": response_norm() if norm_first else None})


def vgg(channels: int, classes: int, form: VGGForm) -> Net:
    """Groups of small convolutions, each at half the size and up to twice the width of the one before."""
    stages: dict[str, nn.Module] = {}
    inputs = channels
    for number, (base, kernels) in enumerate(zip(WIDTHS, form.kernels, strict=True), 1):
        outputs = max(1, round(base * form.width))
        stages[f"conv{number}"] = group(inputs, outputs, kernels, form, form.response_norm and number == 1)
        if number > 1 or form.first_pool:
            stages[f"pool{number}"] = nn.MaxPool2d(2)
        inputs = outputs
    return Net(stages, hidden_head(inputs, classes, side=form.side, hidden=form.hidden))


def _dense(top1: float, top5: float, scale: str) -> str:
    return (
        f"ImageNet validation, dense, one scale, trained at {scale}: {top1} % top-1, {top5} % top-5 error "
        "(Simonyan and Zisserman 2014, Table 3)"
    )


def _three_scales(top1: float, top5: float) -> str:
    return (
        f"ImageNet validation, dense and multi-crop, three scales: {top1} % top-1, {top5} % top-5 error "
        "(Simonyan and Zisserman 2014, Table 5)"
    )


# fmt: off
# The paper's initialisation is that of section 3.1: it trained net A alone with it, and began the deeper ones from A's weights.
_NET_A = NetSpec(
    name="vgg11", title="VGG-11 (net A)", family="vgg", year=2014,
    citation="K. Simonyan, A. Zisserman: Very deep convolutional networks for large-scale image recognition. "
    "ICLR 2015, arXiv:1409.1556",
    source="Table 1, column A", input=(3, 224, 224), min_size=32, params=132_863_336, macs=7_609_090_048,
    results=(_dense(29.6, 10.4, "256"), torchvision_accuracy(69.02, 88.628)), torchvision="vgg11",
    builder=partial(vgg, form=VGGForm()), paper_init=partial(normal_init, std=0.1),
)
_BATCH_NORM = ("batch norm between each convolution and its ReLU; the biases of the convolutions stay",)
_NET_A_BN = variant(
    _NET_A, "vgg11-bn", "VGG-11 with batch norm", "Table 1, column A; torchvision's vgg11_bn", (132_868_840, 7_609_090_048),
    year=2015, deviations=_BATCH_NORM, known_findings=("bias-before-batchnorm",),
    biases_before_norm=("stages.conv*.conv*.bias",), torchvision=("vgg11_bn", 70.37, 89.81), batch_norm=True,
)
_TUTORIAL_16 = variant(
    _NET_A, "vgg16-tutorial", "VGG-16 with batch norm, one channel",
    "Table 1, column D, as a tutorial on Fashion-MNIST builds it", (134_304_586, 15_408_406_528), geometry="tutorial",
    input=(1, 224, 224), classes=10,
    deviations=("one channel, ten classes", "batch norm after each convolution, which has no bias"), kernels=D, batch_norm=True,
    conv_bias=False,
)
_D2L_11 = variant(
    _NET_A, "vgg11-d2l", "VGG-11, one channel", "Dive into Deep Learning 1.0.3, section 8.2", (128_806_154, 7_547_232_256),
    geometry="tutorial", input=(1, 224, 224), classes=10, deviations=("one channel, ten classes",),
)
_NATIVE_11 = variant(
    _NET_A, "vgg11-native", "VGG-11 for small images", "Table 1, column A", (28_142_858, 466_453_504), geometry="native",
    input=(1, 28, 28), min_size=16, classes=10,
    deviations=(
        "stem: no pooling after the first group, so that conv5 works at 3x3 (4x4 for 32x32) instead of 1x1; stride "
        "of the stem 1 instead of 2",
        "fc6 sees the average of the remaining map: 512 values instead of 512x7x7",
    ),
    first_pool=False, side=1,
)
_NATIVE_11_BN = variant(
    _NATIVE_11, "vgg11-bn-native", "VGG-11 with batch norm for small images", "Table 1, column A", (28_148_362, 466_453_504),
    year=2015, deviations=(*_NATIVE_11.deviations, *_BATCH_NORM), known_findings=_NET_A_BN.known_findings,
    biases_before_norm=_NET_A_BN.biases_before_norm, batch_norm=True,
)

FAMILY = Family(
    name="vgg",
    title="VGG",
    new="Only the depth varies, from 11 to 19 layers, with nothing but 3x3 convolutions: two in a row cover 5x5 "
    "pixels, three 7x7, with fewer weights and more ReLUs than one large filter.",
    mattered="The simplest design that works; its features were used for detection, segmentation and style transfer for years.",
    drawn="vgg16",
    recipe={
        "source": "Simonyan and Zisserman 2014, section 3.1: 74 epochs, rate divided by 10 three times; equal quarters here",
        "epochs": 74, "batch_size": 256, "weight_decay": 5e-4, "milestones": ((0.25, 0.1), (0.5, 0.01), (0.75, 0.001)),
        "augmentation": "flip",
    },
    rows=(
        _NET_A,
        variant(_NET_A, "vgg11-lrn", "VGG-11 with response normalisation (net A-LRN)", "Table 1, column A-LRN",
                (132_863_336, 7_609_090_048), response_norm=True, results=(_dense(29.7, 10.5, "256"),),
                deviations=("AlexNet's formula of response normalisation, alpha is not divided by the number of neighbours",)),
        variant(_NET_A, "vgg13", "VGG-13 (net B)", "Table 1, column B", (133_047_848, 11_308_466_176), kernels=B,
                results=(_dense(28.7, 9.9, "256"),), torchvision=("vgg13", 69.928, 89.246)),
        variant(_NET_A, "vgg16-1x1", "VGG-16 with 1x1 convolutions (net C)", "Table 1, column C", (133_638_952, 11_770_888_192),
                kernels=C, results=(_dense(28.1, 9.4, "256"), _dense(27.3, 8.8, "256 to 512"))),
        variant(_NET_A, "vgg16", "VGG-16 (net D)", "Table 1, column D", (138_357_544, 15_470_264_320), kernels=D,
                results=(_dense(27.0, 8.8, "256"), _dense(25.6, 8.1, "256 to 512"), _three_scales(24.4, 7.2)),
                torchvision=("vgg16", 71.592, 90.382)),
        variant(_NET_A, "vgg19", "VGG-19 (net E)", "Table 1, column E", (143_667_240, 19_632_062_464), kernels=E,
                results=(_dense(27.3, 9.0, "256"), _dense(25.5, 8.0, "256 to 512"), _three_scales(24.4, 7.1)),
                torchvision=("vgg19", 72.376, 90.876)),
        _NET_A_BN,
        variant(_NET_A_BN, "vgg13-bn", "VGG-13 with batch norm", "Table 1, column B; torchvision's vgg13_bn",
                (133_053_736, 11_308_466_176), kernels=B, torchvision=("vgg13_bn", 71.586, 90.374)),
        variant(_NET_A_BN, "vgg16-1x1-bn", "VGG-16 with 1x1 convolutions and batch norm", "Table 1, column C",
                (133_647_400, 11_770_888_192), kernels=C),
        variant(_NET_A_BN, "vgg16-bn", "VGG-16 with batch norm", "Table 1, column D; torchvision's vgg16_bn",
                (138_365_992, 15_470_264_320), kernels=D, torchvision=("vgg16_bn", 73.36, 91.516)),
        variant(_NET_A_BN, "vgg19-bn", "VGG-19 with batch norm", "Table 1, column E; torchvision's vgg19_bn",
                (143_678_248, 19_632_062_464), kernels=E, torchvision=("vgg19_bn", 74.218, 91.842)),
        variant(_TUTORIAL_16, "vgg8-tutorial", "Five convolutions with batch norm, called VGG-11", "A tutorial's VGG-11",
                (123_497_930, 3_385_434_112), kernels=((3,),) * 5,
                deviations=(*_TUTORIAL_16.deviations,
                            "one convolution a group, five in all: 8 layers with weights, not the paper's net A")),
        variant(_TUTORIAL_16, "vgg13-tutorial", "VGG-13 with batch norm, one channel",
                "Table 1, column B, as a tutorial on Fashion-MNIST builds it", (128_993_610, 11_246_608_384), kernels=B),
        _TUTORIAL_16,
        variant(_TUTORIAL_16, "vgg19-tutorial", "VGG-19 with batch norm, one channel",
                "Table 1, column E, as a tutorial on Fashion-MNIST builds it", (139_615_562, 19_570_204_672), kernels=E),
        variant(_TUTORIAL_16, "vgg16-eighth-tutorial", "VGG-16 with batch norm at 1/8 width, one channel", _TUTORIAL_16.source,
                (2_104_882, 243_921_920), width=1 / 8, hidden=512,
                deviations=(*_TUTORIAL_16.deviations, "1/8 of all widths, the hidden layers' too")),
        _D2L_11,
        variant(_D2L_11, "vgg11-quarter-d2l", "VGG-11 at 1/4 width, one channel", _D2L_11.source, (43_093_322, 512_155_648),
                deviations=("one channel, ten classes", "1/4 of the channels: 16 to 128; the hidden layers stay at 4096"),
                width=1 / 4),
        _NATIVE_11,
        variant(_NATIVE_11, "vgg11-quarter-native", "VGG-11 at a quarter of its width for small images", "vgg11-quarter-d2l",
                (17_927_498, 45_398_272), width=0.25,
                deviations=(_NATIVE_11.deviations[0], "a quarter of the channels: 16 to 128",
                            "fc6 sees the average of the remaining map: 128 values instead of 128x7x7")),
        _NATIVE_11_BN,
        variant(_NATIVE_11, "vgg16-native", "VGG-16 for small images", "Table 1, column D", (33_637_066, 863_405_056),
                kernels=D),
        variant(_NATIVE_11_BN, "vgg16-bn-native", "VGG-16 with batch norm for small images", "Table 1, column D",
                (33_645_514, 863_405_056), kernels=D),
    ),
)
# fmt: on
