"""Receptive fields on the graph, with its branches and skips: the pixels that one position of an output reads.

Each kind of operation (`operations`) has a rule (`rules`), from the terms of its inputs to those of its output. What has no rule,
or breaks one, is None: a field that is not known, never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from striate.anatomy.graph import Graph, Node
from striate.anatomy.operations import kind_of
from striate.anatomy.pattern import START
from striate.anatomy.rules import RULES
from striate.anatomy.terms import Dims, Lost, Term, joined, plain, whole_factor

Pixels = tuple[int, int]
State = tuple[Term, ...]
_MOST = 512  # terms of an axis that are told apart


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptiveField:
    """Pixels that one position of an output reads; each pair is (height, width)."""

    largest: Pixels
    """From the first to the last pixel read by any path from the image."""
    smallest: Pixels
    """Likewise by the path that sees least: through the skips, through the 1x1 branch, past the statistics of a norm."""
    stride: tuple[float, float]
    """Pixels from one position to the next; 0 where there is only one."""
    centre: tuple[float, float]
    """Middle of the field of position (0, 0), in pixels from the middle of the first pixel; negative with much padding."""
    whole: bool
    """The largest is the whole image, from every position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPlaces:
    """Where in the image the positions of a feature map (N, C, h, w) lie; each pair is (height, width)."""

    stride: tuple[float, float]
    """Pixels from one position to the next; negative where the map is flipped."""
    centre: tuple[float, float]
    """Middle of what position (0, 0) reads, in pixels from the middle of the first pixel."""


def map_places(graph: Graph) -> tuple[MapPlaces | None, ...]:
    """The places of each node's positions, by what moves with them: what all positions read alike, as the statistics of a norm
    or squeeze-and-excitation, moves none. None where nothing moves, paths disagree, or height and width lie in other dimensions.
    """
    return tuple(None if state is None else _places(state) for state in states_of(graph))


def receptive_fields(graph: Graph) -> tuple[ReceptiveField | None, ...]:
    """The field of each node of the graph; None where it cannot be followed: unknown operations, gathers, deformed windows."""
    return tuple(None if state is None else _field(state) for state in states_of(graph))


def states_of(graph: Graph) -> list[State | None]:
    """What each node reads, as terms: empty if it reads no pixel; None if unknown."""
    first = [plain(graph.input_shape[0]), plain(graph.input_shape[1])]
    sides = graph.input_shape[2:]
    places = [whole_factor(size, 1) for size in sides]
    states: list[State | None] = [
        tuple(
            Term(axis, sides[axis], START, START, (*first, *((p,) if d == axis else plain(p.size) for d, p in enumerate(places))))
            for axis in range(len(sides))
        )
    ]  # fmt: skip
    for node in graph.nodes[1:]:
        inputs: list[State | None] = []
        for source, shape in zip(node.operands, node.operand_shapes, strict=True):
            made = () if source is None else states[source]
            # another output of the operation than the one that the node describes
            other = source is not None and made != () and graph.nodes[source].shape != shape
            inputs.append(None if other else made)
        states.append(_apply(node, inputs))
    return states


def _apply(node: Node, inputs: Sequence[State | None]) -> State | None:
    if all(state == () for state in inputs):
        return ()
    kind = kind_of(node.operation)
    rule = RULES.get(kind or "")
    if rule is None:
        return None
    if any(state is None for state in inputs):
        return () if kind == "fresh" else None
    try:
        terms = rule(node, [state for state in inputs if state is not None])
    except Lost:
        return None
    kept = merged(terms)
    if any(term.shape != node.shape for term in kept):
        return None  # the rule did not foresee this form of the operation
    return kept


def merged(terms: Sequence[Term]) -> State:
    """The same terms, as few as they can be."""
    found: dict[tuple[object, ...], Term] = {}
    for given in terms:
        term = given.settled()
        key: tuple[object, ...] = (term.axis, term.dims, term.largest.stride, term.hidden)
        other = found.get(key)
        if other is not None:
            union = other.largest.union(term.largest)
            if union is not None:
                smallest = min(other.smallest, term.smallest, key=lambda pattern: pattern.size)
                term = replace(other, largest=union, smallest=smallest)
            else:
                key = (*key, len(found))
        found[key] = term
    kept = _unfolded(list(found.values()))
    for axis in {term.axis for term in kept}:
        if sum(term.axis == axis for term in kept) > _MOST:
            raise Lost
    return tuple(kept)


