"""Before step 1: what was asked for, made into a config that repeats the run, and the checks that come first."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from striate.anatomy.soundness import layers_nobody_owns
from striate.anatomy.targets import check_fit
from striate.choices import Layout, Precision
from striate.data import DataSet, ImageData
from striate.data.splits import hold_out, together
from striate.errors import StriateError, UsageError, param
from striate.experiment.weights import begin_with, by_position
from striate.nets import CATALOGUE, Net, build
from striate.nets.external import ExternalFacts, adapt, input_channels
from striate.nets.netspec import NetFacts
from striate.nets.torchvision import Pretrained, pretrained
from striate.outofdistribution import REFERENCES
from striate.recipe import LONG_RUN, RECIPES, Recipe, for_long_runs, named_recipe, progressive
from striate.runforms.kinds import LARGEST_SIDE
from striate.settings import Settings
from striate.texts import duration, storage
from striate.training import Job, Manner, Speed, plan_steps
from striate.training.clock import Clock

MARGIN = 0.02
"""Share of a budget that is not planned: early is better than late."""
REPORT_SECONDS = 3.0
"""Kept free of a budget for charts, report and leaving."""
FREE_BYTES = 64 * 2**20
"""Kept free on the disk besides weights and checkpoints."""

IMAGENET = 1000
"""Classes of published weights, but for some of timm's."""
_PUBLISHED = "there are as many classes as the published weights have"

Indices = npt.NDArray[np.int64]


def begin_net(
    row: NetFacts, dataset: DataSet, size: tuple[int, int], settings: Settings
) -> tuple[Net, Pretrained | None]:
    """The net for the data's channels and classes, its weights drawn with the seed or published ones.

    An external net keeps its own number of channels where it takes no other: images are converted to it.

    Args:
        size: (H, W) of the images that it will be fed.

    Raises:
        UsageError: the net cannot have so many classes or such images, or has no published weights.
        StriateError: the published weights could not be downloaded.
    """
    channels, classes = settings.channels or dataset.train.shape[2], len(dataset.classes)
    torch.manual_seed(settings.first_seed)
    if settings.pretrained and settings.weights is not None:
        raise UsageError(
            f"{param('pretrained')} and {param('weights')} cannot both be given: a net begins with the one or the other"
        )
    published: Pretrained | None = None
    if isinstance(row, ExternalFacts):
        net, published = _begin_external(row, dataset, size, settings)
    elif settings.pretrained:
        published = pretrained(row.name, channels=channels, classes=classes)
        net = published.net
        if classes == IMAGENET:
            published = replace(published, notes=(*published.notes, by_position(_PUBLISHED, dataset.classes)))
    else:
        net = build(row.name, channels=channels, classes=classes, init=settings.init)
    if settings.weights is not None:
        published = begin_with(net, settings.weights, dataset.classes, size)
    return net, published


def _begin_external(
    row: ExternalFacts, dataset: DataSet, size: tuple[int, int], settings: Settings
) -> tuple[Net, Pretrained | None]:
    if settings.init != "default":
        raise UsageError(
            f"{param('init', settings.init)} is for nets of the catalogue: {row.name} draws its weights itself"
        )
    channels, classes = settings.channels or dataset.train.shape[2], len(dataset.classes)
    made = row.make(channels, classes, settings.pretrained)
    own = input_channels(made.module) or row.input[0]
    if own not in (1, 3):
        raise UsageError(f"{row.name} takes images of {own} channels: images have 1 (grey) or 3 (colour)")
    converted = "grey" if own == 1 else "colour"
    notes = (*made.notes, f"images are converted to {converted}") if own != channels else made.notes
    if settings.pretrained and classes == getattr(made.module, "default_cfg", {}).get("num_classes", IMAGENET):
        notes = (*notes, by_position(_PUBLISHED, dataset.classes))
    net = adapt(made.module, row, own, classes)
    try:
        notes = (*notes, *check_fit(net, size, classes, dataset.name))
    except UsageError as error:
        if (fault := layers_nobody_owns(made.module)) is not None:  # which also hides what channels it takes
            raise UsageError(f"{row.name} is no function of one image. {fault}") from error
        raise
    if made.mean is None or made.std is None:
        net.notes = notes
        return net, None
    return net, Pretrained(net=net, mean=made.mean, std=made.std, notes=notes)


def normed(net: Net) -> bool:
    """Whether the net has batch norm, behind its hidden linear layers too, so that it takes a high rate. VGG has none there: with
    the rate of the others it learned little or nothing (bench/LOG.md). Auxiliary heads do not count.
    """
    aside = {id(part) for _, head in net.auxiliary.values() for part in head.modules()}
    layers = [part for part in net.modules() if id(part) not in aside and not any(part.children())]
    norms = [isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in layers]
    linear = [place for place, part in enumerate(layers) if isinstance(part, torch.nn.Linear)]
    return any(norms) and all(norms[place + 1] for place in linear[:-1])


def resolve_recipe(row: NetFacts, net: Net, dataset: DataSet, size: tuple[int, int], settings: Settings) -> Recipe:
    """The recipe with what was asked for laid over it; `size` (H, W) is that of the images.

    Raises:
        UsageError: an unknown recipe or field of one, epochs and budget both, or a number out of range.
    """
    if settings.epochs is not None and settings.budget is not None:
        raise UsageError("epochs and budget cannot both be given: the budget decides the epochs")
    recipe = settings.recipe
    if not isinstance(recipe, Recipe):
        batch_norm = normed(net)
        params = sum(parameter.numel() for parameter in net.parameters())
        # A batch size that was asked for is taken with the rate that the recipe has for plenty of images.
        pictures = len(dataset.train) if settings.batch_size is None else 10**9
        recipe = named_recipe(str(recipe), family=row.family, batch_norm=batch_norm, params=params, pictures=pictures)
        if recipe.name == "fast":
            recipe = replace(recipe, resize_schedule=progressive(size, row.min_size))
    # No recipe mirrors images that lose their meaning by it, such as digits; who asks for it by name gets it.
    usual = recipe.augmentation
    recipe = replace(recipe, augmentation=replace(usual, flip=usual.flip and dataset.flippable))
    recipe = recipe.changed(settings.of_recipe())
    if recipe.resize_schedule:
        check_size(row, (min(side for _, side in recipe.resize_schedule),) * 2)
    return recipe


