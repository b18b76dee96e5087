"""Rules of windows that slide over dimensions: patches, pooling, convolution, enlarging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from striate.anatomy.graph import Node
from striate.anatomy.pattern import adaptive_reading, resizing_reading, transposed_reading
from striate.anatomy.rules.basis import Terms, dim_of
from striate.anatomy.rules.rearranging import split_dim
from striate.anatomy.sizes import Window
from striate.anatomy.terms import Factor, Lost, Nothing, Term, joined, plain, uneven, whole_factor


def unfolded(node: Node, term: Term) -> Term:
    """`x.unfold(dim, size, step)`: windows of a dimension, their inside as a last dimension."""
    dim = dim_of(node, "dimension", term.rank)
    window = Window(kernel=int(node.attributes["size"]), stride=int(node.attributes["step"]))
    term, inner = windows(term, dim, window, node.shape[dim])
    return replace(term, dims=(*term.dims, inner))


def windows(term: Term, dim: int, window: Window, count: int) -> tuple[Term, tuple[Factor, ...]]:
    """Cuts a dimension into windows: the term with the windows' number in its place, and the factors of their inside."""
    if not term.moves(dim):
        return term.with_length(dim, count), plain(window.kernel)
    if len(term.dims[dim]) > 1:
        term = term.single(dim)
    step = term.dims[dim][0].step
    if step is None:
        raise Lost
    moved = term.shifted(-window.padding * step)
    inner = (whole_factor(window.kernel, step * window.dilation),) if window.kernel > 1 else ()
    return moved.with_dim(dim, (whole_factor(count, step * window.stride),)), inner


def patches(node: Node, term: Term) -> Term:
    """`F.unfold`: each window's inside among the channels, the windows one after the other."""
    inside: list[Factor] = []
    for side, dim in enumerate((term.rank - 2, term.rank - 1)):
        window = node.window(side)
        term, inner = windows(term, dim, window, window.size(term.shape[dim]))
        inside += inner
    *rest, channels, rows, columns = term.dims
    return replace(term, dims=(*rest, joined([*channels, *inside]), joined([*rows, *columns])))


def overlapped(node: Node, term: Term) -> Term:
    """`F.fold`, the sum of the windows that hold a place."""
    settings = [node.window(side) for side in (0, 1)]
    counts = [window.size(length) for window, length in zip(settings, node.shape[-2:], strict=True)]
    channels, *taps = split_dim(term, term.rank - 2, (node.shape[-3], *(window.kernel for window in settings)))
    sides: list[tuple[Factor, ...]] = []
    for window, place_dim, tap_dim in zip(settings, split_dim(term, term.rank - 1, counts), taps, strict=True):
        size = node.shape[len(sides) - 2]
        if len(place_dim) > 1 or len(tap_dim) > 1:
            raise Lost
        place, tap = (dim[0] if dim else whole_factor(1) for dim in (place_dim, tap_dim))
        if place.step == 0 and tap.step == 0 and place.full and tap.full:
            sides.append(plain(size))
            continue
        if not place.step or tap.step is None or len(term.moving) > 1 + bool(tap.step):
            raise Lost
        term = term.change(*transposed_reading(window, place.step, tap.step))
        sides.append((whole_factor(size, 1),))
    return replace(term, dims=(*term.dims[:-2], channels, *sides))


def windowed(term: Term, dim: int, window: Window, output: int) -> Term:
    """A window over a dimension."""
    kernel, stride, padding = window.kernel, window.stride, window.padding
    if kernel == 1 and stride == 1 and padding == 0:
        return term
    if not term.moves(dim) and term.told_apart(dim):
        if len(term.dims[dim]) > 1:
            return term.scattered([dim]).with_dim(dim, uneven(output))
        (factor,) = term.dims[dim]
        low = max(0, -((window.span - 1 - padding - factor.low) // stride))
        high = min(output, (factor.high - 1 + padding) // stride + 1)
        if low >= high:
            raise Nothing
        return term.with_dim(dim, joined([Factor(output, 0, low, high)]))
    if term.hidden > 1 and kernel > 1 and term.moves(dim):
        raise Lost
    outer, inner = windows(term, dim, window, output)
    step = inner[0].step if inner else 0
    return outer.spread(step, kernel) if step else outer


def _sides(node: Node, term: Term) -> list[tuple[int, int]]:
    """(side, dimension) of the sides that an operation works on: its name says how many."""
    count = next((count for count in (1, 3) if f"{count}d" in node.operation), 2)
    return [(side, term.rank - count + side) for side in range(count)]


def pooled(node: Node, term: Term) -> Term:
    for side, dim in _sides(node, term):
        term = windowed(term, dim, node.window(side), node.shape[dim])
    return term


def convolution(node: Node, inputs: Sequence[Terms]) -> list[Term]:
    """Windows over the last dimensions, sums over the channels of a group. A weight that depends on the image is read whole."""
    made = []
    transposed, groups = bool(node.attributes["transposed"]), int(node.attributes["groups"])
    for term in inputs[0]:
        if groups > 1:
            outer, inner = split_dim(term, 1, (groups, term.shape[1] // groups))
            term = replace(term, dims=(term.dims[0], outer, inner, *term.dims[2:])).summed([2]).without([2])
            term = term.with_dim(1, joined([*outer, *plain(node.shape[1] // groups)]))
        else:
            term = term.summed([1], lambda _: node.shape[1])
        for side in range(len(node.shape) - 2):
            dim, window = 2 + side, node.window(side)
            if node.attributes.get("masked") and window.kernel > 1 and term.moves(dim):
                raise Lost
            if not transposed:
                term = windowed(term, dim, window, node.shape[dim])
            elif not (window.kernel == window.stride == 1 and window.padding == 0):
                term = _enlarged(term, dim, window, node.shape[dim])
        made.append(term)
    return made + [term.everywhere(node.shape) for terms in inputs[1:] for term in terms]


def _enlarged(term: Term, dim: int, window: Window, size: int) -> Term:
    if not term.moves(dim):
        return term.with_length(dim, size)
    return term.single(dim).change(*transposed_reading(window)).with_dim(dim, (whole_factor(size, 1),))


def adaptive(node: Node, term: Term) -> Term:
    for _, dim in _sides(node, term):
        length, output = term.shape[dim], node.shape[dim]
        if output == 1:
            term = term.summed([dim])
        elif not term.told_apart(dim):
            term = term.with_dim(dim, plain(output))
        elif length != output:
            term = term.single(dim).change(*adaptive_reading(length, output))
            term = term.with_dim(dim, (whole_factor(output, 1),))
    return term


def resized(node: Node, term: Term) -> Term:
    sides = _sides(node, term)
    mode = next(mode for mode in ("exact", "nearest", "bicubic", "linear") if mode in node.operation)
    corners = bool(node.attributes.get("align_corners"))
    names = ("scales",) if len(sides) == 1 else ("scales_d", "scales_h", "scales_w")[-len(sides) :]
    for (_, dim), name in zip(sides, names, strict=True):
        length, output, scale = term.shape[dim], node.shape[dim], node.attributes.get(name)
        if not term.told_apart(dim):
            term = term.with_dim(dim, plain(output))
            continue
        if scale is not None and Fraction(scale) != Fraction(output, length) and not corners:
            raise Lost  # the scale is no ratio of the sizes: positions drift
        if length != output:
            term = term.single(dim).change(*resizing_reading(length, output, mode, corners))
            term = term.with_dim(dim, (whole_factor(output, 1),))
    return term
