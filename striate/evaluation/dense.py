"""A net that takes larger images than it was trained on: its head slides over the maps as a convolution.

Simonyan and Zisserman 2014, section 3.2: the first fully connected layer becomes a convolution as large as the map that it
saw, the others 1x1 convolutions; what comes out is a map of scores, which is averaged over its places. A head that averages
whatever map it gets, as those of NiN, GoogLeNet, ResNet and DenseNet do, needs no change.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.anatomy.tracing import TraceFailure, trace
from striate.errors import UsageError, param
from striate.nets import Net
from striate.nets.outputs import Logits

_FAR = 20_160
"""Pixels, a multiple of all strides that there are (2^6 * 3^2 * 5 * 7): an image so much larger has a larger map for certain."""
_ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh, nn.Softplus,
    nn.Hardswish, nn.Hardtanh, nn.Identity,
)  # fmt: skip


class FullyConvolutional(nn.Module):
    """A net whose flattening head is convolutions.

    Args:
        net: as it was trained.
        size: (H, W) of the images that it was trained on; its head then saw the whole map, and nothing else.

    Raises:
        UsageError: the head holds a layer that is no convolution of maps.
    """

    def __init__(self, net: Net, size: tuple[int, int]) -> None:
        super().__init__()
        self.body = nn.Sequential(*net.stages.values())
        self.head = as_convolutions(net, _map_size(self.body, net.channels, *size))

    def class_map(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, classes, h, w), one of each window of the maps that is as large as in training."""
        scores: Tensor = self.head(self.body(x))
        return scores

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, classes), the mean over all windows."""
        return self.class_map(x).mean((2, 3))


def dense(net: Net, size: tuple[int, int]) -> nn.Module:
    """The net for larger images than the `size` (H, W) it was trained on: itself where its head pools whatever it gets.

    Raises:
        UsageError: its head cannot slide, or cannot be seen.
    """
    if slides(net):
        return FullyConvolutional(net, size)
    if isinstance(net.head, Logits):
        _check_external(net, size)
    elif _pool_side(net) != 1:
        raise _impossible(
            net, f"it needs a head that begins with nn.AdaptiveAvgPool2d, and that of {net.spec.name} does not"
        )
    return net


def slides(net: Net) -> bool:
    """Whether its head flattens a map of more than one place."""
    return (_pool_side(net) or 1) > 1


def total_stride(net: Net, size: tuple[int, int]) -> int:
    """Pixels by which an image must grow so that its map grows by one place; 1 for a net whose maps cannot be seen."""
    if isinstance(net.head, Logits):
        return 1
    body = nn.Sequential(*net.stages.values())
    height, width = size
    before, after = (_map_size(body, net.channels, rows, width)[0] for rows in (height, height + _FAR))
    return _FAR // (after - before) if after > before else 1


def as_convolutions(net: Net, window: tuple[int, int]) -> nn.Sequential:
    """The layers of a flattening head as convolutions over a map: (N, C, H, W) -> logits (N, classes, h, w).

    Args:
        net: its head is an `nn.AdaptiveAvgPool2d`, an `nn.Flatten`, and linear layers with what lies between them.
        window: (h, w) of the map that the head saw in training. Where the pool is no identity there, the first convolution
            does what it did.

    Raises:
        UsageError: another layer is in it.
    """
    side = _pool_side(net)
    _, flatten, *rest = _in_order(net.head)
    linear = [isinstance(layer, nn.Linear) for layer in rest]
    if side is None or not isinstance(flatten, nn.Flatten) or not any(linear):
        raise _refused(net, flatten)
    first = linear.index(True)
    layers: list[nn.Module] = []
    for place, layer in enumerate(rest):
        if isinstance(layer, nn.Dropout):  # does nothing in a test
            continue
        if isinstance(layer, nn.Linear):
            layers.append(_convolution(layer, *((side, window) if place == first else (1, (1, 1)))))
        elif place < first:
            raise _refused(net, layer)
        elif isinstance(layer, nn.BatchNorm1d):
            layers.append(_over_maps(layer))
        elif isinstance(layer, _ELEMENTWISE):
            layers.append(layer)
        else:
            raise _refused(net, layer)
    return nn.Sequential(*layers).eval()


def _in_order(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of a sequence of sequences; one that is in it twice comes twice."""
    if isinstance(module, nn.Sequential):
        for layer in module:
            yield from _in_order(layer)
    else:
        yield module


def _convolution(linear: nn.Linear, side: int, window: tuple[int, int]) -> nn.Conv2d:
    """The layer behind adaptive pooling to side x side as one convolution of that window, which sees what the pool saw."""
    weight = linear.weight.detach().view(linear.out_features, -1, side, side)
    if window != (side, side):
        rows, columns = (pooling_matrix(length, side).to(weight) for length in window)
        weight = torch.einsum("ocij,ih,jw->ochw", weight, rows, columns)
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], window, bias=linear.bias is not None, device="meta")
    conv.weight = nn.Parameter(weight, requires_grad=False)
    if linear.bias is not None:
        conv.bias = nn.Parameter(linear.bias.detach(), requires_grad=False)
    return conv


def pooling_matrix(length: int, side: int) -> Tensor:
    """float64 (side, length): what `nn.AdaptiveAvgPool2d(side)` does along a side of `length` places."""
    return F.adaptive_avg_pool1d(torch.eye(length, dtype=torch.float64), side).T


def _over_maps(norm: nn.BatchNorm1d) -> nn.BatchNorm2d:
    over = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    reference = norm.running_mean if norm.running_mean is not None else norm.weight
    over.load_state_dict(norm.state_dict())
    return over.to(reference)


def _pool_side(net: Net) -> int | None:
    """n of an `nn.AdaptiveAvgPool2d` to n x n that the head begins with; None where it begins otherwise."""
    first = net.head[0] if isinstance(net.head, nn.Sequential) and len(net.head) else None
    if not isinstance(first, nn.AdaptiveAvgPool2d):
        return None
    side = first.output_size
    if isinstance(side, tuple):
        return side[0] if len(set(side)) == 1 else None
    return side


def _map_size(body: nn.Module, channels: int, height: int, width: int) -> tuple[int, int]:
    """(h, w) of the last maps, found on shapes alone."""
    graph = trace(body, (1, channels, height, width))
    *_, rows, columns = graph.nodes[graph.outputs[0]].shape
    return rows, columns


def _check_external(net: Net, size: tuple[int, int]) -> None:
    """Raises UsageError unless a net whose head cannot be seen takes larger images, and averages its maps whole."""
    larger = 2 * size[0], 2 * size[1]
    try:
        graph = trace(net, (1, net.channels, *larger))
    except TraceFailure as failure:
        why = f"it takes no image of {larger[0]}x{larger[1]}, only of {size[0]}x{size[1]} ({failure.cause})"
        raise _impossible(net, why) from failure
    pools = [node.attributes["output_size"] for node in graph.nodes if "adaptive" in node.operation]
    if stretched := [side for side in pools if set(side) != {1}]:
        height, width = stretched[0]
        why = f"it pools any map to {height}x{width} and flattens it, in code that cannot be taken apart"
        raise _impossible(net, f"{why} as that of the catalogue's nets can")


def _refused(net: Net, layer: nn.Module) -> UsageError:
    kind = type(layer).__name__
    return _impossible(
        net, f"its head's linear layers become convolutions, and it holds a {kind} where this is not possible"
    )


def _impossible(net: Net, why: str) -> UsageError:
    return UsageError(f"dense evaluation of {net.spec.name} is not possible: {why}: use {param('views', 'ten-crop')}")
