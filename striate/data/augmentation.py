"""Augmentation of a batch of images on its device, each draw a function of (seed, epoch, sample)."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from striate.choices import Within
from striate.data.draws import FLIP, SHIFT_X, SHIFT_Y, Draws
from striate.data.transforms import affine_parameters, erase, flip, jitter, light, resample, shift
from striate.errors import UsageError, unknown_name

USUAL: dict[str, float] = {
    "flip": 1, "shift": 4, "crop": 0.35, "rotate": 10, "zoom": 0.1, "shear": 8,
    "colour": 0.4, "lighting": 0.1, "erase": 0.25, "mixup": 0.2, "cutmix": 1,
}  # fmt: skip
"""Every kind, in the order in which they are applied, with the strength that it has if only its name is given."""


_LIMITS = {
    "shift": Within(0, unit="pixels"), "crop": Within(above=0, high=1), "rotate": Within(0, 180, unit="degrees"),
    "zoom": Within(0, below=1), "shear": Within(0, 60, unit="degrees"), "colour": Within(0, 1), "lighting": Within(0, 10),
    "erase": Within(0, 1), "mixup": Within(0, 100), "cutmix": Within(0, 100),
}  # fmt: skip


def _exact(value: float) -> str:
    """A number with as many digits as needed to read back the same value."""
    short = f"{value:.12g}"
    return short if float(short) == value else repr(value)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """The augmentation of training images, applied in this order.

    Attributes:
        flip: mirror half of them left to right.
        shift: move each by up to so many pixels each way; what comes in at the border is 0.
        crop: cut out a random part of at least this share of the area, of width to height 3:4 to 4:3, and scale it to the
            whole size (Szegedy et al. 2014, section 6). 1: none.
        rotate: turn by up to so many degrees each way.
        zoom: make larger or smaller by up to this share.
        shear: lean by up to so many degrees each way. What rotation, zoom and shear bring in is mirrored at the border.
        colour: multiply brightness, contrast and saturation by factors between 1 - colour and 1 + colour.
        lighting: standard deviation of AlexNet's PCA lighting, 0.1 in the paper (Krizhevsky et al. 2012, section 4.1).
        erase: share of the images of which a rectangle (2 to 40 % of the area) is replaced by the training set's mean
            colour (Zhong et al. 2017).
        mixup: alpha of MixUp (Zhang et al. 2018). 0: none.
        cutmix: alpha of CutMix (Yun et al. 2019). 0: none. With MixUp, half of the images get each.
    """

    flip: bool = False
    shift: int = 0
    crop: float = 1.0
    rotate: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    colour: float = 0.0
    lighting: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for kind, limit in _LIMITS.items():
            if not limit.holds(value := getattr(self, kind)):
                raise UsageError(f"{kind} must be {limit}, got {value}")

    @classmethod
    def parse(cls, text: str) -> Augmentation:
        """Reads kinds and strengths as on the command line: `flip,shift=4,colour`, where a kind alone has its `USUAL` strength,
        or `none`. Raises UsageError for an unknown kind, one named twice, or a strength that is no number or out of range.
        """
        found: dict[str, float] = {}
        if text.strip() == "none":
            return cls()
        for part in filter(None, text.replace(" ", "").split(",")):
            kind, given, strength = part.partition("=")
            if kind not in USUAL:
                raise unknown_name("augmentation", kind, USUAL, f"{', '.join(USUAL)}; or none")
            if kind in found:
                raise UsageError(f"the augmentation {kind} is given twice in {text!r}")
            try:
                found[kind] = float(strength if given else USUAL[kind])
            except ValueError:
                found[kind] = math.nan
            if not math.isfinite(found[kind]):
                raise UsageError(f"{kind} needs a number, as in {kind}={USUAL[kind]:g}, got {strength!r}")
        if not found:
            raise UsageError(f"no augmentation in {text!r}: name some of {', '.join(USUAL)}, or none")
        for kind in {"flip", "shift"} & found.keys():
            if not found[kind].is_integer() or (kind == "flip" and found[kind] not in (0, 1)):
                raise UsageError(f"{kind} takes {'0 or 1' if kind == 'flip' else 'whole pixels'}, got {found[kind]:g}")
        return cls(flip=bool(found.pop("flip", 0)), shift=int(found.pop("shift", 0)), **found)

    def __str__(self) -> str:
        """As `parse` reads it."""
        kinds = [
            field.name if field.name == "flip" else f"{field.name}={_exact(getattr(self, field.name))}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return ",".join(kinds) or "none"

    @property
    def mixes(self) -> bool:
        """Whether two images are made one, and so the targets are shares of classes."""
        return bool(self.mixup or self.cutmix)

    @property
    def needs_statistics(self) -> bool:
        """Whether it needs the colours of the training set."""
        return bool(self.lighting or self.erase)

    def __call__(self, pixels: Tensor, draws: Draws, statistics: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """uint8 (N, C, H, W) -> the same, or float32 from 0 to 255 where a kind interpolates. Mixing comes after it.
        `statistics`: of `colour_statistics`, for lighting and erasing.
        """
        if self.flip:
            pixels = flip(pixels, draws.uniform(FLIP) < 0.5)
        if self.shift:
            span = 2 * self.shift + 1
            pixels = shift(pixels, draws.integers(SHIFT_Y, span), draws.integers(SHIFT_X, span), self.shift)
        if self.crop < 1 or self.rotate or self.zoom or self.shear:
            size = pixels.shape[-2], pixels.shape[-1]
            parameters = affine_parameters(
                draws, size, crop=self.crop, rotate=self.rotate, zoom=self.zoom, shear=self.shear
            )
            pixels = resample(pixels.to(torch.float32), parameters)
        if self.colour:
            pixels = jitter(pixels.to(torch.float32), draws, self.colour)
        if self.needs_statistics:
            assert statistics is not None, "lighting and erase need the colours of the training images"
            mean, steps = statistics
            pixels = light(pixels.to(torch.float32), draws, self.lighting, steps) if self.lighting else pixels
            pixels = erase(pixels.to(torch.float32), draws, self.erase, mean) if self.erase else pixels
        return pixels
