"""Near duplicates: the same picture encoded anew, resized, mirrored or slightly cropped.

Every picture is reduced to a short descriptor. Those whose descriptors are nearest, to the picture as it is, mirrored, and
without its border, are candidates; each of them is laid over the picture and compared place by place (`alignment`).
"""

from __future__ import annotations

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
"""Of a descriptor: principal components, scaled by the fourth root of their variance."""
_BORDER = 2
"""Pixels of 32 that the view without border leaves out at each side, between nothing and a tenth."""
_NEAREST = 5
"""Candidates for each picture and view."""
_CANDIDATE = 0.85
"""Cosine of the descriptors from which a pair is a candidate."""
_CROWD, _CLOSER = 20, 0.25
"""A candidate differs at most a quarter as much as the 20th nearest does: of digits and silhouettes many are alike."""
_WHOLE, _PLACES, _DETAILS = 0.85, 0.7, 0.82
"""What the three numbers of `agreement` must reach. Found on CIFAR-10 with planted copies: docs/checkup.md."""
_BLOCK, _PAIRS = 1024, 2048
"""Rows of the matrix product, and pairs that are compared, at a time."""


@dataclass(frozen=True, slots=True)
class Match:
    """Two positions, `first` < `second`, that show the same; `mirrored` if one is the other's mirror image.

    `likeness`: the mean structural similarity, 1 for equal pictures.
    """

    first: int
    second: int
    mirrored: bool
    likeness: float


def thumbnails(pixels: Pictures) -> Pixels:
    """uint8 (N, 32, 32, C) of pictures of any size."""
    reduced = []
    for portion in portions(pixels):
        if portion.shape[1:3] != (SIDE, SIDE):
            batch = torch.from_numpy(np.array(portion)).permute(0, 3, 1, 2).float()
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
    """int64 (pairs, 3): first < second, and 1 where the first is to be mirrored; each once."""
    cells = _descriptions(pictures, mirrored=False, border=0)
    centre = cells.mean(0)
    variances, directions = torch.linalg.eigh((cells - centre).T @ (cells - centre) / len(cells))
    directions = directions[:, -_NUMBERS:] * variances[-_NUMBERS:].clamp_min(1e-9) ** -0.25
    gallery = functional.normalize((cells - centre) @ directions)
    found = []
    for border in (0, _BORDER):
        for mirrored in (False, True):
            queries = functional.normalize((_descriptions(pictures, mirrored, border) - centre) @ directions)
            for start in range(0, len(queries), _BLOCK):
                cosines = queries[start : start + _BLOCK] @ gallery.T
                rows = torch.arange(len(cosines))
                cosines[rows, start + rows] = -1  # not with itself
                values, columns = cosines.topk(min(_CROWD, len(gallery) - 1))
                crowd = values[:, -1:] if len(gallery) > _CROWD else torch.zeros(1)
                close = (values >= _CANDIDATE) & (1 - values <= _CLOSER * (1 - crowd))
                row, place = close[:, :_NEAREST].nonzero(as_tuple=True)
                one, other = start + row, columns[row, place]
                flags = torch.full_like(one, int(mirrored))
                found.append(torch.stack((torch.minimum(one, other), torch.maximum(one, other), flags), dim=1))
    each_once: Tensor = torch.unique(torch.cat(found), dim=0)
    return each_once


def _descriptions(pictures: Pixels, mirrored: bool, border: int) -> Tensor:
    """(N, numbers): the colours of a coarse grid of cells, without mean brightness, of length 1."""
    described = []
    for portion in portions(pictures):
        batch = torch.from_numpy(portion).permute(0, 3, 1, 2).float()
        batch = batch[:, :, border : SIDE - border, border : SIDE - border]
        cells = _CELLS[batch.shape[1]]
        described.append(functional.interpolate(batch, (cells, cells), mode="bilinear", antialias=True))
    whole = torch.cat(described)
    values = (whole.flip(3) if mirrored else whole).flatten(1)
    return functional.normalize(values - values.mean(1, keepdim=True))


def _verified(pictures: Pixels, candidates: Tensor) -> list[Match]:
    matches = []
    for start in range(0, len(candidates), _PAIRS):
        pairs = candidates[start : start + _PAIRS]
        sides = [torch.from_numpy(pictures[pairs[:, side].numpy()]).permute(0, 3, 1, 2).float() for side in (0, 1)]
        flipped = pairs[:, 2].bool()
        sides[0][flipped] = sides[0][flipped].flip(3)
        whole, places, details = agreement(sides[0], sides[1], align(sides[0], sides[1]))
        same = (whole >= _WHOLE) & (places >= _PLACES) & (details >= _DETAILS)
        for (first, second, mirrored), likeness in zip(pairs[same].tolist(), whole[same].tolist(), strict=True):
            matches.append(Match(first, second, bool(mirrored), round(likeness, 4)))
    return matches
