"""Held-out pictures: which ones, as a pure function of labels, fraction and seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from striate.data.draws import SPLIT, hashes
from striate.data.images import Labels
from striate.errors import UsageError

Indices = npt.NDArray[np.int64]


def hold_out(labels: Labels, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Splits positions 0 .. N-1 into (kept, held out), the same share of every class, both in ascending order.

    A class keeps at least one picture and, where it has two or more, gives at least one.

    Args:
        labels: int64 (N,).
        fraction: share to hold out, 0 <= fraction < 1; 0 holds out nothing.
        seed: another seed, another choice.

    Raises:
        UsageError: a fraction out of range.
    """
    if not 0 <= fraction < 1:
        raise UsageError(f"the share of pictures to hold out must be at least 0 and below 1, got {fraction}")
    positions = np.arange(len(labels), dtype=np.int64)
    if fraction == 0:
        return positions, positions[:0]
    rank = hashes(seed, 0, torch.from_numpy(positions), SPLIT).numpy()
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = positions[labels == label]
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held[members[np.argsort(rank[members], kind="stable")[:count]]] = True
    return positions[~held], positions[held]
