"""Rows: what a reader calls one layer. The operations of a norm are one row; a functional `relu` or `add` is a row too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf
from typing import Any

from striate.anatomy.graph import Graph, Node, Shape
from striate.anatomy.operations import in_words
from striate.anatomy.receptive import ReceptiveField, receptive_fields

_NAMES = {
    "convolution": "conv", "addmm": "linear", "mm": "matmul", "bmm": "matmul", "baddbmm": "matmul", "view": "reshape",
    "_unsafe_view": "reshape", "max_pool2d_with_indices": "max_pool", "avg_pool2d": "avg_pool", "constant_pad_nd": "pad",
    "_adaptive_avg_pool2d": "adaptive_avg_pool", "adaptive_max_pool2d": "adaptive_max_pool", "cat": "concat",
    "native_batch_norm": "batch_norm", "_softmax": "softmax", "_log_softmax": "log_softmax", "native_group_norm": "group_norm",
    "native_layer_norm": "layer_norm", "_native_batch_norm_legit_no_training": "batch_norm",
}  # fmt: skip
INVISIBLE = frozenset({"alias", "detach", "lift_fresh", "_to_copy", "clone", "contiguous", "empty_like"})
"""Operations without interest to a reader, such as contiguous(); they get no row."""


def operation_name(node: Node) -> str:
    """The name that a reader knows: `conv`, `linear`, `max_pool`; aten's own where there is no better one."""
    return _NAMES.get(node.operation, node.operation.rstrip("_"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One layer, or one functional operation, in the order in which they run."""

    path: str
    """The module's path; for a functional operation the module that calls it and the operation: `layer1.0.add`."""
    operation: str
    """The module's class (`Conv2d`), or the operation (`add`)."""
    setting: str
    """Kernel, stride and the like: `11x11/4, pad 2`; empty where there is nothing to say."""
    shape: Shape
    """Shape of the output, batch dimension left out."""
    parameters: int
    """Counted where they are first used."""
    macs: int | None
    """MACs for one image; None if some are not known."""
    activation_bytes: int
    """Stored for the output of one image; 0 for views and in-place writes."""
    field: ReceptiveField | None
    """Pixels that one position of the output reads; None where that is not known, and where it reads none."""
    reads_picture: bool
    """False for what is made of parameters alone: learned queries, tables of positions."""
    nodes: tuple[int, ...]
    """Nodes of the graph; the last one makes the output."""
    frozen: int = 0
    """Number of its parameters that training leaves as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over the rows."""

    parameters: int
    """Read by the forward pass, tied ones once."""
    parameters_unused: int
    """Parameters that are not read by the forward pass in eval mode: auxiliary heads, forgotten layers."""
    macs: int | None
    """MACs for one image; FLOPs are 2 x MACs. None if those of some operation are not known: see `not_counted`."""
    activation_bytes: int
    """Size of all outputs for one image."""
    macs_counted: int
    """The known ones."""
    not_counted: Mapping[str, int]
    """Operations whose MACs are not known: name -> how many."""

    @property
    def flops(self) -> int | None:
        return None if self.macs is None else 2 * self.macs

    @property
    def macs_in_words(self) -> str:
        """`2,433,600 MACs`, and what they lack."""
        return in_words(self.macs_counted, self.not_counted)


def make_rows(graph: Graph) -> tuple[Row, ...]:
    """The operations of a graph of one image as rows. Parameters and MACs summed over them are those of the forward pass."""
    seen: set[str] = set()
    rows = []
    layers = single_layers(graph)
    fields = receptive_fields(graph)
    for (module, _, _), members in groupby(
        graph.nodes[1:],
        key=lambda node: (node.module, node.call, None if node.module in layers else node.index),
    ):
        nodes = tuple(members)
        if all(node.operation in INVISIBLE for node in nodes):
            continue
        if module in graph.placeholders and all(node.operation == "identity" for node in nodes):
            continue  # an empty Sequential; a hook on it may compute
        used = dict.fromkeys(name for node in nodes for name in node.parameters if name not in seen)
        seen.update(used)
        main = max(nodes, key=lambda node: (weight_of(node), bool(node.parameters)))
        name, layer = operation_name(main), module in layers
        rows.append(
            Row(
                path=module if layer else f"{main.module}.{name}".removeprefix("."),
                operation=graph.modules[module] if layer else name,
                setting=setting(main),
                shape=nodes[-1].shape[1:],
                parameters=sum(graph.parameters[name] for name in used),
                macs=known_sum([node.macs for node in nodes]),
                activation_bytes=next((n.bytes for n in reversed(nodes) if n.bytes), 0),
                field=fields[nodes[-1].index],
                reads_picture=nodes[-1].reads_picture,
                nodes=tuple(node.index for node in nodes),
                frozen=sum(graph.parameters[name] for name in used if name in graph.frozen),
            )
        )
    return tuple(rows)


def totals_of(graph: Graph, rows: Sequence[Row]) -> Totals:
    """The sums over all rows of a graph."""
    return Totals(
        parameters=sum(row.parameters for row in rows),
        parameters_unused=sum(unused_parameters(graph).values()),
        macs=known_sum([row.macs for row in rows]),
        activation_bytes=sum(row.activation_bytes for row in rows),
        macs_counted=sum(node.macs or 0 for node in graph.nodes),
        not_counted=dict(Counter(operation_name(node) for node in graph.nodes if node.macs is None)),
    )


def single_layers(graph: Graph) -> frozenset[str]:
    """Modules that make one row: those without children, but not the net itself and not one that computes several layers, unless
    it is a recurrent layer."""
    products: dict[str, int] = {}
    for node in graph.nodes:
        if node.macs != 0 and node.call == 0:
            products[node.module] = products.get(node.module, 0) + 1
    return frozenset(path for path in graph.leaves if path and (products.get(path, 0) <= 1 or path in graph.recurrent))


def weight_of(node: Node) -> float:
    """MACs by which the operations of a row are compared: those that are not known are the most."""
    return inf if node.macs is None else node.macs


def known_sum(macs: Sequence[int | None]) -> int | None:
    """The sum; None if one of them is not known."""
    known = [count for count in macs if count is not None]
    return sum(known) if len(known) == len(macs) else None


def setting(node: Node) -> str:
    """A node's kernel, stride, padding, dilation and groups, in short: `3x3/2, pad 1`."""
    attributes = node.attributes
    kernel = attributes.get("kernel") or attributes.get("kernel_size")
    if not kernel:
        dim = attributes.get("dim", 1)
        return f"dim {dim}" if node.operation == "cat" and dim != 1 else ""
    text = "x".join(map(str, kernel))
    stride = _short(attributes.get("stride") or kernel)
    words = [text + (f"/{stride}" if stride != "1" else "")]
    for name, word, usual in (("padding", "pad", "0"), ("dilation", "dilation", "1"), ("groups", "groups", "1")):
        value = _short(attributes.get(name, usual))
        if value != usual:
            words.append(f"{word} {value}")
    if attributes.get("transposed"):
        words.append("transposed")
    if attributes.get("ceil_mode"):
        words.append("ceil")
    return ", ".join(words)


def _short(value: Any) -> str:
    values = [value] if not isinstance(value, list | tuple) else list(value)
    return str(values[0]) if len(set(values)) == 1 else "x".join(str(item) for item in values)


def unused_parameters(graph: Graph) -> Mapping[str, int]:
    """Parameters that the forward pass does not read (auxiliary heads, forgotten layers): name -> number of values."""
    used = {name for node in graph.nodes for name in node.parameters}
    return {name: count for name, count in graph.parameters.items() if name not in used}
