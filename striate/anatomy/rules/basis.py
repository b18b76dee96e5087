"""Shared by all rules: their form, and how they read the arguments of an operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from striate.anatomy.graph import Node
from striate.anatomy.terms import Lost, Nothing, Term

Terms = tuple[Term, ...]
Rule = Callable[[Node, Sequence[Terms]], Sequence[Term]]
"""From an operation and the terms of its operands to the terms of its output; raises Lost where they cannot be followed."""


def each(change: Callable[[Node, Term], Term]) -> Rule:
    """A rule for operations of one tensor, term by term."""

    def rule(node: Node, inputs: Sequence[Terms]) -> list[Term]:
        if any(inputs[1:]):  # another operand that depends on the image
            raise Lost
        made = []
        for term in inputs[0]:
            try:
                made.append(change(node, term))
            except Nothing:
                continue
        return made

    return rule


def dim_of(node: Node, key: str, rank: int, usual: int = 0) -> int:
    """The dimension that an argument names, from 0."""
    return int(node.attributes.get(key, usual)) % max(rank, 1)


def dims_of(node: Node, rank: int, key: str = "dim") -> list[int]:
    """The dimensions that an argument names, from 0; all of them where it names none."""
    given = node.attributes.get(key)
    if given is None or given == []:
        return list(range(rank))
    return [int(dim) % max(rank, 1) for dim in ([given] if isinstance(given, int) else given)]


def positional(terms: Sequence[Term], dim: int) -> bool:
    """Whether positions of the image lie along a dimension."""
    return any(term.moves(dim) for term in terms)
