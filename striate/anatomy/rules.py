"""What each kind of operation does to the terms of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Any

from striate.anatomy.graph import Node, Shape
from striate.anatomy.terms import Factor, Lost, Nothing, Term, joined, plain, regrouped, uneven, whole_factor

Terms = tuple[Term, ...]
Rule = Callable[[Node, Sequence[Terms]], Sequence[Term]]


def _each(change: Callable[[Node, Term], Term]) -> Rule:
    """A rule for operations of one tensor, term by term."""

    def rule(node: Node, inputs: Sequence[Terms]) -> list[Term]:
        if any(inputs[1:]):  # another operand that depends on the picture
            raise Lost
        made = []
        for term in inputs[0]:
            try:
                made.append(change(node, term))
            except Nothing:
                continue
        return made

    return rule


def _rank(term: Term) -> int:
    return len(term.dims)


def _dim(node: Node, key: str, rank: int, usual: int = 0) -> int:
    return int(node.attributes.get(key, usual)) % max(rank, 1)


def _dims(node: Node, rank: int, key: str = "dim") -> list[int]:
    given = node.attributes.get(key)
    if given is None or given == []:
        return list(range(rank))
    return [int(dim) % max(rank, 1) for dim in ([given] if isinstance(given, int) else given)]


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


def _pointwise(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    wide = [stretched(term, node.shape) for terms in inputs for term in terms]
    level = _HIDING.get(node.operation.rstrip("_"), 0)
    fixed = [node.operand_shapes[i] for i in node.attributes.get("fixed", ())] if level else []
    varied = {len(node.shape) - len(shape) + d for shape in fixed for d, length in enumerate(shape) if length > 1}
    return [
        replace(term, hidden=max(level, term.hidden)) if any(term.moves(d) for d in varied) else term for term in wide
    ]


_HIDING = {"add": 1, "sub": 1, "rsub": 1, "mul": 2, "where": 2, "masked_fill": 2, "addcmul": 2}


def _activation(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    return list(inputs[0]) if not any(inputs[1:]) else _lost(node, inputs)


def _lost(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    raise Lost


def _copied(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """What was there is written over."""
    return [stretched(term, node.shape) for term in inputs[1]]


def _written(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """A tensor through a view of which something was written: it reads that too. `dims` says in which of the view's dimensions
    each of its own lies, -1 where the view holds one index or some of them."""
    places = node.attributes["dims"]
    if places is None:
        raise Lost
    made = list(inputs[0]) if len(inputs) > 1 else []
    for term in inputs[-1]:
        dims = []
        for length, place in zip(node.shape, places, strict=True):
            if place >= 0 and prod(f.size for f in term.dims[place]) == length:
                dims.append(term.dims[place])
            elif place >= 0 and any(f.step or f.step is None for f in term.dims[place]):
                raise Lost
            else:
                dims.append(plain(length) if not _positional(made, len(dims)) else _raise())
        made.append(replace(term, dims=tuple(dims)))
    return made


def _positional(terms: Sequence[Term], dim: int) -> bool:
    return any(term.moves(dim) for term in terms)


def _raise() -> Any:
    raise Lost


def _reshaped(node: Node, term: Term) -> Term:
    if "dtype" in node.attributes and tuple(prod(f.size for f in d) for d in term.dims) != node.shape:
        raise Lost
    if prod(node.shape) != prod(f.size for d in term.dims for f in d):
        raise Lost
    return regrouped(term, node.shape)


def permutation(node: Node, rank: int) -> list[int]:
    """Which dimension of the input each of the output is."""
    order = list(range(rank))
    attributes = node.attributes
    if "dims" in attributes:
        return [int(dim) % rank for dim in attributes["dims"]]
    if rank > 1 and ("dim0" in attributes or node.operation.rstrip("_") == "t"):
        one, other = (int(attributes.get(key, usual)) % rank for key, usual in (("dim0", 0), ("dim1", 1)))
        order[one], order[other] = order[other], order[one]
        return order
    if rank < 2:
        return order
    raise Lost


def _permuted(node: Node, term: Term) -> Term:
    return replace(term, dims=tuple(term.dims[d] for d in permutation(node, _rank(term))))


def _expanded(node: Node, term: Term) -> Term:
    return stretched(term, node.shape)


def _repeated(node: Node, term: Term) -> Term:
    times = [int(count) for count in node.attributes["repeats"]]
    dims = [()] * (len(times) - _rank(term)) + list(term.dims)
    return replace(
        term, dims=tuple((*plain(count), *dim) if count > 1 else dim for count, dim in zip(times, dims, strict=True))
    )


def sliced(term: Term, dim: int, begin: int, length: int, step: int = 1) -> Term:
    """`length` indices of a dimension from `begin` on."""
    factors = term.dims[dim]
    size = prod(factor.size for factor in factors)
    if begin == 0 and length == size and step == 1:
        return term
    if length == 1:
        return term.at({dim: begin})
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


def _part(node: Node, term: Term) -> Term:
    """A slice, a part of a split, or one index, whose dimension goes."""
    name, attributes = node.operation, node.attributes
    dim = _dim(node, "dim", _rank(term))
    size = prod(factor.size for factor in term.dims[dim])
    if name in ("select", "unbind"):
        index = int(attributes["index"] if name == "select" else attributes.get("part", 0))
        return term.at({dim: index % size}).without([dim])
    if name == "slice":
        begin = int(attributes.get("start") or 0)
        begin = min(max(0, begin + size) if begin < 0 else begin, size)
        return sliced(term, dim, begin, node.shape[dim], int(attributes.get("step") or 1))
    if name == "narrow":
        return sliced(term, dim, int(attributes["start"]) % size, node.shape[dim])
    sizes = attributes.get("split_size", attributes.get("split_sizes"))
    part = int(attributes.get("part", 0))
    if sizes is None:
        raise Lost
    return sliced(term, dim, part * sizes if isinstance(sizes, int) else sum(sizes[:part]), node.shape[dim])


def _unfolded(node: Node, term: Term) -> Term:
    """`x.unfold(dim, size, step)`: windows of a dimension, their inside as a last dimension."""
    dim, size, step = _dim(node, "dimension", _rank(term)), int(node.attributes["size"]), int(node.attributes["step"])
    term, inner = windows(term, dim, size, step, 0, 1, node.shape[dim])
    return replace(term, dims=(*term.dims, inner))


def windows(
    term: Term, dim: int, size: int, stride: int, padding: int, dilation: int, count: int
) -> tuple[Term, tuple[Factor, ...]]:
    """Cuts a dimension into windows: the term with the windows' number in its place, and the factors of their inside."""
    if not term.moves(dim):
        if any(not factor.full for factor in term.dims[dim]):
            raise Lost
        return term.with_dim(dim, plain(count)), plain(size)
    if len(term.dims[dim]) > 1:
        term = term.single(dim)
    step = term.dims[dim][0].step
    if step is None:
        raise Lost
    moved = term.shifted(-padding * step)
    inner = (whole_factor(size, step * dilation),) if size > 1 else ()
    return moved.with_dim(dim, (whole_factor(count, step * stride),)), inner


