"""The sizes of the feature maps as the well-known drawing of blocks: as tall as the maps, as long as there are channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2, sqrt

from striate.anatomy.graph import Graph
from striate.anatomy.rows import Row
from striate.anatomy.units import Unit, layer_units, stage_units
from striate.drawing.svg import FAINT, INK, bold, document, path, polygon, text, text_width
from striate.drawing.theme import KINDS

_MOST = 14
_TALL, _MARGIN, _GAP = 210.0, 30.0, 26.0
_SHADE = {
    "picture": "#e4e7eb",
    "convolution": "#b7d3ec",
    "pool": "#f6c591",
    "linear": "#cbbbe4",
    "join": "#a9dfc6",
    "other": "#dfe3e8",
}


@dataclass(frozen=True, slots=True)
class _Block:
    kind: str
    name: str
    channels: int
    height: int
    width: int
    """Width of the map; 0 for a vector, whose length is `channels`."""


def draw_maps(name: str, title: str, graph: Graph, rows: Sequence[Row]) -> str:
    """A block for each layer or stage whose output has another shape than the one before; vectors are bars."""
    blocks = _blocks(graph, rows)
    largest = max(max(block.height, block.width) for block in blocks)
    elements = [bold(text(_MARGIN, 38, title, 21, anchor="start"))]
    scale = "feature maps: height and depth show the size, length the channels (both compressed)"
    elements.append(text(_MARGIN, 58, scale, 12, anchor="start", fill=FAINT))
    floor, x = 84 + _TALL * 1.28, _MARGIN
    for number, block in enumerate(blocks):
        tall = (
            _TALL * (max(block.height, 1) / largest) ** 0.6 if block.width else 34 + 13 * log2(max(block.channels, 2))
        )
        tall = max(tall, 7.0)
        deep = _TALL * (block.width / largest) ** 0.6 * 0.28 if block.width else 0.0
        long = 5 + 1.55 * sqrt(block.channels) if block.width else 11.0
        label = str(block.channels)
        size = f"{block.height}x{block.width}" if block.width else ""
        room = max(long + deep, text_width(block.name, 11.5, True), text_width(size, 11), text_width(label, 12)) + 4
        left = x + (room - long - deep) / 2
        middle = floor - _TALL * 0.5
        top = middle - tall / 2
        if number:
            elements.append(path(f"M{x - _GAP + 4:.1f},{middle:.1f} H{x - 4:.1f}"))
        elements += _cuboid(left, top, long, tall, deep, block.kind)
        elements.append(bold(text(left + long / 2 + deep / 2, top - deep * 0.8 - 7, label, 12)))
        elements.append(text(x + room / 2, floor + 24, block.name, 11.5, fill=INK))
        elements.append(text(x + room / 2, floor + 40, size, 11, fill=FAINT))
        x += room + _GAP
    return document(max(x - _GAP, 560) + _MARGIN, floor + 62, f"{name}: sizes of the feature maps", elements)


def _blocks(graph: Graph, rows: Sequence[Row]) -> list[_Block]:
    """The image, then every change of shape; by stages where there are too many."""
    first = _Block("picture", "image", *graph.input_shape[1:])
    for units in (layer_units(graph, rows), _with_head(graph, rows)):
        blocks = [first]
        for unit in units:
            block = _block(graph, unit)
            before = blocks[-1]
            same = (block.channels, block.height, block.width) == (before.channels, before.height, before.width)
            if same and unit.kind not in ("convolution", "linear"):
                continue
            if block.width == 0 and before.width == 1 and block.channels == before.channels:
                continue  # 1x1 maps flattened: the same numbers
            blocks.append(block)
        if len(blocks) <= _MOST:
            return blocks
    return blocks


def _with_head(graph: Graph, rows: Sequence[Row]) -> list[Unit]:
    """A unit a stage, but the layers of the head one by one."""
    *stages, head = stage_units(graph, rows)
    return [*stages, *layer_units(graph, [row for row in rows if row.nodes[0] in head.nodes])]


def _block(graph: Graph, unit: Unit) -> _Block:
    shape = graph.nodes[unit.nodes[-1]].shape[1:]
    name = unit.title.removesuffix(".conv")
    if len(shape) == 3:
        return _Block(unit.kind, name, shape[0], shape[1], shape[2])
    return _Block(unit.kind, name, shape[-1] if shape else 1, 0, 0)


def _cuboid(x: float, y: float, long: float, tall: float, deep: float, kind: str) -> list[str]:
    """Front, top and right side of a block, seen from above on the right."""
    fill, stroke = KINDS[kind]
    rise = deep * 0.8
    front = [(x, y), (x + long, y), (x + long, y + tall), (x, y + tall)]
    above = [(x, y), (x + deep, y - rise), (x + long + deep, y - rise), (x + long, y)]
    side = [(x + long, y), (x + long + deep, y - rise), (x + long + deep, y + tall - rise), (x + long, y + tall)]
    if not deep:
        return [polygon(front, fill, stroke)]
    return [
        polygon(above, "#ffffff" if kind == "picture" else fill, stroke),
        polygon(side, _SHADE[kind], stroke),
        polygon(front, fill, stroke),
    ]
