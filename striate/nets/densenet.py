"""DenseNet: Huang, Liu, van der Maaten, Weinberger 2016, "Densely connected convolutional networks", arXiv:1608.06993.

Table 1 (ImageNet) and section 3 (CIFAR). Tensors are N C H W. Every convolution in a block is BN-ReLU-conv, so what a layer
makes is normalised anew by each layer that reads it.

    ImageNet   conv0 2k@112   pool0 56   dense1 @56   dense2 @28   dense3 @14   dense4 @7   average   1000
    CIFAR      conv0 @32      dense1 @32   dense2 @16   dense3 @8   average   10

A layer sees everything that was made before it in its block, and adds k channels (the growth rate).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from striate.nets.blocks import conv_chain, conv_norm_relu, global_head, named, repeats
from striate.nets.net import Net
from striate.nets.netspec import Family, NetSpec, torchvision_accuracy, variant


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseNetForm:
    """The options of the forms of DenseNet. The defaults are the paper's DenseNet-121."""

    depths: tuple[int, ...] = (6, 12, 24, 16)
    """Layers of each block."""
    growth: int = 32
    """Channels that a layer adds: k."""
    stem_channels: int = 64
    """Channels of conv0: 2k, or 16."""
    bottleneck: bool = True
    """A 1x1 convolution to 4k channels ahead of each 3x3: the B of DenseNet-BC."""
    compression: float = 0.5
    """Part of the channels that a transition keeps: theta, the C of DenseNet-BC."""
    large_stem: bool = True
    """conv0 of 7x7 at stride 2 with batch norm, ReLU and 3x3 max pooling at stride 2, for 3x3 at stride 1 alone."""
    conv_bias: bool = False
    """Biases in the convolutions although batch norm follows."""


