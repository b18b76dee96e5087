"""The command that repeats a run: true when it is pasted into a shell, or absent, with the reason."""

from __future__ import annotations

import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from striate.data import NAMED, DataSet
from striate.data.asked import OF_FILES
from striate.errors import UsageError
from striate.experiment.preparing import LAID_OVER, resolve_recipe
from striate.nets import Net
from striate.nets.netspec import NetFacts
from striate.nets.sources import source_path
from striate.recipe import RECIPES, Recipe, resize_schedule_text
from striate.runforms.config import NetConfig, RunConfig
from striate.settings import Settings
from striate.training import Length

AGAIN = "again"
"""The name of the run that the commands make, where several follow each other."""


def only_in_python(
    row: NetFacts, net: Net, dataset: DataSet, size: tuple[int, int], settings: Settings, recipe: Recipe
) -> str | None:
    """Why no command has the run's recipe; None where one has: a recipe that was made in Python may have fields that no option
    sets.

    Args:
        size: (H, W) of the pictures.
        recipe: what came of the settings.
    """
    if not isinstance(settings.recipe, Recipe):
        return None
    if recipe.name not in RECIPES:
        return f"its recipe {recipe.name} was made in Python"
    asked = {field: getattr(recipe, field) for field in LAID_OVER} | {"budget": None}
    try:
        named = resolve_recipe(
            row, net, dataset, size,
            replace(settings, recipe=recipe.name, augment=recipe.augmentation, resize_schedule=recipe.resize_schedule, **asked),
        )  # fmt: skip
    except UsageError:
        return f"its recipe was made in Python, and the net has no recipe {recipe.name}"
    ours, theirs = recipe.as_dict(), named.as_dict()
    other = [field for field in ours if ours[field] != theirs[field] and field not in ("source", "budget")]
    return f"its recipe was made in Python: {', '.join(other)} cannot be given by an option" if other else None


def why_none(config: RunConfig) -> str | None:
    """Why no command repeats the run of a config; None where one does."""
    plan = config.plan
    if config.net.origin.given:
        return "its net was given as a module, whose weights at the start no command has"
    if config.only_in_python:
        return config.only_in_python
    spans, early = Length.of(plan).spans, plan.patience_restarted
    for (_, before), (done, _) in pairwise(spans):
        if done < before and done not in early:
            return f"its end was moved on the way, after step {done} of {before}"
    if plan.parts is not None:
        return "memory ran out on the way, and sums of floats depend on where"
    if plan.resumed_in is not None:
        return f"it was begun in {plan.ranks} processes and went on in {plan.resumed_in}"
    return None


def repeat_command(config: RunConfig) -> str | None:
    """The command that repeats the run of a config, every choice that was made spelled out, with a further line for each time
    that it was extended; None where `why_none` has a reason.
    """
    if why_none(config) is not None:
        return None
    words = ["striate", "train", _net(config.net)]
    if config.net.published:
        words.append("--pretrained")
    spans = Length.of(config.plan).spans
    epochs = [round(steps / config.plan.steps_per_epoch, 6) for _, steps in spans]
    choices = _choices(config, epochs[0]) | ({"name": AGAIN} if len(spans) > 1 else {})
    for key, value in choices.items():
        option = f"--{key.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is not False and value not in (None, [], ()):
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [option, _text(one)]
    further = [f"striate train --resume runs/{AGAIN} --epochs {_text(wanted)}" for wanted in epochs[1:]]
    return "\n".join([shlex.join(words), *further])


def _choices(config: RunConfig, epochs: float) -> dict[str, object]:
    """Option -> value."""
    net, data, plan, images = config.net, config.data, config.plan, config.preprocessing
    recipe = Recipe.from_dict(config.recipe.values, newer=True)
    height, width = images.size
    return {
        "data": data.location,
        "data_dir": data.dir if data.location in NAMED else None,
        "recipe": recipe.name,
        "epochs": epochs,
        **{name: getattr(recipe, name) for name in ("batch_size", "lr", "validation", "seed")},
        "augment": str(recipe.augmentation),
        "resize_schedule": resize_schedule_text(recipe.resize_schedule),
        **{name: getattr(plan, name) for name in ("device", "threads", "layout", "precision")},
        "compile": plan.compiled,
        "deterministic": config.deterministic,
        "processes": plan.ranks,
        # Only sets that have a size of their own have pictures that are not square.
        "size": height if height == width else None,
        "fit": images.fit,
        **{name: getattr(recipe, name) for name in ("balance", "micro_batches", "freeze", "ema", "keep", "patience")},
        "init": net.init,
        "weights": net.weights,
        **{name: getattr(data, name) for name in OF_FILES},
        "range": ",".join(map(_text, images.range or ())) or None,
        "log": config.log,
        "judge": None if config.judge == "test" else config.judge,
        "no_report": not config.report,
    }


def _net(net: NetConfig) -> str:
    """The net as it is named from any folder."""
    target, file = net.origin.target or net.name, net.origin.file
    if not file or source_path(target) is None:
        return net.name
    return f"{Path(file).resolve()}:{target.rpartition(':')[2]}"


def _text(value: object) -> str:
    """A value so that it is read as the very same: all digits of a float."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(value)