def usual_rate(row: NetFacts, net: Net, dataset: DataSet, size: tuple[int, int], settings: Settings) -> float | None:
    """The rate that the recipe has by itself where another one was asked for, or may have been; None where none was."""
    asked = settings.recipe
    if isinstance(asked, Recipe):
        name = asked.name if asked.name in RECIPES else "fast"
    elif settings.lr is None:
        return None
    else:
        name = str(asked)
    usual = replace(settings, recipe=name, lr=None, epochs=None, budget=None)
    try:
        return resolve_recipe(row, net, dataset, size, usual).lr
    except UsageError:  # of a recipe that was made in Python, in whose place another one may not do
        return None


def split(dataset: DataSet, recipe: Recipe) -> tuple[ImageData, ImageData | None, Indices | None]:
    """(training images, validation images or None, positions held out of the training split or None)."""
    if "validation" in dataset.splits:
        return dataset.train, dataset.splits["validation"], None
    # The same images for every seed, so that runs can be compared on them.
    groups = together(dataset.train) if recipe.validation else None
    kept, held = hold_out(dataset.train.labels, recipe.validation, seed=0, groups=groups)
    if not len(held):
        return dataset.train, None, held
    return dataset.train.select(kept), dataset.train.select(held), held


def check_size(row: NetFacts, size: tuple[int, int]) -> None:
    """Raises UsageError if images of `size` (H, W) are too large for any run, or too small for the net; it names nets of its
    family that take them.
    """
    if min(size) < row.min_size:
        others = [
            name for name, other in CATALOGUE.items() if other.family == row.family and other.min_size <= min(size)
        ]
        instead = f", or {' or '.join(others[:3])}" if others else ""
        raise UsageError(
            f"{row.name} needs images of at least {row.min_size}x{row.min_size}, got {size[0]}x{size[1]}: "
            f"use {param('size', row.min_size)}{instead}"
        )
    if max(size) > LARGEST_SIDE:
        raise UsageError(f"images can have at most {LARGEST_SIDE}x{LARGEST_SIDE} pixels, got {size[0]}x{size[1]}")


def check_space(job: Job, out: Path) -> None:
    """Raises StriateError if the disk of `out` has too little room for the run's weights and checkpoints."""
    place = next(folder for folder in (out, *out.resolve().parents) if folder.is_dir())
    weights = sum(tensor.numel() * tensor.element_size() for tensor in job.net.state_dict().values())
    needed = FREE_BYTES + weights + 3 * 3 * weights  # last weights; three checkpoints, each with two moments a weight
    free = shutil.disk_usage(place).free
    if free < needed:
        raise StriateError(
            f"{place} has {storage(free)} free and this run may need {storage(needed)}: "
            f"make room, or name another folder with {param('out')}"
        )


def manners(device: torch.device, cores: int, settings: Settings) -> list[Manner]:
    """The manners of computing to be tried, the likeliest first; bfloat16 by itself only on CUDA, where it can be faster."""
    threads, layout, precision = settings.threads, settings.layout, settings.precision
    halves = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    layouts: list[Layout] = [layout] if layout else ["nchw"] if device.type == "mps" else ["nchw", "nhwc"]
    numbers = [threads] if threads else [cores, 1] if cores > 1 and device.type == "cpu" else [cores]
    precisions: list[Precision] = [precision] if precision else ["fp32", "bf16"] if halves else ["fp32"]
    return [Manner(number, one, kind, settings.compile) for number in numbers for one in layouts for kind in precisions]


def for_length(job: Job, settings: Settings, flippable: bool, steps: int) -> Job:
    """The job for a run of so many steps: recipe `fast` alters the images of a long one, which would be learnt by heart.

    Args:
        flippable: whether a mirrored image keeps its class.

    Returns:
        `job` itself where the run is short, or where images or recipe were asked for.
    """
    if settings.recipe != "fast" or settings.augment is not None or steps < LONG_RUN * job.batches.steps_per_epoch:
        return job
    augmentation = for_long_runs(job.preprocessing.size, flippable)
    return replace(
        job, recipe=replace(job.recipe, augmentation=augmentation), batches=job.batches.altered_by(augmentation)
    )


def plan(job: Job, speed: Speed, tests: int, clock: Clock) -> int:
    """How many steps to train: the recipe's epochs, or what its budget leaves after start, evaluation and report; the clock is
    told until when.

    Raises:
        UsageError: the budget leaves nothing.
    """
    if job.recipe.budget is None:
        return plan_steps(job, speed, None)
    held = len(job.validation or ())
    calibrating = held + min(REFERENCES, held)  # it looks at its references twice
    after = REPORT_SECONDS + (tests + calibrating) * speed.picture
    clock.until = clock.started + (1 - MARGIN) * job.recipe.budget - after
    seconds = clock.until - time.perf_counter()
    if seconds < speed.step:
        raise UsageError(
            f"a budget of {duration(job.recipe.budget)} leaves no time to train: starting took {duration(clock.total())}, "
            f"evaluation and report need {duration(after)}"
        )
    return plan_steps(job, speed, seconds)
