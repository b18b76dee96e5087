"""The quick shape rules give what torch's own give. Run: pytest tests/anatomy/test_shapes.py"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from striate.anatomy.shapes import _RULES, quick_result
from striate.nets.metadevice import on_meta_device

aten = torch.ops.aten


def meta(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def cases() -> Iterator[tuple[Any, tuple[Any, ...]]]:
    x, gradient, channels = meta(2, 6, 9, 12), meta(2, 6, 9, 12), meta(6)
    for func in (aten.div.Scalar, aten.mul.Scalar, aten.pow.Tensor_Scalar):
        yield func, (x, 2.0)
        yield func, (meta(2, 6, 1, 1).expand(2, 6, 9, 12), 2.0)
        yield func, (meta(2, 9, 9, 12)[:, 1:7], 2.0)
    yield aten.div_.Scalar, (x, 2.0)
    yield aten.add.Tensor, (meta(2, 9, 9, 12)[:, 1:7], meta(2, 8, 9, 12)[:, :6])
    yield aten.mm.default, (meta(3, 4), meta(4, 5))
    for func in (aten.relu, aten.sigmoid, aten.tanh, aten.empty_like, aten.ones_like):
        yield func.default, (x,)
    for func in (aten.add, aten.sub, aten.mul, aten.div):
        yield func.Tensor, (x, gradient)
    for groups, stride, padding, dilation in itertools.product((1, 3), ([1], [2, 3]), ([0], [1, 2]), ([1], [2, 1])):
        yield (
            aten.convolution.default,
            (x, meta(12, 6 // groups, 3, 2), None, stride, padding, dilation, False, [0, 0], groups),
        )
    yield aten.native_batch_norm.default, (x, channels, channels, channels, channels, True, 0.1, 1e-5)
    yield aten.native_batch_norm.default, (x, channels, channels, channels, channels, False, 0.1, 1e-5)
    yield (
        aten.native_batch_norm_backward.default,
        (gradient, x, channels, channels, channels, channels, channels, True, 1e-5, [True, True, True]),
    )
    for kernel, stride, padding, ceil in itertools.product(
        ([2, 2], [3, 4]), ([], [2, 3]), ([0, 0], [1, 1]), (False, True)
    ):
        yield aten.avg_pool2d.default, (x, kernel, stride, padding, ceil)
        yield aten.max_pool2d_with_indices.default, (x, kernel, stride, padding, [2, 1], ceil)
    yield aten._adaptive_avg_pool2d.default, (x, [3, 4])
    yield aten.addmm.default, (meta(5), meta(3, 4), meta(4, 5))
    yield aten.cat.default, ([x, meta(2, 1, 9, 12)], 1)
    yield aten.cat.default, ([x, x], -1)
    yield aten.mean.dim, (x, [-1, -2], True)
    yield aten.mean.dim, (x, [2, 3])
    yield aten.sum.dim_IntList, (x, [0], True)
    weight, settings = meta(4, 6, 3, 3), ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    for mask in ([True, True, True], [False, True, False]):
        yield aten.convolution_backward.default, (meta(2, 4, 9, 12), x, weight, [4], *settings, mask)
    pool = ([3, 3], [3, 3], [0, 0])
    places = torch.empty(2, 6, 3, 4, device="meta", dtype=torch.int64)
    yield aten.max_pool2d_with_indices_backward.default, (meta(2, 6, 3, 4), x, *pool, [1, 1], False, places)
    yield aten.avg_pool2d_backward.default, (meta(2, 6, 3, 4), x, *pool, False, True, None)
    yield aten._adaptive_avg_pool2d_backward.default, (meta(2, 6, 3, 4), x)
    yield aten.threshold_backward.default, (gradient, x, 0)


@pytest.mark.parametrize(("func", "args"), list(cases()))
def test_a_rule_gives_what_torch_gives(func: Any, args: tuple[Any, ...]) -> None:
    quick, slow = quick_result(func, args, {}), func(*args)
    assert quick is not None
    for ours, theirs in zip(*([r] if isinstance(r, Tensor) else list(r) for r in (quick, slow)), strict=True):
        if theirs is None:
            assert ours is None
        else:
            assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
            assert ours.stride() == theirs.stride()


def test_every_rule_is_tested() -> None:
    assert {func for func, _ in cases()} == set(_RULES)


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.convolution.default, (meta(1, 3, 8, 8), meta(4, 2, 3, 3), None, [1], [0], [1], False, [0], 1)),
        (aten.convolution.default, (meta(1, 3, 2, 2), meta(4, 3, 3, 3), None, [1], [0], [1], False, [0], 1)),
        (aten.addmm.default, (meta(5), meta(3, 3), meta(4, 5))),
        (aten.cat.default, ([meta(1, 2, 3), meta(1, 2, 4)], 1)),
        (aten.add.Tensor, (meta(2, 3), meta(2, 4))),
        (aten.relu.default, (meta(2, 3).t(),)),
        (aten.mm.default, (meta(3, 3), meta(4, 5))),
        (aten.avg_pool2d.default, (meta(1, 2, 2, 2), [3, 3])),
    ],
)
def test_what_does_not_fit_is_left_to_torch(func: Any, args: tuple[Any, ...]) -> None:
    assert quick_result(func, args, {}) is None


def test_weightless_nets_draw_nothing() -> None:
    state = torch.get_rng_state()
    with on_meta_device():
        layer = torch.nn.Conv2d(3, 4, 3)
        torch.nn.init.normal_(layer.weight)
    assert layer.weight.is_meta
    assert torch.equal(state, torch.get_rng_state())
