"""Images that look unlike the rest of their class, by a few numbers of colour, texture and layout.

No trained net takes part: what is found is another kind of image (a drawing, a notice, a scan), not another kind of object.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from striate.checkup.findings import Finding, Place, finding, picture
from striate.data.dataset import DataSet
from striate.data.images import Pixels, portions
from striate.texts import counted

_FEWEST = 20
"""Images of a class from which it has a usual look."""
_FENCE = 2.5
"""Interquartile ranges above the upper quartile; Tukey's outer fence (1977) is 3, his inner one 1.5."""
_MOST = 5
"""Outliers of a class that are reported, at most."""
_CAP = 6.0
"""Deviations that one number counts for at most: a single odd one is not enough."""


def descriptors(pictures: Pixels) -> npt.NDArray[np.float64]:
    """float64 (N, numbers) of uint8 (N, S, S, C).

    Of brightness and, of colour images, the two opponent colours: mean, deviation, and the middle's mean against the whole.
    Mean saturation. Of the brightness: steepness across and down, the share of flat and of steep places, how much is left of
    its deviation when it is smoothed, the share of the most common of 16 levels, and the entropy of these levels.
    """
    described = []
    for portion in portions(pictures):
        colours = torch.tensor(portion).permute(0, 3, 1, 2).float() / 255
        light = colours.mean(1, keepdim=True)
        side = light.shape[2] // 4
        numbers = [_opponents(colours).mean((2, 3)), _opponents(colours).std((2, 3))]
        numbers.append(_opponents(colours)[:, :, side:-side, side:-side].mean((2, 3)) - numbers[0])
        if colours.shape[1] == 3:
            numbers.append((colours.amax(1) - colours.amin(1)).mean((1, 2))[:, None])
        across, down = light.diff(dim=3).abs(), light.diff(dim=2).abs()
        steepness = across[..., :-1, :] + down[..., :-1]
        levels = torch.stack([((light * 15.999).int() == level).float().mean((1, 2, 3)) for level in range(16)], dim=1)
        deviation = light.std((1, 2, 3)) + 0.01
        numbers += [
            torch.stack(values, dim=1)
            for values in [
                [(across.mean((1, 2, 3)) + 1e-3).log(), (down.mean((1, 2, 3)) + 1e-3).log()],
                [(steepness < 0.02).float().mean((1, 2, 3)), (steepness > 0.2).float().mean((1, 2, 3))],
                [(functional.avg_pool2d(light, 4).std((1, 2, 3)) + 0.01).log() - deviation.log()],
                [levels.amax(1), -(levels * (levels + 1e-6).log()).sum(1)],
            ]
        ]
        described.append(torch.cat(numbers, dim=1).double().numpy())
    return np.concatenate(described)


def _opponents(colours: torch.Tensor) -> torch.Tensor:
    if colours.shape[1] == 1:
        return colours
    red, green, blue = colours.unbind(1)
    return torch.stack((colours.mean(1), red - green, (red + green) / 2 - blue), dim=1)


def outlying(described: npt.NDArray[np.float64]) -> list[tuple[int, float]]:
    """(position, interquartile ranges above the upper quartile) of the few images of one class that lie apart, farthest first.

    Each number counts as its distance from the class's median in deviations (the interquartile range of a normal distribution is
    1.349), at most `_CAP`; an image lies as far out as the root mean square of its numbers.
    """
    if len(described) < _FEWEST:
        return []
    low, middle, high = np.quantile(described, (0.25, 0.5, 0.75), axis=0)
    distances = np.clip((described - middle) / np.maximum((high - low) / 1.349, 1e-3), -_CAP, _CAP)
    far = np.sqrt((distances**2).mean(1))
    lower, upper = np.quantile(far, (0.25, 0.75))
    beyond = (far - upper) / max(upper - lower, 1e-3)
    order = np.argsort(-beyond, kind="stable")[:_MOST]
    return [(int(place), float(beyond[place])) for place in order if beyond[place] > _FENCE]


def outlier_findings(dataset: DataSet, thumbnails: Pixels, blank: Collection[Place]) -> list[Finding]:
    """At most five of each class, all splits together, but for those that are known to be blank.

    `thumbnails`: of all splits, one after the other.
    """
    labels = np.concatenate([part.labels for part in dataset.splits.values()])
    places = [(split, index) for split, part in dataset.splits.items() for index in range(len(part))]
    described = descriptors(thumbnails)
    found = []
    for label in range(len(dataset.classes)):
        members = [place for place in np.flatnonzero(labels == label) if places[place] not in blank]
        found += [(beyond, places[members[place]]) for place, beyond in outlying(described[members])]
    if not found:
        return []
    found.sort(key=lambda item: -item[0])
    pictures = tuple(
        picture(dataset, split, index, f"{beyond:.1f} interquartile ranges") for beyond, (split, index) in found
    )
    words = (
        f"{counted(len(pictures), 'image')} differ{'s' if len(pictures) == 1 else ''} most from the rest of their "
        f"class in colour, texture and layout (more than {_FENCE} interquartile ranges beyond the "
        f"upper quartile; at most {_MOST} per class are listed, the most unusual first). Most may be fine: check that they "
        "belong."
    )
    return [finding("outliers", words, pictures=pictures)]
