"""Receptive fields against the truth: which pixels really matter. Run: pytest tests/anatomy/test_receptive.py

Two truths, neither of which uses Striate: sets of positions carried backwards through the unpadded graph, one axis at a time;
and float64 gradients of a net with positive weights on a picture that holds the field.
"""

from __future__ import annotations

import contextlib
import operator
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.fx
import torch.nn.functional as F
from fast_rows import ROWS
from torch import Tensor, nn

from striate.anatomy import inspect, trace
from striate.anatomy.receptive import ReceptiveField, receptive_fields
from striate.nets import CATALOGUE, build

Positions = set[int]
Back = Callable[[int, Positions], Positions]  # (axis, positions of the output) -> positions of the input


def window(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int]
) -> Back:
    return lambda axis, outputs: {
        o * stride[axis] - padding[axis] + dilation[axis] * t for o in outputs for t in range(kernel[axis])
    }


def transposed(kernel: int, stride: int, padding: int) -> Back:
    """Tries every input near: i writes to i * stride - padding + t."""
    return lambda axis, outputs: {
        i
        for o in outputs
        for i in range(o // stride - kernel - padding, o // stride + kernel + padding + 1)
        if 0 <= o - (i * stride - padding) < kernel
    }


# ---------------------------------------------------------------------------------------------------- random small graphs


@dataclass
class Step:
    sources: list[int]
    run: Callable[..., Tensor]
    back: list[Back]
    stride: float


class Random(nn.Module):
    """A random graph of up to ten operations with branches and skips; `steps[i].back` says what it reads."""

    def __init__(self, seed: int, side: int, smooth: bool) -> None:
        super().__init__()
        self.draw = random.Random(seed)
        self.layers = nn.ModuleList()
        self.smooth = smooth  # average for max pools, no activations: for gradients
        self.steps: list[Step] = []
        self.strides = [1.0]
        shapes = [(side, side)]
        count = self.draw.randint(3, 10)
        while len(self.steps) < count:
            step, shape = self.step(shapes)
            if step is not None and min(shape) >= 4 and max(shape) <= 4 * side:
                self.steps.append(step)
                self.strides.append(step.stride)
                shapes.append(shape)
        self.double()
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.25)

    def step(self, shapes: list[tuple[int, int]]) -> tuple[Step | None, tuple[int, int]]:
        draw = self.draw
        kind = draw.choice(["conv", "conv", "conv", "pool", "add", "add", "cat", "up", "transposed", "slice", "gate"])
        source = draw.choice([len(shapes) - 1, draw.randrange(len(shapes))])
        stride = self.strides[source]
        here = shapes[source]
        if kind in ("add", "cat"):
            partners = [
                i for i in range(len(shapes)) if shapes[i] == here and self.strides[i] == stride and i != source
            ]
            if not partners:
                return None, here
            other = draw.choice(partners)
            same: Back = lambda axis, outputs: outputs  # noqa: E731
            add = (
                (lambda a, b: a + b) if kind == "add" else lambda a, b: torch.cat([a, b], 1).unflatten(1, (2, 2)).sum(1)
            )
            return Step([source, other], add, [same, same], stride), here
        if kind == "slice":
            begin = draw.randint(0, 1)
            run = lambda x: x[:, :, begin::2, begin::2]  # noqa: E731
            size = (-(-(here[0] - begin) // 2), -(-(here[1] - begin) // 2))
            return Step([source], run, [lambda axis, outputs: {2 * o + begin for o in outputs}], 2 * stride), size
        if kind == "gate":  # a functional op that reads its input twice
            return Step([source], lambda x: x * (x + 1), [lambda axis, outputs: outputs], stride), here
        if kind == "up":
            run = lambda x: F.interpolate(x, scale_factor=2, mode="nearest")  # noqa: E731
            back: Back = lambda axis, outputs: {o // 2 for o in outputs}  # noqa: E731
            return Step([source], run, [back], stride / 2), (2 * here[0], 2 * here[1])
        layer: nn.Module
        if kind == "transposed":
            kernel, padding = draw.choice([(2, 0), (3, 1), (4, 1)])
            layer = nn.ConvTranspose2d(2, 2, kernel, stride=2, padding=padding)
            back, factor = transposed(kernel, 2, padding), 0.5
        else:
            kernels = (draw.choice([1, 2, 3, 3, 5]), draw.choice([1, 3, 3, 4]))
            strides = draw.choice([(1, 1), (1, 1), (2, 2), (3, 3)])
            dilations = draw.choice([(1, 1), (1, 1), (2, 1)])
            pads = tuple(draw.choice([0, d * (k - 1) // 2]) for k, d in zip(kernels, dilations, strict=True))
            if kind == "conv":
                layer = nn.Conv2d(2, 2, kernels, strides, pads, dilations)
            elif self.smooth:
                dilations, pads = (1, 1), tuple(min(p, k // 2) for p, k in zip(pads, kernels, strict=True))
                layer = nn.AvgPool2d(kernels, strides, pads, ceil_mode=draw.random() < 0.5)
            else:
                pads = tuple(min(p, k // 2) for p, k in zip(pads, kernels, strict=True))
                layer = nn.MaxPool2d(kernels, strides, pads, dilations, ceil_mode=draw.random() < 0.5)
            back, factor = window(kernels, strides, pads, dilations), strides[0]
        try:
            size = tuple(layer(torch.zeros(1, 2, *here)).shape[2:])
        except RuntimeError:
            return None, here
        self.layers.append(layer)
        return Step([source], layer, [back], stride * factor), size

    def forward(self, x: Tensor) -> Tensor:  # (N, 2, H, W) -> (N, 2, h, w)
        values = [x]
        for step in self.steps:
            values.append(step.run(*(values[i] for i in step.sources)))
        return values[-1]

    def reads(self, axis: int, position: int) -> Positions:
        """Pixels that a position of the output reads, on a picture without end."""
        wanted: list[Positions] = [set() for _ in range(len(self.steps) + 1)]
        wanted[-1] = {position}
        for index in range(len(self.steps) - 1, -1, -1):
            for source, back in zip(self.steps[index].sources, self.steps[index].back, strict=True):
                wanted[source] |= back(axis, wanted[index + 1])
        return wanted[0]


@pytest.mark.parametrize("seed", range(200))
def test_random_graphs_have_the_field_of_their_support(seed: int) -> None:
    net = Random(seed, 40, smooth=False)
    graph = trace(net, (1, 2, 40, 40))
    field = receptive_fields(graph)[graph.outputs[0]]
    assert field is not None
    for axis in (0, 1):
        supports = [net.reads(axis, position) for position in range(64)]  # 64: a whole number of periods
        assert field.largest[axis] == max(max(s) - min(s) + 1 for s in supports)
        assert field.centre[axis] == (min(supports[0]) + max(supports[0])) / 2
        assert field.stride[axis] == pytest.approx((min(supports[48]) - min(supports[0])) / 48)


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[] if seed % 16 == 0 else [pytest.mark.slow]) for seed in range(200)]
)
def test_random_graphs_have_the_field_of_their_gradient(seed: int) -> None:
    side = 288
    net = Random(seed, side, smooth=True)
    graph = trace(net, (1, 2, side, side))
    field = receptive_fields(graph)[graph.outputs[0]]
    assert field is not None
    if max(field.largest) > 257:
        pytest.skip("a field of more than 257 pixels")
    picture = torch.rand(1, 2, side, side, dtype=torch.float64, requires_grad=True)
    output = net(picture)
    middle = [length // 2 for length in output.shape[2:]]
    if min(middle) < 8:
        pytest.skip("too few positions to have some away from the border")
    spans = []
    for step in range(8):  # the positions of whole periods: fields differ after up-sampling
        row, column = middle[0] // 8 * 8 + step, middle[1] // 8 * 8 + step
        (gradient,) = torch.autograd.grad(output[0, :, row, column].sum(), picture, retain_graph=True)
        touched = [gradient.abs().sum((0, 1, 3 - axis)).nonzero().flatten() for axis in (0, 1)]
        spans.append([(int(t[0]), int(t[-1])) for t in touched])
        if step == 0:
            start = (row, column)
    for axis in (0, 1):
        assert all(span[axis][0] > 0 and span[axis][1] < side - 1 for span in spans), (
            "the picture does not hold the field"
        )
        assert field.largest[axis] == max(span[axis][1] - span[axis][0] + 1 for span in spans)
        centre = (spans[0][axis][0] + spans[0][axis][1]) / 2
        assert centre == field.centre[axis] + field.stride[axis] * start[axis]


# ------------------------------------------------------------------------------------------------------------ known nets


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
    """Pixels of an endless picture that position 0 of the module at `path` reads."""
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
    raise AssertionError(f"{path} does not reach the picture")


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


class _Reached(Exception):
    """The layer that was asked for has run."""


def gradient_span(net: nn.Module, path: str, field: ReceptiveField, channels: int) -> list[tuple[int, int, int]]:
    """(first pixel, last pixel, position) for height and width, from the gradient of the position nearest the middle."""
    for module in net.modules():
        for name, parameter in module.named_parameters(recurse=False):
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            nn.init.constant_(parameter, 0.0 if name == "bias" else 1.0 / fan_in)
    net.double().eval().requires_grad_(False)
    sides = [int(size + 2 * stride + 2) for size, stride in zip(field.largest, field.stride, strict=True)]
    picture = torch.rand(1, channels, *sides, dtype=torch.float64, requires_grad=True)
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        kept.append(output)
        raise _Reached

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "max_pool2d", average_for_max)
        handle = net.get_submodule(path).register_forward_hook(keep)
        with contextlib.suppress(_Reached):
            net(picture)
        handle.remove()
    places = [
        round(((side - 1) / 2 - centre) / stride)
        for side, centre, stride in zip(sides, field.centre, field.stride, strict=True)
    ]
    kept[0][0, :, places[0], places[1]].sum().backward()
    assert picture.grad is not None
    spans = []
    for axis in (0, 1):
        touched = picture.grad.abs().sum((0, 1, 3 - axis)).nonzero().flatten()
        spans.append((int(touched[0]), int(touched[-1]), places[axis]))
    return spans


def average_for_max(x: Tensor, kernel: Any, stride: Any = None, padding: Any = 0, *rest: Any, **named: Any) -> Tensor:
    """Every pixel counts in an average; the padding takes no part."""
    ceil_mode = named.get("ceil_mode", rest[1] if len(rest) > 1 else False)
    return F.avg_pool2d(x, kernel, stride, padding, ceil_mode)


FEW = {"lenet5", "lenet5-1998", "alexnet-native", "inception-mnist"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FEW else [pytest.mark.slow]) for name in CATALOGUE]
)
def test_catalogue_gradients(name: str) -> None:
    """The deepest convolution whose field is at most 257 pixels."""
    net = build(name)
    graph = trace(net, (1, *CATALOGUE[name].input))
    modules = dict(net.named_modules())
    fields = receptive_fields(graph)
    fitting = [
        (node.module, field)
        for node, field in zip(graph.nodes, fields, strict=True)
        if field is not None
        and isinstance(modules[node.module], nn.Conv2d)
        and max(field.largest) <= 257
        and field.stride[0] > 0
    ]
    path, field = fitting[-1]
    spans = gradient_span(net, path, field, CATALOGUE[name].input[0])
    for axis, (first, last, position) in enumerate(spans):
        assert last - first + 1 == field.largest[axis], path
        assert (first + last) / 2 == field.centre[axis] + field.stride[axis] * position, path


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
    """11x11 windows with stride 4 leave the last pixels of a 226 wide picture unread: not the whole picture."""
    net = nn.Sequential(nn.Conv2d(1, 1, 11, 4), nn.AdaptiveAvgPool2d(1))
    field = receptive_fields(trace(net, (1, 1, 226, 226)))[-1]
    assert field.largest == (223, 223)
    assert not field.whole
