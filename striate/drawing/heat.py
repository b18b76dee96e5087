"""The colours of a heat map, and a heat map laid over its image."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from striate.drawing.images import Pixels

Heat = npt.NDArray[np.float32]

BRIGHTEST = 99.5
"""Percentile of a map that has the last colour: a few outliers of a gradient are not to leave the rest dark."""
OPACITY = 0.75
"""Opacity of the last colour over the image; the first one is clear."""

_TO_LMS = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_TO_RGB = np.array(
    [[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965],
     [-0.0041960863, -0.7034186147, 1.7076147010]]
)  # fmt: skip


@functools.cache
def palette() -> Pixels:
    """uint8 (256, 3), from near black over purple and orange to pale yellow.

    Lightness rises in equal steps of OKLab (Ottosson 2020, "A perceptual color space for image processing"), so that equal
    differences of a map look equal, also without colour vision and on a grey print.
    """
    share = np.linspace(0, 1, 256)
    lightness = 0.16 + 0.80 * share
    hue = np.radians(-75 + 180 * share)
    # As colourful as a screen can show each lightness: little at both ends.
    chroma = 0.02 + 0.18 * np.sin(np.pi * share) ** 0.8
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    linear = np.clip((lab @ _TO_LMS.T) ** 3 @ _TO_RGB.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    rounded: Pixels = np.round(255 * encoded).astype(np.uint8)
    return rounded


def scaled(heat: Heat) -> Heat:
    """A map scaled to 0 to 1: 0 stays, and its 99.5th percentile (or, if that is 0, its maximum) becomes 1."""
    top = float(np.percentile(heat, BRIGHTEST)) or float(heat.max(initial=0))
    return np.clip(heat / top, 0, 1).astype(np.float32) if top > 0 else np.zeros_like(heat, dtype=np.float32)


def colours(heat: Heat) -> Pixels:
    """uint8 (H, W, 3) of a map (H, W)."""
    return _coloured(scaled(heat))


def shaded(values: npt.NDArray[np.floating], low: float, high: float) -> Pixels:
    """uint8 (H, W, 3): values from `low` to `high` in the colours of a map, dark to light."""
    return _coloured(np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values))


def _coloured(share: npt.NDArray[np.floating]) -> Pixels:
    found: Pixels = palette()[np.round(255 * share).astype(np.intp)]
    return found


def overlay(pixels: Pixels, heat: Heat) -> Pixels:
    """The map over its image, the more opaque the higher it is.

    Args:
        pixels: uint8 (H, W, C), C = 1 or 3.
        heat: (H, W), 0 and more, as `attribution` gives it; on a scale of its own.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: the two differ in size.
    """
    if pixels.shape[:2] != heat.shape:
        raise ValueError(f"the map of an image of {pixels.shape[:2]} must have that size, got {heat.shape}")
    luma = [1.0] if pixels.shape[2] == 1 else [0.299, 0.587, 0.114]
    grey = (pixels.astype(np.float32) @ np.array(luma, dtype=np.float32))[..., None]
    base = 0.6 * grey + 0.4 * pixels  # paler, so that its own colours are not taken for the map's
    opacity = OPACITY * scaled(heat)[..., None]
    return np.round((1 - opacity) * base + opacity * colours(heat)).astype(np.uint8)
