"""The command that repeats a run: true when it is pasted into a shell, or absent, with the reason."""

from __future__ import annotations

import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from striate.choices import renamed
from striate.data import NAMED, DataSet
from striate.errors import UsageError
from striate.experiment.preparing import LAID_OVER, resolve_recipe
from striate.nets import Net
from striate.nets.netspec import NetFacts
from striate.nets.sources import source_path
from striate.recipe import RECIPES, Recipe, resize_schedule_text
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


def why_none(config: dict[str, Any]) -> str | None:
    """Why no command repeats the run of a config; None where one does."""
    plan, net = config["plan"], config["net"]
    if net["origin"].get("given"):
        return "its net was given as a module, whose weights at the start no command has"
    if config.get("only_in_python"):
        return str(config["only_in_python"])
    spans, early = Length.of(plan).spans, plan.get("patience_restarted", ())
    for (_, before), (done, _) in pairwise(spans):
        if done < before and done not in early:
            return f"its end was moved on the way, after step {done} of {before}"
    if "parts" in plan:
        return "memory ran out on the way, and sums of floats depend on where"
    if "resumed_in" in plan:
        return f"it was begun in {plan.get('ranks', 1)} processes and went on in {plan['resumed_in']}"
    return None


def repeat_command(config: dict[str, Any]) -> str | None:
    """The command that repeats the run of a config, every choice that was made spelled out, with a further line for each time
    that it was extended; None where `why_none` has a reason.
    """
    if why_none(config) is not None:
        return None
    words = ["striate", "train", _net(config["net"])]
    if config["net"].get("published", bool(config["net"]["pretrained"]) and not config["net"].get("weights")):
        words.append("--pretrained")
    spans = Length.of(config["plan"]).spans
    epochs = [round(steps / config["plan"]["steps_per_epoch"], 6) for _, steps in spans]
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


def _choices(config: dict[str, Any], epochs: float) -> dict[str, Any]:
    """Option -> value."""
    net, data, recipe, plan = config["net"], config["data"], renamed(config["recipe"]), config["plan"]
    height, width = config["preprocessing"]["size"]
    return {
        "data": data["location"],
        "data_dir": data.get("dir") if data["location"] in NAMED else None,
        "recipe": recipe["name"],
        "epochs": epochs,
        "batch_size": recipe["batch_size"],
        "lr": recipe["lr"],
        "validation": recipe["validation"],
        "seed": recipe["seed"],
        "augment": recipe["augmentation"],
        "resize_schedule": resize_schedule_text(
            tuple((share, side) for share, side in recipe.get("resize_schedule", ()))
        ),
        "device": plan["device"],
        "threads": plan["threads"],
        "layout": plan["layout"],
        "precision": plan.get("precision", "fp32"),
        "compile": plan.get("compiled", False),
        "deterministic": config.get("deterministic", False),
        "processes": plan.get("ranks", 1),
        # Only sets that have a size of their own have pictures that are not square.
        "size": height if height == width else None,
        "fit": config["preprocessing"].get("fit", "crop"),
        "balance": recipe.get("balance", "none"),
        "micro_batches": recipe.get("micro_batches", 1),
        "freeze": recipe.get("freeze", 0.0),
        "ema": recipe.get("ema", 0.0),
        "keep": recipe.get("keep", "last"),
        "patience": recipe.get("patience"),
        "init": net["init"],
        "weights": net.get("weights"),
        "group_by": data.get("group_by"),
        "exclude": data.get("exclude", []),
        "splits": data.get("splits"),
        "range": ",".join(map(_text, config["preprocessing"].get("range") or ())) or None,
        "log": config.get("log"),
        "judge": None if (judge := config.get("judge", "test")) == "test" else judge,
        "no_report": not config.get("report", True),
    }


def _net(net: dict[str, Any]) -> str:
    """The net as it is named from any folder."""
    name, file = str(net["name"]), net["origin"].get("file")
    target = str(net["origin"].get("target") or name)
    if not file or source_path(target) is None:
        return name
    return f"{Path(file).resolve()}:{target.rpartition(':')[2]}"


def _text(value: object) -> str:
    """A value so that it is read as the very same: all digits of a float."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(value)