def _unfolded(terms: list[Term]) -> list[Term]:
    """An enlarged axis (each row twice) as one factor again, wherever no other axis shares its dimension."""
    if all(len(dim) < 2 for term in terms for dim in term.dims):
        return terms
    written: list[Term] = []
    for term in terms:
        dims = {d for d, _ in term.moving}
        crowded = [d for d in dims if len(term.dims[d]) > 1]
        alone = len(dims) == 1 and not any(
            other.axis != term.axis and other.moves(d) for other in terms for d in crowded
        )
        if crowded and alone:
            try:
                term = term.single(crowded[0]).settled()
            except Lost:
                pass
            else:
                return list(merged([*written, term, *terms[len(written) + 1 :]]))
        written.append(term)
    return written


def _places(state: State) -> MapPlaces | None:
    found = []
    for axis in (0, 1):
        terms = [term for term in state if term.axis == axis]
        positions = [term for term in map(_position, terms) if term is not None]
        if len(positions) < len(terms):
            return None
        one = merged([replace(t, dims=_positions_only(t), hidden=0) for t in positions if t.largest.advance])
        if len(one) != 1 or len(one[0].dims) != 4 or [dim for dim, _ in one[0].moving] != [2 + axis]:
            return None
        found.append((float(one[0].largest.stride), one[0].largest.centre))
    (high, top), (wide, left) = found
    return MapPlaces(stride=(high, wide), centre=(top, left))


class _Extent(NamedTuple):
    """A field along one axis."""

    largest: int
    smallest: int
    stride: float
    centre: float
    whole: bool


def _field(state: State) -> ReceptiveField | None:
    axes = sorted({term.axis for term in state})
    extents = [_extent([term for term in state if term.axis == axis]) for axis in axes]
    known = [extent for extent in extents if extent is not None]
    if not known or len(known) < len(extents) or axes[-1] == 0:
        return None
    high, wide = known[0], known[-1]
    return ReceptiveField(
        largest=(high.largest, wide.largest),
        smallest=(high.smallest, wide.smallest),
        stride=(high.stride, wide.stride),
        centre=(high.centre, wide.centre),
        whole=all(extent.whole for extent in known),
    )


def _extent(terms: Sequence[Term]) -> _Extent | None:
    """The extent of all elements of a position together: positions are the slowest factor that the axis lies in."""
    positions = [term for term in map(_position, terms) if term is not None]
    least = min(positions, key=lambda term: (term.smallest.size, -abs(term.smallest.stride)), default=None)
    least = least or next((term for term in terms if term.covers and not term.scattered_somewhere), None)
    if least is None:
        return None
    moving, smallest = next((term for term in positions if term.largest.advance), least), least.smallest.size

    def extent(largest: Term, place: Term, whole: bool = False) -> _Extent:
        pattern = place.largest
        return _Extent(largest.largest.size, smallest, float(pattern.stride), pattern.centre, whole)

    if (whole := next((term for term in positions if term.covers), None)) is not None:
        return extent(whole, least if least.largest.advance else moving, whole=True)
    if len(positions) < len(terms):
        return None
    one = merged([replace(term, dims=_positions_only(term)) for term in positions])
    if len(one) == 1:
        return extent(one[0], one[0])
    # a fixed part of the image and a moving one: known if the fixed one holds the other everywhere
    fixed = [term for term in one if not term.largest.advance]
    others = [term.summed(range(term.rank)).settled().largest for term in one if term.largest.advance]
    if len(fixed) != 1:
        return None
    outer = fixed[0].largest
    inside = all(outer.first[0] <= inner.first[0] and inner.last[0] <= outer.last[0] for inner in others)
    return extent(fixed[0], moving) if inside else None


def _position(term: Term) -> Term | None:
    """The term with all its factors summed but the one of the largest step; None if its positions are scattered."""
    moving = sorted(term.moving, key=lambda place: abs(term.dims[place[0]][place[1]].step or 0), reverse=True)
    if term.scattered_somewhere and not moving:
        return None
    for dim, place in moving[1:]:
        factors = list(term.dims[dim])
        factor = factors[place]
        factors[place] = whole_factor(factor.size)
        term = term.spread(factor.step or 0, factor.size).with_dim(dim, factors)
    return term.settled()


def _positions_only(term: Term) -> Dims:
    """Dimensions without what does not tell positions apart."""
    return tuple(joined([whole_factor(factor.size, factor.step or 0) for factor in dim]) for dim in term.dims)
