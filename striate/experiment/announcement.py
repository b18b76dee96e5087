"""The text printed before training starts."""

from __future__ import annotations

from collections.abc import Sequence

from striate.anatomy.operations import in_words
from striate.data.augmentation import Augmentation
from striate.data.splits import seen_in_training
from striate.experiment.setup import Setup
from striate.runforms.config import Plan
from striate.texts import counted, dimensions, duration, percent

REPORTED = ("unreadable", "leakage")
"""Kinds of findings that other lines of the announcement report already."""


def announcement(setup: Setup) -> dict[str, str | Sequence[str]]:
    """One line each for net, data, recipe and device."""
    job, dataset, recipe = setup.job, setup.dataset, setup.job.recipe
    validating = f", {len(job.validation):,} validation" if job.validation else ""
    testing = f", {len(dataset.splits['test']):,} test" if "test" in dataset.splits else ""
    dial = f"a budget of {duration(recipe.budget)}" if recipe.budget else counted(recipe.epochs, "epoch")
    further = {
        f"class balance by {recipe.balance}": recipe.balance != "none",
        f"sizes {recipe.resize_schedule}": recipe.resize_schedule,
        f"in {recipe.micro_batches} micro-batches": recipe.micro_batches > 1,
        f"backbone frozen for {percent(recipe.freeze, 0)}": recipe.freeze,
        f"moving average of the weights, decay {recipe.ema:g}": recipe.ema,
        "keeping the best epoch": recipe.keep == "best",
        f"patience {recipe.patience}": recipe.patience,
        f"augment {recipe.augmentation}": recipe.augmentation != Augmentation(),
        "no flip (mirroring can change the class here)": not (dataset.flippable or recipe.augmentation.flip),
    }
    seen = [f"{number:,} of {len(dataset.splits[part]):,} {part}" for part, number in seen_in_training(dataset).items()]
    shared = f"{' and '.join(seen)} images are also training images: their accuracy is too optimistic"
    notes = "".join(f"; {note}" for note in (*setup.net.notes, *setup.net.pretrained))
    macs = in_words(setup.totals.macs_counted, setup.totals.not_counted)
    return {
        "net": f"{setup.row.name} ({setup.row.title}), {setup.totals.parameters:,} parameters, {macs} per image{notes}",
        "data": f"{dataset.name}: {len(job.batches.labels):,} training{validating}{testing} images; "
        f"{dimensions((*job.preprocessing.size, job.preprocessing.channels))}, {len(dataset.classes)} classes",
        **({} if dataset.ledger is None else {"ledger": dataset.ledger.lines()}),
        "recipe": ", ".join(
            [
                f"{recipe.name}: {dial}",
                f"batch {recipe.batch_size}",
                f"{recipe.optimizer}, peak learning rate {recipe.lr:.4g}, {recipe.schedule}",
                *(words for words, there in further.items() if there),
                f"seed {recipe.seed}",
            ]
        ),
        **({"cache": dataset.place} if dataset.place.startswith("no cache") else {}),
        **({"shared": shared} if seen else {}),
        "device": f"{job.device.type}, {job.ranks.count} ranks" if job.ranks.count > 1 else str(job.device),
    }


def remarks(setup: Setup) -> dict[str, str | Sequence[str]]:
    """Classes that splits lack, and findings that `announcement` does not report: warnings in words, hints counted."""
    told = [finding for finding in setup.findings if finding.kind not in REPORTED]
    lines = [f"{words[0].upper()}{words[1:]}." for words in setup.remarks]
    lines += [f"{finding.title}. {finding.words}" for finding in told if finding.severity != "hint"]
    if hints := sum(finding.severity == "hint" for finding in told):
        lines.append(f"{counted(hints, 'more hint')}; see: striate data check {setup.dataset.location}")
    return {"check": lines} if lines else {}


def prediction(plan: Plan) -> str:
    """The measured plan: how long an epoch and the whole training take on this machine."""
    threads = f", {counted(plan.threads, 'thread')}" if plan.device == "cpu" else ""
    execution = [plan.layout, *(["bf16"] * (plan.precision == "bf16")), *(["compiled"] * plan.compiled)]
    return (
        f"{counted(plan.epochs, 'epoch')} of {plan.steps_per_epoch} steps, {duration(plan.seconds_per_epoch)} per epoch, "
        f"{duration(plan.seconds)} in all{threads}, {', '.join(execution)}"
    )
