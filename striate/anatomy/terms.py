"""What the elements of a tensor read of the image, along one of its axes, as a function of their place in the tensor.

Each dimension of the tensor is split into factors, the slowest first: after a flatten the rows and the columns are two factors of
one dimension, after a cut into patches the rows are two factors of two dimensions. The position along the image's axis is the
sum of step x index over the factors, and a Pattern says which pixels that position reads. So every reshape, permutation, slice
and window is exact, or is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import gcd, prod
from typing import NamedTuple

from striate.anatomy.pattern import Pattern

Shape = tuple[int, ...]


class Lost(Exception):
    """Positions cannot be followed."""


class Nothing(Exception):
    """What is left reads no pixel."""


class Factor(NamedTuple):
    """A part of a dimension's index."""

    size: int
    step: int | None
    """Positions from one index to the next; 0: it reads the same everywhere. None: each index reads something of its own, all
    of them together what the pattern says."""
    low: int
    high: int
    """It reads at the indices from `low` to before `high` alone, as a concatenated part does; only where `step` is 0."""

    @property
    def full(self) -> bool:
        return self.low == 0 and self.high == self.size


Dims = tuple[tuple[Factor, ...], ...]


def whole_factor(size: int, step: int | None = 0) -> Factor:
    return Factor(size, step, 0, size)


def plain(size: int) -> tuple[Factor, ...]:
    """A dimension along which everything reads the same."""
    return () if size == 1 else (whole_factor(size),)


def uneven(size: int) -> tuple[Factor, ...]:
    """A dimension whose indices read things of their own."""
    return () if size == 1 else (whole_factor(size, None),)


def joined(factors: Sequence[Factor]) -> tuple[Factor, ...]:
    """The same index in as few factors as can be."""
    merged: list[Factor] = []
    for factor in factors:
        if factor.size == 1 and not factor.step and factor.full:
            continue
        if merged and merged[-1].full and factor.full:
            outer = merged[-1]
            both_lost = outer.step is None and factor.step is None
            if both_lost or (
                outer.step is not None and factor.step is not None and outer.step == factor.step * factor.size
            ):
                merged[-1] = whole_factor(outer.size * factor.size, factor.step)
                continue
        merged.append(factor)
    return tuple(merged)


