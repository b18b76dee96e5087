"""The layers of a net that give feature maps, where in the image these lie, and the default layer of an explanation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.anatomy.receptive import MapPlaces, map_places
from striate.anatomy.tracing import TraceFailure, trace
from striate.errors import UsageError, param, unknown_name
from striate.nets.hooks import evaluating, hooked, parts_of
from striate.nets.net import Net
from striate.nets.outputs import Logits

LEAST = 4
"""Smallest height and width of feature maps that localise well enough: the last stage with such maps is the default."""

_NO_LAYER = (
    nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.MaxPool2d, nn.Dropout, nn.Dropout2d, nn.Flatten, nn.Identity,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layer:
    """A module that gives feature maps.

    Attributes:
        name: its stage's, followed by its path inside of it: `inception4a`, `inception4a.branches.conv1x1`. In an
            external net its path there: `layer4.1.conv2`.
        module: the module itself.
        maps: how many it gives, and their height and width.
        place: where in the image their positions lie; None where that cannot be followed, or they have no place.
    """

    name: str
    module: nn.Module
    maps: tuple[int, int, int]
    place: MapPlaces | None

    def __str__(self) -> str:
        count, height, width = self.maps
        return f"{self.name} ({count} channels of {height}x{width})"


def layers(net: Net, inputs: Tensor) -> dict[str, Layer]:
    """Every module that gives feature maps (N, K, h, w), in the order in which they do, found by one forward pass.

    Args:
        net: in any mode; it runs in eval mode.
        inputs: images as the net takes them, (N, C, H, W); the first one is used.
    """
    known, parts = places(net, tuple(inputs.shape)), parts_of(net)
    found: dict[str, Layer] = {}

    def keep(name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            found.pop(name, None)  # one that runs twice stands where it ran last
            maps = (output.shape[1], output.shape[2], output.shape[3])
            found[name] = Layer(name, parts[name], maps, known.get(parts[name]))

    with hooked(parts.items(), keep), evaluating(net), torch.no_grad():
        net(inputs[:1])
    return found


def find_layer(net: Net, inputs: Tensor, name: str | None = None) -> Layer:
    """The layer of that name; by default the last stage whose maps are at least 4x4 for these images.

    An external net is one stage, so there it is the last module with such maps that does not merely pool.

    Raises:
        UsageError: there is no layer of that name, or none with maps of 4x4.
    """
    found = layers(net, inputs)
    height, width = inputs.shape[2:]
    if name is not None:
        if name not in found:
            raise unknown_name(
                f"layer with feature maps in {net.spec.name}", name, found, ", ".join(_outer(net, found))
            )
        return found[name]
    for layer in reversed([found[name] for name in _outer(net, found)]):
        if LEAST <= layer.maps[1] <= height and LEAST <= layer.maps[2] <= width:
            return layer
    raise UsageError(
        f"no stage of {net.spec.name} has feature maps of {LEAST}x{LEAST} or more for images of {height}x{width}: "
        f"choose one with {param('layer')}: {', '.join(map(str, found.values()))}"
    )


def _outer(net: Net, found: dict[str, Layer]) -> list[str]:
    """The stages; of an external net every layer that does not merely pool."""
    if isinstance(net.head, Logits):
        return [name for name, layer in found.items() if not isinstance(layer.module, _NO_LAYER)]
    return [name for name in found if name in net.stages]


def places(net: nn.Module, input_shape: tuple[int, ...]) -> dict[nn.Module, MapPlaces]:
    """Where in images (N, C, H, W) the positions of each module's maps lie: in the middle of the pixels that they read. A module
    is missing if its map cannot be followed, or if its positions have no place: each reads the whole image, or there is one only.
    """
    try:
        graph = trace(net, (1, *input_shape[1:]))
    except TraceFailure:
        return {}
    last: dict[str, int] = {}
    for node in graph.nodes[1:]:
        parts = node.module.split(".")
        last |= {".".join(parts[:depth]): node.index for depth in range(1, len(parts) + 1)}
    known = map_places(graph)
    return {
        module: place
        for name, module in net.named_modules()
        if name in last and (place := known[last[name]]) is not None
    }


def placed(maps: Tensor, place: MapPlaces | None, size: tuple[int, int]) -> Tensor:
    """Maps (N, 1, h, w) enlarged bilinearly to (N, H, W), `size` (H, W), each position in the middle of what it reads.

    Beyond the outermost positions the border goes on. Without places the maps are stretched over the image.
    """
    if place is None:
        return F.interpolate(maps, size=size, mode="bilinear", align_corners=False).squeeze(1)
    axes = []
    for pixels, positions, middle, stride in zip(size, maps.shape[2:], place.centre, place.stride, strict=True):
        at = (torch.arange(pixels, dtype=maps.dtype, device=maps.device) - middle) / stride
        axes.append(2 * at / max(positions - 1, 1) - 1)  # -1 and 1 are the outermost positions
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack((columns, rows), -1).expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=True).squeeze(1)
