"""The views of an image in a test, and the papers' protocols by name.

Scales are the shorter side of the whole image in pixels. Those of views and protocols are written for nets that take 224x224,
as the papers' do; for a net of another size they have the same proportion to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from striate.errors import UsageError, param, unknown_name

ViewName = Literal["centre", "flip", "ten-crop", "multi-crop", "dense"]

PAPER_SIZE = 224
"""Pixels each way of the images that the papers' nets take."""
LARGEST = 8
"""Scales are at most so many times the shorter side of what the net takes."""
WINDOWS: Mapping[ViewName, int] = {"centre": 1, "flip": 1, "ten-crop": 5, "multi-crop": 25, "dense": 1}
"""Parts of an image at one scale; each is seen mirrored too, but for `centre`."""


@dataclass(frozen=True, slots=True)
class View:
    """One kind of view of an image. The softmax outputs of its parts, at all scales, are averaged.

    Attributes:
        name: `centre`: the middle of the image. `flip`: that, and it mirrored. `ten-crop`: the four corners, the middle, and
            these mirrored (Krizhevsky et al. 2012, section 4.1). `multi-crop`: a regular grid of 5x5 parts, and these mirrored
            (Simonyan and Zisserman 2014, section 3.2). `dense`: the whole image, and it mirrored; the net's head slides over
            the maps as a convolution, and its scores are averaged over the places before the softmax (ibid.).
        scales: the shorter side of the image, in pixels.
        square: only the middle of the image counts, of the shape that the net takes.
    """

    name: ViewName
    scales: tuple[int, ...]
    square: bool = False

    def passes(self, mirrored: bool) -> int:
        """The number of passes per image."""
        return len(self.scales) * WINDOWS[self.name] * (2 if mirrored and self.name != "centre" else 1)


@dataclass(frozen=True, slots=True)
class Protocol:
    """How each image of a test is viewed.

    Attributes:
        name: of a view, of `PROTOCOLS`, or `multi-scale`.
        parts: views whose softmax outputs are averaged, each counting the same.
        chosen: whether its scales were asked for.
    """

    name: str
    parts: tuple[View, ...]
    chosen: bool = False

    @property
    def views(self) -> str:
        """`dense`, or `multi-crop+dense`; `multi-scale` for itself."""
        return self.name if self.name in VIEWS else "+".join(view.name for view in self.parts)

    @property
    def scales(self) -> list[int]:
        """All of its scales, in pixels of the shorter side."""
        return sorted({scale for view in self.parts for scale in view.scales})

    @property
    def key(self) -> str:
        """The name of its folder: the name, and its scales where they were asked for."""
        return "-".join([self.name, *(map(str, self.scales) if self.chosen else ())])

    def passes(self, mirrored: bool = True) -> int:
        """The number of passes per image."""
        return sum(view.passes(mirrored) for view in self.parts)


VIEWS: Mapping[str, View] = {
    "centre": View("centre", (224,), square=True),
    "flip": View("flip", (224,), square=True),
    "ten-crop": View("ten-crop", (256,)),
    "multi-crop": View("multi-crop", (256,)),
    "dense": View("dense", (256,)),
    "multi-scale": View("dense", (224, 256, 288)),
}
"""The names that `--views` accepts. `multi-scale` is `dense` at {S - 32, S, S + 32} for VGG's S = 256."""

_JITTERED = (256, 384, 512)
PROTOCOLS: Mapping[str, tuple[tuple[View, ...], str]] = {
    "alexnet": ((View("ten-crop", (256,), square=True),), "Krizhevsky et al. 2012, section 4.1"),
    "resnet-10-crop": ((View("ten-crop", (256,)),), "He et al. 2015, Tables 2 and 3"),
    "resnet-dense": ((View("dense", (224, 256, 384, 480, 640)),), "He et al. 2015, section 3.4 and Table 4"),
    "vgg-table3-256": ((View("dense", (256,)),), "Simonyan and Zisserman 2014, Table 3, S = 256"),
    "vgg-table3-384": ((View("dense", (384,)),), "Simonyan and Zisserman 2014, Table 3, S = 384"),
    "vgg-table3-jitter": ((View("dense", (384,)),), "Simonyan and Zisserman 2014, Table 3, S in [256; 512]"),
    "vgg-table4-256": ((View("dense", (224, 256, 288)),), "Simonyan and Zisserman 2014, Table 4, S = 256"),
    "vgg-table4-384": ((View("dense", (352, 384, 416)),), "Simonyan and Zisserman 2014, Table 4, S = 384"),
    "vgg-table4-jitter": ((View("dense", _JITTERED),), "Simonyan and Zisserman 2014, Table 4, S in [256; 512]"),
    "vgg-table5-dense": ((View("dense", _JITTERED),), "Simonyan and Zisserman 2014, Table 5, dense"),
    "vgg-table5-multi-crop": ((View("multi-crop", _JITTERED),), "Simonyan and Zisserman 2014, Table 5, multi-crop"),
    "vgg-table5-both": (
        (View("multi-crop", _JITTERED), View("dense", _JITTERED)),
        "Simonyan and Zisserman 2014, Table 5, multi-crop & dense",
    ),
}
"""Name -> (views at the paper's scales, where it is published)."""


def protocol(name: str, size: tuple[int, int], scales: Sequence[int] | None = None) -> Protocol:
    """The view or the paper's protocol of that name, for a net that takes images of `size` (H, W).

    Args:
        scales: instead of a view's own, in pixels of the shorter side.

    Raises:
        UsageError: no such name; scales for a paper's protocol, or that are too small, too large, or given twice.
    """
    if name not in VIEWS and name not in PROTOCOLS:
        raise unknown_name("view or protocol", name, [*VIEWS, *PROTOCOLS], ", ".join([*VIEWS, *PROTOCOLS]))
    shorter = min(size)
    if name in PROTOCOLS:
        if scales is not None:
            raise UsageError(f"the protocol {name} has its own scales: leave {param('scales')} out, or name a view")
        return Protocol(name, tuple(_in_proportion(view, shorter) for view in PROTOCOLS[name][0]))
    usual = _in_proportion(VIEWS[name], shorter)
    if scales is None:
        return Protocol(name, (usual,))
    wanted = tuple(sorted(scales))
    if not wanted or len(set(wanted)) < len(wanted):
        raise UsageError(
            f"{param('scales')} must be different numbers of pixels, as in 224,256,288, got {list(scales)}"
        )
    if bad := [scale for scale in wanted if not 1 <= scale <= LARGEST * shorter]:
        raise UsageError(
            f"a scale is the shorter side of the whole image, here from 1 to {LARGEST * shorter} pixels ({LARGEST} "
            f"times the net's size), got {bad[0]}"
        )
    return Protocol(name, (replace(usual, scales=wanted),), chosen=wanted != usual.scales)


def _in_proportion(view: View, shorter: int) -> View:
    """The same view with its scales for a net whose images have that shorter side."""
    return replace(view, scales=tuple(round(scale * shorter / PAPER_SIZE) for scale in view.scales))
