"""Drawings are well-formed, complete and without overlaps. Run: pytest tests/anatomy/test_diagram.py"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
import vl_convert
from torch import Tensor, nn

from striate.anatomy import Anatomy, inspect
from striate.anatomy.diagram import arrange
from striate.anatomy.units import edges_between, layer_units, stage_units, typical_block
from striate.drawing.svg import text_width
from striate.nets import CATALOGUE

NETS = (
    "lenet5",
    "lenet5-1998",
    "alexnet",
    "googlenet",
    "resnet50",
    "densenet121",
    "vgg16",
    "preresnet20",
    "nin-cifar10",
)
SVG = "{http://www.w3.org/2000/svg}"


class Five(nn.Module):
    """A user's net of five layers with a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.d, self.e = nn.Linear(8, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x))
        x = F.relu(self.c(F.relu(self.b(x))) + x)
        return self.e(F.relu(self.d(x.mean((2, 3)))))


def elements(svg: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(SVG + tag))


def check(svg: str) -> None:
    """Well-formed, everything on the canvas, no box over another, no label over the rim of its box."""
    root = ElementTree.fromstring(svg)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    boxes = []
    for rect in elements(svg, "rect")[1:]:
        x, y, w, h = (float(rect.get(key, 0)) for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        boxes.append((x, y, w, h))
    for (x, y, w, h), (x2, y2, w2, h2) in combinations(boxes, 2):
        assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y, "boxes overlap"
    for label in elements(svg, "text"):
        long = text_width(label.text or "", float(label.get("font-size", 12)), label.get("font-weight") is not None)
        left = float(label.get("x", 0)) - (long / 2 if label.get("text-anchor") == "middle" else 0)
        assert left >= 0, label.text
        assert left + long <= width + 1, label.text
        assert 0 < float(label.get("y", 0)) <= height - 2, label.text
    assert vl_convert.svg_to_png(svg)[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", [n if n in NETS else pytest.param(n, marks=pytest.mark.slow) for n in CATALOGUE])
def test_both_drawings_of_a_catalogue_net(name: str) -> None:
    anatomy = inspect(name)
    check(anatomy.diagram())
    check(anatomy.maps())


@pytest.mark.parametrize("folded", [True, False])
def test_a_net_of_five_layers(folded: bool) -> None:
    anatomy = inspect(Five(), (3, 32, 32))
    check(anatomy.diagram(folded))
    titles = [label.text for label in elements(anatomy.diagram(), "text")]
    for title in ("a", "b", "c", "d", "e", "+"):
        assert title in titles


def test_every_row_is_in_a_box_and_every_edge_of_the_graph_is_drawn() -> None:
    for net in ("lenet5", "googlenet", "densenet40-k12"):
        anatomy = inspect(net)
        for units in (layer_units(anatomy.graph, anatomy.rows), stage_units(anatomy.graph, anatomy.rows)):
            drawn = {index for unit in units for index in unit.nodes}
            assert drawn == {index for row in anatomy.rows for index in row.nodes}
            assert sum(unit.parameters for unit in units) == anatomy.totals.parameters
            edges = edges_between(anatomy.graph, units)
            assert {target for _, target in edges} == set(range(1, len(units))), "a box that nothing leads to"
            assert {source for source, _ in edges} == set(range(len(units) - 1)), "a box that leads nowhere"


def test_the_skip_is_an_edge() -> None:
    anatomy = inspect(Five(), (3, 32, 32))
    units = layer_units(anatomy.graph, anatomy.rows)
    names = [unit.title for unit in units]
    a, c, join = names.index("a"), names.index("c"), names.index("+")
    assert {(a, join), (c, join)} <= set(edges_between(anatomy.graph, units))
    assert units[a].lines == ["conv 3x3, pad 1", "relu"]


def block(anatomy: Anatomy) -> str | None:
    found = typical_block(anatomy.graph, anatomy.rows)
    return None if found is None else found[0].removeprefix("stages.")


def test_the_typical_block() -> None:
    assert block(inspect("googlenet")) == "inception3a"
    assert block(inspect("resnet50")) == "conv2.0"
    assert block(inspect("densenet121")) == "dense1.layer1"
    assert block(inspect("vgg16")) is None


def test_a_name_with_markup_is_escaped() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x)

    Odd.__name__ = "<b>&"
    anatomy = inspect(Odd(), (3, 8, 8))
    check(anatomy.diagram())
    check(anatomy.maps())


def test_layout_puts_edges_forward_and_boxes_apart() -> None:
    edges = [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3), (3, 4)]
    plan = arrange(5, edges)
    assert all(plan.columns[source] < plan.columns[target] for source, target in edges)
    places = [*zip(plan.columns, plan.heights, strict=True), *(p for route in plan.routes.values() for p in route)]
    assert len(set(places)) == len(places)
