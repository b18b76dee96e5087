"""The recipe of a run: what was asked for laid over a named one, and what a long run changes in it."""

from __future__ import annotations

from dataclasses import fields, replace

import torch

from striate.data import DataSet
from striate.errors import UsageError
from striate.experiment.initial_net import check_size
from striate.namedrecipes import LONG_RUN, PAPER, RECIPES, for_long_runs, named_recipe, progressive
from striate.nets import Net
from striate.nets.netspec import NetFacts
from striate.recipe import Recipe
from striate.settings import Settings
from striate.training import Job


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
    """The recipe with what was asked for laid over it; `size` (H, W) is that of the images. Raises UsageError for an unknown
    recipe or field, or a number out of range.
    """
    recipe = settings.recipe
    if not isinstance(recipe, Recipe):
        batch_norm = normed(net)
        params = sum(parameter.numel() for parameter in net.parameters())
        # A batch size that was asked for is taken with the rate that the recipe has for plenty of images.
        images = len(dataset.train) if settings.batch_size is None else 10**9
        recipe = named_recipe(str(recipe), family=row.family, batch_norm=batch_norm, params=params, images=images)
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


def base_of(row: NetFacts, net: Net, recipe: Recipe) -> dict[str, object]:
    """The settings `recipe` and `set` that give a recipe: a named one, and what differs from it in the fields that are no setting
    of their own.
    """
    settings = {item.name for item in fields(Settings)} | {"source", "augmentation"}
    known = row.family in PAPER or recipe.name != "paper"
    name = recipe.name if recipe.name in RECIPES and known else "tutorial"
    params = sum(parameter.numel() for parameter in net.parameters())
    base = named_recipe(name, family=row.family, batch_norm=normed(net), params=params).as_dict()
    ours = recipe.as_dict()
    return {
        "recipe": name,
        "set": {
            field: str(getattr(recipe, field)) if isinstance(value, list) else value
            for field, value in ours.items()
            if field not in settings and value != base[field]
        },
    }


def for_length(job: Job, settings: Settings, flippable: bool, steps: int) -> Job:
    """The job for a run of so many steps: recipe `fast` augments the images of a long one, which the net would memorise.

    It is `job` itself where the run is short, or where augmentation or recipe were asked for. `flippable`: whether a mirrored
    image keeps its class.
    """
    if settings.recipe != "fast" or settings.augment is not None or steps < LONG_RUN * job.batches.steps_per_epoch:
        return job
    augmentation = for_long_runs(job.preprocessing.size, flippable)
    return replace(
        job, recipe=replace(job.recipe, augmentation=augmentation), batches=job.batches.altered_by(augmentation)
    )
