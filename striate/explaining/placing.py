"""Where in the image the positions of a feature map lie: each in the middle of the pixels that it reads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.anatomy.receptive import MapPlaces, map_places
from striate.anatomy.tracing import TraceFailure, trace


def places(net: nn.Module, input_shape: tuple[int, ...]) -> dict[nn.Module, MapPlaces]:
    """Where the positions lie of the maps that the modules of a net give for images (N, C, H, W). Those are missing that cannot
    be followed, and those whose positions have no place: each reads the whole image, or there is only one.
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
    """Maps (N, 1, h, w) enlarged to images of `size` (H, W), bilinearly between the middles of what the positions read; beyond
    the outermost ones the border goes on. Without places the maps are stretched over the image.

    Returns: (N, H, W).
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
