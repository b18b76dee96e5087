"""Batches as arithmetic: which samples make a batch is a pure function of (seed, epoch, step)."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from striate.data.augmentation import Augmentation
from striate.data.draws import PARTNER, Draws, balanced_order, permutation
from striate.data.images import ImageData, LazyPixels
from striate.data.preprocessing import Preprocessing
from striate.data.transforms import colour_statistics, mix


@dataclass(frozen=True, slots=True)
class Order:
    """Which samples make a batch.

    Attributes:
        batch_size: the largest batch. The ceil(N / batch_size) batches of an epoch differ by at most one in size, so that
            there is no small last one, whose gradient would weigh too much and whose batch norm could fail.
        seed: of order and draws.
        balanced: every class makes the same share of an epoch, which has as many images as ever: of a large class only
            some come, others in the next epoch; those of a small one come again, each time with draws of its own.
    """

    batch_size: int
    seed: int
    balanced: bool = False


class Batches:
    """Training batches from images that lie on the device as one uint8 tensor: a gather, an augmentation, a normalisation.

    Args:
        data: the training split, at the size of `preprocessing`. Pixels that memory holds are put on the device as one uint8
            tensor; those that it does not are gathered for each batch.
        device: where images and labels are kept.
    """

    def __init__(
        self,
        data: ImageData,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        order: Order,
        device: torch.device,
    ) -> None:
        self.data, self.device, self.order = data, device, order
        self._pixels: Tensor | None = None
        if not isinstance(data.pixels, LazyPixels):
            self._pixels = torch.from_numpy(data.pixels).permute(0, 3, 1, 2).contiguous().to(device)  # (N, C, H, W)
        self.labels = torch.from_numpy(data.labels).to(device)
        self.preprocessing, self.augmentation = preprocessing, augmentation
        self.classes = len(data.classes)
        self._measure_colours()
        self.steps_per_epoch = math.ceil(len(data) / order.batch_size)
        self._drawn: tuple[int, Tensor] = (-1, torch.empty(0, dtype=torch.int64))

    def _measure_colours(self) -> None:
        self._statistics: tuple[Tensor, Tensor] | None = None
        if self.augmentation.needs_statistics:
            mean, steps = colour_statistics(self.data.pixels)
            self._statistics = mean.to(self.device), steps.to(self.device)

    def altered_by(self, augmentation: Augmentation) -> Batches:
        """The same batches with another augmentation; the pixels are shared."""
        batches = copy.copy(self)
        batches.augmentation = augmentation
        batches._measure_colours()
        return batches

    def samples(self, epoch: int, step: int) -> Tensor:
        """int64 (n,) on the device: the samples that make batch `step` (0 .. steps_per_epoch - 1) of `epoch`.

        A sample is a position in the split; where images come again, plus N at each return.
        """
        if self._drawn[0] != epoch:
            seed, labels = self.order.seed, torch.from_numpy(self.data.labels)
            balanced = self.order.balanced
            drawn = balanced_order(seed, epoch, labels) if balanced else permutation(seed, epoch, len(labels))
            self._drawn = (epoch, drawn.to(self.device))
        start, stop = (len(self.labels) * bound // self.steps_per_epoch for bound in (step, step + 1))
        return self._drawn[1][start:stop]

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of batch `step` of `epoch`; see `inputs`."""
        return self.inputs(epoch, self.samples(epoch, step))

    def inputs(self, epoch: int, samples: Tensor, side: int | None = None) -> tuple[Tensor, Tensor]:
        """Inputs float32 (n, C, H, W) and targets of `samples`, as `samples()` gives them, in `epoch`.

        With `side` the images are scaled (antialiased bilinear) until their shorter side has so many pixels. Targets are
        labels, int64 (n,); with MixUp or CutMix the share of each class, float32 (n, classes).
        """
        pixels, targets = self.augmented(epoch, samples)
        inputs = self.preprocessing.normalise(pixels)
        shorter = min(inputs.shape[2:])
        if side is None or side == shorter:
            return inputs, targets
        height, width = (max(1, round(length * side / shorter)) for length in inputs.shape[2:])
        return F.interpolate(inputs, (height, width), mode="bilinear", antialias=True), targets

    def augmented(self, epoch: int, samples: Tensor) -> tuple[Tensor, Tensor]:
        """As `batch`, of these samples, and before they are normalised: uint8, or float32 from 0 to 255."""
        draws = Draws(self.order.seed, epoch, samples)
        positions = samples % len(self.labels)
        labels = self.labels[positions]
        pixels = self.augmentation(self.gather(positions), draws, self._statistics)
        if not self.augmentation.mixes:
            return pixels, labels
        partners = draws.integers(PARTNER, len(self.labels))
        others = self.augmentation(self.gather(partners), Draws(self.order.seed, epoch, partners), self._statistics)
        mixed, share = mix(
            pixels.float(), others.float(), draws, mixup=self.augmentation.mixup, cutmix=self.augmentation.cutmix
        )
        own, theirs = (F.one_hot(chosen, self.classes).float() for chosen in (labels, self.labels[partners]))
        return mixed, theirs + (own - theirs) * share.view(-1, 1)

    def gather(self, positions: Tensor) -> Tensor:
        """uint8 (n, C, H, W) on the device: the images at these positions as they are."""
        if self._pixels is not None:
            return self._pixels.index_select(0, positions)  # copies rows; indexing with [] would go pixel by pixel
        gathered = torch.from_numpy(self.data.pixels[positions.cpu().numpy()])
        return gathered.to(self.device).permute(0, 3, 1, 2).contiguous()
