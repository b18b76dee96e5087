"""Whether two images show the same: one is laid over the other, and then they are compared place by place.

Tensors are (N, C, S, S), float32, 0 to 255, with S = `SIDE`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SIDE = 32
"""Side of the images that are compared, in pixels."""
_LUMA = (0.299, 0.587, 0.114)
_LEVELS = ((3, 5), (1, 4))
"""(pixels that the images are smoothed by to each side, steps): first roughly, then finely."""
_MOST_ZOOM, _MOST_SHIFT, _MOST_STEP = 0.35, 0.2, 0.1
"""Limits on the logarithm of the zoom, and on the half side: beyond a crop of a tenth of each side, and what one step may add."""
_NOISE = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""The constants of SSIM (Wang et al. 2004, section III.B): what differs by less is the same."""


def align(first: Tensor, second: Tensor) -> Tensor:
    """(N, 4): the zooms (as logarithms) and shifts, across and down, that lay each first image over its second.

    Gauss-Newton on the luma's squared difference (Lucas & Kanade 1981), with brightness and contrast left free.
    """
    luma = [_luma(pictures) for pictures in (first, second)]
    found = torch.zeros(len(first), 4)
    for smoothing, steps in _LEVELS:
        one, other = (_smooth(pictures, smoothing) for pictures in luma)
        across = functional.pad(one, (1, 1, 0, 0), mode="replicate")
        down = functional.pad(one, (0, 0, 1, 1), mode="replicate")
        slopes = (across[..., 2:] - across[..., :-2], down[..., 2:, :] - down[..., :-2, :])
        with_slopes = torch.cat([one, *(slope * (SIDE / 4) for slope in slopes)], dim=1)
        for _ in range(steps):
            found = _step(found, with_slopes, other.flatten(1))
    return found


def _step(found: Tensor, with_slopes: Tensor, wanted: Tensor) -> Tensor:
    """One step towards the least squared difference; `with_slopes`: luma and its derivatives, `wanted`: (N, S * S)."""
    places, inside = _places(found)
    value, across, down = functional.grid_sample(
        with_slopes, places, padding_mode="border", align_corners=False
    ).flatten(2).unbind(1)  # fmt: skip
    x, y = places.flatten(1, 2).unbind(-1)
    slopes = torch.stack(
        (across * (x - found[:, 2:3]), down * (y - found[:, 3:4]), across, down, value, torch.ones_like(value)), dim=-1
    )
    weighted = (slopes * inside.flatten(1)[..., None]).transpose(1, 2)
    normal = weighted @ slopes
    damping = 1e-4 * normal.diagonal(dim1=1, dim2=2) + 1e-3
    solved = torch.linalg.solve(normal + torch.diag_embed(damping), weighted @ wanted[..., None])[..., 0]
    contrast = solved[:, 4:5].clamp(0.5, 2)
    found = found + (solved[:, :4] / contrast).clamp(-_MOST_STEP, _MOST_STEP)
    return torch.cat(
        (found[:, :2].clamp(-_MOST_ZOOM, _MOST_ZOOM), found[:, 2:].clamp(-_MOST_SHIFT, _MOST_SHIFT)), dim=1
    )


def agreement(first: Tensor, second: Tensor, laid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How alike images are where they overlap, once `laid` (of `align`) lays the first over the second.

    Returns:
        Three of (N,), 1 for equal images: the mean of the structural similarity (SSIM, Wang et al. 2004, of the slightly
        smoothed images, over 7 x 7 windows) where there is anything to see; what 95 % of these places reach of it, so that
        another object before the same background tells; and the correlation of the details, so that a common horizon is not
        enough. NaN where two images have nothing to see in common.
    """
    places, inside = _places(laid)
    over = functional.grid_sample(first, places, padding_mode="border", align_corners=False)
    one, other = _smooth(over, 1), _smooth(second, 1)
    means = _smooth(one, 3), _smooth(other, 3)
    variances = [(_smooth(p * p, 3) - m * m).clamp_min(0) for p, m in zip((one, other), means, strict=True)]
    shared = _smooth(one * other, 3) - means[0] * means[1]
    light, contrast = _NOISE
    similarity = (2 * means[0] * means[1] + light) * (2 * shared + contrast)
    similarity /= (means[0] ** 2 + means[1] ** 2 + light) * (variances[0] + variances[1] + contrast)
    with_content = (variances[0] + variances[1]).mean(1) > 2 * contrast
    local = torch.where(inside & with_content, similarity.mean(1), torch.nan).flatten(1)
    details = [(p - _smooth(whole, 2)) for p, whole in ((one, over), (other, second))]
    return local.nanmean(1), local.nanquantile(0.05, dim=1), _correlation(details[0], details[1], inside)


def _correlation(one: Tensor, other: Tensor, inside: Tensor) -> Tensor:
    weight = inside[:, None].float()
    count = weight.sum((2, 3), keepdim=True).clamp_min(1)
    one, other = ((p - (p * weight).sum((2, 3), keepdim=True) / count) * weight for p in (one, other))
    energies = (one * one).sum((1, 2, 3)) * (other * other).sum((1, 2, 3))
    return (one * other).sum((1, 2, 3)) / (energies + 1).sqrt()


def _places(laid: Tensor) -> tuple[Tensor, Tensor]:
    """((N, S, S, 2) places in the first image of each pixel of the second, -1 to 1; (N, S, S) whether inside it)."""
    steps = (torch.arange(SIDE) * 2 + 1) / SIDE - 1
    down, across = torch.meshgrid(steps, steps, indexing="ij")
    zoom, shift = laid[:, :2].exp()[:, None, None], laid[:, None, None, 2:]
    places = torch.stack((across, down), dim=-1) * zoom + shift
    return places, (places.abs() <= 1).all(-1)


def _luma(pictures: Tensor) -> Tensor:
    if pictures.shape[1] == 1:
        return pictures
    return (pictures * torch.tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)


def _smooth(pictures: Tensor, to_each_side: int) -> Tensor:
    window = 2 * to_each_side + 1
    padded = functional.pad(pictures, (to_each_side,) * 4, mode="replicate")
    return functional.avg_pool2d(functional.avg_pool2d(padded, (window, 1), stride=1), (1, window), stride=1)
