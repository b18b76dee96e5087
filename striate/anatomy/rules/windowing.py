"""Rules of windows that slide over dimensions: patches, pooling, convolution, enlarging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod

from striate.anatomy.graph import Node
from striate.anatomy.rules.basis import Terms, dim_of, rank_of, setting_of, told_apart
from striate.anatomy.rules.rearranging import split_dim
from striate.anatomy.terms import Factor, Lost, Nothing, Term, joined, plain, uneven, whole_factor


def unfolded(node: Node, term: Term) -> Term:
    """`x.unfold(dim, size, step)`: windows of a dimension, their inside as a last dimension."""
    dim, size, step = (
        dim_of(node, "dimension", rank_of(term)),
        int(node.attributes["size"]),
        int(node.attributes["step"]),
    )
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


def patches(node: Node, term: Term) -> Term:
    """`F.unfold`: each window's inside among the channels, the windows one after the other."""
    sizes = [setting_of(node, "kernel_size", side, 1) for side in (0, 1)]
    inside = []
    for side in (0, 1):
        length = prod(factor.size for factor in term.dims[rank_of(term) - 2 + side])
        stride, padding, dilation = (
            setting_of(node, key, side, usual) for key, usual in (("stride", 1), ("padding", 0), ("dilation", 1))
        )
        count = (length + 2 * padding - dilation * (sizes[side] - 1) - 1) // stride + 1
        term, inner = windows(term, rank_of(term) - 2 + side, sizes[side], stride, padding, dilation, count)
        inside.append(inner)
    *rest, channels, rows, columns = term.dims
    return replace(term, dims=(*rest, joined([*channels, *inside[0], *inside[1]]), joined([*rows, *columns])))


def overlapped(node: Node, term: Term) -> Term:
    """`F.fold`, the sum of the windows that hold a place."""
    out = [int(length) for length in node.shape[-2:]]
    kernel = [setting_of(node, "kernel_size", side, 1) for side in (0, 1)]
    stride = [setting_of(node, "stride", side, 1) for side in (0, 1)]
    padding = [setting_of(node, "padding", side, 0) for side in (0, 1)]
    dilation = [setting_of(node, "dilation", side, 1) for side in (0, 1)]
    counts = [(out[s] + 2 * padding[s] - dilation[s] * (kernel[s] - 1) - 1) // stride[s] + 1 for s in (0, 1)]
    channels = split_dim(term, rank_of(term) - 2, (node.shape[-3], *kernel))
    places = split_dim(term, rank_of(term) - 1, counts)
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


def window_rule(node: Node, term: Term) -> Term:
    sides = 3 if "3d" in node.operation else 1 if "1d" in node.operation else 2
    for side in range(sides):
        dim = rank_of(term) - sides + side
        kernel = setting_of(node, "kernel_size", side, 1)
        stride = setting_of(node, "stride", side, kernel)
        padding, dilation = setting_of(node, "padding", side, 0), setting_of(node, "dilation", side, 1)
        term = windowed(term, dim, kernel, stride, padding, dilation, node.shape[dim])
    return term


def convolution(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """Windows over the last dimensions, sums over the channels of a group. A weight that depends on the image is read whole."""
    made = []
    weight = node.operand_shapes[1]
    transposed, groups = bool(node.attributes["transposed"]), int(node.attributes["groups"])
    for term in inputs[0]:
        if groups > 1:
            outer, inner = split_dim(term, 1, (groups, prod(f.size for f in term.dims[1]) // groups))
            term = replace(term, dims=(term.dims[0], outer, inner, *term.dims[2:])).summed([2]).without([2])
            term = term.with_dim(1, joined([*outer, *plain(node.shape[1] // groups)]))
        else:
            term = term.summed([1], lambda _: node.shape[1])
        for side in range(len(weight) - 2):
            kernel, stride = weight[2 + side], setting_of(node, "stride", side, 1)
            padding, dilation = setting_of(node, "padding", side, 0), setting_of(node, "dilation", side, 1)
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
            gone = term.summed(range(rank_of(term)))
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


def adaptive(node: Node, term: Term) -> Term:
    sides = 3 if "3d" in node.operation else 1 if "1d" in node.operation else 2
    for side in range(sides):
        dim = rank_of(term) - sides + side
        length, output = prod(f.size for f in term.dims[dim]), node.shape[dim]
        if output == 1:
            term = term.summed([dim])
        elif not told_apart(term, dim):
            term = term.with_dim(dim, plain(output))
        elif length != output:
            one = _one(term, dim)
            term = replace(
                one,
                largest=one.largest.adaptive_pool(length, output),
                smallest=one.smallest.adaptive_pool(length, output),
            ).with_dim(dim, (whole_factor(output, 1),))
    return term


def resized(node: Node, term: Term) -> Term:
    name = node.operation
    sides = 3 if "3d" in name else 1 if "1d" in name else 2
    exact = "exact" in name
    mode = next(mode for mode in ("nearest", "bicubic", "linear") if mode in name)
    corners = bool(node.attributes.get("align_corners"))
    scales = [node.attributes.get(key) for key in ("scales_d", "scales_h", "scales_w")][3 - sides :]
    if sides == 1:
        scales = [node.attributes.get("scales")]
    for side in range(sides):
        dim = rank_of(term) - sides + side
        length, output = prod(f.size for f in term.dims[dim]), node.shape[dim]
        if not told_apart(term, dim):
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
