"""A run whose end is moved: a finished one is extended, an interrupted one made longer or shorter."""

from __future__ import annotations

import copy
from typing import Any

from striate.errors import UsageError
from striate.experiment.announcing import count
from striate.recipe import Recipe
from striate.training import Length


def extended(config: dict[str, Any], done: int, epochs: float) -> tuple[dict[str, Any], str]:
    """(config, what is to be said) of a run that is to have `epochs` in all, decided when `done` steps were done.

    Raises:
        UsageError: so many are done already.
    """
    plan, recipe = config["plan"], Recipe.from_dict(config["recipe"])
    per_epoch = plan["steps_per_epoch"]
    length = Length.of(plan)
    steps = round(epochs * per_epoch)
    if steps <= done:
        raise UsageError(
            f"epochs counts those that are done too: {done / per_epoch:.4g} are done already, got {epochs:g}; "
            f"name more than that"
        )
    if steps == length.steps:
        return config, f"it has {count(epochs, 'epoch')} in all as before"
    moved = length.moved(done, steps)
    changed = copy.deepcopy(config)
    changed["plan"] = moved.planned(plan)
    changed["recipe"] |= {"epochs": changed["plan"]["epochs"], "budget": None}
    now, before = count(steps / per_epoch, "epoch"), count(length.steps / per_epoch, "epoch")
    last, rate = (recipe.rate(at.progress(step)) for at, step in ((length, max(0, done - 1)), (moved, done)))
    end = recipe.rate(moved.progress(steps - 1))
    return changed, (
        f"{now} in all instead of {before}: from step {done + 1} on the learning rate is that of a run of {now}, {rate:.3g} "
        f"after {last:.3g}, and {end:.3g} in the last step"
    )
