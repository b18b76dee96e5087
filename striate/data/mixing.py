"""MixUp and CutMix: two images made one, with the share of each as its target.

Each sample has its own share and a partner of its own, drawn over the whole training set, where the usual form has one share
a batch and partners within it: so what a sample becomes depends on no batch.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from striate.data.draws import BOX_X, BOX_Y, MIX_KIND, MIX_SHARE, Draws
from striate.data.transforms import box_mask, wide

_KNOTS = 4096


def mix(pictures: Tensor, partners: Tensor, draws: Draws, *, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """(float32 (N, C, H, W), float32 (N,)): the mixed images, and what share of each is its own.

    Args:
        pictures, partners: float32 (N, C, H, W).
        mixup, cutmix: the alpha of the beta distribution that the share is drawn from (Zhang et al. 2018; Yun et al. 2019);
            0 for none. With both, half of the samples get each.
    """
    height, width = pictures.shape[-2:]
    uniform = wide(draws, MIX_SHARE)
    blended = draws.uniform(MIX_KIND) < (0.5 if mixup and cutmix else float(mixup > 0))
    share = torch.ones_like(uniform)
    result = pictures
    if mixup:
        part = beta_quantile(uniform, mixup)
        weight = part.float().view(-1, 1, 1, 1)
        result = torch.where(blended.view(-1, 1, 1, 1), partners + (pictures - partners) * weight, result)
        share = torch.where(blended, part, share)
    if cutmix:
        side = torch.sqrt(1 - beta_quantile(uniform, cutmix))
        bounds = []
        for stream, length in ((BOX_Y, height), (BOX_X, width)):
            # The middle is anywhere, and the box is cut at the border (Yun et al. 2019, section 3.1).
            middle, half = wide(draws, stream) * length, side * (length / 2)
            bounds += [(middle - half).round().clamp(0, length), (middle + half).round().clamp(0, length)]
        top, bottom, left, right = bounds
        inside = box_mask(top, bottom, left, right, height, width) & ~blended.view(-1, 1, 1, 1)
        result = torch.where(inside, partners, result)
        share = torch.where(blended, share, 1 - (bottom - top) * (right - left) / (height * width))
    return result, share.float()


def beta_quantile(uniform: Tensor, alpha: float) -> Tensor:
    """The quantiles of Beta(alpha, alpha) at `uniform`, from 0 to 1: its draws, if `uniform` holds uniform ones."""
    knots = torch.from_numpy(_quantiles(alpha)).to(uniform)
    folded = torch.minimum(uniform, 1 - uniform) * (2 * _KNOTS)
    place = folded.floor().clamp(max=_KNOTS - 1)
    low, high = knots[place.long()], knots[place.long() + 1]
    tail = (low + (high - low) * (folded - place)) ** (1 / alpha)
    return torch.where(uniform <= 0.5, tail, 1 - tail)


@functools.cache
def _quantiles(alpha: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """u at probabilities 0, 1 / (2 _KNOTS), ..., 1/2, where the quantile is u^(1/alpha).

    The density x^(alpha-1) (1-x)^(alpha-1) is infinite at 0 for alpha < 1. With x = u^(1/alpha) the distribution function is
    the integral of (1 - u^(1/alpha))^(alpha-1), which is smooth up to x = 1/2; the rest is symmetry.
    """
    u = np.linspace(0, 0.5**alpha, 16 * _KNOTS + 1)
    density = (1 - u ** (1 / alpha)) ** (alpha - 1)
    integral = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    return np.interp(np.linspace(0, 0.5, _KNOTS + 1), integral / (2 * integral[-1]), u)
