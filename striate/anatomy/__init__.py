"""A net read without data: its graph of operations, sizes, parameters, MACs, receptive fields, memory, mistakes and picture."""

from __future__ import annotations

from striate.anatomy.graph import Graph, Node, trace
from striate.anatomy.inspecting import Anatomy, Totals, inspect
from striate.anatomy.rows import Row
from striate.anatomy.targets import Target, resolve

__all__ = ["Anatomy", "Graph", "Node", "Row", "Target", "Totals", "inspect", "resolve", "trace"]
