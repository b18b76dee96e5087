"""The graph of a net as an SVG drawing that fits a slide: its layers, or its stages and the inside of a typical block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from striate.anatomy.graph import Graph
from striate.anatomy.rows import Row, Totals
from striate.anatomy.table import quantity
from striate.anatomy.units import Edge, Unit, edges_between, entrances, layer_units, stage_units, typical_block
from striate.drawing.svg import FAINT, bold, box, document, path, text, text_width

_FITS = 18  # layers that one still reads on a slide; more are folded into stages
_WIDTH = 1280.0
_GAP, _MARGIN, _LINE = 30.0, 28.0, 15.0


def draw_graph(
    name: str, title: str, graph: Graph, rows: Sequence[Row], totals: Totals, folded: bool | None = None
) -> str:
    """The drawing. `folded`: a box a stage and one block in detail; None where there are too many layers to show each."""
    layers, stages = layer_units(graph, rows), stage_units(graph, rows)
    fold = len(layers) > _FITS and len(stages) < len(layers) if folded is None else folded
    numbers = (
        f"{totals.parameters:,} parameters, {totals.macs_in_words} (multiply-accumulates) per image. Below each box: "
        "the size of its output and its parameters."
    )
    elements = [
        bold(text(_MARGIN, 38, title, 21, anchor="start")),
        text(_MARGIN, 59, numbers, 13, anchor="start", fill=FAINT),
    ]
    picture = Unit(title="image", kind="picture", shape=graph.input_shape[1:], nodes=[0])
    drawn, width, height = _draw(graph, [picture, *(stages if fold else layers)], 84)
    elements += drawn
    block = typical_block(graph, rows) if fold else None
    if block is not None:
        path_of_block, inside = block
        elements.append(
            bold(text(_MARGIN, height + 40, f"Inside {path_of_block.removeprefix('stages.')}", 15, anchor="start"))
        )
        entrance = Unit(title="in", kind="picture", nodes=entrances(graph, inside))
        drawn, inner_width, height = _draw(graph, [entrance, *inside], height + 58)
        elements += drawn
        width = max(width, inner_width)
    width = max(width, _MARGIN + text_width(numbers, 13))
    return document(width + _MARGIN, height + _MARGIN, f"{name}: layers and their connections", elements)


def _draw(graph: Graph, units: Sequence[Unit], top: float) -> tuple[list[str], float, float]:
    """Elements, right edge and bottom of a graph of units whose drawing begins at height `top`."""
    edges = edges_between(graph, units)
    chain = edges == [(i, i + 1) for i in range(len(units) - 1)]
    return _draw_chain(units, top) if chain else _draw_layers(units, edges, top)


def _size(unit: Unit) -> tuple[float, float]:
    """Width and height of a box."""
    if unit.kind == "join":
        return max(30.0, text_width(unit.title, 13, True) + 16), 30.0
    texts = [
        (unit.title, 13.0, True),
        *((line, 11.5, False) for line in unit.lines),
        (unit.size, 11.5, False),
    ]
    width = max(text_width(content, size, bold) for content, size, bold in texts) + 22
    return max(58.0, width), 27 + _LINE * len(unit.lines)


def _unit(unit: Unit, centre: float, middle: float, width: float, height: float) -> list[str]:
    """A box with its title and contents, its output shape and its parameters below."""
    x, y = centre - width / 2, middle - height / 2
    elements = [box(x, y, width, height, unit.kind, 15 if unit.kind == "join" else 7)]
    elements.append(bold(text(centre, y + (20 if unit.kind == "join" else 18), unit.title, 13)))
    below = height + 2 if unit.kind == "join" else 18.0
    elements += [text(centre, y + below + _LINE * (i + 1), line, 11.5) for i, line in enumerate(unit.lines)]
    if unit.size and unit.kind != "join":
        elements.append(text(centre, y + height + 15, unit.size, 11.5, fill=FAINT))
    if unit.parameters:
        elements.append(text(centre, y + height + 29, f"{quantity(unit.parameters)}", 10.5, fill=FAINT))
    return elements


def _draw_chain(units: Sequence[Unit], top: float) -> tuple[list[str], float, float]:
    """Boxes one after the other, in as many lines as a slide's width asks for."""
    sizes = [_size(unit) for unit in units]
    starts, used = [0], _MARGIN
    for index, (width, _) in enumerate(sizes):
        if index > starts[-1] and used + width > _WIDTH - _MARGIN:
            starts.append(index)
            used = _MARGIN
        used += width + _GAP
    even = -(-len(units) // len(starts))  # lines of about the same number of boxes look better than a short last one
    evenly = range(0, len(units), even)
    if all(sum(width + _GAP for width, _ in sizes[k : k + even]) <= _WIDTH for k in evenly):
        starts = list(evenly)
    lines = [range(begin, end) for begin, end in pairwise([*starts, len(units)])]
    elements: list[str] = []
    right, bottom, previous = 0.0, top, None
    for line in lines:
        tallest = max(sizes[index][1] for index in line)
        middle, x = bottom + tallest / 2, _MARGIN
        for place, index in enumerate(line):
            width, height = sizes[index]
            if place:
                elements.append(path(f"M{x - _GAP:.1f},{middle:.1f} H{x - 3:.1f}"))
            elif previous is not None:
                end, before, below = previous
                elements.append(
                    path(
                        f"M{end:.1f},{before:.1f} h12 V{below - 16:.1f} H{_MARGIN - 14:.1f} V{middle:.1f} H{_MARGIN - 3:.1f}"
                    )
                )
            elements += _unit(units[index], x + width / 2, middle, width, height)
            x += width + _GAP
        right = max(right, x - _GAP)
        bottom += tallest + 38
        previous = (x - _GAP, middle, bottom + 30)
        bottom += 30 if line is not lines[-1] else 0
    return elements, right + (14 if len(lines) > 1 else 0), bottom


def _draw_layers(units: Sequence[Unit], edges: Sequence[Edge], top: float) -> tuple[list[str], float, float]:
    """Boxes in columns, with room for branches and skips."""
    plan = arrange(len(units), edges)
    sizes = [_size(unit) for unit in units]
    columns = max(plan.columns) + 1
    widths = [
        max((sizes[i][0] for i in range(len(units)) if plan.columns[i] == column), default=0)
        for column in range(columns)
    ]
    lefts = [_MARGIN + sum(widths[:column]) + _GAP * 1.15 * column for column in range(columns)]
    row = max(height for _, height in sizes) + 44
    levels = [*plan.heights, *(height for route in plan.routes.values() for _, height in route)]
    middle = top - min(levels) * row + max(height for _, height in sizes) / 2

    elements: list[str] = []
    bottom = top
    for (source, target), route in plan.routes.items():
        column = plan.columns[source]
        x, y = lefts[column] + widths[column] / 2 + sizes[source][0] / 2, middle + plan.heights[source] * row
        d = f"M{x:.1f},{y:.1f} H{lefts[column] + widths[column]:.1f}"
        x = lefts[column] + widths[column]
        for column, height in (*route, (plan.columns[target], plan.heights[target])):
            level = middle + height * row
            d += _bend(x, y, lefts[column] - 9, level)
            x, y = lefts[column] + widths[column], level
            bottom = max(bottom, y + 12)
            if column != plan.columns[target]:
                d += f" H{x:.1f}"
        d += f" H{lefts[column] + (widths[column] - sizes[target][0]) / 2 - 3:.1f}"
        elements.append(path(d))
    for unit, column, height, size in zip(units, plan.columns, plan.heights, sizes, strict=True):
        elements += _unit(unit, lefts[column] + widths[column] / 2, middle + height * row, *size)
        bottom = max(bottom, middle + height * row + size[1] / 2 + 36)
    return elements, lefts[-1] + widths[-1], bottom


def _bend(x: float, y: float, to_x: float, to_y: float) -> str:
    """A smooth curve from one place to another, level at both ends."""
    if abs(y - to_y) < 0.5:
        return f" H{to_x:.1f}"
    half = (x + to_x) / 2
    return f" C{half:.1f},{y:.1f} {half:.1f},{to_y:.1f} {to_x:.1f},{to_y:.1f}"


@dataclass(frozen=True, slots=True)
class Layout:
    """Places for the boxes of a graph, left to right."""

    columns: tuple[int, ...]
    """Column of each box."""
    heights: tuple[float, ...]
    """Height of each box in rows; 0 in the middle."""
    routes: dict[Edge, tuple[tuple[int, float], ...]]
    """Edge -> (column, height) of each column between its ends."""


def arrange(count: int, edges: Sequence[Edge]) -> Layout:
    """Lays out `count` boxes, numbered in an order in which every edge goes forward."""
    columns = [0] * count
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        columns[target] = max(columns[target], columns[source] + 1)
    # a box whose readers all come late moves towards them, so that branches are not all pushed to the left
    for source in reversed(range(count)):
        after = [columns[target] for origin, target in edges if origin == source]
        if after and all(target != source for _, target in edges):
            columns[source] = min(after) - 1
    column_of, chains = list(columns), {}
    for source, target in edges:
        between = range(columns[source] + 1, columns[target])
        chains[source, target] = [source, *range(len(column_of), len(column_of) + len(between)), target]
        column_of += between
    heights = _heights(column_of, [link for chain in chains.values() for link in pairwise(chain)])
    routes = {edge: tuple((column_of[b], heights[b]) for b in chain[1:-1]) for edge, chain in chains.items()}
    return Layout(tuple(columns), tuple(heights[:count]), routes)


def _heights(columns: Sequence[int], links: Sequence[Edge]) -> list[float]:
    """Order within each column by the mean height of the neighbours, both ways, a few times over."""
    members: list[list[int]] = [[] for _ in range(max(columns, default=0) + 1)]
    for place, row in enumerate(columns):
        members[row].append(place)
    heights = [0.0] * len(columns)
    for column in members:
        _spread(column, heights)
    for sweep in range(8):
        forward = sweep % 2 == 0
        for column in members if forward else members[::-1]:
            wish = {}
            for place in column:
                near = [a if forward else b for a, b in links if (b if forward else a) == place]
                wish[place] = sum(heights[n] for n in near) / len(near) if near else heights[place]
            column.sort(key=lambda place: wish[place])
            _spread(column, heights)
    return heights


def _spread(column: Sequence[int], heights: list[float]) -> None:
    for row, place in enumerate(column):
        heights[place] = row - (len(column) - 1) / 2
