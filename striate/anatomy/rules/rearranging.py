"""Rules of operations that only move values: reshapes, permutations, slices, shuffles, chosen indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from striate.anatomy.graph import Node
from striate.anatomy.rules.basis import Terms, dim_of, dims_of
from striate.anatomy.terms import Factor, Lost, Nothing, Term, joined, plain, regrouped, whole_factor


def reshaped(node: Node, term: Term) -> Term:
    if prod(term.shape) != prod(node.shape) or ("dtype" in node.attributes and term.shape != node.shape):
        raise Lost
    return regrouped(term, node.shape)


def permuted(node: Node, term: Term) -> Term:
    order = list(range(term.rank))
    if "dims" in node.attributes:
        order = dims_of(node, term.rank, "dims")
    elif term.rank > 1:
        if "dim0" not in node.attributes and node.operation.rstrip("_") != "t":
            raise Lost
        one, other = dim_of(node, "dim0", term.rank, 0), dim_of(node, "dim1", term.rank, 1)
        order[one], order[other] = order[other], order[one]
    return replace(term, dims=tuple(term.dims[d] for d in order))


def sliced(term: Term, dim: int, begin: int, length: int, step: int = 1) -> Term:
    """`length` indices of a dimension from `begin` on."""
    factors = term.dims[dim]
    if begin == 0 and length == term.shape[dim] and step == 1:
        return term
    if length == 1:
        return term.at(dim, begin)
    if not factors:
        raise Lost
    if len(factors) > 1 and not (step == 1 and _aligned(factors, begin, length)):
        if all(factor.full and factor.step == 0 for factor in factors):
            return term.with_dim(dim, plain(length))
        if not any(factor.step is None for factor in factors) and term.moving:
            term = term.single(dim)
            factors = term.dims[dim]
    if len(factors) > 1:
        if not (step == 1 and _aligned(factors, begin, length)):
            raise Lost
        inner = prod(factor.size for factor in factors[1:])
        begin, length = begin // inner, length // inner
    first = factors[0]
    if first.step is None:
        raise Lost
    if first.step:
        parts = [whole_factor(length, first.step * step), *factors[1:]]
        return term.shifted(first.step * begin).with_dim(dim, joined(parts))
    low = max(0, -((begin - first.low) // step))
    high = min(length, -((begin - first.high) // step))
    if low >= high:
        raise Nothing
    return term.with_dim(dim, joined([Factor(length, 0, low, high), *factors[1:]]))


def _aligned(factors: Sequence[Factor], begin: int, length: int) -> bool:
    inner = prod(factor.size for factor in factors[1:])
    return begin % inner == 0 and length % inner == 0


def part(node: Node, term: Term) -> Term:
    """A slice, a part of a split, or one index, whose dimension goes."""
    name, attributes = node.operation, node.attributes
    dim = dim_of(node, "dim", term.rank)
    size = term.shape[dim]
    if name in ("select", "unbind"):
        index = int(attributes["index"] if name == "select" else attributes.get("part", 0))
        return term.at(dim, index % size).without([dim])
    if name == "slice":
        begin = int(attributes.get("start") or 0)
        begin = min(max(0, begin + size) if begin < 0 else begin, size)
        return sliced(term, dim, begin, node.shape[dim], int(attributes.get("step") or 1))
    sizes = attributes.get("split_size", attributes.get("split_sizes"))
    part = int(attributes.get("part", 0))
    if sizes is None:
        raise Lost
    return sliced(term, dim, part * sizes if isinstance(sizes, int) else sum(sizes[:part]), node.shape[dim])


def flipped(node: Node, term: Term) -> Term:
    for dim in dims_of(node, term.rank, "dims"):
        factors = []
        for factor in term.dims[dim]:
            if factor.step:
                term = term.shifted(factor.step * (factor.size - 1))
                factor = factor._replace(step=-factor.step)
            factors.append(factor._replace(low=factor.size - factor.high, high=factor.size - factor.low))
        term = term.with_dim(dim, factors)
    return term


def rolled(node: Node, term: Term) -> Term:
    if not node.attributes.get("dims"):
        return term.scattered(range(term.rank))
    touched = [d for d in dims_of(node, term.rank, "dims") if term.told_apart(d)]
    return term.scattered(touched) if touched else term


def turned(node: Node, term: Term) -> Term:
    turns = int(node.attributes.get("k", 1)) % 4
    one, other = (int(d) % term.rank for d in node.attributes.get("dims", (0, 1)))
    over = {0: [], 1: [other], 2: [one, other], 3: [one]}[turns]
    term = flipped(replace(node, attributes={"dims": over}), term) if over else term
    if turns % 2:
        dims = list(term.dims)
        dims[one], dims[other] = dims[other], dims[one]
        term = replace(term, dims=tuple(dims))
    return term


def complex_to_real(node: Node, term: Term) -> Term:
    return replace(term, dims=(*term.dims, plain(2)))


def real_to_complex(node: Node, term: Term) -> Term:
    last = term.rank - 1
    return term.summed([last]).without([last])


def gated(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """One half of a dimension gates the other."""
    made = []
    for term in inputs[0]:
        dim = dim_of(node, "dim", term.rank, -1)
        half = node.shape[dim]
        for begin in (0, half):
            try:
                made.append(sliced(term, dim, begin, half))
            except Nothing:
                continue
    return made


def split_dim(term: Term, dim: int, sizes: Sequence[int]) -> list[tuple[Factor, ...]]:
    """The factors of a dimension as several dimensions."""
    made = regrouped(Term(term.axis, term.pixels, term.largest, term.smallest, (term.dims[dim],)), tuple(sizes))
    if made.scattered_somewhere and not any(f.step is None for f in term.dims[dim]):
        raise Lost
    return list(made.dims)


def shuffled(node: Node, term: Term) -> Term:
    factor = int(node.attributes["upscale_factor"])
    *rest, _, rows, columns = term.dims
    outer, down, right = split_dim(term, len(rest), (node.shape[-3], factor, factor))
    return replace(term, dims=(*rest, outer, joined([*rows, *down]), joined([*columns, *right])))


def unshuffled(node: Node, term: Term) -> Term:
    factor = int(node.attributes["downscale_factor"])
    *rest, channels, _, _ = term.dims
    high, down = split_dim(term, term.rank - 2, (node.shape[-2], factor))
    wide, right = split_dim(term, term.rank - 1, (node.shape[-1], factor))
    return replace(term, dims=(*rest, joined([*channels, *down, *right]), high, wide))


def channels_shuffled(node: Node, term: Term) -> Term:
    groups = int(node.attributes["groups"])
    outer, inner = split_dim(term, 1, (groups, node.shape[1] // groups))
    return term.with_dim(1, joined([*inner, *outer]))


def indexed(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """Chosen indices of a dimension that has no positions."""
    if node.operation == "embedding":
        if inputs[0]:
            raise Lost
        return [replace(term, dims=(*term.dims, plain(node.shape[-1]))) for term in inputs[1]]
    if any(inputs[1:]):
        raise Lost
    made = []
    for term in inputs[0]:
        if node.operation == "index_select":
            dim, rank = dim_of(node, "dim", term.rank), 1
        else:
            given = node.attributes.get("indexed")
            if given is None or len(given) != 1:
                raise Lost
            dim, rank = given[0]
        if term.told_apart(dim):
            raise Lost
        new = map(plain, node.shape[dim : dim + rank])
        made.append(replace(term, dims=(*term.dims[:dim], *new, *term.dims[dim + 1 :])))
    return made
