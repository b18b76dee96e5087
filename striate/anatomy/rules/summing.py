"""Rules of operations that sum: reductions, norms, matrix products and attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from striate.anatomy.graph import Node
from striate.anatomy.operations import letters_of
from striate.anatomy.rules.basis import Rule, Terms, dim_of, dims_of, each
from striate.anatomy.rules.pointwise import pointwise, stretched
from striate.anatomy.terms import Lost, Term, plain


def _summed(node: Node, term: Term) -> Term:
    if node.operation == "topk":
        return along(node, term)
    over = dims_of(node, term.rank)
    if node.operation in ("kthvalue", "mode") and "dim" not in node.attributes:
        over = [term.rank - 1]
    summed = term.summed(over)
    return summed if len(node.shape) == term.rank and term.rank else summed.without(over)


def reduced(node: Node, inputs: Sequence[Terms]) -> Sequence[Term]:
    """`max` and `min` of two tensors are pointwise."""
    if len(inputs) > 1 and node.operation in ("max", "min"):
        return pointwise(node, inputs)
    return each(_summed)(node, inputs)


def along(node: Node, term: Term) -> Term:
    over = [dim_of(node, "dim", term.rank, -1)] if term.rank else []
    if term.hidden and any(term.moves(d) for d in over) and "softmax" in node.operation:
        raise Lost  # a mask may shut out positions
    return term.summed(over, lambda d: node.shape[d])


def so_far(node: Node, term: Term) -> Term:
    dim = dim_of(node, "dim", term.rank)
    return term.scattered([dim]) if term.told_apart(dim) else term


def transformed(node: Node, term: Term) -> Term:
    return term.summed(dims_of(node, term.rank), lambda d: node.shape[d])


def with_statistics(over: Callable[[Node, Term], Sequence[int] | None]) -> Rule:
    """A norm: each value, and what its statistics read; whole, a scale or a shift that is made of the image."""

    def rule(node: Node, inputs: Sequence[Terms]) -> list[Term]:
        made = []
        for term in inputs[0]:
            dims = over(node, term)
            made += [term] if dims is None else [term, term.summed(dims, term.shape.__getitem__)]
        return made + [term.everywhere(node.shape) for terms in inputs[1:] for term in terms]

    return rule


def batch_statistics(node: Node, term: Term) -> list[int] | None:
    training = node.attributes.get("training", True)
    return [d for d in range(term.rank) if d != 1] if training else None


def group_statistics(node: Node, term: Term) -> list[int]:
    if int(node.attributes["group"]) > 1 and term.told_apart(1):
        raise Lost
    return list(range(1, term.rank))


def layer_statistics(node: Node, term: Term) -> list[int]:
    return list(range(term.rank - len(node.attributes["normalized_shape"]), term.rank))


def product(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """Sums over the letters that the output has not, and spreads over those that the factor has not."""
    *factors, output = letters_of(node.operation, len(node.shape))
    made = []
    for terms, own in zip(inputs, factors, strict=False):
        for term in terms:
            if own == "+":
                made.append(stretched(term, node.shape))
                continue
            gone = [d for d, letter in enumerate(own) if letter not in output]
            if node.attributes.get("masked") and any(term.moves(d) for d in gone):
                raise Lost
            term = term.summed(gone)
            dims = tuple(
                term.dims[own.index(letter)] if letter in own else plain(length)
                for letter, length in zip(output, node.shape, strict=True)
            )
            made.append(replace(term, dims=dims))
    return made


def attention(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """Each query, and all keys and values of its head."""
    if any(inputs[3:]):
        raise Lost
    masked = bool(node.attributes.get("is_causal")) or len(inputs) > 3
    made = []
    for place, terms in enumerate(inputs[:3]):
        for term in terms:
            tokens, features = term.rank - 2, term.rank - 1
            if masked and place and term.moves(tokens):
                raise Lost
            if place and node.operand_shapes[place][:-2] != node.shape[:-2]:
                if any(term.told_apart(d) for d in range(tokens)):
                    raise Lost
                term = replace(term, dims=(*map(plain, node.shape[:-2]), *term.dims[-2:]))
            over = ([features], [features, tokens], [tokens])[place]
            made.append(term.summed(over, lambda d: node.shape[d]))
    return made
