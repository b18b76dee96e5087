"""Receptive fields of known nets against the pixels that really matter: sets of positions carried backwards through the unpadded
graph, one axis at a time, without Striate. Run: pytest tests/anatomy/test_receptive.py
"""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from striate.anatomy import inspect, trace
from striate.anatomy.receptive import receptive_fields
from striate.nets import CATALOGUE, build
from tests.anatomy.fast_rows import ROWS
from tests.anatomy.windows import Back, Positions, window


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _module_back(layer: nn.Module) -> Back | None:
    """What a module reads; None if it is elementwise."""
    if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
        return window(*map(_pair, (layer.kernel_size, layer.stride, layer.padding, layer.dilation)))
    if isinstance(layer, nn.AvgPool2d):
        return window(*map(_pair, (layer.kernel_size, layer.stride, layer.padding, 1)))
    return None


def _function_back(node: torch.fx.Node) -> Back | None:
    if node.target is operator.getitem and isinstance(node.args[1], tuple):
        slices = [part for part in node.args[1] if part is not Ellipsis][-2:]
        steps = [(part.start or 0, part.step or 1) if isinstance(part, slice) else (0, 1) for part in slices]
        return lambda axis, outputs: {o * steps[axis][1] + steps[axis][0] for o in outputs}
    if node.target is F.max_pool2d or node.target is F.avg_pool2d:
        kernel = node.args[1] if len(node.args) > 1 else node.kwargs["kernel_size"]
        stride = node.args[2] if len(node.args) > 2 else node.kwargs.get("stride") or kernel
        padding = node.args[3] if len(node.args) > 3 else node.kwargs.get("padding", 0)
        return window(*map(_pair, (kernel, stride, padding, node.kwargs.get("dilation", 1))))
    return None


def support(net: nn.Module, path: str, axis: int) -> Positions:
    """Pixels of an endless image that position 0 of the module at `path` reads."""
    graph = torch.fx.Tracer().trace(net)
    modules = dict(net.named_modules())
    wanted: dict[torch.fx.Node, Positions] = {}
    for node in reversed(list(graph.nodes)):
        if node.op == "call_module" and node.target == path and not wanted:
            wanted[node] = {0}
        if node not in wanted:
            continue
        if node.op == "placeholder":
            return wanted[node]
        back = _module_back(modules[str(node.target)]) if node.op == "call_module" else _function_back(node)
        read = wanted[node] if back is None else back(axis, wanted[node])
        for source in node.all_input_nodes:
            wanted.setdefault(source, set()).update(read)
    raise AssertionError(f"{path} does not reach the image")


def check(net: nn.Module, input: tuple[int, int, int], layers: int) -> None:
    """Compares `layers` windows of the net, spread over its depth, the last one among them."""
    graph = trace(net, (1, *input))
    fields = receptive_fields(graph)
    modules = dict(net.named_modules())
    windows = [
        node for node in graph.nodes if node.module and node.call == 0 and isinstance(modules[node.module], nn.Conv2d)
    ]  # fmt: skip
    step = max(1, len(windows) // layers)
    chosen = windows[::-step] if step else windows
    for node in chosen:
        field = fields[node.index]
        assert field is not None, node.module
        for axis in (0, 1):
            pixels = support(net, node.module, axis)
            assert field.largest[axis] == max(pixels) - min(pixels) + 1, node.module
            assert field.centre[axis] == (max(pixels) + min(pixels)) / 2, node.module


@pytest.mark.parametrize("name", ROWS)
def test_catalogue_fields(name: str) -> None:
    with torch.device("meta"):
        net = build(name)
    check(net, CATALOGUE[name].input, 4)


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet18", "mobilenet_v2", "densenet121"])
def test_torchvision_fields(name: str) -> None:
    from torchvision import models

    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    with torch.device("meta"):
        net = getattr(models, name)(weights=None, **options)
    check(net, (3, 224, 224), 4)


def test_published_fields() -> None:
    """Sizes that have been printed: Araujo et al., Computing Receptive Fields of CNNs (Distill 2019), AlexNet and VGG-16."""
    for name, size in {"alexnet": 195, "vgg16": 212}.items():
        anatomy = inspect(f"torchvision:{name}")
        last = [node.index for node in anatomy.graph.nodes if len(node.shape) == 4 and node.shape[-1] > 1]
        fields = receptive_fields(anatomy.graph)
        assert max(f.largest[0] for i in last if (f := fields[i]) is not None) == size, name


def test_flatten_and_gates_read_the_whole_picture() -> None:
    anatomy = inspect("torchvision:mobilenet_v3_small")
    fields = receptive_fields(anatomy.graph)
    gated = next(i for i, node in enumerate(anatomy.graph.nodes) if node.operation == "mul")
    assert fields[gated].whole
    assert fields[gated].smallest < fields[gated].largest
    assert fields[-1].largest == (224, 224)
    assert fields[-1].stride == (0, 0)


def test_a_linear_layer_over_the_channels_keeps_the_field() -> None:
    class LastChannels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.mix = nn.Conv2d(3, 6, 5), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:  # (N, 3, H, W) -> (N, 6, H - 4, W - 4)
            x = self.conv(x)
            return x + self.mix(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    field = receptive_fields(trace(LastChannels(), (1, 3, 16, 20)))[-1]
    assert field is not None
    assert field.largest == (5, 5)
    assert field.stride == (1, 1)


def test_what_cannot_be_followed_is_none() -> None:
    class Rolled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.roll(1, 2) + 1

    assert receptive_fields(trace(Rolled(), (1, 1, 8, 8)))[-1] is None


def test_a_path_through_pixels_that_no_window_reaches() -> None:
    """11x11 windows with stride 4 leave the last pixels of a 226 wide image unread: not the whole image."""
    net = nn.Sequential(nn.Conv2d(1, 1, 11, 4), nn.AdaptiveAvgPool2d(1))
    field = receptive_fields(trace(net, (1, 1, 226, 226)))[-1]
    assert field.largest == (223, 223)
    assert not field.whole
