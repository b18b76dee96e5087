"""Places for the boxes of a graph, left to right: layers by longest path, order by the mean of the neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """Column of each box and its height in rows (0 in the middle); for each edge the places that it passes."""

    columns: tuple[int, ...]
    heights: tuple[float, ...]
    routes: dict[Edge, tuple[tuple[int, float], ...]]
    """Edge -> (column, height) of each column between its ends."""


def arrange(count: int, edges: Sequence[Edge]) -> Layout:
    """Lays out `count` boxes, numbered in an order in which every edge goes forward."""
    columns = [0] * count
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        columns[target] = max(columns[target], columns[source] + 1)
    # a box whose readers all come late moves towards them, so that branches are not all pushed to the left
    for source in range(count - 1, -1, -1):
        after = [columns[target] for origin, target in edges if origin == source]
        into = [edge for edge in edges if edge[1] == source]
        if after and not into:
            columns[source] = min(after) - 1
    chains = {edge: [edge] for edge in edges}
    links: list[Edge] = []
    total, column_of = count, list(columns)
    for edge in edges:
        chain = [edge[0]]
        for column in range(columns[edge[0]] + 1, columns[edge[1]]):
            column_of.append(column)
            chain.append(total)
            total += 1
        chain.append(edge[1])
        chains[edge] = list(pairwise(chain))
        links += chains[edge]
    heights = _heights(column_of, links)
    routes = {edge: tuple((column_of[b], heights[b]) for _, b in chain[:-1]) for edge, chain in chains.items()}
    return Layout(tuple(columns), tuple(heights[:count]), routes)


def _heights(columns: Sequence[int], links: Sequence[Edge]) -> list[float]:
    """Order within each column by the mean height of the neighbours, both ways, a few times over."""
    members: list[list[int]] = [[] for _ in range(max(columns, default=0) + 1)]
    for box, place in enumerate(columns):
        members[place].append(box)
    heights = [0.0] * len(columns)
    for column in members:
        _spread(column, heights)
    for sweep in range(8):
        forward = sweep % 2 == 0
        for column in members if forward else members[::-1]:
            wish = {}
            for box in column:
                near = [a if forward else b for a, b in links if (b if forward else a) == box]
                wish[box] = sum(heights[n] for n in near) / len(near) if near else heights[box]
            column.sort(key=lambda box: wish[box])
            _spread(column, heights)
    return heights


def _spread(column: Sequence[int], heights: list[float]) -> None:
    for place, box in enumerate(column):
        heights[box] = place - (len(column) - 1) / 2
