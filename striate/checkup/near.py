"""Near duplicates: the same image encoded anew, resized, mirrored or slightly cropped.

Every image is reduced to a short descriptor. Those whose descriptors are nearest, to the image as it is, mirrored, and
without its border, are candidates; each of them is laid over the image and compared place by place (`alignment`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from striate.checkup.alignment import SIDE, agreement, align
from striate.data.images import Pictures, Pixels, portions

_CELLS = {1: 8, 3: 6}
"""Channels -> cells of a side that a descriptor begins with."""
_NUMBERS = 64
"""Length of a descriptor: principal components, scaled by the fourth root of their variance."""
_BORDER = 2
"""Pixels of 32 that the view without border leaves out at each side, between nothing and a tenth."""
_NEAREST = 5
"""Candidates for each image and view."""
_CANDIDATE, _CLOSER = 0.85, 0.25
"""A pair is a candidate from this cosine of the descriptors on, if it differs at most a quarter as much as the image differs
from the last of its crowd."""
_CROWD = (9, 12, 15, 17, 19)
"""Ranks of images that are near without being the same."""
_WHOLE, _PLACES, _DETAILS = 0.75, 0.5, 0.7
"""Minimum of the three numbers of `agreement`."""
_STANDS_OUT = 0.15
"""What a pair may lack of likeness, as a share of what the image and the likest of its crowd lack: among digits, silhouettes
and ships at the horizon many images are alike, and only a copy is far more alike than that."""
_BLOCK, _PAIRS = 1024, 2048
"""Rows of the matrix product, and pairs that are compared, at a time."""


@dataclass(frozen=True, slots=True)
class Match:
    """Two positions, `first` < `second`, that show the same; `mirrored` if one is the other's mirror image.

    `likeness`: the mean structural similarity, 1 for equal images.
    """

    first: int
    second: int
    mirrored: bool
    likeness: float


def thumbnails(pixels: Pictures) -> Pixels:
    """uint8 (N, 32, 32, C) of images of any size."""
    reduced = []
    for portion in portions(pixels):
        if portion.shape[1:3] != (SIDE, SIDE):
            batch = torch.tensor(portion).permute(0, 3, 1, 2).float()
            batch = functional.interpolate(batch, (SIDE, SIDE), mode="bilinear", antialias=True)
            portion = batch.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        reduced.append(portion)
    return np.concatenate(reduced)


def near_duplicates(pictures: Pixels) -> list[Match]:
    """The pairs among uint8 (N, 32, 32, C) that show the same, in the order of their positions; of a pair that matches as it
    is and mirrored, the better match.

    Time grows with the square of N, memory with N.
    """
    if len(pictures) < 2:
        return []
    best: dict[tuple[int, int], Match] = {}
    for match in _verified(pictures, _candidates(pictures)):
        pair = match.first, match.second
        if pair not in best or match.likeness > best[pair].likeness:
            best[pair] = match
    return [best[pair] for pair in sorted(best)]


def _candidates(pictures: Pixels) -> Tensor:
    """int64 (pairs, 3 or 8): an image, one that may show the same, whether the first is mirrored; and five of the first's crowd,
    where there are so many images. Each pair comes once as it is and once mirrored, however it was found.
    """
    cells = _described(_cells(pictures, border=0))
    centre = cells.mean(0)
    variances, directions = torch.linalg.eigh((cells - centre).T @ (cells - centre) / len(cells))
    directions = directions[:, -_NUMBERS:] * variances[-_NUMBERS:].clamp_min(1e-9) ** -0.25
    gallery = functional.normalize((cells - centre) @ directions)
    crowded = len(gallery) > _CROWD[-1] + 1
    found = []
    for border in (0, _BORDER):
        views = _cells(pictures, border)
        for mirrored in (False, True):
            described = _described(views.flip(3) if mirrored else views)
            queries = functional.normalize((described - centre) @ directions)
            for start in range(0, len(queries), _BLOCK):
                cosines = queries[start : start + _BLOCK] @ gallery.T
                rows = torch.arange(len(cosines))
                cosines[rows, start + rows] = -1  # not with itself
                values, columns = cosines.topk(_CROWD[-1] + 1 if crowded else min(_NEAREST, len(gallery) - 1))
                close = values >= _CANDIDATE
                if crowded:
                    close &= 1 - values <= _CLOSER * (1 - values[:, -1:])
                row, place = close[:, :_NEAREST].nonzero(as_tuple=True)
                pair = torch.stack((start + row, columns[row, place], torch.full_like(row, int(mirrored))), dim=1)
                found.append(torch.cat((pair, columns[row][:, _CROWD]), dim=1) if crowded else pair)
    rows = torch.cat(found)
    keys = (rows[:, :2].amin(1) * len(gallery) + rows[:, :2].amax(1)) * 2 + rows[:, 2]
    keys, order = keys.sort(stable=True)
    first = torch.ones_like(keys, dtype=torch.bool)
    first[1:] = keys[1:] != keys[:-1]
    return rows[order[first]]


def _cells(pictures: Pixels, border: int) -> Tensor:
    """(N, C, cells, cells): the colours of a coarse grid, without a border of so many pixels."""
    found = []
    for portion in portions(pictures):
        batch = torch.tensor(portion).permute(0, 3, 1, 2).float()
        batch = batch[:, :, border : SIDE - border, border : SIDE - border]
        side = _CELLS[batch.shape[1]]
        found.append(functional.interpolate(batch, (side, side), mode="bilinear", antialias=True))
    return torch.cat(found)


def _described(cells: Tensor) -> Tensor:
    """(N, numbers): the cells without mean brightness, of length 1."""
    values = cells.flatten(1)
    return functional.normalize(values - values.mean(1, keepdim=True))


def _verified(pictures: Pixels, candidates: Tensor) -> Iterator[Match]:
    """The candidates that show the same."""
    for start in range(0, len(candidates), _PAIRS):
        rows = candidates[start : start + _PAIRS]
        whole, places, details = _compared(pictures, rows[:, :3])
        same = (whole >= _WHOLE) & (places >= _PLACES) & (details >= _DETAILS)
        rows, whole = rows[same], whole[same]
        for place in range(3, rows.shape[1]):
            if not len(rows):
                break
            alike = _compared(pictures, rows[:, (0, place, 2)])[0].nan_to_num(0)
            stands_out = 1 - whole <= _STANDS_OUT * (1 - alike)
            rows, whole = rows[stands_out], whole[stands_out]
        for (one, other, mirrored), likeness in zip(rows[:, :3].tolist(), whole.tolist(), strict=True):
            yield Match(min(one, other), max(one, other), bool(mirrored), round(likeness, 4))


def _compared(pictures: Pixels, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`agreement` of pairs (N, 3), once they are laid over each other."""
    one, other = (torch.from_numpy(pictures[pairs[:, side].numpy()]).permute(0, 3, 1, 2).float() for side in (0, 1))
    mirrored = pairs[:, 2].bool()
    one[mirrored] = one[mirrored].flip(3)
    return agreement(one, other, align(one, other))
