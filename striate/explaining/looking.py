"""The inside of a net: its first filters, its feature maps for an image, and what a unit responds to most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from striate.classifier import Classifier
from striate.data import ImageData
from striate.data.images import Indices, Pictures, Pixels
from striate.drawing.heat import shaded
from striate.drawing.sheet import Sheet, Tile
from striate.errors import UsageError
from striate.explaining.layers import Layer, find_layer, layers
from striate.nets.hooks import capture
from striate.nets.net import Net
from striate.training.optimizers import Adam

MOST_FILTERS, MOST_MAPS, A_STAGE = 100, 60, 10
"""Filters and maps that a sheet shows, and maps of each stage where all stages are shown."""
UNITS, PICTURES = 12, 8
"""Units that are shown where none is named, and images that each responds to most."""
STEPS, RATE, SMOOTHNESS = 64, 0.1, 0.5
"""Gradient ascent: Adam's steps and rate, and the weight of the mean difference between neighbours."""


def filters(net: Net) -> Sheet:
    """The weights of the first convolution: in colour where it takes three channels, else an image for each channel.

    Raises:
        UsageError: the net has no convolution.
    """
    found = next(((name, part) for name, part in net.named_modules() if isinstance(part, nn.Conv2d)), None)
    if found is None:
        raise UsageError(f"{net.spec.name} has no convolution, so there are no filters to show")
    name, conv = found
    weights = conv.weight.detach().cpu().permute(0, 2, 3, 1).numpy()  # (K, h, w, C)
    tiles = []
    for number, weight in enumerate(weights):
        grey = np.round(127.5 + 127.5 * weight / max(float(np.abs(weight).max()), 1e-12)).astype(np.uint8)
        channels = grey.shape[2]
        parts = [grey] if channels in (1, 3) else np.split(grey, channels, axis=2)
        tiles += [Tile(part, f"{number}.{c}" if len(parts) > 1 else str(number)) for c, part in enumerate(parts)]
    first = f"the first {MOST_FILTERS} of {len(tiles)}, " if len(tiles) > MOST_FILTERS else ""
    return Sheet(
        what="filters",
        title=f"{net.spec.name}: the filters of {name.removeprefix('stages.').removeprefix('net.')}",
        note=f"{first}{conv.kernel_size[0]}x{conv.kernel_size[1]} pixels, each scaled independently: mid-grey is 0, lighter is "
        "positive, darker is negative",
        rows=(("", tuple(tiles[:MOST_FILTERS])),),
    )


def feature_maps(classifier: Classifier, pixels: Pixels, layer: str | None = None) -> Sheet:
    """The feature maps of one image.

    Args:
        pixels: uint8 (H, W, C), as the net is fed.
        layer: its first 60 maps; without, of every stage the ten maps whose mean is largest.

    Raises:
        UsageError: there is no such layer.
    """
    net = classifier.net
    inputs = classifier.preprocessing.tensor(pixels[None]).to(classifier.device)
    known = layers(net, inputs)
    if layer is None:
        wanted = [known[name] for name in known if name in net.stages] or [find_layer(net, inputs)]
    else:
        wanted = [find_layer(net, inputs, layer)]
    most = A_STAGE if layer is None else MOST_MAPS
    rows: list[tuple[str, tuple[Tile, ...]]] = [("the net's input", (Tile(pixels, ""),))]
    for one in wanted:
        maps = classifier.features(pixels[None], one.name)[0].numpy()
        chosen: Indices = np.arange(len(maps))[:most]
        shown = "" if len(maps) <= most else f", the first {most}"
        if layer is None and len(maps) > most:
            chosen = np.sort(np.argsort(-np.abs(maps).mean((1, 2)), kind="stable")[:most])
            shown = ", those with the largest mean"
        low, high = min(0.0, float(maps.min())), float(maps.max())
        heading = f"{one}{shown}; from {low:.3g} (dark) to {high:.3g} (light)"
        rows.append((heading, tuple(Tile(shaded(maps[k], low, high), str(k)) for k in chosen)))
    title = f"{net.spec.name}: feature maps of {wanted[0].name if len(wanted) == 1 else 'each stage'}"
    note = "each row is scaled independently; the numbers are those of the channels"
    return Sheet(what="maps", title=title, note=note, rows=tuple(rows))


