"""The faithfulness of a map: whether the prediction depends on the places that it marks, and the map on the net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.drawing.heat import Heat
from striate.explaining.attributing import PORTION
from striate.explaining.layers import LEAST
from striate.nets.blocks import he_init
from striate.nets.copying import copied
from striate.nets.hooks import evaluating
from striate.nets.net import Net

PATCHES = 14
"""Patches along each side of an image; as many as it has pixels if those are fewer."""
STEPS = 10
ORDERS = 3
"""Random orders that the map's order is compared with."""
DRAWS = 3
"""Nets with weights drawn anew that the map is compared with."""

_Curve = tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Faithfulness:
    """Deletion and insertion (Petsiuk et al. 2018, arXiv:1806.07421, section 3.3), beside those of random orders.

    A curve is the probability of the class after 0, 1/10, ... 1 of the image's patches were taken, those first whose mean in
    the map is highest. The area under it is the figure.

    Attributes:
        deletion: while patches are painted in the mean colour of the training images. A map that marks what the prediction
            depends on lets it fall fast: a small area.
        insertion: while they are uncovered on the blurred image. Such a map lets it rise fast: a large area.
        random_deletion, random_insertion: means over three random orders of the same patches.
    """

    deletion: _Curve
    insertion: _Curve
    random_deletion: _Curve
    random_insertion: _Curve

    def areas(self) -> dict[str, float]:
        """The area under each curve, 0 to 1, by the trapezoidal rule."""
        return {name: area(getattr(self, name)) for name in self.__slots__}


def area(curve: _Curve) -> float:
    """Under a curve from 0 to 1 whose points lie equally far apart."""
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def faithfulness(
    net: nn.Module, picture: Tensor, target: int, heat: Heat, *, temperature: float = 1.0, seed: int = 0
) -> Faithfulness | None:
    """Deletion and insertion of one image's map; None for an empty map, which puts nothing in order.

    Args:
        picture: float32 (C, H, W), as the net takes it.
        target: the class that the map is of.
        heat: (H, W).
        temperature: of the softmax.
        seed: of the random orders.
    """
    if not heat.any():
        return None
    rows, columns = min(PATCHES, heat.shape[0]), min(PATCHES, heat.shape[1])
    down = np.arange(heat.shape[0]) * rows // heat.shape[0]
    across = np.arange(heat.shape[1]) * columns // heat.shape[1]
    patch = down[:, None] * columns + across
    means = np.bincount(patch.ravel(), heat.ravel()) / np.bincount(patch.ravel())
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(rows * columns)  # patches that the map makes equal come in random order
    orders = [shuffled[np.argsort(-means[shuffled], kind="stable")]]
    orders += [generator.permutation(rows * columns) for _ in range(ORDERS)]

    blurred = F.interpolate(F.adaptive_avg_pool2d(picture[None], LEAST), size=heat.shape, mode="bilinear")[0]
    taken = [round(step * rows * columns / STEPS) for step in range(STEPS + 1)]
    versions = []
    for order in orders:
        place = np.empty(rows * columns, dtype=np.int64)
        place[order] = np.arange(rows * columns)
        position = torch.from_numpy(place[patch]).to(picture.device)
        versions += [torch.where(position < count, torch.zeros_like(picture), picture) for count in taken]
        versions += [torch.where(position < count, picture, blurred) for count in taken]
    with evaluating(net), torch.no_grad():
        parts = [
            net(torch.stack(versions[start : start + PORTION])).double().div(temperature).softmax(1)[:, target]
            for start in range(0, len(versions), PORTION)
        ]
    curves = torch.cat(parts).cpu().numpy().reshape(1 + ORDERS, 2, STEPS + 1)
    own, others = curves[0], curves[1:].mean(0)
    return Faithfulness(
        deletion=tuple(own[0].tolist()),
        insertion=tuple(own[1].tolist()),
        random_deletion=tuple(others[0].tolist()),
        random_insertion=tuple(others[1].tolist()),
    )


def randomised(net: Net, seed: int) -> Net:
    """A copy of the net, untrained.

    Convolutions and linear layers are drawn by He's rule, norms begin as they do, and every other parameter is shuffled.
    """
    device = next(net.parameters()).device
    twin = copied(net, "cpu")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        drawn: set[int] = set()
        for module in twin.modules():
            own = dict(module.named_parameters(recurse=False))
            if isinstance(module, nn.Conv2d | nn.Linear):
                drawn.update(map(id, own.values()))
            elif isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm):
                module.reset_parameters()
                drawn.update(map(id, own.values()))
        for parameter in twin.parameters():
            if id(parameter) not in drawn:
                parameter.copy_(parameter.flatten()[torch.randperm(parameter.numel())].view_as(parameter))
        he_init(twin)
    return twin.to(device)


def weight_dependence(net: Net, heats: Heat, explained: Callable[[Net], Heat], seed: int = 0) -> list[float]:
    """The rank correlation of each image's map with that of the same net with weights drawn anew.

    This is the sanity check of Adebayo et al. 2018 (arXiv:1810.03292), all layers at once: a method whose maps stay the same
    shows the image, or the architecture, and not what was learned. The mean over three draws.

    Args:
        heats: (N, H, W), the maps.
        explained: gives the same maps of any net.
        seed: of the weights.
    """
    draws = [explained(randomised(net, seed + draw)) for draw in range(DRAWS)]
    found = [[rank_correlation(own, other) for own, other in zip(heats, others, strict=True)] for others in draws]
    return [float(value) for value in np.mean(found, axis=0)]


def rank_correlation(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Spearman's: the correlation of the ranks, equal values sharing theirs. 0 if either is constant."""
    ranks = np.stack([_ranks(a), _ranks(b)])
    ranks -= ranks.mean(1, keepdims=True)
    scale = np.sqrt((ranks**2).sum(1).prod())
    return float((ranks[0] * ranks[1]).sum() / scale) if scale else 0.0


def _ranks(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: npt.NDArray[np.float64] = (last - (counts - 1) / 2)[inverse.ravel()]
    return ranks
