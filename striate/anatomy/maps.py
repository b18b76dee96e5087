"""The sizes of the feature maps as the well-known drawing of blocks: as tall as the maps, as long as there are channels."""

from __future__ import annotations

from collections.abc import Sequence
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


def draw_maps(name: str, title: str, graph: Graph, rows: Sequence[Row]) -> str:
    """A block for each layer or stage whose output has another shape than the one before; vectors are bars."""
    blocks = _blocks(graph, rows)
    largest = max(max(_sizes(block)[1:]) for block in blocks)
    scale = "feature maps: height and depth show the size, length the channels (both compressed)"
    elements = [
        bold(text(_MARGIN, 38, title, 21, anchor="start")),
        text(_MARGIN, 58, scale, 12, anchor="start", fill=FAINT),
    ]
    floor, x = 84 + _TALL * 1.28, _MARGIN
    for number, block in enumerate(blocks):
        channels, height, width = _sizes(block)
        block_name = block.title.removesuffix(".conv")
        if width:
            tall, deep = (_TALL * (max(side, 1) / largest) ** 0.6 for side in (height, width))
            tall, deep, long = max(tall, 7.0), deep * 0.28, 5 + 1.55 * sqrt(channels)
        else:
            tall, deep, long = 34 + 13 * log2(max(channels, 2)), 0.0, 11.0
        label, size = str(channels), f"{height}x{width}" if width else ""
        room = max(long + deep, text_width(block_name, 11.5, True), text_width(size, 11), text_width(label, 12)) + 4
        left = x + (room - long - deep) / 2
        middle = floor - _TALL * 0.5
        top = middle - tall / 2
        if number:
            elements.append(path(f"M{x - _GAP + 4:.1f},{middle:.1f} H{x - 4:.1f}"))
        elements += _cuboid(left, top, long, tall, deep, block.kind)
        elements.append(bold(text(left + long / 2 + deep / 2, top - deep * 0.8 - 7, label, 12)))
        elements.append(text(x + room / 2, floor + 24, block_name, 11.5, fill=INK))
        elements.append(text(x + room / 2, floor + 40, size, 11, fill=FAINT))
        x += room + _GAP
    return document(max(x - _GAP, 560) + _MARGIN, floor + 62, f"{name}: sizes of the feature maps", elements)


def _blocks(graph: Graph, rows: Sequence[Row]) -> list[Unit]:
    """The image, then every change of shape; by stages where there are too many."""
    for units in (layer_units(graph, rows), _with_head(graph, rows)):
        blocks = [Unit(title="image", kind="picture", shape=graph.input_shape[1:])]
        for unit in units:
            sizes, (channels, _, width) = _sizes(unit), _sizes(blocks[-1])
            if sizes == _sizes(blocks[-1]) and unit.kind not in ("convolution", "linear"):
                continue
            if sizes == (channels, 0, 0) and width == 1:
                continue  # 1x1 maps flattened: the same numbers
            blocks.append(unit)
        if len(blocks) <= _MOST:
            return blocks
    return blocks


def _sizes(unit: Unit) -> tuple[int, int, int]:
    """Channels, height and width of the output; height and width are 0 for a vector, whose length are its channels."""
    if len(unit.shape) == 3:
        return unit.shape[0], unit.shape[1], unit.shape[2]
    return unit.shape[-1] if unit.shape else 1, 0, 0


def _with_head(graph: Graph, rows: Sequence[Row]) -> list[Unit]:
    """A unit a stage, but the layers of the head one by one."""
    *stages, head = stage_units(graph, rows)
    return [*stages, *layer_units(graph, [row for row in rows if row.nodes[0] in head.nodes])]


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
