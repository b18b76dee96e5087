"""Receptive fields on the graph, with its branches and skips: the pixels that one position of an output reads.

Statistics of norms (group norm, layer norm) are left out, as is usual: in truth they read everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from striate.anatomy.graph import Graph, Node, Shape
from striate.anatomy.pattern import START, Pattern

Pixels = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptiveField:
    """Pixels that one position of an output reads; each pair is (height, width)."""

    largest: Pixels
    """From the first to the last pixel read by any path from the picture."""
    smallest: Pixels
    """Likewise by the path that sees least: through the skips, through the 1x1 branch."""
    stride: tuple[float, float]
    """Pixels from one position to the next; 0 where there is only one."""
    centre: tuple[float, float]
    """Middle of the field of position (0, 0), in pixels from the middle of the first pixel; negative with much padding."""
    whole: bool
    """It is the whole picture, however large: the output has no positions any more."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of the picture inside a tensor."""

    dims: tuple[int, ...]
    """Dimensions that it lies in: one, none once it is summed up, several where a reshape has spread it."""
    length: int
    pixels: int
    """Of the picture."""
    largest: Pattern
    smallest: Pattern
    folded: bool = False
    """It shares its dimension with other axes, after a flatten."""
    before_folding: tuple[tuple[int, ...], int] = ((), 0)
    """Lengths of the dimensions that were folded together, and which of them was this one."""

    def through(self, change: Callable[[Pattern], Pattern], length: int) -> Axis:
        return replace(self, length=length, largest=change(self.largest), smallest=change(self.smallest))

    def summed(self, dims: tuple[int, ...] = ()) -> Axis:
        """Every output reads all of its positions."""

        def change(pattern: Pattern) -> Pattern:
            return pattern if pattern.advance == 0 else pattern.everywhere(self.length).clipped(self.pixels)

        return replace(self.through(change, 1), dims=dims, folded=False)


State = tuple[Axis, ...]


def receptive_fields(graph: Graph) -> tuple[ReceptiveField | None, ...]:
    """The field of each node of the graph; None where it cannot be followed (gathers, rolls, spatial concatenation)."""
    pixels = graph.input_shape[2:]
    states: list[State | None] = [tuple(Axis((2 + i,), size, size, START, START) for i, size in enumerate(pixels))]
    for node in graph.nodes[1:]:
        inputs = [states[source] for source in node.inputs]
        shapes = [graph.nodes[source].shape for source in node.inputs]
        known = [state for state in inputs if state is not None]
        states.append(_Step(node, shapes).apply(known) if len(known) == len(inputs) else None)
    return tuple(None if state is None else _field(state) for state in states)


def _field(state: State) -> ReceptiveField:
    high, wide = state[0], state[-1]

    def both(value: Callable[[Axis], float]) -> tuple[float, float]:
        return value(high), value(wide)

    return ReceptiveField(
        largest=(high.largest.size, wide.largest.size),
        smallest=(high.smallest.size, wide.smallest.size),
        stride=both(lambda axis: float(axis.smallest.stride)),
        centre=both(lambda axis: axis.largest.centre),
        whole=all(
            axis.largest.advance == 0 and axis.largest.first[0] <= 0 and axis.largest.last[0] >= axis.pixels - 1
            for axis in state
        ),
    )


