"""DenseNet: Huang, Liu, van der Maaten, Weinberger 2016, "Densely connected convolutional networks", arXiv:1608.06993.

Table 1 (ImageNet) and section 3 (CIFAR). Tensors are N C H W. Every convolution in a block is BN-ReLU-conv, so what a layer
makes is normalised anew by each layer that reads it.

    ImageNet   conv0 2k@112   pool0 56   dense1 @56   dense2 @28   dense3 @14   dense4 @7   average   1000
    CIFAR      conv0 @32      dense1 @32   dense2 @16   dense3 @8   average   10

A layer sees everything that was made before it in its block, and adds k maps (the growth rate).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate.errors import UsageError
from striate.nets.blocks import global_head, he_init, named
from striate.nets.net import Net


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseNetForm:
    """What tells the forms of DenseNet apart. The defaults are the paper's DenseNet-121."""

    depths: tuple[int, ...] = (6, 12, 24, 16)
    """Layers of each block."""
    growth: int = 32
    """Maps that a layer adds: k."""
    stem_maps: int = 64
    """Maps of conv0: 2k, or 16."""
    bottleneck: bool = True
    """A 1x1 convolution to 4k maps ahead of each 3x3: the B of DenseNet-BC."""
    compression: float = 0.5
    """Part of the maps that a transition keeps: theta, the C of DenseNet-BC."""
    large_stem: bool = True
    """conv0 of 7x7 at stride 2 with batch norm, ReLU and 3x3 max pooling at stride 2, for 3x3 at stride 1 alone."""
    dropout: float = 0.0
    """Behind each convolution but conv0; the paper has 0.2 where it does not augment."""
    conv_bias: bool = False
    """Biases in the convolutions although batch norm follows."""


class DenseLayer(nn.Module):
    """Appends k maps to its input. (N, C, H, W) -> (N, C + k, H, W)."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], 1)


def dense_layer(inputs: int, form: DenseNetForm) -> DenseLayer:
    """BN-ReLU-conv3x3, behind BN-ReLU-conv1x1 with bottleneck."""
    inner = 4 * form.growth
    layers: dict[str, nn.Module | None] = {"norm1": nn.BatchNorm2d(inputs), "relu1": nn.ReLU()}
    if form.bottleneck:
        layers |= {
            "conv1": nn.Conv2d(inputs, inner, 1, bias=form.conv_bias),
            "drop1": nn.Dropout(form.dropout) if form.dropout else None,
            "norm2": nn.BatchNorm2d(inner),
            "relu2": nn.ReLU(),
        }
        inputs = inner
    layers |= {
        "conv2": nn.Conv2d(inputs, form.growth, 3, padding=1, bias=form.conv_bias),
        "drop2": nn.Dropout(form.dropout) if form.dropout else None,
    }
    return DenseLayer(named(layers))


def transition(inputs: int, maps: int, form: DenseNetForm) -> nn.Sequential:
    """Between blocks: (N, inputs, H, W) -> (N, maps, H/2, W/2)."""
    return named(
        {
            "norm": nn.BatchNorm2d(inputs),
            "relu": nn.ReLU(),
            "conv": nn.Conv2d(inputs, maps, 1, bias=form.conv_bias),
            "drop": nn.Dropout(form.dropout) if form.dropout else None,
            "pool": nn.AvgPool2d(2),
        }
    )


def densenet(channels: int, classes: int, init: str, form: DenseNetForm) -> Net:
    """A stem, dense blocks with transitions between them, a closing BN-ReLU, global average pooling, one linear layer.

    Both values of `init` are the paper's, which is He's (section 4.2).
    """
    maps = form.stem_maps
    if form.large_stem:
        conv = nn.Conv2d(channels, maps, 7, 2, 3, bias=form.conv_bias)
        stages: dict[str, nn.Module] = {
            "conv0": named({"conv": conv, "norm": nn.BatchNorm2d(maps), "relu": nn.ReLU()}),
            "pool0": nn.MaxPool2d(3, 2, 1),
        }
    else:
        stages = {"conv0": nn.Conv2d(channels, maps, 3, padding=1, bias=form.conv_bias)}
    for block, depth in enumerate(form.depths, 1):
        layers: dict[str, nn.Module] = {}
        for number in range(1, depth + 1):
            layers[f"layer{number}"] = dense_layer(maps, form)
            maps += form.growth
        if block == len(form.depths):
            layers |= {"norm": nn.BatchNorm2d(maps), "relu": nn.ReLU()}
        stages[f"dense{block}"] = named(layers)
        if block < len(form.depths):
            kept = int(maps * form.compression)
            stages[f"transition{block}"] = transition(maps, kept, form)
            maps = kept
    net = Net(stages, global_head(maps, classes))
    he_init(net)
    return net


def cifar_form(depth: int, growth: int, bottleneck: bool) -> DenseNetForm:
    """Section 3: three blocks of (L-4)/3 layers behind 16 maps; DenseNet-BC: of (L-4)/6 behind 2k maps, theta 0.5.

    Raises:
        UsageError: a depth L that does not divide so.
    """
    step = 6 if bottleneck else 3
    layers, rest = divmod(depth - 4, step)
    if rest or layers < 1:
        raise UsageError(f"depth must be {step}n+4 with n at least 1, got {depth}: use {step * max(layers, 1) + 4}")
    return DenseNetForm(
        depths=(layers,) * 3,
        growth=growth,
        stem_maps=2 * growth if bottleneck else 16,
        bottleneck=bottleneck,
        compression=0.5 if bottleneck else 1.0,
        large_stem=False,
    )
