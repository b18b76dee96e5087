"""Rules of operations that work value by value, with broadcasting, and of writes into a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from striate.anatomy.graph import Node, Shape
from striate.anatomy.rules.basis import Terms, positional
from striate.anatomy.terms import Factor, Lost, Term, plain


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
