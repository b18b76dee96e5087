"""The one preprocessing: training, evaluation, prediction, export and serving all call the object that the run keeps."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from striate.choices import Fit
from striate.data.decode import FileInfo, decode_with_info
from striate.data.images import ImageData, Pictures, Pixels, portions
from striate.data.values import Found, Range, in_doubt
from striate.drawing.images import to_image
from striate.errors import DataError
from striate.forms import Form

PORTION = 2**19
"""Values that are normalised at a time: 2 MB."""
HEADROOM = 1.7
"""A JPEG is decoded small only as long as its sides stay so many times as long as the net's image: on photos of 3 megapixels
that changes a value by half a level of 255 on the average (bench/LOG.md).
"""


class Preprocessing(Form):
    """The steps from a decoded image to the net's input.

    Attributes:
        size: (H, W) in pixels. An image of this size is left as it is; another is scaled (antialiased bilinear).
        channels: 1 (luma, ITU-R 601-2) or 3 (RGB).
        mean, std: of each channel, of pixel values divided by 255; empty where nothing is normalised.
        fit: how an image of another aspect ratio is fitted to `size`. `crop`: scaled until it covers it, then centre-cropped.
            `pad`: scaled until it fits inside, the rest black. `squash`: each side is scaled by itself.
        range: the values of black and white in images of more than 8 bits; None if not stated.
        sixteen: whether the 16-bit images of the training set fill their range, so that a dark one is dark.
    """

    size: tuple[int, int]
    channels: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fit: Fit = "crop"
    range: Range | None = None
    sixteen: bool = False

    def read(self, source: str | Path | bytes) -> Pixels:
        """uint8 (H, W, C) of a file or its bytes. Raises DataError as `decode`, or if 16 bits may hold fewer."""
        pixels, info = self.read_with_info(source)
        self.require_clear(info.found, "" if isinstance(source, bytes) else f"{source}: ")
        return pixels

    def read_with_info(self, source: str | Path | bytes) -> tuple[Pixels, FileInfo]:
        """As `read`, with what the file is. An image of a set may be dark: the set says whether bits fill their container."""
        image, info = decode_with_info(source, math.ceil(HEADROOM * max(self.size)), self.range)
        return self.pixels(image), info

    def require_clear(self, found: Found | None, name: str = "") -> None:
        """Raises DataError for an image that comes alone, fills little of 16 bits, and has no stated range."""
        if found is not None and found.dark and self.range is None and not self.sixteen:
            raise DataError(f"{name}{in_doubt(found)}")

    def pixels(self, image: Image.Image) -> Pixels:
        """uint8 (H, W, C) of a decoded image of any size."""
        mode = "L" if self.channels == 1 else "RGB"
        image = image if image.mode == mode else image.convert(mode)
        height, width = self.size
        if image.size != (width, height):
            image = _FITS[self.fit](image, width, height)
        return np.asarray(image).reshape(height, width, self.channels)

    def resized(self, data: ImageData) -> ImageData:
        """The same images at this size and number of channels; `data` itself where they are already."""
        if data.shape == (*self.size, self.channels):
            return data
        images = (to_image(picture) for picture in data.pixels)
        return replace(data, pixels=stack(map(self.pixels, images), len(data)))

    def normalise(self, pixels: Tensor) -> Tensor:
        """float32 (N, C, H, W) of uint8 or float32 from 0 to 255: (pixels / 255 - mean) / std."""
        scale, shift = constants(self.mean, self.std, pixels.device)
        # A fresh tensor, for its strides: with one channel those of NumPy's arrays can read as NCHW and as NHWC, and
        # convolution would choose its kernel, and so the last bits, by an accident.
        fresh = torch.empty(pixels.shape, device=pixels.device)
        # On the CPU some images at a time, so that the second operation finds in the cache what the first one left.
        each = PORTION // max(1, math.prod(pixels.shape[1:])) if pixels.device.type == "cpu" else len(pixels)
        for start in range(0, len(pixels), max(1, each)):
            part = slice(start, start + each)
            torch.mul(pixels[part], scale, out=fresh[part]).sub_(shift)
        return fresh

    def tensor(self, pixels: Pixels) -> Tensor:
        """float32 (N, C, H, W) of uint8 (N, H, W, C)."""
        return self.normalise(torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(0, 3, 1, 2))


@functools.cache
def constants(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """(factor, what is subtracted then) of pixels from 0 to 255, float32 (C, 1, 1)."""
    scale = torch.tensor([1 / (255 * s) for s in std], device=device).view(-1, 1, 1)
    shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)], device=device).view(-1, 1, 1)
    return scale, shift


def stack(pictures: Iterable[Pixels], count: int) -> Pixels:
    """uint8 (count, H, W, C) of `count` images, without holding them twice."""
    iterator = iter(pictures)
    first = next(iterator)
    stacked = np.empty((count, *first.shape), dtype=np.uint8)
    stacked[0] = first
    for position, picture in enumerate(iterator, start=1):
        stacked[position] = picture
    return stacked


def statistics(pixels: Pictures) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, standard deviation) of each channel of uint8 (N, H, W, C), of values divided by 255, rounded to 6 digits.

    Exact integer sums, so that the figures depend on no order of addition. A constant channel gets the deviation 1/255.
    """
    values = np.arange(256)
    channels = pixels.shape[3]
    counts = np.zeros((channels, 256), dtype=np.int64)
    for part in portions(pixels):  # bincount makes int64 of its input
        for channel in range(channels):
            counts[channel] += np.bincount(part[..., channel].ravel(), minlength=256)
    means, deviations = [], []
    for row in counts:
        total = int(row.sum())
        mean = int(row @ values) / total
        variance = int(row @ values**2) / total - mean**2
        means.append(round(mean / 255, 6))
        deviations.append(round(max(variance, 1.0) ** 0.5 / 255, 6))
    return tuple(means), tuple(deviations)


def preprocessing_for(
    data: ImageData, size: Sequence[int] | None, channels: int | None, fit: Fit = "crop"
) -> Preprocessing:
    """The preprocessing of a run: size and channels of `data` unless given, mean and deviation of its training images."""
    height, width, native = data.shape
    unscaled = Preprocessing(size=(size[0], size[1]) if size else (height, width), channels=channels or native, fit=fit)
    mean, std = statistics(unscaled.resized(data).pixels)
    return replace(unscaled, mean=mean, std=std)


def _cover(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scales until the image covers width x height, and cuts out the middle."""
    scale = max(width / image.width, height / image.height)
    # The side that decides the scale comes out a rounding too long now and then, and Pillow refuses such a box.
    box_width, box_height = min(width / scale, image.width), min(height / scale, image.height)
    left, top = (image.width - box_width) / 2, (image.height - box_height) / 2
    return _scaled(image, width, height, (left, top, left + box_width, top + box_height))


def _pad(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scales the whole image into the middle of width x height; the rest is black."""
    scale = min(width / image.width, height / image.height)
    scaled = _scaled(image, max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    whole = Image.new(image.mode, (width, height))
    whole.paste(scaled, ((width - scaled.width) // 2, (height - scaled.height) // 2))
    return whole


def _scaled(
    image: Image.Image, width: int, height: int, box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


_FITS: Mapping[Fit, Callable[[Image.Image, int, int], Image.Image]] = {"crop": _cover, "pad": _pad, "squash": _scaled}
