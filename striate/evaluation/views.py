"""Several views of each image, and the mean of their softmax outputs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from striate.classifier import Classifier
from striate.data import ImageData, OnProgress, Preprocessing
from striate.data.decode import decode_with_info
from striate.data.images import Pixels
from striate.data.preprocessing import HEADROOM
from striate.data.reading import in_portions
from striate.drawing.images import to_image
from striate.errors import DataError, UsageError
from striate.evaluation.dense import dense, slides, total_stride
from striate.evaluation.protocols import Protocol, View
from striate.machine import usable_cores
from striate.nets import Net

BATCH_PIXELS = 2**21
"""Pixels, of all channels together, that go through the net at a time: 41 images of 224x224."""
PORTION_PIXELS = 2**23
"""Pixels of squares of the scale that are decoded at a time; twice as many are held."""
LONGEST = 4
"""An image longer than so many times its other side, compared with what the net takes, is cut to its middle: memory is bounded
by that.
"""
GRID = 5
"""Places of the regular grid each way (Simonyan and Zisserman 2014, section 3.2)."""

Size = tuple[int, int]


def log_probabilities(
    classifier: Classifier,
    data: ImageData,
    protocol: Protocol,
    *,
    mirrored: bool = True,
    on_progress: OnProgress | None = None,
) -> npt.NDArray[np.float64]:
    """(N, classes): logarithms of the mean softmax output of each image's views.

    Files are decoded again at each scale, some at a time, so that memory does not grow with their number; images that are no
    files are scaled from what `data` holds.

    Args:
        data: at any size; a scale is the shorter side of the whole image.
        mirrored: False leaves mirrored views out, for images that mean something else then.

    Raises:
        UsageError: a scale is too small, or the net's head cannot slide: see `check_protocol` and `dense`.
        DataError: a file cannot be read any more.
    """
    net, preprocessing = classifier.net, classifier.preprocessing
    check_protocol(net, preprocessing.size, protocol)
    total = sum(len(view.scales) for view in protocol.parts) * len(data)
    done = 0
    if on_progress:
        on_progress(0, total)
    parts = []
    for view in protocol.parts:
        cut = _cutter(net, preprocessing.size, view)
        used = dense(net, preprocessing.size) if view.name == "dense" else net
        both = mirrored and view.name != "centre"
        scales = np.empty((len(view.scales), len(data), net.classes))
        for place, scale in enumerate(view.scales):
            start = 0
            for portion in pictures_at(data, preprocessing, scale, view.square):
                cuts = [cut(picture) for picture in portion]
                scales[place, start : start + len(cuts)] = _scores(classifier, used, cuts, both)
                start, done = start + len(cuts), done + len(cuts)
                if on_progress:
                    on_progress(done, total)
        parts.append(_mean(scales))
    return _mean(np.stack(parts))


def check_protocol(net: Net, size: Size, protocol: Protocol) -> None:
    """Raises UsageError if a scale is smaller than what the net, trained at `size`, can be given in that view."""
    for view in protocol.parts:
        whole = view.name != "dense" or slides(net)
        least = min(size) if whole else net.spec.min_size
        if (smallest := min(view.scales)) < least:
            reason = "of the size the net takes" if whole else "of the largest size the net takes"
            raise UsageError(
                f"the view {view.name} of {net.spec.name} needs scales of at least {least} pixels ({reason}), got {smallest}"
            )


def pictures_at(
    data: ImageData, preprocessing: Preprocessing, scale: int, square: bool = False
) -> Iterator[list[Pixels]]:
    """The images, some at a time, each uint8 (H, W, C) at a scale, by `Preprocessing` of that size.

    A scale is the shorter side; with `fit="crop"` the image keeps its shape and is whole. With `pad` and `squash`, and with
    `square`, it has the shape that the net was trained on.
    """
    if square and scale == min(preprocessing.size) and data.shape == (*preprocessing.size, preprocessing.channels):
        # Of this size they are there already.
        step = max(1, PORTION_PIXELS // scale**2)
        yield from (list(data.pixels[start : start + step]) for start in range(0, len(data), step))
        return
    height, width = (round(side * scale / min(preprocessing.size)) for side in preprocessing.size)
    smallest = height, width

    def one(position: int) -> Pixels:
        image = _image(data, position, math.ceil(HEADROOM * max(smallest)))
        whole = preprocessing.fit == "crop" and not square
        size = whole_size((image.height, image.width), smallest) if whole else smallest
        return replace(preprocessing, size=size).pixels(image)

    step = max(4, min(512, PORTION_PIXELS // scale**2))
    with ThreadPoolExecutor(usable_cores()) as pool:
        yield from in_portions(pool, one, range(len(data)), step, ahead=1)


def whole_size(picture: Size, smallest: Size) -> Size:
    """(H, W) of a whole image scaled until it just covers `smallest`, its shape kept; no side is over `LONGEST` times that."""
    factor = max(least / side for side, least in zip(picture, smallest, strict=True))
    height, width = (
        min(max(least, round(side * factor)), LONGEST * least) for side, least in zip(picture, smallest, strict=True)
    )
    return height, width


def places(view: str, picture: Size, window: Size) -> list[tuple[int, int]]:
    """(top, left) of each part of size `window` that a view takes of an image, both (H, W)."""
    down, across = picture[0] - window[0], picture[1] - window[1]
    middle = (down // 2, across // 2)
    if view == "ten-crop":
        return [(0, 0), (0, across), (down, 0), (down, across), middle]
    if view == "multi-crop":
        steps = range(GRID)
        return [(round(down * i / (GRID - 1)), round(across * j / (GRID - 1))) for i in steps for j in steps]
    return [middle]


def _cutter(net: Net, size: Size, view: View) -> Callable[[Pixels], Pixels]:
    """A function that cuts uint8 (H, W, C), an image at its scale, into uint8 (n, h, w, C), the parts that the net sees."""
    stride = total_stride(net, size) if view.name == "dense" else 1

    def cut(picture: Pixels) -> Pixels:
        height, width = picture.shape[:2]
        window = size
        if view.name == "dense":
            # As in training but for whole strides, so that what the maps leave over is left over on all sides alike.
            window = _by_strides(height, size[0], stride), _by_strides(width, size[1], stride)
        at = places(view.name, (height, width), window)
        return np.stack([picture[top : top + window[0], left : left + window[1]] for top, left in at])

    return cut


def _by_strides(side: int, trained: int, stride: int) -> int:
    """The longest side up to `side` that is longer than the trained one by whole strides; one that is shorter stays."""
    return side if side < trained else trained + (side - trained) // stride * stride


def _scores(classifier: Classifier, net: nn.Module, cuts: Sequence[Pixels], mirrored: bool) -> npt.NDArray[np.float64]:
    """(images, classes): logarithms of the mean softmax output of each one's parts. Parts of one size go through together."""
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for position, part in enumerate(cuts):
        alike[part.shape].append(position)
    found = np.empty((len(cuts), classifier.net.classes))
    for (count, height, width, _), positions in alike.items():
        each = max(1, BATCH_PIXELS // (count * height * width))
        for start in range(0, len(positions), each):
            chosen = positions[start : start + each]
            pixels = np.concatenate([cuts[position] for position in chosen])
            inputs = classifier.preprocessing.tensor(pixels).to(classifier.device)
            outputs = [_log_softmax(net, inputs)]
            if mirrored:
                outputs.append(_log_softmax(net, inputs.flip(3)))
            views = torch.stack(outputs).view(len(outputs), len(chosen), count, -1).permute(0, 2, 1, 3).flatten(0, 1)
            found[chosen] = _mean(views.numpy())
    return found


@torch.inference_mode()
def _log_softmax(net: nn.Module, inputs: Tensor) -> Tensor:
    """float64 (N, classes) on the CPU."""
    outputs: Tensor = net(inputs)
    return outputs.cpu().double().log_softmax(1)


def _mean(logs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Logarithms of the mean of probabilities over the first axis, of their logarithms."""
    highest = logs.max(0)
    averaged: npt.NDArray[np.float64] = np.log(np.exp(logs - highest).mean(0)) + highest
    return averaged


def _image(data: ImageData, position: int, at_least: int) -> Image.Image:
    """The whole image: from its file, or as held in memory."""
    if data.paths is None:
        picture = data.pixels[position]
        return to_image(picture)
    try:
        return decode_with_info(data.paths[position], at_least)[0]
    except DataError as error:
        raise DataError(f"{error}; it was readable when the data was loaded") from error
