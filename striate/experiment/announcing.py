"""What is said before training starts."""

from __future__ import annotations

from collections.abc import Sequence

from striate.anatomy.operations import in_words
from striate.checkup import Finding
from striate.data import DataSet
from striate.data.augmentation import Augmentation
from striate.data.splits import seen_in_training
from striate.experiment.beginning import Begun
from striate.recipe import Recipe
from striate.runforms.config import Plan
from striate.texts import counted, dimensions, duration, percent

TOLD = ("unreadable", "leakage")
"""Kinds of findings that are said in other words."""


def announcement(begun: Begun) -> dict[str, str]:
    """What will happen: net, data, recipe, device; a line each."""
    job, dataset, recipe = begun.job, begun.dataset, begun.job.recipe
    validating = f", {len(job.validation):,} to validate" if job.validation else ""
    testing = f", {len(dataset.splits['test']):,} to test" if "test" in dataset.splits else ""
    dial = f"a budget of {duration(recipe.budget)}" if recipe.budget else counted(recipe.epochs, "epoch")
    augmented = [] if recipe.augmentation == Augmentation() else [f"augment {recipe.augmentation}"]
    if not dataset.flippable and not recipe.augmentation.flip:
        augmented.append("no flip (a mirrored picture of this set can mean another class)")
    seen = [f"{number:,} of {len(dataset.splits[part]):,} {part}" for part, number in seen_in_training(dataset).items()]
    leaked = (
        {"shared": f"{' and '.join(seen)} pictures are training pictures too: their accuracy says too much"}
        if seen
        else {}
    )
    notes = "".join(f"; {note}" for note in (*begun.net.notes, *begun.net.pretrained))
    macs = in_words(begun.totals.macs_counted, begun.totals.not_counted)
    return {
        "net": f"{begun.row.name} ({begun.row.title}), {begun.totals.parameters:,} parameters, {macs} a picture{notes}",
        "data": f"{dataset.name}: {len(job.batches.labels):,} to train{validating}{testing}; "
        f"{dimensions((*job.preprocessing.size, job.preprocessing.channels))}, {len(dataset.classes)} classes",
        **({} if dataset.ledger is None else {"ledger": "\n        ".join(dataset.ledger.lines())}),
        "recipe": ", ".join(
            [
                f"{recipe.name}: {dial}",
                f"batch {recipe.batch_size}",
                f"{recipe.optimizer} at {recipe.lr:g} {recipe.schedule}",
                *_further(recipe),
                *augmented,
                f"seed {recipe.seed}",
            ]
        ),
        **({"cache": dataset.place} if dataset.place.startswith("no cache") else {}),
        **leaked,
        "device": f"{job.device.type}, {job.ranks.count} ranks" if job.ranks.count > 1 else str(job.device),
    }


def _further(recipe: Recipe) -> list[str]:
    """What is unusual in a recipe."""
    return [
        *([] if recipe.balance == "none" else [f"balanced by {recipe.balance}"]),
        *([] if not recipe.resize_schedule else [f"sizes {recipe.resize_schedule}"]),
        *([] if recipe.micro_batches == 1 else [f"in {recipe.micro_batches} parts"]),
        *([] if not recipe.freeze else [f"body frozen for {percent(recipe.freeze, 0)}"]),
        *([] if not recipe.ema else [f"mean of the weights, decay {recipe.ema:g}"]),
        *([] if recipe.keep == "last" else ["the best epoch is kept"]),
        *([] if recipe.patience is None else [f"patience {recipe.patience}"]),
    ]


def worth_a_word(findings: Sequence[Finding], dataset: DataSet, wanting: Sequence[str] = ()) -> dict[str, str]:
    """What the splits are wanting, and what the check-up has to say beyond what `announcement` says: findings of weight in words,
    hints by their number.
    """
    told = [finding for finding in findings if finding.kind not in TOLD]
    lines = [f"{words[0].upper()}{words[1:]}." for words in wanting]
    lines += [f"{finding.title}. {finding.words}" for finding in told if finding.severity != "hint"]
    if hints := sum(finding.severity == "hint" for finding in told):
        lines.append(f"{counted(hints, 'hint')} more: striate data check {dataset.location}")
    return {"check": "\n        ".join(lines)} if lines else {}


def prediction(plan: Plan) -> str:
    """What was measured: how long an epoch and the whole training take on this machine."""
    threads = f", {counted(plan.threads, 'thread')}" if plan.device == "cpu" else ""
    manner = [plan.layout, *(["bf16"] * (plan.precision == "bf16")), *(["compiled"] * plan.compiled)]
    return (
        f"{counted(plan.epochs, 'epoch')} of {plan.steps_per_epoch} steps, {duration(plan.seconds_per_epoch)} each: "
        f"{duration(plan.seconds)} of training{threads}, {', '.join(manner)}"
    )
