"""Shared by several papers' files: named layers, chains of convolutions, heads, normalisation, initialisation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from striate.errors import UsageError


def named(layers: Mapping[str, nn.Module | None]) -> nn.Sequential:
    """The layers one after the other under these names; a None is left out."""
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


def conv_norm_relu(conv: nn.Conv2d, *, norm: bool = True, relu: bool = True, eps: float = 1e-5) -> nn.Sequential:
    """A convolution, batch norm with epsilon `eps` and ReLU, each of the two where asked for."""
    return named(
        {
            "conv": conv,
            "norm": nn.BatchNorm2d(conv.out_channels, eps=eps) if norm else None,
            "relu": nn.ReLU() if relu else None,
        }
    )


def conv_chain(
    inputs: int,
    convs: Iterable[tuple[int, int, int]],
    order: Sequence[str] = ("conv", "norm", "relu"),
    bias: bool = False,
) -> dict[str, nn.Module]:
    """Convolutions in a row, padded to keep the size but for the stride, as layers `conv1`, `norm1`, `relu1`, `conv2`, ...

    Args:
        convs: (kernel, channels, stride) of each.
        order: of the layers around each convolution; batch norm is that of the inputs where it comes first.
    """
    layers: dict[str, nn.Module] = {}
    for number, (kernel, channels, stride) in enumerate(convs, 1):
        made = {
            "conv": nn.Conv2d(inputs, channels, kernel, stride, kernel // 2, bias=bias),
            "norm": nn.BatchNorm2d(inputs if order[0] == "norm" else channels),
            "relu": nn.ReLU(),
        }
        layers |= {f"{kind}{number}": made[kind] for kind in order}
        inputs = channels
    return layers


def branch(make: Callable[..., nn.Module], inputs: int, **layers: tuple[int, ...]) -> nn.Sequential:
    """Convolutions in a row, each made of (inputs, channels, kernel) or (inputs, channels, kernel, stride)."""
    made = {}
    for name, (channels, *window) in layers.items():
        made[name] = make(inputs, channels, *window)
        inputs = channels
    return named(made)


def global_head(features: int, classes: int, *, dropout: float = 0.0, hidden: int = 0, side: int = 1) -> nn.Sequential:
    """(N, features, H, W) -> logits (N, classes): average to `side` x `side`, then one linear layer.

    Args:
        dropout: its rate before the first linear layer; 0 for none.
        hidden: units of a layer with a ReLU ahead of the classifier; 0 for none.
    """
    features *= side**2
    return named(
        {
            "pool": nn.AdaptiveAvgPool2d(side),
            "flatten": nn.Flatten(),
            "dropout": nn.Dropout(dropout) if dropout else None,
            "fc": nn.Linear(features, hidden) if hidden else None,
            "relu": nn.ReLU() if hidden else None,
            "classifier": nn.Linear(hidden or features, classes),
        }
    )


def hidden_head(features: int, classes: int, *, side: int, hidden: int, dropout_first: bool = False) -> nn.Sequential:
    """AlexNet's and VGG's head: average to `side` x `side`, fc6 and fc7 of `hidden` units with ReLU and dropout 0.5, classifier.

    Args:
        dropout_first: dropout in front of fc6 and fc7 and not behind them.
    """
    layers: dict[str, nn.Module] = {"pool": nn.AdaptiveAvgPool2d(side), "flatten": nn.Flatten()}
    for number, inputs in ((6, features * side**2), (7, hidden)):
        linear = {f"fc{number}": nn.Linear(inputs, hidden), f"relu{number}": nn.ReLU()}
        dropout = {f"drop{number}": nn.Dropout(0.5)}
        layers |= dropout | linear if dropout_first else linear | dropout
    return named(layers | {"classifier": nn.Linear(hidden, classes)})


class Branches(nn.Module):
    """Runs branches over one input and puts their channels side by side. (N, C, H, W) -> (N, sum of channels, H', W')."""

    def __init__(self, branches: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleDict(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches.values()], 1)


class Scale(nn.Module):
    """Multiplies by a constant. Any shape."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def extra_repr(self) -> str:
        return f"{self.factor}"


def response_norm() -> nn.LocalResponseNorm:
    """Krizhevsky et al. 2012, section 3.3: b = a / (2 + 1e-4 * sum of squares of 5 neighbours) ** 0.75.

    torch divides alpha by the number of neighbours, as Caffe did; the paper's formula does not, hence 5 * 1e-4.
    """
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)


def repeats(depth: int, layers: int, others: int) -> int:
    """How often blocks of so many `layers` are repeated in a net of that depth, which has `others` besides.

    Raises:
        UsageError: the depth does not divide so; it names one that does.
    """
    count, rest = divmod(depth - others, layers)
    if rest or count < 1:
        nearest = layers * max(count, 1) + others
        raise UsageError(f"depth must be {layers}n+{others} with n at least 1, got {depth}: use {nearest}")
    return count


def he_init(net: nn.Module, last: str = "classifier") -> None:
    """He et al. 2015 (arXiv:1502.01852, eq. 10): weights N(0, 2 / fan_in), biases 0; batch norm starts as the identity.

    The `last` layer, by the end of its name, has a standard deviation of 0.001, so that the net begins undecided between
    its classes: max pooling and dropout make activations larger than He's rule foresees, sevenfold in alexnet-native.
    """
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if name.endswith(last):
                nn.init.normal_(module.weight, std=0.001)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def normal_init(net: nn.Module, std: float) -> None:
    """Weights N(0, std ** 2), biases 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def xavier_init(net: nn.Module) -> None:
    """Glorot and Bengio 2010, eq. 16: weights uniform within sqrt(6 / (fan_in + fan_out)); biases as torch has them."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