def cut(factor: Factor, inner: int) -> tuple[Factor, Factor]:
    """A factor as two, the faster one of size `inner`."""
    size, step, low, high = factor
    outer = size // inner
    if factor.full:
        return whole_factor(outer, None if step is None else step * inner), whole_factor(inner, step)
    if low % inner == 0 and high % inner == 0:
        return Factor(outer, 0, low // inner, high // inner), whole_factor(inner)
    if low // inner == (high - 1) // inner:
        at = low // inner
        return Factor(outer, 0, at, at + 1), Factor(inner, 0, low - at * inner, high - at * inner)
    raise Lost


@dataclass(frozen=True, slots=True)
class Term:
    """One way in which a tensor reads the image, along one axis."""

    axis: int
    pixels: int
    """Side of the image, in pixels."""
    largest: Pattern
    smallest: Pattern
    """Pattern of the path that sees least; it moves as `largest` does."""
    dims: Dims
    hidden: int = 0
    """1: something that is no parameter was added along its positions, which can shut some out of a softmax. 2: it was multiplied
    or replaced so, which can shut them out of any sum."""

    @property
    def shape(self) -> Shape:
        """Shape of the tensor."""
        return tuple(prod(factor.size for factor in dim) for dim in self.dims)

    @property
    def rank(self) -> int:
        """Number of dimensions of the tensor."""
        return len(self.dims)

    @property
    def moving(self) -> list[tuple[int, int]]:
        """Factors that positions lie in: dimension and place."""
        return [(d, i) for d, dim in enumerate(self.dims) for i, factor in enumerate(dim) if factor.step]

    @property
    def scattered_somewhere(self) -> bool:
        """Some factor is one whose indices read things of their own."""
        return any(factor.step is None for dim in self.dims for factor in dim)

    @property
    def covers(self) -> bool:
        """The whole axis is read, from anywhere."""
        return self.largest.advance == 0 and self.largest.first[0] <= 0 and self.largest.last[0] >= self.pixels - 1

    def moves(self, dim: int) -> bool:
        """Whether positions of the image lie along a dimension."""
        return any(factor.step or factor.step is None for factor in self.dims[dim])

    def told_apart(self, dim: int) -> bool:
        """Whether the indices of a dimension read different things."""
        return self.moves(dim) or any(not factor.full for factor in self.dims[dim])

    def with_length(self, dim: int, length: int) -> Term:
        """The term with another length of a dimension whose indices all read the same; Lost if they do not."""
        if self.told_apart(dim):
            raise Lost
        return self.with_dim(dim, plain(length))

    def everywhere(self, shape: Shape) -> Term:
        """Every element of a tensor of that shape reads what all elements of this one read together."""
        return replace(self.summed(range(self.rank)), dims=tuple(map(plain, shape)))

    def change(self, reach: Callable[[int], Sequence[int]], positions: int = 1, sources: int = 1) -> Term:
        return replace(
            self,
            largest=self.largest.through(reach, positions, sources),
            smallest=self.smallest.through(reach, positions, sources),
        )

    def spread(self, step: int, count: int) -> Term:
        """Every position reads `count` positions from its own on, `step` apart."""
        return self.change(lambda o: range(o, o + step * count, step))

    def shifted(self, places: int) -> Term:
        """Every position reads what was read so many positions further on."""
        return self.change(lambda o: [o + places]) if places else self

    def with_dim(self, dim: int, factors: Sequence[Factor]) -> Term:
        return replace(self, dims=(*self.dims[:dim], tuple(factors), *self.dims[dim + 1 :]))

    def settled(self) -> Term:
        """The term in its simplest form: few factors, steps without a common divisor, no positions where none are left."""
        term = replace(self, dims=tuple(joined(dim) for dim in self.dims))
        steps = [factor.step for dim in term.dims for factor in dim if factor.step]
        if not steps or term.largest.advance == 0:
            return term._still()
        divisor = gcd(*steps)
        if len(steps) == 1 and steps[0] < 0:
            divisor = -divisor
        if divisor == 1:
            return term
        dims = tuple(
            tuple(factor._replace(step=factor.step // divisor) if factor.step else factor for factor in dim)
            for dim in term.dims
        )
        return replace(term.change(lambda o: [o * divisor], 1, divisor), dims=dims)

    def _still(self) -> Term:
        """Without positions: a pattern of one interval, inside the image."""
        dims = tuple(joined([f._replace(step=0) if f.step else f for f in dim]) for dim in self.dims)
        return replace(
            self,
            dims=dims,
            largest=self.largest.at(0).clipped(self.pixels),
            smallest=self.smallest.at(0).clipped(self.pixels),
        )

    def summed(self, dims: Sequence[int], size: Callable[[int], int] | None = None) -> Term:
        """Reads all indices of some dimensions. They stay, of length 1 or `size`; `without` takes them away."""
        if self.hidden > 1 and any(self.moves(d) for d in dims):
            raise Lost
        term = self
        for factor in (factor for d in dims for factor in self.dims[d]):
            if factor.step:
                term = term.spread(factor.step, factor.size)
        for d in dims:
            term = term.with_dim(d, plain(size(d) if size else 1))
        if self.scattered_somewhere and not term.scattered_somewhere:
            term = replace(term, smallest=term.largest)
        return term

    def without(self, dims: Sequence[int]) -> Term:
        return replace(self, dims=tuple(dim for d, dim in enumerate(self.dims) if d not in dims))

    def scattered(self, dims: Sequence[int]) -> Term:
        """Each index of these dimensions reads something of its own: only all of them together are known."""
        term = self.summed(dims)
        for d in dims:
            term = term.with_dim(d, uneven(self.shape[d]))
        return replace(term, smallest=self.smallest if self.scattered_somewhere else self.smallest.at(0))

    def at(self, dim: int, index: int) -> Term:
        """One index of a dimension, which stays with length 1. Raises Lost if it is not known what that reads, Nothing if it
        reads nothing."""
        shift = 0
        for factor in reversed(self.dims[dim]):
            index, digit = divmod(index, factor.size)
            if factor.step is None:
                raise Lost
            if not factor.low <= digit < factor.high:
                raise Nothing
            shift += factor.step * digit
        return self.with_dim(dim, ()).shifted(shift)

    def single(self, dim: int) -> Term:
        """The same term with one factor, of step 1, as the only place where positions lie; Lost if it cannot be written so."""
        term = self.settled()
        moving = term.moving
        if any(factor.step is None for factor in term.dims[dim]) or {d for d, _ in moving} != {dim}:
            raise Lost
        factors = term.dims[dim]
        if len(factors) > 1:
            if not _rising(factors):
                raise Lost
            inner = prod(factor.size for factor in factors[1:])
            outer = factors[0].step or 0

            def place(index: int) -> list[int]:
                total = 0
                turn, index = divmod(index, inner)
                for factor in reversed(factors[1:]):
                    index, digit = divmod(index, factor.size)
                    total += (factor.step or 0) * digit
                return [total + turn * outer]

            length = factors[0].size * inner
            term = term.change(place, inner, outer).with_dim(dim, (whole_factor(length, 1),))
        return term


def _rising(factors: Sequence[Factor]) -> bool:
    """Whether positions rise with the index: no step is smaller than all that is inside it."""
    reached = 0
    for factor in reversed(factors):
        if factor.step is None or not factor.full or factor.step < 0 or (reached and factor.step <= reached):
            return False
        reached += factor.step * (factor.size - 1)
    return bool(factors[0].step)


def regrouped(term: Term, after: Shape) -> Term:
    """After a reshape: the same elements in the same order. What does not fit factor by factor is scattered."""
    factors = joined([f for dim in term.dims for f in dim])
    lone = any(factor.size == 1 for factor in factors)
    if lone:  # of length 1: no position is left to tell apart
        factors = joined([f for f in factors if f.size > 1])
        if not any(f.step for f in factors):
            term = replace(term, largest=term.largest.at(0), smallest=term.smallest.at(0))
    queue, dims = list(factors), []
    try:
        for length in after:
            taken = []
            while length > 1:
                factor = queue.pop(0)
                if length % factor.size == 0:
                    taken.append(factor)
                    length //= factor.size
                elif factor.size % length == 0:
                    outer, inner = cut(factor, factor.size // length)
                    taken.append(outer)
                    queue.insert(0, inner)
                    length = 1
                else:
                    raise Lost
            dims.append(joined(taken))
    except Lost:
        return replace(term.scattered(range(term.rank)), dims=tuple(map(uneven, after)))
    return replace(term, dims=tuple(dims))
