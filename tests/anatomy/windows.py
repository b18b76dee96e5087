"""What a position of a window's output reads, along one axis: independent of Striate."""

from __future__ import annotations

from collections.abc import Callable

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
