"""Rules of operations that reduce dimensions, work along them, or normalise by their statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from striate.anatomy.graph import Node
from striate.anatomy.rules.basis import Rule, Terms, dim_of, dims_of, each, rank_of, told_apart
from striate.anatomy.rules.pointwise import pointwise
from striate.anatomy.terms import Lost, Term, plain


def _summed(node: Node, term: Term) -> Term:
    rank = rank_of(term)
    if node.operation == "topk":
        return along(node, term)
    over = dims_of(node, rank)
    if node.operation in ("kthvalue", "mode") and "dim" not in node.attributes:
        over = [rank - 1]
    term = term.summed(over)
    return term if len(node.shape) == rank and rank else term.without(over)


def reduced(node: Node, inputs: Sequence[Terms]) -> Sequence[Term]:
    """`max` and `min` of two tensors are pointwise."""
    if len(inputs) > 1 and node.operation in ("max", "min"):
        return pointwise(node, inputs)
    return each(_summed)(node, inputs)


def along(node: Node, term: Term) -> Term:
    usual = -1
    over = [dim_of(node, "dim", rank_of(term), usual)] if rank_of(term) else []
    if term.hidden and any(term.moves(d) for d in over) and "softmax" in node.operation:
        raise Lost  # a mask may shut out positions
    return term.summed(over, lambda d: node.shape[d])


def so_far(node: Node, term: Term) -> Term:
    dim = dim_of(node, "dim", rank_of(term))
    return term.scattered([dim]) if told_apart(term, dim) else term


def transformed(node: Node, term: Term) -> Term:
    return term.summed(dims_of(node, rank_of(term)), lambda d: node.shape[d])


def with_statistics(over: Callable[[Node, Term], Sequence[int] | None]) -> Rule:
    """A norm: each value, and what its statistics read."""

    def rule(node: Node, inputs: Sequence[Terms]) -> list[Term]:
        made = []
        for term in inputs[0]:
            dims = over(node, term)
            made.append(term)
            if dims is None:
                continue
            made.append(term.summed(dims, term.shape.__getitem__))
        for terms in inputs[1:]:
            for term in terms:  # a scale or a shift made of the image
                gone = term.summed(range(rank_of(term)))
                made.append(replace(gone, dims=tuple(plain(length) for length in node.shape)))
        return made

    return rule


def batch_statistics(node: Node, term: Term) -> list[int] | None:
    training = node.attributes.get("training", True)
    return [d for d in range(rank_of(term)) if d != 1] if training else None


def group_statistics(node: Node, term: Term) -> list[int]:
    groups = int(node.attributes["group"])
    if groups > 1 and told_apart(term, 1):
        raise Lost
    return list(range(1, rank_of(term)))


def layer_statistics(node: Node, term: Term) -> list[int]:
    count = len(node.attributes["normalized_shape"])
    return list(range(rank_of(term) - count, rank_of(term)))
