"""Receptive fields of the rows against float64 gradients. Run: pytest -m slow tests/anatomy/test_receptive_gradients.py

A position reads exactly the pixels whose gradient is not zero, provided that nothing cancels or hides: average for max pools,
identity for activations, eval mode, positive weights. Weights of 1 / fan-in keep every number near 1, so that the thinnest
path of the deepest row, 3 ** -256 at a corner, is far from where float64 ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.anatomy import trace
from striate.anatomy.receptive import ReceptiveField, receptive_fields
from striate.nets import CATALOGUE, build
from striate.nets.lenet import ScaledTanh
from striate.nets.net import Net

LARGEST = 257
"""Fields up to this many pixels are checked."""
BUDGET = 2**29
"""Bytes of activations that one run may keep; on square images the deepest rows would keep tens of GiB. The process takes a few
times as much, as the heap falls to pieces between the unfolded windows of float64 convolutions."""
FEW = {"lenet5", "lenet5-1998", "alexnet-native", "inception-mnist"}


def fitting_fields(net: Net, input: tuple[int, int, int]) -> dict[str, ReceptiveField]:
    """The convolutions whose field is small enough, in the order in which they run, with what Striate says of them."""
    graph, modules = trace(net, (1, *input)), dict(net.named_modules())
    return {
        node.module: field
        for node, field in zip(graph.nodes, receptive_fields(graph), strict=True)
        if field is not None and isinstance(modules[node.module], nn.Conv2d) and max(field.largest) <= LARGEST
    }


def smooth(net: Net) -> None:
    """Makes every pixel of a field count: see the module's docstring. The head is not needed, and holds most weights."""
    net.head = nn.Identity()
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU | nn.Sigmoid | ScaledTanh):
                setattr(module, name, nn.Identity())
        for name, parameter in module.named_parameters(recurse=False):
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            nn.init.constant_(parameter, 0.0 if name == "bias" else 1.0 / fan_in)
    net.double().eval().requires_grad_(False)


def average_for_max(x: Tensor, kernel: Any, stride: Any = None, padding: Any = 0, *rest: Any, **named: Any) -> Tensor:
    """Every pixel counts in an average; the padding takes no part."""
    ceil_mode = named.get("ceil_mode", rest[1] if len(rest) > 1 else False)
    return F.avg_pool2d(x, kernel, stride, padding, ceil_mode)


def pictures(net: Net, deepest: str, channels: int, sides: Sequence[int]) -> list[tuple[int, ...]]:
    """Sizes (height, width) of the images to run: one of these `sides`, or where that would keep more than BUDGET two strips,
    one as high, one as wide, as broad as the budget lets them be: windows are rectangles, each axis has a field of its own.
    """
    nodes = trace(net, (1, channels, *sides)).nodes
    end = next(node.index for node in nodes if node.module == deepest)
    kept = sum(node.bytes for node in nodes[: end + 1])
    if kept <= BUDGET:
        return [tuple(sides)]
    breadths = [max(net.spec.min_size, side * BUDGET // kept) for side in sides]
    return [(sides[0], breadths[1]), (breadths[0], sides[1])]


class _Reached(Exception):
    """The deepest layer has run."""


def maps_of(net: Net, layers: Sequence[str], picture: Tensor) -> dict[str, Tensor]:
    """Runs the net as far as the last of `layers`."""
    maps: dict[str, Tensor] = {}

    def keeper(layer: str) -> Any:
        def keep(_: nn.Module, __: object, output: Tensor) -> None:
            maps[layer] = output
            if layer == layers[-1]:
                raise _Reached

        return keep

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "max_pool2d", average_for_max)
        handles = [net.get_submodule(layer).register_forward_hook(keeper(layer)) for layer in layers]
        with contextlib.suppress(_Reached):  # pytest.raises would keep the traceback, and all maps with it
            net(picture)
        for handle in handles:
            handle.remove()
    assert list(maps) == list(layers)
    return maps


def check_along(
    axes: list[int], net: Net, channels: int, size: tuple[int, ...], fields: dict[str, ReceptiveField]
) -> None:
    """Runs one image and compares the gradient of a position in its middle, layer by layer, along these axes."""
    picture = torch.rand(1, channels, *size, dtype=torch.float64, requires_grad=True)
    for layer, output in maps_of(net, list(fields), picture).items():
        field = fields[layer]
        place = [length // 2 for length in output.shape[2:]]
        for axis in axes:  # the position whose field lies in the middle of the image
            place[axis] = round(((size[axis] - 1) / 2 - field.centre[axis]) / field.stride[axis])
        value = output[0, :, place[0], place[1]].sum()
        (gradient,) = torch.autograd.grad(value, picture, retain_graph=True)
        for axis in axes:
            touched = gradient.abs().sum((0, 1, 3 - axis)).nonzero().flatten()
            first, last = int(touched[0]), int(touched[-1])
            assert 0 < first <= last < size[axis] - 1, f"{layer}: the image does not hold the field"
            assert last - first + 1 == field.largest[axis], layer
            assert (first + last) / 2 == field.centre[axis] + field.stride[axis] * place[axis], layer


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FEW else [pytest.mark.slow]) for name in CATALOGUE]
)
def test_catalogue_gradients(name: str) -> None:
    """The deepest convolution, the one that sees most, and some at all depths, of those with at most 257 pixels."""
    net, channels = build(name), CATALOGUE[name].input[0]
    fields = fitting_fields(net, CATALOGUE[name].input)
    order = list(fields)
    widest = max(order, key=lambda layer: max(fields[layer].largest))
    chosen = {*order[:: -max(1, len(order) // 4)], widest}
    layers = [layer for layer in order if layer in chosen]
    sides = [  # room for a step to either side, so that a field larger than it should be is seen too
        int(fields[widest].largest[axis] + 2 * max(fields[layer].stride[axis] for layer in layers) + 2)
        for axis in (0, 1)
    ]
    smooth(net)
    axes_seen = []
    for size in pictures(net, layers[-1], channels, sides):
        axes = [axis for axis in (0, 1) if size[axis] == sides[axis]]
        check_along(axes, net, channels, size, {layer: fields[layer] for layer in layers})
        axes_seen += axes
    assert sorted(axes_seen) == [0, 1]
