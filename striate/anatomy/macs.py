"""Multiply-accumulates of convolutions and matrix products. Norms, activations and pools are left out; FLOPs are 2 x MACs.

One multiply-accumulate is one weight times one value, added to a sum: the unit in which the papers count, and which some
tools print as "FLOPs". Products with zero padding are counted, as the dense arithmetic does them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

Shape = tuple[int, ...]


def count_macs(operation: str, operands: Sequence[Shape], output: Shape, attributes: Mapping[str, Any]) -> int:
    """MACs of one aten operation from the shapes of its tensors; 0 for those that are no convolution and no matrix product."""
    match operation:
        case "convolution" | "_convolution":
            picture, weight = operands[0], operands[1]
            # each weight is used once at each place of the output; of the input, where the convolution is transposed
            places = prod(picture[2:]) if attributes["transposed"] else prod(output[2:])
            return output[0] * places * prod(weight)
        case "mm" | "bmm":
            return prod(operands[0]) * operands[1][-1]
        case "addmm" | "baddbmm":
            return prod(operands[1]) * operands[2][-1]
        case "mv" | "dot":
            return prod(operands[0])
        case "addmv":
            return prod(operands[1])
        case _ if operation.startswith("_scaled_dot_product"):
            query, key, value = operands[:3]
            return prod(query) * key[-2] + prod(query[:-1]) * prod(value[-2:])
        case _:
            return 0
