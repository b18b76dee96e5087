"""Units: the boxes of a drawing. A layer with the norm, activation and dropout that follow it, or a whole stage, folded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from striate.anatomy.graph import Graph, Node, Shape
from striate.anatomy.rows import Row, operation_name, setting, weight_of
from striate.texts import dimensions

Kind = Literal["picture", "convolution", "pool", "linear", "join", "other"]
_JOINS = {"add": "+", "concat": "concat", "mul": "x"}
_FOLLOWERS = {"norm", "relu", "tanh", "sigmoid", "dropout", "gelu", "silu", "elu", "hardswish", "softmax", "identity"}


@dataclass(slots=True)
class Unit:
    """One box."""

    title: str
    kind: Kind
    lines: list[str] = field(default_factory=list)
    shape: Shape = ()
    """Shape of its output without the batch dimension."""
    parameters: int = 0
    nodes: list[int] = field(default_factory=list)

    @property
    def size(self) -> str:
        return dimensions(self.shape) if self.shape else ""


Edge = tuple[int, int]


def kind_of(graph: Graph, nodes: Sequence[int]) -> Kind:
    """The main operation of a unit: the one with the most MACs."""
    main = max((graph.nodes[index] for index in nodes), key=weight_of)
    names = {operation_name(graph.nodes[index]) for index in nodes}
    if main.macs != 0:
        return "convolution" if main.operation == "convolution" else "linear"
    if any("pool" in name for name in names) or names == {"mean"}:
        return "pool"
    return "join" if names & set(_JOINS) and len(names) == 1 else "other"


def layer_units(graph: Graph, rows: Sequence[Row], prefix: str = "") -> list[Unit]:
    """A unit a row; norms, activations and dropout join the layer that they follow. `prefix` is left out of the titles."""
    readers = graph.consumers()
    units: list[Unit] = []
    for row in rows:
        spoken, idle = _spoken(row.operation), _changes_nothing(graph, row)
        if (
            units
            and (idle or _follower(row))
            and graph.nodes[row.nodes[0]].inputs[:1] == (units[-1].nodes[-1],)
            and set(readers[units[-1].nodes[-1]]) <= set(row.nodes)
        ):
            before = units[-1]
            before.lines += [] if idle else [spoken]
            before.nodes += row.nodes
            before.shape = row.shape
            before.parameters += row.parameters
            continue
        kind = "other" if "norm" in row.operation.lower() else kind_of(graph, row.nodes)
        title = row.path.removeprefix(prefix).removeprefix("stages.").removeprefix("head.").strip(".")
        lines = [] if spoken == title else [f"{spoken} {row.setting}".strip()]
        if kind == "join":
            title, lines = _JOINS.get(row.operation, row.operation), []
        nodes = list(row.nodes)
        units.append(Unit(title=title, kind=kind, lines=lines, shape=row.shape, parameters=row.parameters, nodes=nodes))
    _shorten([unit for unit in units if unit.kind != "join"])
    return units


def stage_units(graph: Graph, rows: Sequence[Row]) -> list[Unit]:
    """A unit for each run of rows under one stage (or one child of the net)."""
    units = []
    for stage, members in groupby(rows, key=lambda row: row.path.removeprefix("stages.").split(".")[0]):
        group = list(members)
        nodes = [index for row in group for index in row.nodes]
        units.append(
            Unit(
                title=stage, kind=kind_of(graph, nodes), lines=_contents(graph, group), nodes=nodes,
                shape=group[-1].shape, parameters=sum(row.parameters for row in group),
            )
        )  # fmt: skip
    return units


def edges_between(graph: Graph, units: Sequence[Unit]) -> list[Edge]:
    """Which unit reads which, once each. Operations that have no unit are passed over."""
    owner = {index: number for number, unit in enumerate(units) for index in unit.nodes}

    def source(index: int) -> int | None:
        while index not in owner:
            inputs = graph.nodes[index].inputs
            if not inputs:
                return None
            index = inputs[0]
        return owner[index]

    found: dict[Edge, None] = {}
    for number, unit in enumerate(units):
        for index in unit.nodes:
            for read in graph.nodes[index].inputs:
                origin = source(read)
                if origin is not None and origin != number:
                    found[(origin, number)] = None
    return list(found)


def _changes_nothing(graph: Graph, row: Row) -> bool:
    """An adaptive pool to the size that the maps have already."""
    sources = graph.nodes[row.nodes[0]].inputs[:1]
    return "Adaptive" in row.operation and [graph.nodes[index].shape[1:] for index in sources] == [row.shape]


def _follower(row: Row) -> bool:
    name = row.operation.lower()
    return row.macs == 0 and any(word in name for word in _FOLLOWERS)


_SPOKEN = {
    "BatchNorm": "batch norm", "LocalResponseNorm": "response norm", "Conv": "conv", "AvgPool": "average pool",
    "MaxPool": "max pool", "AdaptiveAvgPool": "average pool", "Linear": "linear", "Flatten": "flatten", "Dropout": "dropout",
    "Sigmoid": "sigmoid", "Tanh": "tanh", "mean": "average",
}  # fmt: skip


def _spoken(operation: str) -> str:
    """A module's class as one says it: `Conv2d` -> `conv`."""
    short = operation.removesuffix("2d").removesuffix("1d")
    return _SPOKEN.get(short, short)


