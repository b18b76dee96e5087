"""AlexNet: Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks", NIPS.

Section 3.5 and Fig. 2. Tensors are N C H W. Sizes of the two-tower net at 227x227:

    conv1 96@55   pool1 27   conv2 256@27   pool2 13   conv3 384@13   conv4 384@13   conv5 256@13   pool5 6   4096   4096

The text says 224, which 11x11 at stride 4 does not divide; 227 without padding gives the sizes of Fig. 2.
A ReLU follows every layer; normalisation, where there is any, comes after it, then overlapping pooling (3x3, stride 2).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from striate.nets.blocks import he_init, named, response_norm
from striate.nets.net import Net


@dataclass(frozen=True, kw_only=True, slots=True)
class AlexNetForm:
    """What tells the forms of AlexNet apart. The defaults are the paper's."""

    widths: tuple[int, int, int, int, int] = (96, 256, 384, 384, 256)
    """Maps of conv1 to conv5."""
    hidden: int = 4096
    """Units of fc6 and fc7."""
    towers: int = 2
    """Groups of conv2, conv4 and conv5, which see the maps of one GPU only."""
    response_norm: bool = True
    """Local response normalisation after conv1 and conv2."""
    stem: tuple[int, int, int] = (11, 4, 0)
    """Kernel, stride and padding of conv1."""
    side: int = 6
    """Height and width of the map that fc6 sees."""
    dropout_first: bool = False
    """Dropout in front of fc6 and fc7 and not behind them."""


def hidden_layers(features: int, form: AlexNetForm, classes: int) -> dict[str, nn.Module]:
    """fc6, fc7 and the classifier, with ReLU and dropout 0.5 (section 4.2)."""
    layers: dict[str, nn.Module] = {}
    for number, inputs in ((6, features), (7, form.hidden)):
        linear = {f"fc{number}": nn.Linear(inputs, form.hidden), f"relu{number}": nn.ReLU()}
        dropout = {f"drop{number}": nn.Dropout(0.5)}
        layers |= dropout | linear if form.dropout_first else linear | dropout
    return layers | {"classifier": nn.Linear(form.hidden, classes)}


def alexnet(channels: int, classes: int, init: str, form: AlexNetForm) -> Net:
    """Five convolutions and three fully connected layers.

    `init="paper"` is section 5: weights N(0, 0.01), biases 1 in conv2, conv4, conv5, fc6 and fc7, and 0 elsewhere.
    `default` is He's: with the paper's, the loss stands still for the first epochs.
    """
    c1, c2, c3, c4, c5 = form.widths
    kernel, stride, padding = form.stem
    norm = form.response_norm

    def conv(inputs: int, maps: int, kernel: int, groups: int = 1) -> nn.Conv2d:
        return nn.Conv2d(inputs, maps, kernel, padding=kernel // 2, groups=groups)

    stages = {
        "conv1": named(
            {
                "conv": nn.Conv2d(channels, c1, kernel, stride, padding),
                "relu": nn.ReLU(),
                "norm": response_norm() if norm else None,
            }
        ),
        "pool1": nn.MaxPool2d(3, 2),
        "conv2": named(
            {"conv": conv(c1, c2, 5, form.towers), "relu": nn.ReLU(), "norm": response_norm() if norm else None}
        ),
        "pool2": nn.MaxPool2d(3, 2),
        "conv3": named({"conv": conv(c2, c3, 3), "relu": nn.ReLU()}),
        "conv4": named({"conv": conv(c3, c4, 3, form.towers), "relu": nn.ReLU()}),
        "conv5": named({"conv": conv(c4, c5, 3, form.towers), "relu": nn.ReLU()}),
        "pool5": nn.MaxPool2d(3, 2),
    }
    features = c5 * form.side**2
    head = named(
        {"pool": nn.AdaptiveAvgPool2d(form.side), "flatten": nn.Flatten()} | hidden_layers(features, form, classes)
    )
    net = Net(stages, head)
    if init == "paper":
        paper_init(net)
    else:
        he_init(net)
    return net


def paper_init(net: nn.Module) -> None:
    """Section 5: N(0, 0.01); biases that start at 1 give the ReLUs behind them positive inputs at first."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                ones = any(layer in name for layer in ("conv2", "conv4", "conv5", "fc6", "fc7"))
                nn.init.constant_(module.bias, 1.0 if ones else 0.0)