def _flipped(node: Node, term: Term) -> Term:
    for dim in _dims(node, _rank(term), "dims"):
        factors = []
        for factor in term.dims[dim]:
            if factor.step:
                term = term.shifted(factor.step * (factor.size - 1))
                factor = factor._replace(step=-factor.step)
            factors.append(factor._replace(low=factor.size - factor.high, high=factor.size - factor.low))
        term = term.with_dim(dim, factors)
    return term


def _rolled(node: Node, term: Term) -> Term:
    dims = node.attributes.get("dims") or []
    if not dims:
        return term.scattered(range(_rank(term)))
    touched = [int(d) % _rank(term) for d in dims if _told_apart(term, int(d) % _rank(term))]
    return term.scattered(touched) if touched else term


def _told_apart(term: Term, dim: int) -> bool:
    return term.moves(dim) or any(not factor.full for factor in term.dims[dim])


def _turned(node: Node, term: Term) -> Term:
    turns = int(node.attributes.get("k", 1)) % 4
    one, other = (int(d) % _rank(term) for d in node.attributes.get("dims", (0, 1)))
    flipped = {0: [], 1: [other], 2: [one, other], 3: [one]}[turns]
    term = _flipped(replace(node, attributes={"dims": flipped or [0]}), term) if flipped else term
    if turns % 2:
        dims = list(term.dims)
        dims[one], dims[other] = dims[other], dims[one]
        term = replace(term, dims=tuple(dims))
    return term


