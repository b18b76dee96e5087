"""The command that repeats a run: true when it is pasted into a shell, or absent, with the reason."""

from __future__ import annotations

import shlex
from itertools import pairwise
from pathlib import Path

from striate.commands import options, text
from striate.data import GIVEN, is_name
from striate.data.dataset import OF_FILES
from striate.nets.sources import source_path
from striate.recipe import Recipe
from striate.runforms.config import RunConfig
from striate.training import Length

AGAIN = "again"
"""The name of the run that the commands make, where several follow each other."""


def why_none(config: RunConfig) -> str | None:
    """Why no command repeats the run of a config; None where one does."""
    plan = config.plan
    if config.net.origin.given:
        return "its net was given as a module, and no command can give its initial weights"
    if config.data.location == GIVEN:
        return "its data was given in Python, and no command can give it"
    if config.only_in_python:
        return config.only_in_python
    spans, early = Length.of(plan).spans, plan.patience_restarted
    for (_, before), (done, _) in pairwise(spans):
        if done < before and done not in early:
            return f"its end was moved during training, after step {done} of {before}"
    if plan.parts is not None:
        return "memory ran out during training, and floating-point sums depend on when"
    if plan.resumed_in is not None:
        return f"it was started with {plan.ranks} processes and resumed with {plan.resumed_in}"
    return None


def repeat_command(config: RunConfig) -> str | None:
    """The command that repeats the run of a config, every choice spelled out, with a further line for each time that it was
    extended; None where `why_none` has a reason.
    """
    if why_none(config) is not None:
        return None
    spans = Length.of(config.plan).spans
    epochs = [round(steps / config.plan.steps_per_epoch, 6) for _, steps in spans]
    asked = {**(config.settings or resolved(config)), "epochs": epochs[0]}
    words = ["striate", "train", str(asked.pop("net")), *options(asked | ({"name": AGAIN} if len(spans) > 1 else {}))]
    further = [f"striate train --resume runs/{AGAIN} --epochs {text(wanted)}" for wanted in epochs[1:]]
    return "\n".join([shlex.join(words), *further])


def resolved(config: RunConfig) -> dict[str, object]:
    """The settings of a run, each as it was decided, under the names of `Settings`: `train` with them repeats it. Also of older
    runs that do not keep them, whose recipe has no other fields than those that settings have.
    """
    net, data, plan, images = config.net, config.data, config.plan, config.preprocessing
    recipe = Recipe.from_dict(config.recipe.values, newer=True)
    height, width = images.size
    target, file = net.origin.target or net.name, net.origin.file
    in_file = file if source_path(target) is not None else None
    return {
        # A net in a file as it is named from any folder.
        "net": f"{Path(in_file).resolve()}:{target.rpartition(':')[2]}" if in_file else net.name,
        "data": data.location,
        "data_dir": data.dir if is_name(data.location) else None,
        "recipe": recipe.name,
        "epochs": plan.epochs,
        **{name: getattr(recipe, name) for name in ("batch_size", "lr", "validation", "seed")},
        "augment": str(recipe.augmentation),
        "resize_schedule": str(recipe.resize_schedule),
        **{name: getattr(plan, name) for name in ("device", "threads", "layout", "precision")},
        "compile": plan.compiled,
        "deterministic": config.deterministic,
        "processes": plan.ranks,
        # Only sets that have a size of their own have images that are not square.
        "size": height if height == width else None,
        "fit": images.fit,
        **{name: getattr(recipe, name) for name in ("balance", "micro_batches", "freeze", "ema", "keep", "patience")},
        "init": net.init,
        "weights": net.weights,
        "pretrained": net.published,
        **{name: list(found) if isinstance(found := getattr(data, name), tuple) else found for name in OF_FILES},
        "range": ",".join(map(text, images.range or ())) or None,
        "log": config.log,
        "judge": config.judge,
        "report": config.report,
    }