def units(
    classifier: Classifier,
    *,
    layer: str | None = None,
    unit: int | None = None,
    pictures: ImageData | None = None,
    seed: int = 0,
) -> Sheet:
    """What units respond to: an image made for each, and the images of a set with the strongest response.

    A unit is a class's logit or, with `layer`, the mean of one of its maps. The image is made by gradient ascent on the
    pixels (Erhan et al. 2009; Simonyan et al. 2014, section 2) from grey noise, moved a little at each step and held smooth.

    Args:
        layer: whose maps are the units; the classes if None.
        unit: its number; the first twelve if None.
        pictures: of the size that the net takes, with its classes; None shows the made images only.
        seed: of the noise and the moves.

    Raises:
        UsageError: there is no such layer or unit.
    """
    net, names = classifier.net, classifier.classes
    blank = torch.zeros(1, classifier.preprocessing.channels, *classifier.preprocessing.size, device=classifier.device)
    found = None if layer is None else find_layer(net, blank, layer)
    count = net.classes if found is None else found.maps[0]
    if unit is not None and not 0 <= unit < count:
        raise UsageError(f"{layer or 'the output'} has units 0 to {count - 1}, got {unit}")
    chosen = list(range(min(count, UNITS))) if unit is None else [unit]
    labels = [names[number] if found is None and names else f"unit {number}" for number in chosen]
    made = [Tile(*pair) for pair in zip(_ascended(classifier, found, chosen, seed), labels, strict=True)]
    where = "the classes' logits respond" if found is None else f"{found} responds"
    title = f"{net.spec.name}: what {where} to most"
    if pictures is None:
        return Sheet(what="unit", title=title, note="made by gradient ascent", rows=(("", tuple(made)),))
    rows = []
    responses = _responses(classifier, pictures.pixels, found)
    for number, tile in zip(chosen, made, strict=True):
        best = zip(*(part.tolist() for part in responses[:, number].topk(min(PICTURES, len(pictures)))), strict=True)
        tiles = (
            Tile(pictures.pixels[place], f"{pictures.classes[pictures.labels[place]]} {value:.3g}")
            for value, place in best
        )
        rows.append(("", (tile, *tiles)))
    note = (
        "left: made by gradient ascent; right: the images with the strongest response, with their class and its value"
    )
    return Sheet(what="unit", title=title, note=note, rows=tuple(rows))


def _responses(classifier: Classifier, pixels: Pictures, layer: Layer | None) -> Tensor:
    """(N, units) on the CPU: the logits, or the mean of each map of a layer."""
    if layer is None:
        return classifier.logits(pixels)
    return classifier.watched(pixels, layer.module, lambda maps: maps.float().mean((2, 3)))[1]


def _ascended(classifier: Classifier, layer: Layer | None, chosen: Sequence[int], seed: int) -> Pixels:
    """uint8 (units, H, W, C)."""
    net, preprocessing, device = classifier.net, classifier.preprocessing, classifier.device
    height, width = preprocessing.size
    generator = torch.Generator().manual_seed(seed)
    start = 0.1 * torch.randn(len(chosen), preprocessing.channels, height, width, generator=generator)
    hidden = start.to(device).requires_grad_()
    mean = torch.tensor(preprocessing.mean, device=device).view(-1, 1, 1)
    deviation = torch.tensor(preprocessing.std, device=device).view(-1, 1, 1)
    optimizer = Adam([hidden], lr=RATE)
    rows = torch.arange(len(chosen), device=device)
    numbers = torch.tensor(chosen, device=device)
    reach = max(1, min(height, width) // 16)
    with capture(net if layer is None else layer.module) as kept:
        for _ in range(STEPS):
            moves = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
            values = torch.sigmoid(hidden)  # 0 to 1: always an image
            net((values.roll(moves, (2, 3)) - mean) / deviation)
            output: Tensor = kept.pop()
            responses = output if layer is None else output.mean((2, 3))
            rough = values.diff(dim=2).abs().mean((1, 2, 3)) + values.diff(dim=3).abs().mean((1, 2, 3))
            own = responses[rows, numbers]
            # Each image climbs by itself: logits of different units differ in scale.
            loss = (SMOOTHNESS * rough - own / own.detach().abs().clamp(min=1.0)).sum()
            (hidden.grad,) = torch.autograd.grad(loss, hidden)
            optimizer.step()
    made: Pixels = (255 * torch.sigmoid(hidden.detach())).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return made