def _joined(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """Concatenation. Where parts have positions along it, the indices read things of their own, unless one part alone does (the
    rest is like padding) or they go on from one another; else each part keeps its place."""
    shapes = node.operand_shapes
    rank = len(node.shape)
    dim = _dim(node, "dim", rank)
    if node.operation == "stack":
        parts = [[replace(t, dims=(*t.dims[:dim], (), *t.dims[dim:])) for t in terms] for terms in inputs]
        lengths = [1] * len(inputs)
    else:
        used = [i for i, shape in enumerate(shapes) if len(shape) == rank]  # torch lets empty vectors join
        if len(used) < len(shapes) and any(prod(shapes[i]) for i in range(len(shapes)) if i not in used):
            raise Lost
        parts, lengths = [list(inputs[i]) for i in used], [shapes[i][dim] for i in used]
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    total = sum(lengths)
    if not any(_positional(terms, dim) for terms in parts):
        return [_placed(term, dim, start, total) for start, terms in zip(starts, parts, strict=True) for term in terms]
    holding = [i for i, terms in enumerate(parts) if terms]
    if len(holding) == 1:
        only = holding[0]
        try:
            return [_shifted(term, dim, starts[only], total) for term in parts[only]]
        except Lost:
            pass
    else:
        going_on = _going_on(parts, dim, starts, total)
        if going_on is not None:
            return going_on
    made = []
    for terms in parts:
        made += [term.scattered([dim]).with_dim(dim, uneven(total)) for term in terms]
    return made


def _placed(term: Term, dim: int, start: int, total: int) -> Term:
    factors = term.dims[dim]
    if len(factors) > 1:
        if all(factor.full for factor in factors):
            raise Lost
        term = term.scattered([dim])
        return term.with_dim(dim, uneven(total))
    low, high = (factors[0].low, factors[0].high) if factors else (0, 1)
    return term.with_dim(dim, joined([Factor(total, 0, start + low, start + high)]))


def _shifted(term: Term, dim: int, start: int, total: int) -> Term:
    """A dimension with more indices, before and behind; those read nothing."""
    factors = term.dims[dim]
    if not term.moves(dim):
        if any(not factor.full for factor in factors):
            raise Lost
        return term.with_dim(dim, plain(total))
    if len(factors) > 1:
        term = term.single(dim)
    step = term.dims[dim][0].step
    if step is None:
        raise Lost
    return term.shifted(-step * start).with_dim(dim, (whole_factor(total, step),))


def _going_on(parts: Sequence[Sequence[Term]], dim: int, starts: Sequence[int], total: int) -> list[Term] | None:
    """Parts of one tensor, put together again in their order."""
    try:
        wide = [
            [_shifted(term.settled(), dim, start, total).settled() for term in terms]
            for start, terms in zip(starts, parts, strict=True)
        ]
    except Lost:
        return None
    first = wide[0]
    same = all(
        len(terms) == len(first)
        and all(
            (a.axis, a.dims, a.largest, a.smallest) == (b.axis, b.dims, b.largest, b.smallest)
            for a, b in zip(terms, first, strict=True)
        )
        for terms in wide
    )
    return first if same else None


def _bordered(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """Padding. Where positions lie, what is read outside of them does not matter."""
    held = [d for d in range(len(node.shape)) if _positional(inputs[0], d)]
    return [_padded(node, term, held) for term in inputs[0]]


def _padded(node: Node, term: Term, held: Sequence[int]) -> Term:
    pads = [int(p) for p in node.attributes.get("pad") or node.attributes.get("padding") or []]
    rank = _rank(term)
    for dim in range(rank):
        place = 2 * (rank - 1 - dim)
        before, after = pads[place : place + 2] if place < len(pads) else (0, 0)
        if not before and not after:
            continue
        length = node.shape[dim]
        if (node.operation == "constant_pad_nd" and dim not in held) or term.moves(dim):
            if not term.moves(dim) and before >= 0 and after >= 0 and term.dims[dim] and len(term.dims[dim]) == 1:
                (factor,) = term.dims[dim]
                term = term.with_dim(dim, (Factor(length, 0, factor.low + before, factor.high + before),))
            elif term.moves(dim) or not term.dims[dim]:
                term = _shifted(term, dim, before, length)
            else:
                raise Lost
        else:
            if any(not factor.full for factor in term.dims[dim]):
                raise Lost
            term = term.with_dim(dim, plain(length))
    return term


def _complex_to_real(node: Node, term: Term) -> Term:
    return replace(term, dims=(*term.dims, plain(2)))


def _real_to_complex(node: Node, term: Term) -> Term:
    last = _rank(term) - 1
    return term.summed([last]).without([last])


def _same(node: Node, term: Term) -> Term:
    return term


def _gated(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """One half of a dimension gates the other."""
    made = []
    for term in inputs[0]:
        dim = _dim(node, "dim", _rank(term), -1)
        half = node.shape[dim]
        for begin in (0, half):
            try:
                made.append(sliced(term, dim, begin, half))
            except Nothing:
                continue
    return made


def _split(term: Term, dim: int, sizes: Sequence[int]) -> list[tuple[Factor, ...]]:
    """The factors of a dimension as several dimensions."""
    made = regrouped(Term(term.axis, term.pixels, term.largest, term.smallest, (term.dims[dim],)), tuple(sizes))
    if made.scattered_somewhere and not any(f.step is None for f in term.dims[dim]):
        raise Lost
    return list(made.dims)


def _shuffled(node: Node, term: Term) -> Term:
    factor = int(node.attributes["upscale_factor"])
    *rest, _, rows, columns = term.dims
    outer, down, right = _split(term, len(rest), (node.shape[-3], factor, factor))
    return replace(term, dims=(*rest, outer, joined([*rows, *down]), joined([*columns, *right])))


def _unshuffled(node: Node, term: Term) -> Term:
    factor = int(node.attributes["downscale_factor"])
    *rest, channels, _, _ = term.dims
    high, down = _split(term, _rank(term) - 2, (node.shape[-2], factor))
    wide, right = _split(term, _rank(term) - 1, (node.shape[-1], factor))
    return replace(term, dims=(*rest, joined([*channels, *down, *right]), high, wide))


def _channels_shuffled(node: Node, term: Term) -> Term:
    groups = int(node.attributes["groups"])
    outer, inner = _split(term, 1, (groups, node.shape[1] // groups))
    return term.with_dim(1, joined([*inner, *outer]))


def _setting(node: Node, key: str, side: int, usual: int) -> int:
    value = node.attributes.get(key)
    if isinstance(value, int):
        return value
    return int(value[side % len(value)]) if value else usual


def _patches(node: Node, term: Term) -> Term:
    """`F.unfold`: each window's inside among the channels, the windows one after the other."""
    sizes = [_setting(node, "kernel_size", side, 1) for side in (0, 1)]
    inside = []
    for side in (0, 1):
        length = prod(factor.size for factor in term.dims[_rank(term) - 2 + side])
        stride, padding, dilation = (
            _setting(node, key, side, usual) for key, usual in (("stride", 1), ("padding", 0), ("dilation", 1))
        )
        count = (length + 2 * padding - dilation * (sizes[side] - 1) - 1) // stride + 1
        term, inner = windows(term, _rank(term) - 2 + side, sizes[side], stride, padding, dilation, count)
        inside.append(inner)
    *rest, channels, rows, columns = term.dims
    return replace(term, dims=(*rest, joined([*channels, *inside[0], *inside[1]]), joined([*rows, *columns])))


def _overlapped(node: Node, term: Term) -> Term:
    """`F.fold`, the sum of the windows that hold a place."""
    out = [int(length) for length in node.shape[-2:]]
    kernel = [_setting(node, "kernel_size", side, 1) for side in (0, 1)]
    stride = [_setting(node, "stride", side, 1) for side in (0, 1)]
    padding = [_setting(node, "padding", side, 0) for side in (0, 1)]
    dilation = [_setting(node, "dilation", side, 1) for side in (0, 1)]
    counts = [(out[s] + 2 * padding[s] - dilation[s] * (kernel[s] - 1) - 1) // stride[s] + 1 for s in (0, 1)]
    channels = _split(term, _rank(term) - 2, (node.shape[-3], *kernel))
    places = _split(term, _rank(term) - 1, counts)
    sides: list[tuple[Factor, ...]] = []
    for s in (0, 1):
        sides.append(())
        steps = [
            [factor.step for factor in dim if factor.step or factor.step is None]
            for dim in (places[s], channels[1 + s])
        ]
        if not steps[0] and not steps[1]:
            if any(not f.full for dim in (places[s], channels[1 + s]) for f in dim):
                raise Lost
            sides[s] = plain(out[s])
            continue
        if any(len(found) > 1 or None in found for found in steps) or not steps[0]:
            raise Lost
        if len(places[s]) > 1 or len(channels[1 + s]) > 1:
            raise Lost
        if len(term.moving) > len(steps[0]) + len(steps[1]):
            raise Lost
        place, inside = int(steps[0][0] or 0), int(steps[1][0] or 0) if steps[1] else 0
        k, t, p, d = kernel[s], stride[s], padding[s], dilation[s]

        def reach(o: int, a: int = place, b: int = inside, k: int = k, t: int = t, p: int = p, d: int = d) -> list[int]:
            return sorted(a * ((o + p - d * tap) // t) + b * tap for tap in range(k) if (o + p - d * tap) % t == 0)

        term = term.change(reach, t, place)
        sides[s] = (whole_factor(out[s], 1),)
    return replace(term, dims=(*term.dims[:-2], channels[0], *sides))


def _indexed(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """Chosen indices of a dimension that has no positions."""
    if node.operation == "embedding":
        return (
            [replace(term, dims=(*term.dims, plain(node.shape[-1]))) for term in inputs[1]]
            if not inputs[0]
            else _lost(node, inputs)
        )
    if any(inputs[1:]):
        raise Lost
    made = []
    for term in inputs[0]:
        if node.operation == "index_select":
            dim, rank = _dim(node, "dim", _rank(term)), 1
        else:
            given = node.attributes.get("indexed")
            if given is None or len(given) != 1:
                raise Lost
            dim, rank = given[0]
        if term.moves(dim) or any(not factor.full for factor in term.dims[dim]):
            raise Lost
        new = [plain(length) for length in node.shape[dim : dim + rank]]
        made.append(replace(term, dims=(*term.dims[:dim], *new, *term.dims[dim + 1 :])))
    return made


def windowed(
    term: Term, dim: int, kernel: int, stride: int, padding: int, dilation: int, output: int
) -> Term:  # fmt: skip
    """A window over a dimension."""
    if kernel == 1 and stride == 1 and padding == 0:
        return term
    if not term.moves(dim) and any(not factor.full for factor in term.dims[dim]):
        if len(term.dims[dim]) > 1:
            return term.scattered([dim]).with_dim(dim, uneven(output))
        (factor,) = term.dims[dim]
        low = max(0, -((dilation * (kernel - 1) - padding - factor.low) // stride))
        high = min(output, (factor.high - 1 + padding) // stride + 1)
        if low >= high:
            raise Nothing
        return term.with_dim(dim, joined([Factor(output, 0, low, high)]))
    if term.hidden > 1 and kernel > 1 and term.moves(dim):
        raise Lost
    outer, inner = windows(term, dim, kernel, stride, padding, dilation, output)
    step = inner[0].step if inner else 0
    return outer.spread(step, kernel) if step else outer


def _window(node: Node, term: Term) -> Term:
    sides = 3 if "3d" in node.operation else 1 if "1d" in node.operation else 2
    for side in range(sides):
        dim = _rank(term) - sides + side
        kernel = _setting(node, "kernel_size", side, 1)
        stride = _setting(node, "stride", side, kernel)
        padding, dilation = _setting(node, "padding", side, 0), _setting(node, "dilation", side, 1)
        term = windowed(term, dim, kernel, stride, padding, dilation, node.shape[dim])
    return term


def _convolution(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """Windows over the last dimensions, sums over the channels of a group. A weight that depends on the picture is read whole."""
    made = []
    weight = node.operand_shapes[1]
    transposed, groups = bool(node.attributes["transposed"]), int(node.attributes["groups"])
    for term in inputs[0]:
        if groups > 1:
            outer, inner = _split(term, 1, (groups, prod(f.size for f in term.dims[1]) // groups))
            term = replace(term, dims=(term.dims[0], outer, inner, *term.dims[2:])).summed([2]).without([2])
            term = term.with_dim(1, joined([*outer, *plain(node.shape[1] // groups)]))
        else:
            term = term.summed([1], lambda _: node.shape[1])
        for side in range(len(weight) - 2):
            kernel, stride = weight[2 + side], _setting(node, "stride", side, 1)
            padding, dilation = _setting(node, "padding", side, 0), _setting(node, "dilation", side, 1)
            if node.attributes.get("masked") and kernel > 1 and term.moves(2 + side):
                raise Lost
            size = node.shape[2 + side]
            if transposed and not (kernel == stride == 1 and padding == 0):
                term = _enlarged(term, 2 + side, kernel, stride, padding, dilation, size)
            elif not transposed:
                term = windowed(term, 2 + side, kernel, stride, padding, dilation, size)
        made.append(replace(term))
    for terms in inputs[1:]:
        for term in terms:
            gone = term.summed(range(_rank(term)))
            made.append(replace(gone, dims=tuple(plain(length) for length in node.shape)))
    return made


def _enlarged(term: Term, dim: int, kernel: int, stride: int, padding: int, dilation: int, size: int) -> Term:
    if not term.moves(dim):
        if any(not factor.full for factor in term.dims[dim]):
            raise Lost
        return term.with_dim(dim, plain(size))
    term = _one(term, dim)
    return replace(
        term,
        largest=term.largest.transposed_window(kernel, stride, padding, dilation),
        smallest=term.smallest.transposed_window(kernel, stride, padding, dilation),
    ).with_dim(dim, (whole_factor(size, 1),))


def _one(term: Term, dim: int) -> Term:
    """The term with this dimension's index as its position."""
    term = term.single(dim)
    if term.dims[dim][0].step != 1:
        raise Lost
    return term


def _adaptive(node: Node, term: Term) -> Term:
    sides = 3 if "3d" in node.operation else 1 if "1d" in node.operation else 2
    for side in range(sides):
        dim = _rank(term) - sides + side
        length, output = prod(f.size for f in term.dims[dim]), node.shape[dim]
        if output == 1:
            term = term.summed([dim])
        elif not _told_apart(term, dim):
            term = term.with_dim(dim, plain(output))
        elif length != output:
            one = _one(term, dim)
            term = replace(
                one,
                largest=one.largest.adaptive_pool(length, output),
                smallest=one.smallest.adaptive_pool(length, output),
            ).with_dim(dim, (whole_factor(output, 1),))
    return term


def _resized(node: Node, term: Term) -> Term:
    name = node.operation
    sides = 3 if "3d" in name else 1 if "1d" in name else 2
    exact = "exact" in name
    mode = next(mode for mode in ("nearest", "bicubic", "linear") if mode in name)
    corners = bool(node.attributes.get("align_corners"))
    scales = [node.attributes.get(key) for key in ("scales_d", "scales_h", "scales_w")][3 - sides :]
    if sides == 1:
        scales = [node.attributes.get("scales")]
    for side in range(sides):
        dim = _rank(term) - sides + side
        length, output = prod(f.size for f in term.dims[dim]), node.shape[dim]
        if not _told_apart(term, dim):
            term = term.with_dim(dim, plain(output))
            continue
        scale = scales[side]
        if scale is not None and Fraction(scale) != Fraction(output, length) and not corners:
            raise Lost  # the scale is no ratio of the sizes: positions drift
        if length == output:
            continue
        one = _one(term, dim)
        way = "exact" if exact else mode
        term = replace(
            one,
            largest=one.largest.resized(length, output, way, corners),
            smallest=one.smallest.resized(length, output, way, corners),
        ).with_dim(dim, (whole_factor(output, 1),))
    return term


def _summed(node: Node, term: Term) -> Term:
    rank = _rank(term)
    if node.operation == "topk":
        return _along(node, term)
    over = _dims(node, rank)
    if node.operation in ("kthvalue", "mode") and "dim" not in node.attributes:
        over = [rank - 1]
    term = term.summed(over)
    return term if len(node.shape) == rank and rank else term.without(over)


def _reduced(node: Node, inputs: Sequence[Terms]) -> Sequence[Term]:
    """`max` and `min` of two tensors are pointwise."""
    if len(inputs) > 1 and node.operation in ("max", "min"):
        return _pointwise(node, inputs)
    return _each(_summed)(node, inputs)


def _along(node: Node, term: Term) -> Term:
    usual = -1
    over = [_dim(node, "dim", _rank(term), usual)] if _rank(term) else []
    if term.hidden and any(term.moves(d) for d in over) and "softmax" in node.operation:
        raise Lost  # a mask may shut out positions
    return term.summed(over, lambda d: node.shape[d])


def _so_far(node: Node, term: Term) -> Term:
    dim = _dim(node, "dim", _rank(term))
    return term.scattered([dim]) if _told_apart(term, dim) else term


def _transformed(node: Node, term: Term) -> Term:
    return term.summed(_dims(node, _rank(term)), lambda d: node.shape[d])


def _with_statistics(over: Callable[[Node, Term], Sequence[int] | None]) -> Rule:
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
            for term in terms:  # a scale or a shift made of the picture
                gone = term.summed(range(_rank(term)))
                made.append(replace(gone, dims=tuple(plain(length) for length in node.shape)))
        return made

    return rule


def _batch_statistics(node: Node, term: Term) -> list[int] | None:
    training = node.attributes.get("training", True)
    return [d for d in range(_rank(term)) if d != 1] if training else None


def _group_statistics(node: Node, term: Term) -> list[int]:
    groups = int(node.attributes["group"])
    if groups > 1 and _told_apart(term, 1):
        raise Lost
    return list(range(1, _rank(term)))


def _layer_statistics(node: Node, term: Term) -> list[int]:
    count = len(node.attributes["normalized_shape"])
    return list(range(_rank(term) - count, _rank(term)))


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


def _product(node: Node, inputs: Sequence[Terms]) -> list[Term]:
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


def _attention(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """Each query, and all keys and values of its head."""
    masked = bool(node.attributes.get("is_causal")) or len(inputs) > 3
    made = []
    for place, terms in enumerate(inputs[:3]):
        for term in terms:
            rank = _rank(term)
            tokens = rank - 2
            over = [rank - 1] if place == 0 else [rank - 1, tokens] if place == 1 else [tokens]
            if masked and place and term.moves(tokens):
                raise Lost
            if place and any(a != b for a, b in zip(node.operand_shapes[place][:-2], node.shape[:-2], strict=True)):
                if any(_told_apart(term, d) for d in range(rank - 2)):
                    raise Lost
                term = replace(term, dims=(*(plain(n) for n in node.shape[:-2]), *term.dims[-2:]))
            made.append(term.summed(over, lambda d: node.shape[d]))
    if any(inputs[3:]):
        raise Lost
    return made


RULES: Mapping[str, Rule] = {
    "pointwise": _pointwise,
    "activation": _activation,
    "fresh": lambda node, inputs: [],
    "copied": _copied,
    "written": _written,
    "reshaped": _each(_reshaped),
    "permuted": _each(_permuted),
    "expanded": _each(_expanded),
    "repeated": _each(_repeated),
    "part": _each(_part),
    "unfolded": _each(_unfolded),
    "flipped": _each(_flipped),
    "rolled": _each(_rolled),
    "turned": _each(_turned),
    "joined": _joined,
    "padded": _bordered,
    "complex_to_real": _each(_complex_to_real),
    "real_to_complex": _each(_real_to_complex),
    "part_of_complex": _each(_same),
    "halved": _gated,
    "shuffled": _each(_shuffled),
    "unshuffled": _each(_unshuffled),
    "channels_shuffled": _each(_channels_shuffled),
    "patches": _each(_patches),
    "overlapped": _each(_overlapped),
    "indexed": _indexed,
    "window": _each(_window),
    "convolution": _convolution,
    "adaptive": _each(_adaptive),
    "resized": _each(_resized),
    "summed": _reduced,
    "along": _each(_along),
    "so_far": _each(_so_far),
    "transformed": _each(_transformed),
    "batch_norm": _with_statistics(_batch_statistics),
    "batch_norm_of_evaluation": _with_statistics(lambda node, term: None),
    "group_norm": _with_statistics(_group_statistics),
    "layer_norm": _with_statistics(_layer_statistics),
    "product": _product,
    "attention": _attention,
}
"""Kind of operation (`operations.KINDS`) -> its rule; a kind without one cannot be followed."""
