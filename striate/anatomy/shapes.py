"""Results of the commonest operations on the meta device, by their shapes alone.

torch has a rule for every operation, but many of its rules are written in Python, take half a millisecond a call and a second
of imports before the first one; a net of 1202 layers is read several times faster with these. What does not fit a rule (and
every error) is left to torch. The test compares each rule with torch's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

_aten = torch.ops.aten


def quick_result(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """An empty result of the right shape and type, or None where there is no rule for these arguments."""
    rule = _RULES.get(func)
    if rule is None or any(value is not None for name, value in kwargs.items() if name not in _IRRELEVANT):
        return None
    return rule(*args)


def _empty(like: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return torch.empty_strided(shape, strides[::-1], dtype=dtype or like.dtype, device="meta")


_IRRELEVANT = {"pin_memory", "layout", "device", "memory_format", "alpha"}


def _same(x: Any, *_: Any) -> Tensor | None:
    """A contiguous tensor like x, which is contiguous itself, or a slice or an expansion of one that is."""
    if not (isinstance(x, Tensor) and x.is_meta and x.is_floating_point()):
        return None
    strides = [stride for stride, length in zip(x.stride(), x.shape, strict=True) if length > 1 and stride]
    in_order = all(a >= b for a, b in pairwise(strides))
    return _empty(x, x.shape) if in_order else None


def _in_place(x: Tensor, value: Any) -> Tensor | None:
    return x if x.is_meta and isinstance(value, int | float) else None


def _binary(x: Any, y: Any, *_: Any) -> Tensor | None:
    if isinstance(y, Tensor) and (
        not isinstance(x, Tensor) or y.shape != x.shape or y.dtype != x.dtype or not y.is_meta
    ):
        return None
    return _same(x) if isinstance(y, Tensor | int | float) else None


def _backward(gradient: Tensor, x: Tensor, *_: Any) -> Tensor | None:
    return _same(gradient) if gradient.shape == x.shape else None


def _batch_norm(x: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, *_: Any) -> Any:
    if _same(x) is None or x.ndim < 2 or any(t is not None and t.shape != (x.shape[1],) for t in (weight, mean)):
        return None
    if training and x.numel() == x.shape[1]:  # torch refuses a single value a channel
        return None
    return _empty(x, x.shape), _empty(x, x.shape[1:2]), _empty(x, x.shape[1:2])


def _batch_norm_backward(gradient: Tensor, x: Tensor, *rest: Any) -> Any:
    if _same(gradient) is None or not all(rest[-1]):
        return None
    return tuple(_empty(x, shape) for shape in (x.shape, x.shape[1:2], x.shape[1:2]))


def _convolution(
    x: Tensor, weight: Tensor, bias: Any, stride: list[int], padding: list[int], dilation: list[int], transposed: bool,
    output_padding: list[int], groups: int,
) -> Tensor | None:  # fmt: skip
    sides = weight.ndim - 2
    if transposed or x.ndim != weight.ndim or x.shape[1] != weight.shape[1] * groups or x.dtype != weight.dtype:
        return None
    stride, padding, dilation = ([*s] * sides if len(s) == 1 else s for s in (stride, padding, dilation))
    if weight.shape[0] % groups or not x.is_contiguous():
        return None
    lengths = [
        (x.shape[2 + i] + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) // stride[i] + 1
        for i in range(sides)
    ]
    return _empty(x, (x.shape[0], weight.shape[0], *lengths)) if min(lengths) > 0 else None


def _pooled(
    x: Tensor,
    kernel: list[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[int, ...] | None:
    """The shape of what a pool gives."""
    if _same(x) is None or x.ndim != 4:
        return None
    settings = ([*s] * 2 if len(s) == 1 else [*s] for s in (kernel, stride or kernel, padding, dilation))
    lengths = []
    for n, k, s, p, d in zip(x.shape[2:], *settings, strict=True):
        if n + 2 * p < d * (k - 1) + 1 or p > k // 2:
            return None
        length = (n + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil_mode else 0)) // s + 1
        lengths.append(length - (ceil_mode and (length - 1) * s >= n + p))  # the last window begins inside the image
    return (*x.shape[:2], *lengths)


def _average_pool(
    x: Tensor, kernel: list[int], stride: Sequence[int] = (), padding: Sequence[int] = (0,), ceil_mode: bool = False, *_: Any
) -> Tensor | None:  # fmt: skip
    shape = _pooled(x, kernel, stride, padding, (1,), ceil_mode)
    return None if shape is None else _empty(x, shape)


def _max_pool(
    x: Tensor, kernel: list[int], stride: Sequence[int] = (), padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,), ceil_mode: bool = False,
) -> tuple[Tensor, Tensor] | None:  # fmt: skip
    shape = _pooled(x, kernel, stride, padding, dilation, ceil_mode)
    return None if shape is None else (_empty(x, shape), _empty(x, shape, torch.int64))


def _adaptive_pool(x: Tensor, output: Sequence[int]) -> Tensor | None:
    plain = _same(x) is not None and x.ndim == 4 and len(output) == 2 and min(output) > 0
    return _empty(x, (*x.shape[:2], *output)) if plain else None


def _convolution_backward(gradient: Tensor, x: Tensor, weight: Tensor, bias: Any, *rest: Any) -> Any:
    if _same(gradient) is None or _same(x) is None or _same(weight) is None:
        return None
    shapes = (x.shape, weight.shape, bias)
    return tuple(_empty(x, shape) if wanted else None for shape, wanted in zip(shapes, rest[-1], strict=True))


def _pool_backward(gradient: Tensor, x: Tensor, *_: Any) -> Tensor | None:
    return _same(x) if _same(gradient) is not None else None


def _linear(bias: Tensor, x: Tensor, weight: Tensor, *_: Any) -> Tensor | None:
    fits = x.ndim == weight.ndim == 2 and x.shape[1] == weight.shape[0] and bias.shape[-1:] == weight.shape[1:]
    return _empty(x, (x.shape[0], weight.shape[1])) if fits and x.dtype == weight.dtype else None


def _product(x: Tensor, y: Tensor) -> Tensor | None:
    fits = x.ndim == y.ndim == 2 and x.shape[1] == y.shape[0] and x.dtype == y.dtype and x.is_meta and y.is_meta
    return _empty(x, (x.shape[0], y.shape[1])) if fits else None


def _concatenation(parts: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first = parts[0]
    dim %= first.ndim
    for part in parts:
        same = part.ndim == first.ndim and part.dtype == first.dtype and part.is_meta and part.is_contiguous()
        if not same or any(a != b for i, (a, b) in enumerate(zip(part.shape, first.shape, strict=True)) if i != dim):
            return None
    return _empty(first, [sum(p.shape[i] for p in parts) if i == dim else n for i, n in enumerate(first.shape)])


def _mean(x: Tensor, dims: Sequence[int] | None, keep: bool = False, *_: Any) -> Tensor | None:
    if _same(x) is None or not dims:
        return None
    over = {dim % x.ndim for dim in dims}
    return _empty(x, [1 if i in over else n for i, n in enumerate(x.shape) if keep or i not in over])


_RULES: dict[OpOverload, Callable[..., Any]] = {
    _aten.relu.default: _same,
    _aten.empty_like.default: _same,
    _aten.ones_like.default: _same,
    _aten.div.Scalar: _same,
    _aten.mul.Scalar: _same,
    _aten.pow.Tensor_Scalar: _same,
    _aten.div_.Scalar: _in_place,
    _aten.sigmoid.default: _same,
    _aten.tanh.default: _same,
    _aten.add.Tensor: _binary,
    _aten.sub.Tensor: _binary,
    _aten.mul.Tensor: _binary,
    _aten.div.Tensor: _binary,
    _aten.convolution.default: _convolution,
    _aten.native_batch_norm.default: _batch_norm,
    _aten.avg_pool2d.default: _average_pool,
    _aten.max_pool2d_with_indices.default: _max_pool,
    _aten._adaptive_avg_pool2d.default: _adaptive_pool,
    _aten.addmm.default: _linear,
    _aten.mm.default: _product,
    _aten.cat.default: _concatenation,
    _aten.mean.dim: _mean,
    _aten.sum.dim_IntList: _mean,
    _aten.threshold_backward.default: _backward,
    _aten.convolution_backward.default: _convolution_backward,
    _aten.max_pool2d_with_indices_backward.default: _pool_backward,
    _aten.avg_pool2d_backward.default: _pool_backward,
    _aten._adaptive_avg_pool2d_backward.default: _pool_backward,
    _aten.native_batch_norm_backward.default: _batch_norm_backward,
}
