"""Changes of a batch of images, each sample by its own draws: the parts that `Augmentation` puts together.

What a sample gets depends on its draws alone. Parameters are computed in float64 and rounded once, for the vector and the
scalar form of a function may differ in the last bit, and which one a sample meets depends on its place in the batch.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from striate.data import draws as streams
from striate.data.draws import Draws
from striate.data.images import Pictures, portions

CROP_ASPECT = (3 / 4, 4 / 3)
"""Width to height of a random resized crop (Szegedy et al. 2014, section 6)."""
ERASED_AREA, ERASED_ASPECT = (0.02, 0.4), (0.3, 1 / 0.3)
"""Share of the image that is erased, and its width to height (Zhong et al. 2017, section 4.2)."""
LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601-2, as the decoder makes grey images."""
_KNOTS = 4096
"""Points at which the quantiles of a beta distribution are computed, between 0 and 1/2."""


def flip(pixels: Tensor, chosen: Tensor) -> Tensor:
    """Mirrors the samples for which `chosen`, bool (N,), is true."""
    return torch.where(chosen.view(-1, 1, 1, 1), pixels.flip(-1), pixels)


def shift(pixels: Tensor, top: Tensor, left: Tensor, margin: int) -> Tensor:
    """Pads by `margin` and cuts out (H, W) at (top, left), int64 (N,) in 0 .. 2 * margin."""
    height, width = pixels.shape[-2:]
    padded = F.pad(pixels, (margin,) * 4)
    rows = top.view(-1, 1) + torch.arange(height, device=pixels.device)  # (N, H)
    columns = left.view(-1, 1) + torch.arange(width, device=pixels.device)  # (N, W)
    sample = torch.arange(len(pixels), device=pixels.device)
    # Advanced indices with a slice between them put (N, H, W) first and the channels last.
    return padded[sample.view(-1, 1, 1), :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def affine_parameters(
    draws: Draws, size: tuple[int, int], *, crop: float, rotate: float, zoom: float, shear: float
) -> Tensor:
    """float32 (N, 6), (a, b, c, d, e, f): where the output's pixel (x, y), counted from the middle of the image, comes
    from: (a x + b y + c, d x + e y + f), counted alike. Crop, rotation, zoom and shear are one map, sampled once.

    Args:
        size: (H, W).
        crop: smallest share of the area; the crop's middle lies where it fits into the image. 1: the whole image.
        rotate: greatest angle in degrees, each way.
        zoom: greatest share by which the image is made larger or smaller.
        shear: greatest angle in degrees by which its upright lines lean, each way.
    """
    height, width = size
    angle = _between(draws, streams.ROTATE, -rotate, rotate) * (math.pi / 180)
    lean = torch.tan(_between(draws, streams.SHEAR, -shear, shear) * (math.pi / 180))
    scale = 1 / _between(draws, streams.ZOOM, 1 - zoom, 1 + zoom)
    ones = torch.ones_like(angle)
    box_height, box_width, middle_y, middle_x = ones, ones, 0 * ones, 0 * ones
    if crop < 1:
        box_height, box_width = _box(
            draws, (streams.CROP_AREA, streams.CROP_RATIO), (crop, 1.0), CROP_ASPECT, height / width
        )
        middle_y = (1 - box_height) * (wide(draws, streams.CROP_Y) - 0.5) * height
        middle_x = (1 - box_width) * (wide(draws, streams.CROP_X) - 0.5) * width
    cosine, sine = torch.cos(angle), torch.sin(angle)
    a, b = cosine * scale * box_width, (cosine * lean - sine) * scale * box_height
    d, e = sine * scale * box_width, (sine * lean + cosine) * scale * box_height
    return torch.stack((a, b, middle_x, d, e, middle_y), 1).float()


def resample(pixels: Tensor, parameters: Tensor) -> Tensor:
    """float32 (N, C, H, W) sampled bilinearly where `affine_parameters` says; beyond the border it is mirrored."""
    height, width = pixels.shape[-2:]
    x = torch.arange(width, device=pixels.device, dtype=torch.float32) - (width - 1) / 2
    y = (torch.arange(height, device=pixels.device, dtype=torch.float32) - (height - 1) / 2).view(-1, 1)
    a, b, c, d, e, f = (column.view(-1, 1, 1) for column in parameters.unbind(1))
    # grid_sample counts from -1 to 1 between the outer edges of the image.
    across, down = (a * x + b * y + c) * (2 / width), (d * x + e * y + f) * (2 / height)
    grid = torch.stack((across, down), 3)
    sampled = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return sampled.clamp(0, 255)  # the four weights add up to 1 but for a rounding


def jitter(pixels: Tensor, draws: Draws, strength: float) -> Tensor:
    """float32 (N, C, H, W) of 0 to 255 with brightness, contrast and saturation, in this order, each multiplied by a
    factor from 1 - strength to 1 + strength. Grey images have no saturation.
    """

    def factor(stream: int) -> Tensor:
        return _between(draws, stream, 1 - strength, 1 + strength).float().view(-1, 1, 1, 1)

    pixels = (pixels * factor(streams.BRIGHTNESS)).clamp(0, 255)
    # A sum of integers is exact, so that it depends on no order of addition, and on no batch size by that.
    mean = (_grey(pixels).round().to(torch.int64).sum((1, 2, 3), keepdim=True) / pixels[0, 0].numel()).float()
    pixels = (mean + (pixels - mean) * factor(streams.CONTRAST)).clamp(0, 255)
    if pixels.shape[1] == 3:
        grey = _grey(pixels)
        pixels = (grey + (pixels - grey) * factor(streams.SATURATION)).clamp(0, 255)
    return pixels


def colour_statistics(pixels: Pictures) -> tuple[Tensor, Tensor]:
    """(mean float32 (C,), steps float32 (C, C)) of uint8 (N, H, W, C), in units of 0 to 255.

    Row k of `steps` is the k-th principal component of the pixels' colours times its eigenvalue, both of values divided by
    255; what AlexNet's lighting multiplies by its draws (Krizhevsky et al. 2012, section 4.1). A component's sign is such
    that its largest entry is positive.
    """
    channels = pixels.shape[3]
    total = torch.zeros(channels, dtype=torch.float64)
    squares = torch.zeros(channels, channels, dtype=torch.float64)
    for part in portions(pixels):  # integers below 2^53: exact sums
        values = torch.from_numpy(part).reshape(-1, channels).T.double()
        total += values.sum(1)
        squares += values @ values.T
    count = math.prod(pixels.shape[:3])
    mean = total / count
    eigenvalues, vectors = torch.linalg.eigh((squares / count - torch.outer(mean, mean)) / 255**2)
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    steps = (vectors * largest.sign() * eigenvalues.clamp(min=0)).T * 255
    return mean.float(), steps.float()


def light(pixels: Tensor, draws: Draws, deviation: float, steps: Tensor) -> Tensor:
    """float32 (N, C, H, W) with AlexNet's PCA lighting: a normal draw of that standard deviation times each of `steps`."""
    added = torch.zeros(len(pixels), pixels.shape[1], device=pixels.device)
    for component, step in enumerate(steps):
        # Box and Muller 1958; 1 - u is above 0.
        radius = torch.sqrt(-2 * torch.log(1 - wide(draws, streams.LIGHTING + 2 * component)))
        normal = radius * torch.cos(2 * math.pi * wide(draws, streams.LIGHTING + 2 * component + 1))
        added = added + (deviation * normal).float().view(-1, 1) * step
    return (pixels + added[:, :, None, None]).clamp(0, 255)


def erase(pixels: Tensor, draws: Draws, probability: float, fill: Tensor) -> Tensor:
    """Puts `fill` (C,) over a rectangle of some samples: so many of them as `probability` says (Zhong et al. 2017)."""
    height, width = pixels.shape[-2:]
    share = _box(draws, (streams.ERASE_AREA, streams.ERASE_RATIO), ERASED_AREA, ERASED_ASPECT, height / width)
    sizes = [(part * side).round() for part, side in zip(share, (height, width), strict=True)]
    corners = [
        (wide(draws, stream) * (side - size + 1)).floor()
        for stream, side, size in zip((streams.ERASE_Y, streams.ERASE_X), (height, width), sizes, strict=True)
    ]
    inside = box_mask(corners[0], corners[0] + sizes[0], corners[1], corners[1] + sizes[1], height, width)
    chosen = (draws.uniform(streams.ERASE) < probability).view(-1, 1, 1, 1) & inside
    return torch.where(chosen, fill.to(pixels.dtype).view(-1, 1, 1), pixels)


def box_mask(top: Tensor, bottom: Tensor, left: Tensor, right: Tensor, height: int, width: int) -> Tensor:
    """bool (N, 1, H, W): rows top .. bottom - 1 and columns left .. right - 1 of each sample."""
    rows = torch.arange(height, device=top.device)
    columns = torch.arange(width, device=top.device)
    down = (rows >= top.view(-1, 1)) & (rows < bottom.view(-1, 1))
    across = (columns >= left.view(-1, 1)) & (columns < right.view(-1, 1))
    return (down[:, :, None] & across[:, None, :])[:, None]


def wide(draws: Draws, stream: int) -> Tensor:
    """The uniform draws in float64, or in float32 on MPS, which has no other."""
    found = draws.uniform(stream)
    return found if found.device.type == "mps" else found.double()


def _between(draws: Draws, stream: int, low: float, high: float) -> Tensor:
    return low + (high - low) * wide(draws, stream)


def _box(
    draws: Draws, streams: tuple[int, int], area: tuple[float, float], aspect: tuple[float, float], upright: float
) -> tuple[Tensor, Tensor]:
    """(height, width) as shares of the image's: an area between two shares of it, and a width to height between two
    figures, both of them as likely as their inverse. Cut to the image. `upright`: the image's height by its width.
    """
    share = _between(draws, streams[0], *area)
    ratio = torch.exp(_between(draws, streams[1], math.log(aspect[0]), math.log(aspect[1]))) * upright
    return torch.sqrt(share / ratio).clamp(max=1), torch.sqrt(share * ratio).clamp(max=1)


def _grey(pixels: Tensor) -> Tensor:
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = pixels.unbind(1)
    return (red * LUMA[0] + green * LUMA[1] + blue * LUMA[2])[:, None]


def mix(pictures: Tensor, partners: Tensor, draws: Draws, *, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """MixUp and CutMix, (float32 (N, C, H, W), float32 (N,)): the mixed images, and what share of each is its own.

    Each sample has a share of its own and a partner drawn over the whole training set, where the usual form has one share a batch
    and partners within it: so what a sample becomes depends on no batch.

    Args:
        pictures, partners: float32 (N, C, H, W).
        mixup, cutmix: the alpha of the beta distribution that the share is drawn from (Zhang et al. 2018; Yun et al. 2019);
            0 for none. With both, half of the samples get each.
    """
    height, width = pictures.shape[-2:]
    uniform = wide(draws, streams.MIX_SHARE)
    blended = draws.uniform(streams.MIX_KIND) < (0.5 if mixup and cutmix else float(mixup > 0))
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
        for stream, length in ((streams.BOX_Y, height), (streams.BOX_X, width)):
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
