"""ResNet: He, Zhang, Ren, Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385 (CVPR 2016).

Table 1 (ImageNet) and section 4.2 (CIFAR-10). Tensors are N C H W. Every convolution has batch norm behind it and no bias.

    ImageNet   conv1 64@112   pool1 56   conv2 @56   conv3 @28   conv4 @14   conv5 @7   average   1000
    CIFAR      conv1 16@32    conv2 16@32   conv3 32@16   conv4 64@8   average   10

A block adds what it learned to its own input: relu(F(x) + shortcut(x)). Where the map changes its shape, the shortcut is
option A (every second pixel, zeros for the new channels), B (a 1x1 projection) or C (projections everywhere).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import nn

from striate.nets.blocks import Scale, conv_chain, conv_norm_relu, global_head, named, repeats
from striate.nets.net import Net
from striate.nets.netspec import Family, NetSpec, torchvision_accuracy, variant
from striate.nets.residual import Residual, ZeroPadShortcut, convolutions

Option = Literal["A", "B", "C", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ResNetForm:
    """The options of the forms of ResNet. The defaults are the paper's ResNet-18."""

    depths: tuple[int, ...] = (2, 2, 2, 2)
    """Blocks of each group, conv2 and on."""
    width: int = 64
    """Channels of the first group; each next one has twice as many and half the size."""
    bottleneck: bool = False
    """Blocks of 1x1, 3x3 and 1x1 with four times the channels in the end, for blocks of two 3x3."""
    shortcut: Option = "B"
    """The paper's options; `none` is the plain net."""
    stride_on_3x3: bool = False
    """A bottleneck that halves the size does it in its 3x3 and not in its first 1x1: "v1.5"."""
    large_stem: bool = True
    """conv1 of 7x7 at stride 2 and 3x3 max pooling at stride 2, for conv1 of 3x3 alone."""
    stem_stride: int = 1
    """Stride of the 3x3 stem; ignored with a large stem."""
    conv_bias: bool = False
    """Biases in the convolutions although batch norm follows."""
    shortcut_norm: bool = True
    """Batch norm behind a projection."""


def body(inputs: int, width: int, stride: int, form: ResNetForm) -> nn.Sequential:
    """F(x), without the ReLU behind its last batch norm."""
    layers = conv_chain(inputs, convolutions(width, stride, form.bottleneck, form.stride_on_3x3), bias=form.conv_bias)
    layers.popitem()
    return named(layers)


def shortcut(inputs: int, channels: int, stride: int, form: ResNetForm) -> nn.Module:
    """Section 3.3 and the options of section 4.1."""
    if form.shortcut != "C" and stride == 1 and inputs == channels:
        return nn.Identity()
    if form.shortcut == "A":
        return ZeroPadShortcut(inputs, channels, stride)
    conv = nn.Conv2d(inputs, channels, 1, stride, bias=form.conv_bias)
    return conv_norm_relu(conv, norm=form.shortcut_norm, relu=False)


def unit(inputs: int, width: int, stride: int, form: ResNetForm) -> nn.Module:
    """A residual block, or without shortcut what is left of it."""
    function = body(inputs, width, stride, form)
    if form.shortcut == "none":
        return named({"body": function, "relu": nn.ReLU()})
    return Residual(function, shortcut(inputs, 4 * width if form.bottleneck else width, stride, form))