class DenseLayer(nn.Module):
    """Appends k channels to its input. (N, C, H, W) -> (N, C + k, H, W)."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], 1)


def dense_layer(inputs: int, form: DenseNetForm) -> DenseLayer:
    """BN-ReLU-conv3x3, behind BN-ReLU-conv1x1 with bottleneck."""
    convs = [(1, 4 * form.growth, 1)] * form.bottleneck + [(3, form.growth, 1)]
    layers = conv_chain(inputs, convs, ("norm", "relu", "conv"), form.conv_bias)
    if not form.bottleneck:
        layers["conv2"] = layers.pop("conv1")  # so is the 3x3 called in both
    return DenseLayer(named(layers))


def transition(inputs: int, width: int, form: DenseNetForm) -> nn.Sequential:
    """Between blocks: (N, inputs, H, W) -> (N, width, H/2, W/2)."""
    return named(
        {
            "norm": nn.BatchNorm2d(inputs),
            "relu": nn.ReLU(),
            "conv": nn.Conv2d(inputs, width, 1, bias=form.conv_bias),
            "pool": nn.AvgPool2d(2),
        }
    )


def densenet(channels: int, classes: int, form: DenseNetForm) -> Net:
    """A stem, dense blocks with transitions between them, a closing BN-ReLU, global average pooling, one linear layer."""
    width = form.stem_channels
    if form.large_stem:
        conv = nn.Conv2d(channels, width, 7, 2, 3, bias=form.conv_bias)
        stages: dict[str, nn.Module] = {"conv0": conv_norm_relu(conv), "pool0": nn.MaxPool2d(3, 2, 1)}
    else:
        stages = {"conv0": nn.Conv2d(channels, width, 3, padding=1, bias=form.conv_bias)}
    for block, depth in enumerate(form.depths, 1):
        layers: dict[str, nn.Module] = {}
        for number in range(1, depth + 1):
            layers[f"layer{number}"] = dense_layer(width, form)
            width += form.growth
        if block == len(form.depths):
            layers |= {"norm": nn.BatchNorm2d(width), "relu": nn.ReLU()}
        stages[f"dense{block}"] = named(layers)
        if block < len(form.depths):
            kept = int(width * form.compression)
            stages[f"transition{block}"] = transition(width, kept, form)
            width = kept
    return Net(stages, global_head(width, classes))


def cifar_form(depth: int, growth: int, bottleneck: bool) -> DenseNetForm:
    """Section 3: three blocks of (L-4)/3 layers behind 16 channels; DenseNet-BC: of (L-4)/6 behind 2k channels, theta 0.5.

    Raises:
        UsageError: a depth L that does not divide so.
    """
    return DenseNetForm(
        depths=(repeats(depth, 6 if bottleneck else 3, 4),) * 3,
        growth=growth,
        stem_channels=2 * growth if bottleneck else 16,
        bottleneck=bottleneck,
        compression=0.5 if bottleneck else 1.0,
        large_stem=False,
    )


# fmt: off
_121 = NetSpec(
    name="densenet121", title="DenseNet-121", family="densenet", year=2016,
    citation="G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger: Densely connected convolutional networks. "
    "CVPR 2017, arXiv:1608.06993",
    source="Table 1, DenseNet-121 (k = 32)", input=(3, 224, 224), min_size=29, params=7_978_856, macs=2_834_161_664,
    results=(
        "ImageNet validation, one crop: 25.02 % top-1, 7.71 % top-5 error (Huang et al. 2016, Table 3)",
        torchvision_accuracy(74.434, 91.972),
    ),
    torchvision="densenet121", builder=partial(densenet, form=DenseNetForm()),
)


def _imagenet(top1: str, top5: str) -> str:
    return f"ImageNet validation, one crop: {top1} % top-1, {top5} % top-5 error (Huang et al. 2016, Table 3)"


def _cifar(depth: int, growth: int, params: int, macs: int, errors: str, bottleneck: bool = False) -> NetSpec:
    bc = "-BC" if bottleneck else ""
    return variant(
        _121, f"densenet{depth}{bc.lower()}-k{growth}", f"DenseNet{bc} for CIFAR, L = {depth}, k = {growth}",
        f"Section 3 and Table 2, DenseNet{bc} (L = {depth}, k = {growth})", (params, macs), input=(3, 32, 32), min_size=4,
        classes=10, results=(f"CIFAR-10: {errors} (Huang et al. 2016, Table 2)",),
        builder=partial(densenet, form=cifar_form(depth, growth, bottleneck)),
    )  # fmt: skip


FAMILY = Family(
    name="densenet",
    title="DenseNet",
    new="Each layer reads all earlier feature maps of its block and adds a few of its own.",
    mattered="It matches ResNets with less than half of the parameters, and made feature reuse a design principle.",
    drawn="densenet121",
    recipe={
        "source": "Huang et al. 2017, section 4.2 (CIFAR): batch 64, 300 epochs, rate divided by 10 at 50 % and 75 %",
        "epochs": 300, "batch_size": 64, "lr": 0.1, "nesterov": True, "weight_decay": 1e-4,
        "milestones": ((0.5, 0.1), (0.75, 0.01)), "augmentation": "flip,shift=4",
    },
    torchvision=(
        (r"^stages\.conv0\.conv\.", "features.conv0."),
        (r"^stages\.conv0\.norm\.", "features.norm0."),
        (r"^stages\.dense4\.norm\.", "features.norm5."),
        (r"^stages\.dense(\d)\.layer(\d+)\.layers\.", r"features.denseblock\1.denselayer\2."),
        (r"^stages\.transition", "features.transition"),
        (r"^head\.classifier\.", "classifier."),
    ),
    rows=(
        _121,
        variant(_121, "densenet161", "DenseNet-161",
                "The authors' models, DenseNet-161 (k = 48); not in Table 1 of the paper's last version",
                (28_681_000, 7_727_907_072), depths=(6, 12, 36, 24), growth=48, stem_channels=96,
                results=("ImageNet validation, one crop: 22.2 % top-1 error (the authors' models)",),
                torchvision=("densenet161", 77.138, 93.56)),
        variant(_121, "densenet169", "DenseNet-169", "Table 1, DenseNet-169 (k = 32)", (14_149_480, 3_359_843_328),
                depths=(6, 12, 32, 32), results=(_imagenet("23.80", "6.85"),), torchvision=("densenet169", 75.6, 92.806)),
        variant(_121, "densenet201", "DenseNet-201", "Table 1, DenseNet-201 (k = 32)", (20_013_928, 4_291_365_888),
                depths=(6, 12, 48, 32), results=(_imagenet("22.58", "6.34"),), torchvision=("densenet201", 76.896, 93.37)),
        variant(_121, "densenet264", "DenseNet-264", "Table 1, DenseNet-264 (k = 32)", (33_337_704, 5_751_653_376),
                depths=(6, 12, 64, 48), results=(_imagenet("22.15", "6.12"),)),
        variant(_121, "densenet264-k48", "DenseNet-264, k = 48", "The authors' models, DenseNet-264 (k = 48); not in Table 1",
                (72_686_632, 12_850_693_632), depths=(6, 12, 64, 48), growth=48, stem_channels=96),
        _cifar(40, 12, 1_019_722, 264_812_928, "5.24 % error with augmentation, 7.00 % without"),
        _cifar(100, 12, 6_979_642, 1_769_516_448, "4.10 % error with augmentation, 5.77 % without"),
        _cifar(100, 24, 27_249_082, 6_889_347_744, "3.74 % error with augmentation, 5.83 % without"),
        _cifar(100, 12, 769_162, 287_929_692, "4.51 % error with augmentation, 5.92 % without", bottleneck=True),
        _cifar(250, 24, 15_324_406, 5_418_785_724, "3.62 % error with augmentation, 5.19 % without", bottleneck=True),
        _cifar(190, 40, 25_624_430, 9_301_945_740, "3.46 % error with augmentation", bottleneck=True),
        variant(_121, "densenet-tutorial", "DenseNet, four blocks of four layers, one channel",
                "Dive into Deep Learning 1.0.3, section 8.7", (758_226, 129_077_168), geometry="tutorial", input=(1, 96, 96),
                classes=10,
                deviations=(
                    "one channel, ten classes, 96x96; four layers in each block, without bottlenecks",
                    "the convolutions keep their biases, although every path from them leads into a batch norm",
                ),
                known_findings=("bias-before-batchnorm",), biases_before_norm=("stages.*.conv*.bias",), depths=(4, 4, 4, 4),
                bottleneck=False, conv_bias=True),
        variant(_121, "densenet121-native", "DenseNet-121 for small images", _121.source, (6_955_146, 672_320_512),
                geometry="native", input=(1, 28, 28), min_size=8, classes=10, large_stem=False,
                deviations=("stem: conv0 is 3x3 at stride 1, without batch norm, ReLU and pooling after it, as in the paper's "
                            "nets for CIFAR",)),
        variant(_121, "densenet-native", "DenseNet, four blocks of four layers, for small images", "densenet-tutorial",
                (754_634, 165_675_568), geometry="native", input=(1, 28, 28), min_size=8, classes=10,
                deviations=("stem: conv0 is 3x3 at stride 1, without batch norm, ReLU and pooling after it, instead "
                            "of 7x7 at stride 2 with all three", "four layers in each block, without bottlenecks"),
                depths=(4, 4, 4, 4), bottleneck=False, large_stem=False),
    ),
)
# fmt: on