_PRODUCTS = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1, "mv": 0, "addmv": 1}  # position of the left factor
_RESHAPES = {"view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "flatten", "unflatten"}
_SUMS = {
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "var",
    "std",
    "prod",
    "logsumexp",
    "linalg_vector_norm",
    "var_mean",
}
_ALONG = {"_softmax", "_log_softmax", "cumsum", "softmax", "log_softmax", "sort", "cumprod"}
_LOST = {
    "roll",
    "flip",
    "gather",
    "index",
    "grid_sampler_2d",
    "im2col",
    "col2im",
    "scatter",
    "index_put",
    "repeat",
    "topk",
}


@dataclass(frozen=True, slots=True)
class _Step:
    """One node: from the axes of its inputs to those of its output."""

    node: Node
    shapes: Sequence[Shape]

    def apply(self, states: Sequence[State]) -> State | None:
        name = self.node.operation
        if name in _LOST:
            return None
        if name in _PRODUCTS or name.startswith("_scaled_dot_product"):
            return self._product(states)
        if len(states) > 1 or name == "write":
            return self._joined(states)
        changed = [self._one(axis) for axis in states[0]]
        return None if None in changed else tuple(axis for axis in changed if axis is not None)

    def _one(self, axis: Axis) -> Axis | None:
        """An operation of one input, on one axis."""
        name, before, after = self.node.operation, self.shapes[0], self.node.shape
        if name in _RESHAPES:
            return _reshaped(axis, before, after)
        if name in ("permute", "transpose", "t"):
            return self._permuted(axis)
        if name in _SUMS or name in _ALONG:
            return self._summed(axis)
        if name == "convolution" or "_pool" in name or "upsample" in name or name == "pixel_shuffle":
            return self._spatial(axis)
        if name in ("slice", "select", "split", "split_with_sizes", "unbind", "narrow"):
            return self._part(axis)
        if name in ("constant_pad_nd", "reflection_pad2d", "replication_pad2d"):
            return self._padded(axis)
        if name == "expand":
            return replace(axis, dims=tuple(d + len(after) - len(before) for d in axis.dims))
        if name == "index_select":
            return axis if self._dim("dim") not in axis.dims else None
        return axis if before == after else None

    def _dim(self, name: str) -> int:
        return int(self.node.attributes.get(name, 0)) % len(self.shapes[0])

    def _spatial(self, axis: Axis) -> Axis | None:
        """Windows, adaptive pools and resizing act on the last dimensions; a convolution also sums over the channels."""
        name, attributes, after = self.node.operation, self.node.attributes, self.node.shape
        sides = (
            len(attributes["weight"]) - 2 if name == "convolution" else 3 if "3d" in name else 1 if "1d" in name else 2
        )
        if not axis.dims:
            return axis
        side = axis.dims[0] - (len(after) - sides)
        if axis.folded or side < 0:
            mixed = axis.folded or (name == "convolution" and axis.dims[0] == 1)
            return axis.summed(axis.dims) if mixed else axis
        length, output = self.shapes[0][axis.dims[0]], after[axis.dims[0]]
        if "adaptive" in name and output == 1:
            return axis.summed(axis.dims)

        def setting(key: str, usual: int) -> int:
            value = attributes.get(key)
            if isinstance(value, int):
                return value
            return int(value[side % len(value)]) if value else usual

        def change(pattern: Pattern) -> Pattern:
            if name == "pixel_shuffle":
                factor = int(attributes["upscale_factor"])
                return pattern.through(lambda o: [o // factor], factor, 1)
            if "adaptive" in name:
                return pattern.adaptive_pool(length, output)
            if "upsample" in name:
                mode = next(mode for mode in ("nearest", "bicubic", "linear") if mode in name)
                return pattern.resized(length, output, mode, bool(attributes.get("align_corners")))
            kernel = setting("kernel", 0) or setting("kernel_size", 1)
            stride, padding, dilation = setting("stride", kernel), setting("padding", 0), setting("dilation", 1)
            if attributes.get("transposed"):
                return pattern.transposed_window(kernel, stride, padding, dilation)
            return pattern.window(kernel, stride, padding, dilation)

        return axis.through(change, output)

    def _permuted(self, axis: Axis) -> Axis:
        rank, attributes = len(self.node.shape), self.node.attributes
        order = list(range(rank))
        if self.node.operation == "permute":
            order = [int(dim) % rank for dim in attributes["dims"]]
        elif rank > 1:
            one, other = (int(attributes.get(key, usual)) % rank for key, usual in (("dim0", 0), ("dim1", 1)))
            order[one], order[other] = order[other], order[one]
        return replace(axis, dims=tuple(order.index(dim) for dim in axis.dims))

    def _summed(self, axis: Axis) -> Axis:
        before, attributes = self.shapes[0], self.node.attributes
        given = attributes.get("dim")
        dims = range(len(before)) if given is None or given == [] else ([given] if isinstance(given, int) else given)
        over = {int(dim) % len(before) for dim in dims}
        kept = self.node.operation in _ALONG or len(self.node.shape) == len(before)
        rest = axis.dims if kept else tuple(d - sum(o < d for o in over) for d in axis.dims if d not in over)
        if over & set(axis.dims):
            return axis.summed(rest if kept or axis.folded else ())
        return replace(axis, dims=rest)

    def _part(self, axis: Axis) -> Axis | None:
        """A slice or a split part: along the axis it shifts the positions."""
        name, attributes, before = self.node.operation, self.node.attributes, self.shapes[0]
        dim, drops = self._dim("dim"), name in ("select", "unbind")
        rest = tuple(d - (drops and d > dim) for d in axis.dims if not (drops and d == dim))
        if dim not in axis.dims:
            return replace(axis, dims=rest)
        if axis.folded:
            return axis if before == self.node.shape else None
        part, step = int(attributes.get("part", 0)), int(attributes.get("step") or 1)
        sizes = attributes.get("split_size", attributes.get("split_sizes", 1))
        begin = part * sizes if isinstance(sizes, int) else sum(sizes[:part])
        if name in ("slice", "select", "narrow"):
            begin = int(attributes.get("start") or attributes.get("index") or 0)
            begin = max(0, begin + before[dim]) if begin < 0 else begin
        if drops:
            return replace(axis.through(lambda pattern: pattern.at(begin), 1), dims=rest)
        return axis.through(lambda p: p.through(lambda o: [o * step + begin], 1, step), self.node.shape[dim])

    def _padded(self, axis: Axis) -> Axis | None:
        pads = list(self.node.attributes.get("pad") or self.node.attributes.get("padding") or [])
        if not axis.dims:
            return axis
        place = 2 * (len(self.node.shape) - 1 - axis.dims[0])
        before = int(pads[place]) if place < len(pads) else 0
        if axis.folded:
            return None
        return axis.through(lambda p: p.through(lambda o: [o - before], 1, 1), self.node.shape[axis.dims[0]])

    def _product(self, states: Sequence[State]) -> State | None:
        """Matrix products sum over the left factor's columns and the right one's rows; attention over all of its tokens."""
        name, rank = self.node.operation, len(self.node.shape)
        parts = []
        for state, shape in zip(states, self.shapes, strict=True):
            # of several data factors (attention) the rows or columns that stay belong to tokens: all are read
            summed_dims = {len(shape) - 1}
            if len(states) > 1 or name.startswith("_scaled_dot_product"):
                summed_dims |= {len(shape) - 2}
            parts.append(
                tuple(
                    axis.summed(axis.dims if len(shape) == rank else ()) if summed_dims & set(axis.dims) else axis
                    for axis in state
                )
            )
        return parts[0] if len(parts) == 1 else _meet(parts)

    def _joined(self, states: Sequence[State]) -> State | None:
        """Elementwise operations and concatenation: each position reads what any of its inputs reads."""
        after = self.node.shape
        aligned = []
        for state, shape in zip(states, self.shapes, strict=True):
            shift = len(after) - len(shape)
            axes = []
            for axis in state:
                moved = replace(axis, dims=tuple(dim + shift for dim in axis.dims))
                lengths = {after[dim] for dim in moved.dims}
                if self.node.operation == "cat" and self._dim("dim") in axis.dims and axis.largest.advance:
                    return None
                if moved.dims and not axis.folded and axis.length == 1 and lengths != {1}:  # broadcast
                    moved = moved.through(lambda pattern: pattern.at(0) if pattern.advance else pattern, 1)
                elif moved.dims and not axis.folded and lengths != {axis.length} and self.node.operation != "cat":
                    return None
                axes.append(moved)
            aligned.append(tuple(axes))
        return _meet(aligned)


def _meet(states: Sequence[State]) -> State | None:
    """The axes of several inputs as one; None where they do not lie in the same dimensions or move at different strides."""
    met = []
    for axes in zip(*states, strict=True):
        one = axes[0]
        for other in axes[1:]:
            moving = [axis for axis in (one, other) if axis.largest.advance]
            fixed = [axis for axis in (one, other) if not axis.largest.advance]
            if len(moving) == 2 and moving[0].dims != moving[1].dims:
                return None
            largest = fixed[0].largest if moving and fixed else one.largest.union(other.largest)
            if largest is None:
                return None
            smallest = min((one, other), key=lambda axis: axis.smallest.size).smallest
            place = max((one, other), key=lambda axis: (bool(axis.smallest.advance), axis.length))
            one = replace(place, largest=largest, smallest=smallest)
        met.append(one)
    return tuple(met)


def _reshaped(axis: Axis, before: Shape, after: Shape) -> Axis:
    """Finds the axis again after a reshape: alone in one dimension, or folded together with others."""
    if not axis.dims:
        return axis
    old, new = _group_of(axis.dims[0], before, after)
    old_long = [dim for dim in old if before[dim] > 1]
    new_long = tuple(dim for dim in new if after[dim] > 1)
    if not old_long or (axis.length == 1 and not axis.folded):  # of length 1: no position is left to tell apart
        return replace(axis.through(lambda p: p.at(0) if p.advance else p, 1), dims=())
    if old_long == [axis.dims[0]] and len(new_long) == 1:
        return replace(axis, dims=new_long)
    lengths, place = axis.before_folding
    if axis.folded:  # unfolded again, as behind a linear layer over the channels, or folded further
        back = old_long == [axis.dims[0]] and tuple(after[dim] for dim in new_long) == lengths
        return replace(axis, dims=(new_long[place],), folded=False) if back else replace(axis, dims=new_long)
    origin = (tuple(before[dim] for dim in old_long), old_long.index(axis.dims[0]))
    return replace(axis, dims=new_long, folded=True, before_folding=origin)


def _group_of(dim: int, before: Shape, after: Shape) -> tuple[list[int], list[int]]:
    """The smallest runs of dimensions, before and after a reshape, that hold `dim` and have the same product."""
    i = j = 0
    while i < len(before):
        old, new = [i], [j] if j < len(after) else []
        i, j = i + 1, j + 1
        while prod(before[d] for d in old) != prod(after[d] for d in new):
            if prod(before[d] for d in old) < prod(after[d] for d in new):
                old.append(i)
                i += 1
            else:
                new.append(j)
                j += 1
        if dim in old:
            return old, new
    return [dim], []
