"""A net read without data: its graph of operations, sizes, parameters, MACs, receptive fields, memory, mistakes and image."""

from __future__ import annotations

from striate.anatomy.explain import Bottleneck
from striate.anatomy.finding import Finding
from striate.anatomy.findings import find_mistakes
from striate.anatomy.graph import Graph, Node
from striate.anatomy.inspecting import Anatomy, inspect
from striate.anatomy.memory import Memory, estimate_memory
from striate.anatomy.receptive import ReceptiveField, receptive_fields
from striate.anatomy.rows import Row, Totals
from striate.anatomy.sizes import SizeSum, conv_sizes
from striate.anatomy.targets import Target, resolve
from striate.anatomy.tracing import trace

__all__ = [
    "Anatomy", "Bottleneck", "Finding", "Graph", "Memory", "Node", "ReceptiveField", "Row", "SizeSum", "Target", "Totals",
    "conv_sizes", "estimate_memory", "find_mistakes", "inspect", "receptive_fields", "resolve", "trace",
]  # fmt: skip
