"""How accuracy falls when images get worse: noise, blur, rotation, shift, brightness, contrast, five levels each.

Noise, blur, brightness and contrast are those of Hendrycks and Dietterich 2019 (arXiv:1903.12261): `CIFAR-10-C` for small
images, `ImageNet-C` for larger ones. Rotation goes up to the 30 degrees and shift to about the tenth of the side that Engstrom
et al. 2019 (arXiv:1712.02779) let an adversary choose; shifts are whole pixels, so on small images they go further.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from striate.classifier import Classifier
from striate.data import ImageData, OnProgress
from striate.data.draws import NOISE, SUBSET, TURN, WAY, Draws, hashes, permutation
from striate.data.images import Pixels
from striate.data.transforms import resample
from striate.inference import predicted_of
from striate.metrics.classification import wilson
from striate.runforms.evaluation import Corruption, Robustness

PORTION = 2**23
"""Values of images that are changed at a time: 32 MB as float32."""


class Published(NamedTuple):
    """Levels 1 to 5 of a published set of corruptions of images of `side` pixels.

    `noise`: standard deviation, as a share of a pixel's range; `blur`: that of the Gaussian, in pixels; `brightness`: what is
    added to the value of HSV, as a share of its range; `contrast`: the factor of distances to the image's mean colour.
    """

    name: str
    side: int
    noise: tuple[float, ...]
    blur: tuple[float, ...]
    brightness: tuple[float, ...]
    contrast: tuple[float, ...]


CIFAR_C = Published(
    name="CIFAR-10-C",
    side=32,
    noise=(0.04, 0.06, 0.08, 0.09, 0.10),
    blur=(0.4, 0.6, 0.7, 0.8, 1.0),
    brightness=(0.05, 0.1, 0.15, 0.2, 0.3),
    contrast=(0.75, 0.5, 0.4, 0.3, 0.15),
)
IMAGENET_C = Published(
    name="ImageNet-C",
    side=224,
    noise=(0.08, 0.12, 0.18, 0.26, 0.38),
    blur=(1.0, 2.0, 3.0, 4.0, 6.0),
    brightness=(0.1, 0.2, 0.3, 0.4, 0.5),
    contrast=(0.4, 0.3, 0.2, 0.1, 0.05),
)
ROTATION = (6.0, 12.0, 18.0, 24.0, 30.0)
"""Degrees."""
SHIFT = (0.02, 0.04, 0.06, 0.08, 0.10)
"""Shares of the shorter side, but at least as many pixels as the level's number."""


