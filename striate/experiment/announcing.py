"""What is said before training starts."""

from __future__ import annotations

from typing import Any

import torch

from striate.data import DataSet
from striate.nets import NetSpec
from striate.run import Run
from striate.training import Job, duration


def announcement(job: Job, row: NetSpec, dataset: DataSet, config: dict[str, Any], run: Run) -> dict[str, str]:
    """What will happen: net, data, recipe, device, run; a line each."""
    plan, recipe = config["plan"], job.recipe
    height, width = job.preprocessing.size
    validating = f"{len(job.validation):,} to validate, " if job.validation else ""
    dial = f"a budget of {duration(recipe.budget)}" if recipe.budget else f"{recipe.epochs:g} epochs"
    left_out = f", {len(dataset.unreadable)} unreadable files left out" if dataset.unreadable else ""
    extras = [f"flip, shift {recipe.shift}" if recipe.flip and recipe.shift else "flip" if recipe.flip else ""]
    return {
        "net": f"{row.name} ({row.title}), {plan['params']:,} parameters, {plan['macs']:,} MACs a picture",
        "data": f"{dataset.name}: {len(job.batches.labels):,} to train, {validating}{len(dataset.splits['test']):,} to test; "
        f"{height}x{width}x{job.preprocessing.channels}, {len(dataset.classes)} classes{left_out}",
        "recipe": ", ".join(
            [
                f"{recipe.name}: {dial}",
                f"batch {recipe.batch_size}",
                f"{recipe.optimizer} at {recipe.lr:g} {recipe.schedule}",
                *filter(None, extras),
                f"seed {recipe.seed}",
            ]
        ),
        "device": f"{job.device}, {torch.get_num_threads()} threads",
        "run": str(run.path),
    }


def prediction(plan: dict[str, Any]) -> str:
    """The line about what was measured: how long an epoch and the whole training take on this machine."""
    return (
        f"plan    {plan['epochs']:.4g} epochs of {plan['steps_per_epoch']} steps, {plan['seconds_per_epoch']:.2g} s each: "
        f"{duration(plan['seconds'])} of training"
    )