def _contents(graph: Graph, rows: Sequence[Row]) -> list[str]:
    """The layers of a folded stage: kinds with their number, at most four lines."""
    names: list[str] = []
    for row in rows:
        node = max((graph.nodes[index] for index in row.nodes), key=weight_of)
        operation = row.operation.lower()
        if node.operation == "convolution":
            names.append(f"conv {_window(node)}")
        elif node.macs != 0:
            names.append("linear")
        elif "pool" in operation or operation == "mean":
            names.append(f"max pool {_window(node)}".strip() if "max" in operation else "average pool")
        elif "responsenorm" in operation:
            names.append("response norm")
        elif operation in ("add", "concat") and len(node.inputs) > 1:
            names.append("skip" if operation == "add" else "concat")
    counts = Counter(names)
    lines = [name if count == 1 else f"{count} x {name}" for name, count in counts.items()]
    return lines if len(lines) <= 5 else [*lines[:4], "..."]


def _window(node: Node) -> str:
    return setting(node).split("/")[0].split(",")[0]


def typical_block(graph: Graph, rows: Sequence[Row], most: int = 14) -> tuple[str, list[Unit]] | None:
    """The module to draw in detail: the first innermost one with branches that join."""
    paths = [row.path.split(".") for row in rows]
    prefixes = dict.fromkeys(".".join(parts[:depth]) for parts in paths for depth in range(1, len(parts)))
    for prefix in sorted(prefixes, key=lambda prefix: -prefix.count(".")):
        units = layer_units(graph, [row for row in rows if row.path.startswith(f"{prefix}.")], prefix)
        if 3 <= len(units) <= most and _meets(graph, units):
            return prefix, units
    return None


def _meets(graph: Graph, units: Sequence[Unit]) -> bool:
    """Whether some operation reads two units, or one of them and something outside, as a skip or a concatenation does."""
    owner = {index: number for number, unit in enumerate(units) for index in unit.nodes}
    return any(
        len({owner.get(read) for read in graph.nodes[index].inputs} - {number}) > 1
        and any(owner.get(read, number) != number for read in graph.nodes[index].inputs)
        for index, number in owner.items()
    )


def entrances(graph: Graph, units: Sequence[Unit]) -> list[int]:
    """Nodes outside that the units read."""
    inside = {index for unit in units for index in unit.nodes}
    found = []
    for index in sorted(inside):
        for read in graph.nodes[index].inputs:
            while read not in inside and graph.nodes[read].operation == "identity":  # a shortcut that changes nothing
                read = graph.nodes[read].inputs[0]
            if read not in inside:
                found.append(read)
    return list(dict.fromkeys(found))


def _shorten(named: Sequence[Unit]) -> None:
    """Titles without the parts of a path that all share, and without a last `conv` that says nothing."""
    paths = [unit.title.split(".") for unit in named]
    while len(paths) > 1 and all(len(path) > 1 and path[0] == paths[0][0] for path in paths):
        paths = [path[1:] for path in paths]
    short = [path[:-1] if len(path) > 1 and path[-1] in ("conv", "pool") else path for path in paths]
    if len({tuple(path) for path in short}) < len(short):
        short = paths
    for unit, path in zip(named, short, strict=True):
        unit.title = ".".join(path)
