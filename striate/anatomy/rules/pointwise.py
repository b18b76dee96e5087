"""Rules of operations that work value by value, with broadcasting; of writes, concatenation and padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from math import prod

from striate.anatomy.graph import Node, Shape
from striate.anatomy.rules.basis import Terms, dim_of, positional
from striate.anatomy.rules.windowing import windows
from striate.anatomy.sizes import Window
from striate.anatomy.terms import Factor, Lost, Term, joined, plain, uneven


def stretched(term: Term, shape: Shape) -> Term:
    """Broadcast to a larger shape: new dimensions in front, and those of length 1."""
    dims: list[tuple[Factor, ...]] = [()] * (len(shape) - len(term.dims)) + list(term.dims)
    for d, length in enumerate(shape):
        size = prod(factor.size for factor in dims[d])
        if size == length:
            continue
        if size != 1:
            raise Lost
        dims[d] = plain(length)
    return replace(term, dims=tuple(dims))


def pointwise(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    wide = [stretched(term, node.shape) for terms in inputs for term in terms]
    level = _HIDING.get(node.operation.rstrip("_"), 0)
    fixed = [node.operand_shapes[i] for i in node.attributes.get("fixed", ())] if level else []
    varied = {len(node.shape) - len(shape) + d for shape in fixed for d, length in enumerate(shape) if length > 1}
    return [
        replace(term, hidden=max(level, term.hidden)) if any(term.moves(d) for d in varied) else term for term in wide
    ]


_HIDING = {"add": 1, "sub": 1, "rsub": 1, "mul": 2, "where": 2, "masked_fill": 2, "addcmul": 2}


def activation(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    if any(inputs[1:]):
        raise Lost
    return list(inputs[0])


def copied(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """What was there is written over."""
    return [stretched(term, node.shape) for term in inputs[1]]


def written(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """A tensor through a view of which something was written: it reads that too. `dims` says in which of the view's dimensions
    each of its own lies, -1 where the view holds one index or some of them."""
    places = node.attributes["dims"]
    if places is None:
        raise Lost
    made = list(inputs[0]) if len(inputs) > 1 else []
    for term in inputs[-1]:
        dims = []
        for length, place in zip(node.shape, places, strict=True):
            if place >= 0 and term.shape[place] == length:
                dims.append(term.dims[place])
            elif (place >= 0 and term.moves(place)) or positional(made, len(dims)):
                raise Lost
            else:
                dims.append(plain(length))
        made.append(replace(term, dims=tuple(dims)))
    return made


def expanded(node: Node, term: Term) -> Term:
    return stretched(term, node.shape)


def repeated(node: Node, term: Term) -> Term:
    times = [int(count) for count in node.attributes["repeats"]]
    dims = [()] * (len(times) - term.rank) + list(term.dims)
    return replace(
        term, dims=tuple((*plain(count), *dim) if count > 1 else dim for count, dim in zip(times, dims, strict=True))
    )


def concatenated(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """Concatenation. Where parts have positions along it, the indices read things of their own, unless one part alone does (the
    rest is like padding) or they go on from one another; else each part keeps its place."""
    shapes = node.operand_shapes
    rank = len(node.shape)
    dim = dim_of(node, "dim", rank)
    if node.operation == "stack":
        parts = [[replace(t, dims=(*t.dims[:dim], (), *t.dims[dim:])) for t in terms] for terms in inputs]
        lengths = [1] * len(inputs)
    else:
        used = [i for i, shape in enumerate(shapes) if len(shape) == rank]  # torch lets empty vectors join
        if len(used) < len(shapes) and any(prod(shapes[i]) for i in range(len(shapes)) if i not in used):
            raise Lost
        parts, lengths = [list(inputs[i]) for i in used], [shapes[i][dim] for i in used]
    *starts, total = accumulate(lengths, initial=0)
    holding = [(start, terms) for start, terms in zip(starts, parts, strict=True) if terms]
    if not any(positional(terms, dim) for terms in parts):
        return [_placed(term, dim, start, total) for start, terms in holding for term in terms]
    try:
        wide = [[_longer(t.settled(), dim, start, total).settled() for t in terms] for start, terms in holding]
        alike = [[(term.axis, term.dims, term.largest, term.smallest) for term in terms] for terms in wide]
        if all(terms == alike[0] for terms in alike):
            return wide[0]
    except Lost:
        pass
    return [term.scattered([dim]).with_dim(dim, uneven(total)) for terms in parts for term in terms]


def _placed(term: Term, dim: int, start: int, total: int) -> Term:
    factors = term.dims[dim]
    if len(factors) > 1:
        if all(factor.full for factor in factors):
            raise Lost
        return term.scattered([dim]).with_dim(dim, uneven(total))
    low, high = (factors[0].low, factors[0].high) if factors else (0, 1)
    return term.with_dim(dim, joined([Factor(total, 0, start + low, start + high)]))


def _longer(term: Term, dim: int, start: int, total: int) -> Term:
    """A dimension with more indices, before and behind; those read nothing."""
    return windows(term, dim, Window(kernel=1, padding=start), total)[0]


def bordered(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """Padding. Where positions lie, what is read outside of them does not matter."""
    held = [d for d in range(len(node.shape)) if positional(inputs[0], d)]
    return [_padded(node, term, held) for term in inputs[0]]


def _padded(node: Node, term: Term, held: Sequence[int]) -> Term:
    pads = [int(p) for p in node.attributes.get("pad") or node.attributes.get("padding") or []]
    for place in range(0, len(pads), 2):
        dim = term.rank - 1 - place // 2
        before, after = pads[place : place + 2]
        factors, length = term.dims[dim], node.shape[dim]
        if before == after == 0:
            continue
        if term.moves(dim):
            term = _longer(term, dim, before, length)
        elif node.operation != "constant_pad_nd" or dim in held or not factors:
            term = term.with_length(dim, length)
        elif len(factors) == 1 and before >= 0 and after >= 0:
            term = term.with_dim(dim, (Factor(length, 0, factors[0].low + before, factors[0].high + before),))
        else:
            raise Lost
    return term
