"""Rules of matrix products and attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from striate.anatomy.graph import Node
from striate.anatomy.rules.basis import Terms, rank_of, told_apart
from striate.anatomy.rules.pointwise import stretched
from striate.anatomy.terms import Lost, Term, plain

_LETTERS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "mm": (("mk", "kn"), "mn"),
    "bmm": (("bmk", "bkn"), "bmn"),
    "addmm": (("+", "mk", "kn"), "mn"),
    "baddbmm": (("+", "bmk", "bkn"), "bmn"),
    "mv": (("mk", "k"), "m"),
    "addmv": (("+", "mk", "k"), "m"),
    "dot": (("k", "k"), ""),
    "vdot": (("k", "k"), ""),
    "addr": (("+", "m", "n"), "mn"),
}


def product(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """Sums over the letters that the output has not, and spreads over those that the factor has not."""
    operation = node.operation.rstrip("_")
    if operation == "linear":
        batch = "abcdefgh"[: len(node.shape) - 1]
        letters, output = (f"{batch}k", "nk", "n"), f"{batch}n"
    else:
        letters, output = _LETTERS[operation]  # type: ignore[assignment]
    made = []
    for terms, own in zip(inputs, letters, strict=False):
        for term in terms:
            if own == "+":
                made.append(replace(stretched(term, node.shape)))
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
    masked = bool(node.attributes.get("is_causal")) or len(inputs) > 3
    made = []
    for place, terms in enumerate(inputs[:3]):
        for term in terms:
            rank = rank_of(term)
            tokens = rank - 2
            over = [rank - 1] if place == 0 else [rank - 1, tokens] if place == 1 else [tokens]
            if masked and place and term.moves(tokens):
                raise Lost
            if place and any(a != b for a, b in zip(node.operand_shapes[place][:-2], node.shape[:-2], strict=True)):
                if any(told_apart(term, d) for d in range(rank - 2)):
                    raise Lost
                term = replace(term, dims=(*(plain(n) for n in node.shape[:-2]), *term.dims[-2:]))
            made.append(term.summed(over, lambda d: node.shape[d]))
    if any(inputs[3:]):
        raise Lost
    return made
