"""Receptive fields of 200 random small graphs with branches and skips, against two truths that do not use Striate: the positions
that each step says it reads, carried backwards, and float64 gradients. Run: pytest tests/anatomy/test_receptive_random.py
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.anatomy import trace
from striate.anatomy.receptive import receptive_fields
from tests.anatomy.windows import Back, Positions, transposed, window


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
        """Pixels that a position of the output reads, on an image without end."""
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
    while min(net(torch.zeros(1, 2, side, side, dtype=torch.float64)).shape[2:]) < 16:
        side *= 2  # the same graph: its strides left too few positions away from the border
    graph = trace(net, (1, 2, side, side))
    field = receptive_fields(graph)[graph.outputs[0]]
    assert field is not None
    picture = torch.rand(1, 2, side, side, dtype=torch.float64, requires_grad=True)
    output = net(picture)
    start = [length // 2 // 8 * 8 for length in output.shape[2:]]
    spans = []
    for step in range(8):  # the positions of whole periods: fields differ after up-sampling
        value = output[0, :, start[0] + step, start[1] + step].sum()
        (gradient,) = torch.autograd.grad(value, picture, retain_graph=True)
        touched = [gradient.abs().sum((0, 1, 3 - axis)).nonzero().flatten() for axis in (0, 1)]
        spans.append([(int(t[0]), int(t[-1])) for t in touched])
    for axis in (0, 1):
        assert all(span[axis][0] > 0 and span[axis][1] < side - 1 for span in spans), (
            "the image does not hold the field"
        )
        assert field.largest[axis] == max(span[axis][1] - span[axis][0] + 1 for span in spans)
        centre = (spans[0][axis][0] + spans[0][axis][1]) / 2
        assert centre == field.centre[axis] + field.stride[axis] * start[axis]
