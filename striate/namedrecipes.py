"""The recipes that have a name: `fast`, measured here; `tutorial`; and `paper`, which each family of nets has its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from striate.data.augmentation import Augmentation
from striate.errors import UsageError, param, unknown_name
from striate.nets import FAMILIES
from striate.recipe import Recipe, ResizeSchedule

RECIPES = ("fast", "paper", "tutorial")
LONG_RUN = 20
"""Epochs from which `fast` alters its images: measured on LeNet-5 (bench/LOG.md)."""
PROGRESSIVE = 96
"""Pixels of the shorter side from which `fast` begins with smaller images."""

TUTORIAL = Recipe(
    name="tutorial",
    source="the loop of the well-known tutorials: Adam at a constant 1e-3, nothing else",
    epochs=10,
    batch_size=64,
    optimizer="adam",
    lr=1e-3,
    schedule="constant",
)

FAST_SMALL = Recipe(
    name="fast",
    source="measured on LeNet-5 for small nets without batch norm: bench/LOG.md",
    epochs=12,
    batch_size=128,
    optimizer="adamw",
    lr=8e-3,
    schedule="one-cycle",
    warmup=0.2,
)
SMALL = 1_000_000
"""Parameters below which a net without batch norm takes the high rate of FAST_SMALL."""

FEWEST_STEPS, SMALLEST_BATCH = 12, 16
"""Steps of an epoch that `fast` wants at the least, by batches down to this size: measured on 208 photos (bench/LOG.md)."""

FAST_PLAIN = replace(
    FAST_SMALL,
    source="a safe rate for nets without batch norm behind every layer, not tuned",
    lr=1e-3,
    weight_decay=0.01,
)

FAST_NORM = replace(
    FAST_SMALL,
    source="measured here for nets with batch norm: bench/LOG.md",
    optimizer="sgd",
    lr=0.2,
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    label_smoothing=0.1,
)

_SGD = Recipe(
    name="paper",
    source="",
    epochs=90,
    batch_size=128,
    optimizer="sgd",
    lr=0.01,
    momentum=0.9,
    decay_all=True,
    schedule="step",
)

PAPER: dict[str, Recipe] = {
    family.name: Recipe.from_dict({**_SGD.as_dict(), **family.recipe}) for family in FAMILIES.values()
}
"""Family of the catalogue -> how its paper trained it."""


def for_long_runs(size: Sequence[int], flippable: bool) -> Augmentation:
    """The augmentation of recipe `fast` for runs of LONG_RUN epochs or more: mirrors half of them, where a mirrored
    image keeps its class, and moves all by up to a fourteenth of their side: 2 pixels of 28.
    """
    return Augmentation(flip=flippable, shift=max(1, round(min(size) / 14)))


def progressive(size: Sequence[int], least: int) -> ResizeSchedule:
    """The sizes of recipe `fast`: half the side for half of training, then three quarters of it, then the whole for the last
    quarter; none below `least`, in multiples of 8, which strides divide. Nothing for images below PROGRESSIVE pixels.
    """
    full = min(size)
    if full < PROGRESSIVE:
        return ResizeSchedule()
    wanted = {0.0: full / 2, 0.5: full * 3 / 4, 0.75: full}
    sides = {share: full if side == full else max(8 * round(side / 8), least) for share, side in wanted.items()}
    return ResizeSchedule(sides.items() if sides[0.0] < full else ())


def _of_few(recipe: Recipe, images: int) -> Recipe:
    """Smaller batches, so that an epoch has its `FEWEST_STEPS`, and a rate that fits them: proportional to the batch for SGD
    (Goyal et al. 2017, section 2.1), to its root for Adam (Malladi et al. 2022).
    """
    wanted = 2 ** int(math.log2(max(images / FEWEST_STEPS, SMALLEST_BATCH)))
    share = min(1.0, wanted / recipe.batch_size)
    rate = recipe.lr * (share if recipe.optimizer == "sgd" else math.sqrt(share))
    return replace(recipe, batch_size=round(share * recipe.batch_size), lr=rate)


def named_recipe(name: str, *, family: str, batch_norm: bool, params: int, images: int = 10**9) -> Recipe:
    """The recipe of that name for a net: `fast`, `paper` or `tutorial`.

    Args:
        name: one of `RECIPES`.
        family: the net's file in the catalogue; `paper` has one recipe for each, and none for `external`.
        batch_norm: whether the net has batch norm behind all its hidden layers; `fast` differs by it.
        params: the net's trainable parameters; `fast` differs by them where the catalogue's net has no batch norm.
        images: how many there are to train on; of few, `fast` makes smaller batches.

    Raises:
        UsageError: no such recipe, or no paper recipe for such a net.
    """
    if name == "fast":
        # An external net may be deep however small it is: it gets the safe rate.
        small = params < SMALL and family in PAPER
        return _of_few(FAST_NORM if batch_norm else FAST_SMALL if small else FAST_PLAIN, images)
    if name == "tutorial":
        return TUTORIAL
    if name != "paper":
        raise unknown_name("recipe", name, RECIPES, ", ".join(RECIPES))
    if family not in PAPER:
        raise UsageError(
            f"an external net has no paper recipe: use {param('recipe', 'fast')} or {param('recipe', 'tutorial')}"
        )
    return PAPER[family]
