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

from striate.anatomy.sizes import Window

_aten = torch.ops.aten
Ints = Sequence[int]


def quick_result(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """An empty result of the right shape and type, or None where there is no rule for these arguments."""
    rule = _RULES.get(func)
    if rule is None or any(value is not None for name, value in kwargs.items() if name not in _IRRELEVANT):
        return None
    return rule(*args)


_IRRELEVANT = {"pin_memory", "layout", "device", "memory_format", "alpha"}


def _empty(like: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    return torch.empty(tuple(shape), dtype=dtype or like.dtype, device="meta")


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
    if isinstance(y, Tensor):
        alike = isinstance(x, Tensor) and y.shape == x.shape and y.dtype == x.dtype and y.is_meta
        return _same(x) if alike else None
    return _same(x) if isinstance(y, int | float) else None


def _backward(gradient: Tensor, x: Tensor, *_: Any) -> Tensor | None:
    return _same(x) if _same(gradient) is not None else None


def _batch_norm(x: Tensor, weight: Any, bias: Any, *rest: Any) -> tuple[Tensor, ...] | None:
    mean, _, training = rest[:3]
    if _same(x) is None or x.ndim < 2 or any(t is not None and t.shape != (x.shape[1],) for t in (weight, mean)):
        return None
    if training and x.numel() == x.shape[1]:  # torch refuses a single value a channel
        return None
    return _empty(x, x.shape), _empty(x, x.shape[1:2]), _empty(x, x.shape[1:2])


def _batch_norm_backward(gradient: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor, ...] | None:
    if _same(gradient) is None or not all(rest[-1]):
        return None
    return _empty(x, x.shape), _empty(x, x.shape[1:2]), _empty(x, x.shape[1:2])


def _windows(*settings: Sequence[int]) -> list[Window]:
    """A window a side, of kernel, stride, padding and dilation, each given once or for each side."""
    kernel, stride, padding, dilation = ([*setting] * (2 if len(setting) == 1 else 1) for setting in settings)
    sides = zip(kernel, stride, padding, dilation, strict=False)
    return [Window(kernel=k, stride=s, padding=p, dilation=d) for k, s, p, d in sides]


def _convolution(x: Tensor, weight: Tensor, bias: Any, *settings: Any) -> Tensor | None:
    stride, padding, dilation, transposed, _, groups = settings
    fits = x.ndim == weight.ndim and x.shape[1] == weight.shape[1] * groups and weight.shape[0] % groups == 0
    if transposed or not fits or x.dtype != weight.dtype or not x.is_contiguous():
        return None
    windows = _windows(weight.shape[2:], stride, padding, dilation)
    lengths = [window.size(length) for window, length in zip(windows, x.shape[2:], strict=False)]
    return _empty(x, (x.shape[0], weight.shape[0], *lengths)) if min(lengths) > 0 else None


def _convolution_backward(gradient: Tensor, x: Tensor, weight: Tensor, bias: Any, *rest: Any) -> Any:
    if _same(gradient) is None or _same(x) is None or _same(weight) is None:
        return None
    shapes = (x.shape, weight.shape, bias)
    return tuple(_empty(x, shape) if wanted else None for shape, wanted in zip(shapes, rest[-1], strict=True))


def _average_pool(
    x: Tensor, kernel: Ints, stride: Ints = (), padding: Ints = (0,), ceil_mode: bool = False, *_: Any
) -> Tensor | None:
    return _pooled(x, ceil_mode, _windows(kernel, stride or kernel, padding, (1,)))


def _max_pool(
    x: Tensor, kernel: Ints, stride: Ints = (), padding: Ints = (0,), dilation: Ints = (1,), ceil_mode: bool = False
) -> tuple[Tensor, Tensor] | None:
    pooled = _pooled(x, ceil_mode, _windows(kernel, stride or kernel, padding, dilation))
    return None if pooled is None else (pooled, _empty(x, pooled.shape, torch.int64))


def _pooled(x: Tensor, ceil_mode: bool, windows: Sequence[Window]) -> Tensor | None:
    if _same(x) is None or x.ndim != 4:
        return None
    sides = list(zip(windows, x.shape[2:], strict=True))
    if any(
        window.span > length + 2 * window.padding or window.padding > window.kernel // 2 for window, length in sides
    ):
        return None
    return _empty(x, (*x.shape[:2], *(window.size(length, ceil_mode) for window, length in sides)))


def _adaptive_pool(x: Tensor, output: Sequence[int]) -> Tensor | None:
    plain = _same(x) is not None and x.ndim == 4 and len(output) == 2 and min(output) > 0
    return _empty(x, (*x.shape[:2], *output)) if plain else None


def _product(x: Tensor, y: Tensor) -> Tensor | None:
    fits = x.ndim == y.ndim == 2 and x.shape[1] == y.shape[0] and x.dtype == y.dtype and x.is_meta and y.is_meta
    return _empty(x, (x.shape[0], y.shape[1])) if fits else None


def _linear(bias: Tensor, x: Tensor, weight: Tensor, *_: Any) -> Tensor | None:
    return _product(x, weight) if bias.shape[-1:] == weight.shape[1:] else None


def _concatenation(parts: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first = parts[0]
    dim %= first.ndim
    before, after = first.shape[:dim], first.shape[dim + 1 :]
    for part in parts:
        same = part.ndim == first.ndim and part.dtype == first.dtype and part.is_meta and part.is_contiguous()
        if not same or part.shape[:dim] != before or part.shape[dim + 1 :] != after:
            return None
    return _empty(first, (*before, sum(part.shape[dim] for part in parts), *after))


def _mean(x: Tensor, dims: Sequence[int] | None, keep: bool = False, *_: Any) -> Tensor | None:
    if _same(x) is None or not dims:
        return None
    over = {dim % x.ndim for dim in dims}
    return _empty(x, [1 if i in over else n for i, n in enumerate(x.shape) if keep or i not in over])


_RULES: dict[OpOverload, Callable[..., Any]] = {
    **dict.fromkeys((_aten.relu.default, _aten.sigmoid.default, _aten.tanh.default), _same),
    **dict.fromkeys((_aten.empty_like.default, _aten.ones_like.default, _aten.pow.Tensor_Scalar), _same),
    **dict.fromkeys((_aten.div.Scalar, _aten.mul.Scalar), _same),
    **dict.fromkeys((_aten.add.Tensor, _aten.sub.Tensor, _aten.mul.Tensor, _aten.div.Tensor), _binary),
    _aten.div_.Scalar: _in_place,
    _aten.convolution.default: _convolution,
    _aten.native_batch_norm.default: _batch_norm,
    _aten.avg_pool2d.default: _average_pool,
    _aten.max_pool2d_with_indices.default: _max_pool,
    _aten._adaptive_avg_pool2d.default: _adaptive_pool,
    _aten.addmm.default: _linear,
    _aten.mm.default: _product,
    _aten.cat.default: _concatenation,
    **dict.fromkeys((_aten.mean.dim, _aten.sum.dim_IntList), _mean),
    **dict.fromkeys((_aten.threshold_backward.default, _aten.max_pool2d_with_indices_backward.default), _backward),
    **dict.fromkeys((_aten.avg_pool2d_backward.default, _aten._adaptive_avg_pool2d_backward.default), _backward),
    _aten.convolution_backward.default: _convolution_backward,
    _aten.native_batch_norm_backward.default: _batch_norm_backward,
}
