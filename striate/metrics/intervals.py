"""Confidence intervals of an accuracy."""

from __future__ import annotations

import math

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


def wilson(correct: int, total: int, z: float = Z95) -> tuple[float, float]:
    """(low, high): Wilson's score interval of a proportion (Wilson 1927), 95 % unless `z` says otherwise.

    Unlike the usual normal interval it never leaves 0 to 1 and holds its level near both ends.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"needs 0 <= correct <= total and total >= 1, got {correct} of {total}")
    p = correct / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)
