"""What three papers' files or more share: named layers, normalisation, initialisation, a head."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import nn


def named(layers: Mapping[str, nn.Module | None]) -> nn.Sequential:
    """The layers one after the other under these names; a None is left out."""
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


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


def xavier_init(net: nn.Module) -> None:
    """Glorot and Bengio 2010, eq. 16: weights uniform within sqrt(6 / (fan_in + fan_out)); biases as torch has them."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)


def response_norm() -> nn.LocalResponseNorm:
    """Krizhevsky et al. 2012, section 3.3: b = a / (2 + 1e-4 * sum of squares of 5 neighbours) ** 0.75.

    torch divides alpha by the number of neighbours, as Caffe did; the paper's formula does not, hence 5 * 1e-4.
    """
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)


def global_head(features: int, classes: int, dropout: float = 0.0) -> nn.Sequential:
    """(N, features, H, W) -> logits (N, classes): average over the map, dropout where asked for, one linear layer."""
    return named(
        {
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "dropout": nn.Dropout(dropout) if dropout else None,
            "classifier": nn.Linear(features, classes),
        }
    )
