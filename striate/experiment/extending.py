"""A run whose end is moved: a finished one is extended, an interrupted one made longer or shorter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from striate.errors import UsageError
from striate.outcome import Row
from striate.recipe import Recipe
from striate.runforms.config import RunConfig
from striate.texts import counted
from striate.training import Length
from striate.training.learning import out_of_patience


def extended(config: RunConfig, done: int, epochs: float, rows: Sequence[Row] = ()) -> tuple[RunConfig, str]:
    """(config, what is to be said) of a run that is to have `epochs` in all, decided when `done` steps were done.

    A run that its patience ended waits anew from here: it would end at once otherwise.

    Args:
        rows: of metrics.csv.

    Raises:
        UsageError: so many are done already.
    """
    plan, recipe = config.plan, Recipe.from_dict(config.recipe.values)
    per_epoch = plan.steps_per_epoch
    length = Length.of(plan)
    steps = round(epochs * per_epoch)
    if steps <= done:
        raise UsageError(
            f"epochs counts those that are done too: {done / per_epoch:.4g} are done already, got {epochs:g}; "
            f"name more than that"
        )
    restarted = tuple(step for step in plan.patience_restarted if step < done)
    impatient = out_of_patience(rows, recipe.patience, restarted) and rows[-1]["step"] == done
    if steps == length.steps and not impatient:
        return config, f"it has {counted(epochs, 'epoch')} in all as before"
    moved = length.moved(done, steps)
    restarted += (done,) * impatient
    changed = replace(moved.planned(plan), stopped_after_step=None, patience_restarted=restarted)
    now, before = counted(steps / per_epoch, "epoch"), counted(length.steps / per_epoch, "epoch")
    last, rate = (recipe.rate(at.progress(step)) for at, step in ((length, max(0, done - 1)), (moved, done)))
    end = recipe.rate(moved.progress(steps - 1))
    anew = f"its patience of {counted(recipe.patience or 0, 'epoch')} begins anew; " if impatient else ""
    return config.planned(changed, budget=None), (
        f"{anew}{now} in all instead of {before}: from step {done + 1} on the learning rate is that of a run of {now}, "
        f"{rate:.3g} after {last:.3g}, and {end:.3g} in the last step"
    )
