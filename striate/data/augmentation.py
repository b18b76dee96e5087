"""Augmentation of a batch of uint8 pictures on its device, each draw a function of (seed, epoch, sample)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from striate.data.draws import FLIP, SHIFT_X, SHIFT_Y, Draws


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to training pictures.

    Attributes:
        flip: mirror half of them left to right.
        shift: move each by up to so many pixels each way; what comes in at the border is 0.
    """

    flip: bool = False
    shift: int = 0

    def __call__(self, pixels: Tensor, draws: Draws) -> Tensor:
        """uint8 (N, C, H, W) -> uint8 (N, C, H, W); `draws` has the N samples of the batch."""
        if self.flip:
            pixels = _flip(pixels, draws.uniform(FLIP) < 0.5)
        if self.shift:
            span = 2 * self.shift + 1
            pixels = _shift(pixels, draws.integers(SHIFT_Y, span), draws.integers(SHIFT_X, span), self.shift)
        return pixels


def _flip(pixels: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(chosen.view(-1, 1, 1, 1), pixels.flip(-1), pixels)


def _shift(pixels: Tensor, top: Tensor, left: Tensor, margin: int) -> Tensor:
    """Pads by `margin` and cuts out (H, W) at (top, left), int64 (N,) in 0 .. 2 * margin."""
    height, width = pixels.shape[-2:]
    padded = F.pad(pixels, (margin,) * 4)
    rows = top.view(-1, 1) + torch.arange(height, device=pixels.device)  # (N, H)
    columns = left.view(-1, 1) + torch.arange(width, device=pixels.device)  # (N, W)
    sample = torch.arange(len(pixels), device=pixels.device)
    # Advanced indices with a slice between them put (N, H, W) first and the channels last.
    return padded[sample.view(-1, 1, 1), :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