def resnet(channels: int, classes: int, form: ResNetForm) -> Net:
    """A stem, groups of blocks, global average pooling, one linear layer."""
    kernel, stride = (7, 2) if form.large_stem else (3, form.stem_stride)
    stem = nn.Conv2d(channels, form.width, kernel, stride, kernel // 2, bias=form.conv_bias)
    stages: dict[str, nn.Module] = {"conv1": conv_norm_relu(stem)}
    if form.large_stem:
        stages["pool1"] = nn.MaxPool2d(3, 2, 1)
    inputs, width = form.width, form.width
    for group, depth in enumerate(form.depths):
        units = []
        for number in range(depth):
            units.append(unit(inputs, width, 2 if group and number == 0 else 1, form))
            inputs = 4 * width if form.bottleneck else width
        stages[f"conv{group + 2}"] = nn.Sequential(*units)
        width *= 2
    return Net(stages, global_head(inputs, classes))


def cifar_form(depth: int, shortcut: Option = "A") -> ResNetForm:
    """Section 4.2: depth 6n+2, three groups of n blocks with 16, 32 and 64 channels.

    Raises:
        UsageError: a depth that is no 6n+2.
    """
    return ResNetForm(depths=(repeats(depth, 6, 2),) * 3, width=16, shortcut=shortcut, large_stem=False)


def resnet_mnist(channels: int, classes: int, *, scale: float = 1.0, conv_shortcut: bool = False) -> Net:
    """A tutorial's small residual net: two convolutions, each with pooling and a block of two 3x3 behind it, no batch norm.

    Its exercise, two shortcuts of He et al. 2016 (arXiv:1603.05027): `scale` multiplies both the input and what is
    added to it; `conv_shortcut` puts a 1x1 convolution on the shortcut. Its weights stay as torch draws them, as in the
    tutorial: He's would double the variance at each addition.
    """

    def residual(width: int) -> Residual:
        function = {
            "conv1": nn.Conv2d(width, width, 3, padding=1),
            "relu": nn.ReLU(),
            "conv2": nn.Conv2d(width, width, 3, padding=1),
            "scale": Scale(scale) if scale != 1 else None,
        }
        path = nn.Conv2d(width, width, 1) if conv_shortcut else Scale(scale) if scale != 1 else nn.Identity()
        return Residual(named(function), path)

    stages = {
        "conv1": conv_norm_relu(nn.Conv2d(channels, 16, 5), norm=False),
        "pool1": nn.MaxPool2d(2),
        "residual1": residual(16),
        "conv2": conv_norm_relu(nn.Conv2d(16, 32, 5), norm=False),
        "pool2": nn.MaxPool2d(2),
        "residual2": residual(32),
    }
    return Net(stages, global_head(32, classes, side=4))


def _ten_crop(top1: float, top5: float) -> tuple[str, ...]:
    return (f"ImageNet validation, 10 crops: {top1} % top-1, {top5} % top-5 error (He et al. 2015, Table 3)",)


def _cifar_error(error: str, where: str = "Table 6") -> tuple[str, ...]:
    return (f"CIFAR-10: {error} % error (He et al. 2015, {where})",)


# fmt: off
_18 = NetSpec(
    name="resnet18", title="ResNet-18", family="resnet", year=2015,
    citation="K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition. CVPR 2016, arXiv:1512.03385",
    source="Table 1, 18-layer; shortcut option B", input=(3, 224, 224), min_size=1, params=11_689_512, macs=1_814_073_344,
    results=(torchvision_accuracy(69.758, 89.078),), torchvision="resnet18", builder=partial(resnet, form=ResNetForm()),
)
_34 = variant(_18, "resnet34", "ResNet-34", "Table 1, 34-layer; shortcut option B", (21_797_672, 3_663_761_408),
              results=_ten_crop(24.52, 7.46), torchvision=("resnet34", 73.314, 91.42), depths=(3, 4, 6, 3))
_50 = variant(_18, "resnet50", "ResNet-50", "Table 1, 50-layer", (25_557_032, 3_857_973_248), results=_ten_crop(22.85, 6.71),
              depths=(3, 4, 6, 3), bottleneck=True)
_50_V15 = variant(_50, "resnet50-v1.5", "ResNet-50 v1.5", "Table 1, 50-layer; torchvision's resnet50",
                  (25_557_032, 4_089_184_256),
                  deviations=("a bottleneck that halves the size does so in its 3x3 convolution, not in its first 1x1",),
                  torchvision=("resnet50", 76.13, 92.862), stride_on_3x3=True)
_MNIST = variant(
    _18, "resnet-mnist", "A small residual net for MNIST", "A tutorial's net after section 3.3 of the paper",
    (41_514, 2_013_184), geometry="tutorial", input=(1, 28, 28), min_size=16, classes=10,
    deviations=("no batch norm; two blocks only, each after a 5x5 convolution and max pooling; flattens 32@4x4",),
    results=("MNIST: 98.7 to 99.0 % test accuracy, epochs 6 to 10 (its tutorial)",), builder=resnet_mnist, init=None,
)
_NATIVE_18 = variant(
    _18, "resnet18-native", "ResNet-18 for small images", _18.source, (11_172_810, 455_800_832), geometry="native",
    input=(1, 28, 28), classes=10,
    deviations=("stem: conv1 is 3x3 at stride 1, without pooling, instead of 7x7 at stride 2 with pooling at stride 2",),
    large_stem=False,
)


# What a shortcut option adds to the name, to the title and to the source of a net for CIFAR.
_OPTIONS: dict[Option, tuple[str, str, str]] = {
    "A": ("resnet{}", "ResNet-{} for CIFAR", "Section 4.2 and Table 6, n = {}; shortcut option A"),
    "B": ("resnet{}-b", "ResNet-{} for CIFAR, shortcut option B", "Section 4.2, n = {}, with Table 3's option B"),
    "none": ("plain{}", "Plain net of {} layers for CIFAR", "Section 4.2 and Fig. 6, n = {}, without shortcuts"),
}


def _cifar(depth: int, option: Option, params: int, macs: int, results: tuple[str, ...] = (), **changes: Any) -> NetSpec:
    name, title, source = _OPTIONS[option]
    return variant(_18, name.format(depth), title.format(depth), source.format((depth - 2) // 6), (params, macs),
                   input=(3, 32, 32), classes=10, results=results, builder=partial(resnet, form=cifar_form(depth, option)),
                   **{"deviations": ("the paper's nets for CIFAR have option A only",)} if option == "B" else {}, **changes)


FAMILY = Family(
    name="resnet",
    title="ResNet",
    new="Layers learn what to add to their input. Plain nets get worse with depth, in training error too; residual nets "
    "get better.",
    mattered="It won ILSVRC-2015 with 152 layers and made 1000 layers trainable. Most deep nets since then use its "
    "shortcuts, including transformers.",
    drawn="resnet50",
    recipe={
        "source": "He et al. 2015, section 4.2: 64,000 steps of 128, rate divided by 10 at a half and at three quarters",
        "epochs": 182, "lr": 0.1, "weight_decay": 1e-4, "milestones": ((0.5, 0.1), (0.75, 0.01)), "augmentation": "flip,shift=4",
    },
    torchvision=(
        (r"^stages\.conv1\.conv\.", "conv1."),
        (r"^stages\.conv1\.norm\.", "bn1."),
        (r"^stages\.conv2\.", "layer1."),
        (r"^stages\.conv3\.", "layer2."),
        (r"^stages\.conv4\.", "layer3."),
        (r"^stages\.conv5\.", "layer4."),
        (r"\.body\.conv", ".conv"),
        (r"\.body\.norm", ".bn"),
        (r"\.shortcut\.conv\.", ".downsample.0."),
        (r"\.shortcut\.norm\.", ".downsample.1."),
        (r"^head\.classifier\.", "fc."),
    ),
    rows=(
        _18,
        _34,
        _50,
        variant(_50, "resnet101", "ResNet-101", "Table 1, 101-layer", (44_549_160, 7_570_194_432), depths=(3, 4, 23, 3),
                results=_ten_crop(21.75, 6.05)),
        variant(_50, "resnet152", "ResNet-152", "Table 1, 152-layer", (60_192_808, 11_282_415_616), depths=(3, 8, 36, 3),
                results=_ten_crop(21.43, 5.71)),
        _50_V15,
        variant(_50_V15, "resnet101-v1.5", "ResNet-101 v1.5", "Table 1, 101-layer; torchvision's resnet101",
                (44_549_160, 7_801_405_440), depths=(3, 4, 23, 3), torchvision=("resnet101", 77.374, 93.546)),
        variant(_50_V15, "resnet152-v1.5", "ResNet-152 v1.5", "Table 1, 152-layer; torchvision's resnet152",
                (60_192_808, 11_513_626_624), depths=(3, 8, 36, 3), torchvision=("resnet152", 78.312, 94.046)),
        variant(_18, "plain18", "Plain net of 18 layers", "Table 1, 18-layer, without shortcuts; Table 2",
                (11_515_688, 1_794_805_760), shortcut="none",
                results=("ImageNet validation, 10 crops: 27.94 % top-1 error (He et al. 2015, Table 2)",)),
        variant(_34, "plain34", "Plain net of 34 layers", "Table 1, 34-layer, without shortcuts; Fig. 3 and Table 2",
                (21_623_848, 3_644_493_824), shortcut="none", results=_ten_crop(28.54, 10.02)),
        variant(_18, "resnet18-a", "ResNet-18, shortcut option A", "Table 1, 18-layer; Table 2; shortcut option A",
                (11_515_688, 1_794_805_760), shortcut="A",
                results=("ImageNet validation, 10 crops: 27.88 % top-1 error (He et al. 2015, Table 2)",)),
        variant(_18, "resnet18-c", "ResNet-18, shortcut option C", "Table 1, 18-layer; shortcut option C",
                (12_043_816, 1_878_298_624), shortcut="C"),
        variant(_34, "resnet34-a", "ResNet-34, shortcut option A", "Table 1, 34-layer; Table 3, ResNet-34 A",
                (21_623_848, 3_644_493_824), shortcut="A", results=_ten_crop(25.03, 7.76)),
        variant(_34, "resnet34-c", "ResNet-34, shortcut option C", "Table 1, 34-layer; Table 3, ResNet-34 C",
                (22_716_840, 3_830_747_136), shortcut="C", results=_ten_crop(24.19, 7.4)),
        _cifar(20, "A", 269_722, 40_551_040, results=_cifar_error("8.75")),
        _cifar(32, "A", 464_154, 68_862_592, results=_cifar_error("7.51")),
        _cifar(44, "A", 658_586, 97_174_144, results=_cifar_error("7.17")),
        _cifar(56, "A", 853_018, 125_485_696, results=_cifar_error("6.97")),
        _cifar(110, "A", 1_727_962, 252_887_680, results=_cifar_error("6.43 (6.61 +- 0.16 over five runs)")),
        _cifar(1202, "A", 19_421_274, 2_829_238_912, results=_cifar_error("7.93")),
        # Zeros for new channels cost nothing, so the plain net of a depth has the numbers of the residual one.
        _cifar(20, "none", 269_722, 40_551_040),
        _cifar(32, "none", 464_154, 68_862_592),
        _cifar(44, "none", 658_586, 97_174_144),
        _cifar(56, "none", 853_018, 125_485_696),
        _cifar(110, "none", 1_727_962, 252_887_680, results=_cifar_error("more than 60", "Fig. 6")),
        _cifar(1202, "none", 19_421_274, 2_829_238_912, deviations=(
            "the paper has no plain net of this depth; its initial gradients are near 1e88, which needs float64 and "
            "overflows in float32: the problem that shortcuts solve",)),
        _cifar(20, "B", 272_474, 40_813_184),
        _cifar(32, "B", 466_906, 69_124_736),
        _cifar(44, "B", 661_338, 97_436_288),
        _cifar(56, "B", 855_770, 125_747_840),
        _cifar(110, "B", 1_730_714, 253_149_824),
        variant(
            _18, "resnet18-d2l", "ResNet-18, one channel", "Dive into Deep Learning 1.0.3, section 8.6",
            (11_178_378, 318_657_536), geometry="tutorial", input=(1, 96, 96), classes=10,
            deviations=(
                "one channel, ten classes, 96x96",
                "the convolutions keep their biases before batch norm",
                "a projection has no batch norm",
            ),
            known_findings=("bias-before-batchnorm",),
            biases_before_norm=("stages.conv1.conv.bias", "stages.conv?.*.body.conv?.bias"), conv_bias=True,
            shortcut_norm=False,
        ),
        _MNIST,
        variant(_MNIST, "resnet-mnist-constant-scaling", "A small residual net for MNIST, constant scaling",
                "The tutorial's exercise, after He et al. 2016 (arXiv:1603.05027), Fig. 2b", (41_514, 2_013_184),
                deviations=(*_MNIST.deviations, "the input and the residual are both halved"),
                builder=partial(resnet_mnist, scale=0.5)),
        variant(_MNIST, "resnet-mnist-conv-shortcut", "A small residual net for MNIST, 1x1 convolution on the shortcut",
                "The tutorial's exercise, after He et al. 2016 (arXiv:1603.05027), Fig. 2e", (42_842, 2_066_432),
                deviations=(*_MNIST.deviations, "a 1x1 convolution on both shortcuts"),
                builder=partial(resnet_mnist, conv_shortcut=True)),
        _NATIVE_18,
        variant(_NATIVE_18, "resnet18-native-light", "ResNet-18 for small images, a quarter of the work", _18.source,
                (11_172_810, 121_818_368), stem_stride=2,
                deviations=("stem: conv1 is 3x3 at stride 2, without pooling, "
                            "instead of 7x7 at stride 2 with pooling at stride 2",)),
        variant(_NATIVE_18, "resnet34-native", "ResNet-34 for small images", _34.source, (21_280_970, 935_917_568),
                depths=(3, 4, 6, 3)),
        variant(_NATIVE_18, "resnet50-native", "ResNet-50 for small images", _50.source, (23_519_690, 990_983_168),
                depths=(3, 4, 6, 3), bottleneck=True),
        variant(_NATIVE_18, "resnet12-native", "ResNet-12 for small images, thin",
                "After Table 1 and section 4.2; shortcut option B", (1_228_858, 16_687_872), depths=(1, 1, 1, 1, 1), width=16,
                deviations=(*_NATIVE_18.deviations,
                            "five groups of one block, with 16, 32, 64, 128 and 256 channels, instead of four groups "
                            "of two with 64 to 512")),
    ),
)
# fmt: on