def robustness(
    classifier: Classifier, data: ImageData, limit: int = 1000, *, on_progress: OnProgress | None = None
) -> Robustness:
    """The net's accuracy on the same images as they are, and made worse in 30 ways.

    The pixels are changed as the net sees them, uint8 at its size, before they are normalised. Which images are taken and what
    each of them gets is arithmetic: every net and every later run gets the same pixels, and a level is the one before, made
    stronger.

    Args:
        data: labelled images; at another size than the classifier's they are resized first.
        limit: of more images, so many are drawn.
        on_progress: called with (done, total), counted in images that the net has seen.

    Returns:
        The value of a corruption is of gaussian-noise the standard deviation as a share of the range of a pixel; of blur the
        standard deviation in pixels; of rotation degrees, to one side or the other; of shift the share of the shorter side, to
        one of the four sides; of brightness what is added, as a share of the range; of contrast the factor.
    """
    chosen = permutation(0, 0, len(data), SUBSET)[:limit].sort().values
    pictures = classifier.preprocessing.resized(data.select(chosen.numpy()))
    height, width, channels = pictures.shape
    count = len(pictures)
    published, levels = levels_for(height, width)
    each = max(1, PORTION // (height * width * channels))
    hits = np.zeros(1 + sum(len(values) for _, _, values in levels), dtype=np.int64)
    done = 0
    for start in range(0, count, each):
        part = slice(start, start + each)
        labels = torch.from_numpy(pictures.labels[part])
        for row, pixels in enumerate(_versions(pictures.pixels[part], chosen[part], levels)):
            hits[row] += int((predicted_of(classifier.logits(pixels)) == labels).sum())
            done += len(labels)
            if on_progress:
                on_progress(done, count * len(hits))
    rates = [(correct / count, *wilson(correct, count)) for correct in hits.tolist()]
    names = [(name, level, value) for name, _, values in levels for level, value in enumerate(values, start=1)]
    clean, clean_low, clean_high = rates[0]
    return Robustness(
        clean=clean,
        clean_low=clean_low,
        clean_high=clean_high,
        n=count,
        source=f"{published.name} (Hendrycks and Dietterich 2019); rotation and shift after Engstrom et al. 2019",
        mean=float(hits[1:].mean()) / count,
        corruptions=tuple(
            Corruption(name=name, level=level, value=value, n=count, accuracy=accuracy, low=low, high=high)
            for (name, level, value), (accuracy, low, high) in zip(names, rates[1:], strict=True)
        ),
    )


Change = Callable[[Tensor, Draws, float], Tensor]
"""(float32 (N, C, H, W) of 0 to 255, the draws of its images, how strong) -> float32 of the same shape."""
Levels = list[tuple[str, Change, tuple[float, ...]]]


def levels_for(height: int, width: int) -> tuple[Published, Levels]:
    """The published set whose images are nearer in size, and (name, change, values of the levels) of every corruption.

    A blur is as wide in proportion to the shorter side as in the published set.
    """
    side = min(height, width)
    published = min((CIFAR_C, IMAGENET_C), key=lambda one: abs(math.log(side / one.side)))
    shifts = [round(max(level, round(share * side)) / side, 4) for level, share in enumerate(SHIFT, start=1)]
    return published, [
        ("gaussian-noise", noise, published.noise),
        ("blur", blur, tuple(round(sigma * side / published.side, 4) for sigma in published.blur)),
        ("rotation", rotation, ROTATION),
        ("shift", shift, tuple(shifts)),
        ("brightness", brightness, published.brightness),
        ("contrast", contrast, published.contrast),
    ]


def noise(pixels: Tensor, draws: Draws, deviation: float) -> Tensor:
    """Adds normal noise to each value by itself; `deviation` as a share of 255."""
    generator = torch.Generator()
    # A generator for each image, which starts at its draw: a hash for each value would take twenty times as long.
    seeds = hashes(draws.seed, draws.epoch, draws.samples, NOISE).tolist()
    normal = [torch.randn(pixels.shape[1:], generator=generator.manual_seed(seed)) for seed in seeds]
    return pixels + torch.stack(normal).mul_(255 * deviation)


def blur(pixels: Tensor, draws: Draws, deviation: float) -> Tensor:
    """A Gaussian of that standard deviation in pixels, cut off at four of them; beyond the border its pixels go on."""
    down, across = (_smoothing(side, deviation) for side in pixels.shape[-2:])
    return down @ pixels @ across.T


def rotation(pixels: Tensor, draws: Draws, degrees: float) -> Tensor:
    """Turned about the middle, to the left or to the right; bilinear, mirrored beyond the border."""
    angle = math.radians(degrees) * torch.where(draws.uniform(TURN).double() < 0.5, -1.0, 1.0)
    zero, cosine, sine = torch.zeros_like(angle), torch.cos(angle), torch.sin(angle)
    return resample(pixels, torch.stack((cosine, -sine, zero, sine, cosine, zero), 1).float())


def shift(pixels: Tensor, draws: Draws, share: float) -> Tensor:
    """Moved by that share of the shorter side, in whole pixels, up, down, left or right; mirrored beyond the border."""
    distance = round(share * min(pixels.shape[-2:]))
    way = draws.integers(WAY, 4)
    steps = torch.tensor([[0, -1], [0, 1], [-1, 0], [1, 0]])[way].float() * distance  # (N, 2): x, y
    one, zero = torch.ones(len(pixels)), torch.zeros(len(pixels))
    return resample(pixels, torch.stack((one, zero, steps[:, 0], zero, one, steps[:, 1]), 1))


def brightness(pixels: Tensor, draws: Draws, added: float) -> Tensor:
    """Adds that share of 255 to the value of HSV (the largest channel), clipped; hue and saturation stay."""
    value = pixels.amax(1, keepdim=True)
    lighter = (value + 255 * added).clamp(max=255)
    # Black has no hue: it becomes grey.
    return torch.where(value > 0, pixels * (lighter / value.clamp(min=1)), lighter)


def contrast(pixels: Tensor, draws: Draws, factor: float) -> Tensor:
    """Multiplies each value's distance to the mean of its channel in its image."""
    mean = pixels.double().mean((2, 3), keepdim=True).float()
    return mean + (pixels - mean) * factor


def _versions(pixels: Pixels, samples: Tensor, levels: Levels) -> Iterator[Pixels]:
    """uint8 (N, H, W, C): the images as they are, then each level of each corruption. `samples` (N,): whose draws they get."""
    yield pixels
    clean = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().contiguous()
    draws = Draws(seed=0, epoch=0, samples=samples)
    for _, change, values in levels:
        for value in values:
            worse = change(clean, draws, value).clamp(0, 255).round().to(torch.uint8)
            yield worse.permute(0, 2, 3, 1).contiguous().numpy()


def _smoothing(side: int, deviation: float) -> Tensor:
    """float32 (side, side): what a blur along an axis multiplies by; row i holds the weights of pixel i's neighbours."""
    if deviation == 0:
        return torch.eye(side)
    radius = math.floor(4 * deviation + 0.5)
    steps = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (steps.double() / deviation) ** 2)
    places = (torch.arange(side).view(-1, 1) + steps).clamp(0, side - 1)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    return matrix.scatter_add_(1, places, (weights / weights.sum()).expand(side, -1)).float()
