"""Randomness as arithmetic: every draw is an integer hash of (seed, epoch, sample, stream).

No generator is advanced, so nothing has to be restored: the order of an epoch and the augmentation of a sample are the same
for any batch size, number of threads or ranks, on CPU and GPU, and after a resume. The hash is the finaliser of SplitMix64
(Steele, Lea and Flood 2014), applied once for each part of the key.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1

# Streams: one constant a purpose, so that no two purposes share a draw. Never renumber: runs are repeated by them.
ORDER, SPLIT, FLIP, SHIFT_Y, SHIFT_X, DROPOUT = range(6)
CROP_AREA, CROP_RATIO, CROP_Y, CROP_X, ROTATE, ZOOM, SHEAR, BRIGHTNESS, CONTRAST, SATURATION = range(6, 16)
LIGHTING = 16  # to 21: two draws for each of three channels
ERASE, ERASE_AREA, ERASE_RATIO, ERASE_Y, ERASE_X, PARTNER, MIX_KIND, MIX_SHARE, BOX_Y, BOX_X, BALANCE = range(22, 33)
SUBSET, NOISE, TURN, WAY = range(33, 37)


def _signed(value: int) -> int:
    """The int64 with the bits of an unsigned 64-bit `value`: torch multiplies int64 modulo 2^64 on every device."""
    return value - (1 << 64) if value >> 63 else value


def _mix_int(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def _mix(x: Tensor) -> Tensor:
    # >> on int64 copies the sign bit; the masks make it the logical shift that the hash is defined with.
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * _signed(0x94D049BB133111EB)
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def draw_key(seed: int, epoch: int, stream: int) -> int:
    """What the three of them make of the hash, 0 .. 2^64 - 1: the key of a stream's draws, and by itself a seed."""
    key = 0
    for part in (seed, epoch, stream):
        key = _mix_int((key + part + _GOLDEN) & _MASK)
    return key


def hashes(seed: int, epoch: int, samples: Tensor, stream: int) -> Tensor:
    """int64 (N,), 64 well-mixed bits for each of `samples` (int64 (N,))."""
    return _mix(samples * _signed(_GOLDEN) + _signed(draw_key(seed, epoch, stream)))


def permutation(seed: int, epoch: int, count: int, stream: int = ORDER) -> Tensor:
    """int64 (count,): the order of `count` samples in an epoch (0, 1, ...); on the CPU, so that every device has the same."""
    return torch.argsort(hashes(seed, epoch, torch.arange(count), stream), stable=True)


def balanced_order(seed: int, epoch: int, labels: Tensor) -> Tensor:
    """int64 (N,): the order of an epoch in which every class that has images has the same share, to within one image.

    Entry = position + N x how often that image came before in this epoch. `labels`: int64 (N,), on the CPU.
    """
    count = len(labels)
    present = torch.bincount(labels).nonzero().flatten().tolist()
    picked = []
    for place, label in enumerate(present):
        members = (labels == label).nonzero().flatten()
        members = members[torch.argsort(hashes(seed, epoch, members, ORDER), stable=True)]
        turns = torch.arange(count * (place + 1) // len(present) - count * place // len(present))
        picked.append(members[turns % len(members)] + count * (turns // len(members)))
    samples = torch.cat(picked)
    return samples[torch.argsort(hashes(seed, epoch, samples, BALANCE), stable=True)]


@dataclass(frozen=True, slots=True)
class Draws:
    """The draws of one batch: samples int64 (N,), as `Batches.samples` gives them, on the device of the batch."""

    seed: int
    epoch: int
    samples: Tensor

    def uniform(self, stream: int) -> Tensor:
        """float32 (N,) in [0, 1), multiples of 2^-24."""
        return ((hashes(self.seed, self.epoch, self.samples, stream) >> 40) & 0xFFFFFF).to(torch.float32) * 2.0**-24

    def integers(self, stream: int, count: int) -> Tensor:
        """int64 (N,) in 0 .. count - 1, for count up to 2^24."""
        return (((hashes(self.seed, self.epoch, self.samples, stream) >> 40) & 0xFFFFFF) * count) >> 24
