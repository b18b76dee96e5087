"""Which pixels of the image, along one axis, each position of a feature map reads: exact integer arithmetic.

Along an axis the interval of pixels [first, last] repeats: after `period` positions it has moved on by `advance` pixels. For all
that convolutions and pools make, `period` is 1 and `advance` the stride; up-sampling and transposed convolutions have longer
periods. Pixels outside the image are counted as if it went on for ever: padding makes no field smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, gcd, inf, lcm

from striate.anatomy.sizes import Window

Reach = Callable[[int], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Intervals of pixels read by the positions 0, 1, ... of an axis."""

    first: tuple[float, ...]
    """Lowest pixel of each position of one period; inf where a position reads nothing."""
    last: tuple[float, ...]
    advance: int = 1
    """Pixels by which the intervals move in a period; 0 if every position reads the same."""

    @property
    def period(self) -> int:
        return len(self.first)

    @property
    def stride(self) -> Fraction:
        """Pixels from one position to the next, on average."""
        return Fraction(self.advance, self.period)

    @property
    def size(self) -> int:
        """Pixels from the first to the last one read, at the position that reads most."""
        return int(
            max(last - first + 1 if last >= first else 0 for first, last in zip(self.first, self.last, strict=True))
        )

    @property
    def centre(self) -> float:
        """Middle of the interval of position 0, in pixels; the first pixel's middle is 0."""
        return (self.first[0] + self.last[0]) / 2

    def interval(self, position: int) -> tuple[float, float]:
        """First and last pixel that a position reads."""
        turns, phase = divmod(position, self.period)
        return self.first[phase] + turns * self.advance, self.last[phase] + turns * self.advance

    def through(self, reach: Reach, positions: int = 1, sources: int = 1) -> Pattern:
        """After an operation whose output o reads the inputs reach(o), and reach(o + positions) = reach(o) + sources."""
        if self.advance == 0:
            return self
        turns = self.period // gcd(self.period, sources)
        first, last = [], []
        for output in range(positions * turns):
            inputs = reach(output)
            ends = inputs if self.period > 1 else ([inputs[0], inputs[-1]] if inputs else [])
            intervals = [self.interval(index) for index in ends]
            first.append(min((low for low, _ in intervals), default=inf))
            last.append(max((high for _, high in intervals), default=-inf))
        return Pattern(tuple(first), tuple(last), self.advance * sources * turns // self.period)

    def at(self, position: int) -> Pattern:
        """The one position alone, wherever it is used."""
        low, high = self.interval(position)
        return Pattern((low,), (high,), 0)

    def clipped(self, pixels: int) -> Pattern:
        """Without the pixels outside the image."""
        return Pattern(tuple(max(0, p) for p in self.first), tuple(min(pixels - 1, p) for p in self.last), self.advance)

    def union(self, other: Pattern) -> Pattern | None:
        """Both together, as where branches meet; None if they move at different strides."""
        if self == other:
            return self
        if self.stride != other.stride:
            return None
        period = lcm(self.period, other.period)
        pairs = [(self.interval(o), other.interval(o)) for o in range(period)]
        return Pattern(
            tuple(min(a[0], b[0]) for a, b in pairs),
            tuple(max(a[1], b[1]) for a, b in pairs),
            int(self.stride * period),
        )


START = Pattern((0,), (0,))
"""The image itself: position o is pixel o."""


Reading = tuple[Reach, int, int]
"""What `Pattern.through` takes: reach(o), and after how many positions it goes on how many inputs further."""


def transposed_reading(window: Window, place: int = 1, tap: int = 0) -> Reading:
    """A transposed convolution: input i is added to the outputs i * stride - padding + dilation * t. A window's number counts
    `place` positions, and its taps `tap`."""

    def reach(output: int) -> list[int]:
        starts = ((t, output + window.padding - window.dilation * t) for t in range(window.kernel))
        return sorted(place * (start // window.stride) + tap * t for t, start in starts if start % window.stride == 0)

    return reach, window.stride, place


def adaptive_reading(length: int, output: int) -> Reading:
    """A pool from `length` to `output` positions with windows from floor(o n / m) to ceil((o + 1) n / m)."""
    ratio = Fraction(length, output)
    return lambda o: range(floor(o * ratio), ceil((o + 1) * ratio)), ratio.denominator, ratio.numerator


def resizing_reading(length: int, output: int, mode: str, align_corners: bool) -> Reading:
    """Interpolation from `length` to `output` positions; `mode` is `nearest`, `exact`, `linear` or `bicubic`."""
    ratio = Fraction(length - 1, output - 1) if align_corners and output > 1 else Fraction(length, output)
    half = Fraction(1, 2)

    def reach(position: int) -> range:
        if mode in ("nearest", "exact"):
            nearest = floor((position + (half if mode == "exact" else 0)) * ratio)
            return range(nearest, nearest + 1)
        source = position * ratio if align_corners else (position + half) * ratio - half
        low = floor(source)
        if source == low:
            return range(low, low + 1)
        return range(low, low + 2) if mode == "linear" else range(low - 1, low + 3)

    return reach, ratio.denominator, ratio.numerator
