"""What is said before training starts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from striate.checkup import Finding
from striate.data import DataSet
from striate.data.augmentation import Augmentation
from striate.data.splits import seen_in_training
from striate.nets.netspec import NetFacts
from striate.recipe import Recipe, sizes_text
from striate.training import Job, Length, duration

TOLD = ("unreadable", "leakage")
"""Kinds of findings that are said in other words."""


def announcement(job: Job, row: NetFacts, dataset: DataSet, config: dict[str, Any]) -> dict[str, str]:
    """What will happen: net, data, recipe, device; a line each."""
    plan, recipe = config["plan"], job.recipe
    height, width = job.preprocessing.size
    validating = f"{len(job.validation):,} to validate, " if job.validation else ""
    dial = f"a budget of {duration(recipe.budget)}" if recipe.budget else count(recipe.epochs, "epoch")
    left_out = f", {count(len(dataset.unreadable), 'unreadable file')} left out" if dataset.unreadable else ""
    if dataset.excluded:
        left_out += f", {len(dataset.excluded_files())} excluded"
    augmented = [] if recipe.augmentation == Augmentation() else [f"augment {recipe.augmentation}"]
    if not dataset.flippable and not recipe.augmentation.flip:
        augmented.append("no flip (a mirrored picture of this set can mean another class)")
    seen = [f"{number:,} of {len(dataset.splits[part]):,} {part}" for part, number in seen_in_training(dataset).items()]
    leaked = (
        {"shared": f"{' and '.join(seen)} pictures are training pictures too: their accuracy says too much"}
        if seen
        else {}
    )
    begun = "".join(f"; {note}" for note in (*config["net"]["notes"], *config["net"]["pretrained"]))
    return {
        "net": f"{row.name} ({row.title}), {plan['params']:,} parameters, {plan['macs']:,} MACs a picture{begun}",
        "data": f"{dataset.name}: {len(job.batches.labels):,} to train, {validating}{len(dataset.splits['test']):,} to test; "
        f"{height}x{width}x{job.preprocessing.channels}, {len(dataset.classes)} classes{left_out}",
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
        *([] if not recipe.sizes else [f"sizes {sizes_text(recipe.sizes)}"]),
        *([] if recipe.accumulate == 1 else [f"in {recipe.accumulate} parts"]),
        *([] if not recipe.freeze else [f"body frozen for {recipe.freeze:.0%}"]),
        *([] if not recipe.ema else [f"mean of the weights, decay {recipe.ema:g}"]),
        *([] if recipe.keep == "last" else ["the best epoch is kept"]),
        *([] if recipe.patience is None else [f"patience {recipe.patience}"]),
    ]


def worth_a_word(findings: Sequence[Finding], dataset: DataSet) -> dict[str, str]:
    """What the check-up has to say beyond what `announcement` says: findings of weight in words, hints by their number."""
    told = [finding for finding in findings if finding.kind not in TOLD]
    lines = [f"{finding.title}. {finding.words}" for finding in told if finding.severity != "hint"]
    if hints := sum(finding.severity == "hint" for finding in told):
        lines.append(f"{count(hints, 'hint')} more: striate data check {dataset.location}")
    return {"check": "\n        ".join(lines)} if lines else {}


def _range(ends: Sequence[float] | None, python: bool) -> tuple[float, ...] | str | None:
    """A range as it is given in Python, or on the command line."""
    if ends is None:
        return None
    return tuple(ends) if python else ",".join(f"{end:.12g}" for end in ends)


def prediction(plan: dict[str, Any]) -> str:
    """What was measured: how long an epoch and the whole training take on this machine."""
    threads = f", {count(plan['threads'], 'thread')}" if plan["device"] == "cpu" else ""
    manner = [plan["layout"], *(["bf16"] * (plan["precision"] == "bf16")), *(["compiled"] * plan["compiled"])]
    return (
        f"{count(plan['epochs'], 'epoch')} of {plan['steps_per_epoch']} steps, {duration(plan['seconds_per_epoch'])} each: "
        f"{duration(plan['seconds'])} of training{threads}, {', '.join(manner)}"
    )


def count(number: float, noun: str) -> str:
    """1 epoch, 12 epochs, 37.25 epochs."""
    return f"{number:.4g} {noun}{'s' * (number != 1)}"


def repeat_command(config: dict[str, Any]) -> str:
    """The command that repeats the run of a config: every choice that was made is spelled out.

    A module that was given has no name for the command line: the call in Python, with the `module` as it was, then. A line for
    each moving of the run's end, and where it has to be stopped before that, if it was.
    """
    net, data, recipe = config["net"], config["data"], config["recipe"]
    spans = Length.of(config["plan"]).spans
    epochs = [round(steps / config["plan"]["steps_per_epoch"], 6) for _, steps in spans]
    choices: dict[str, Any] = {
        "data": data["location"],
        "recipe": recipe["name"],
        "epochs": epochs[0],
        "batch_size": recipe["batch_size"],
        "lr": recipe["lr"],
        "validation": recipe["validation"],
        "seed": recipe["seed"],
        "augment": recipe["augmentation"],
        "sizes": sizes_text(tuple((share, side) for share, side in recipe.get("sizes", ()))),
        "threads": config["plan"]["threads"],
        "layout": config["plan"]["layout"],
        "precision": config["plan"].get("precision", "fp32"),
        "compile": config["plan"].get("compiled", False),
        "deterministic": config.get("deterministic", False),
        "processes": config["plan"].get("ranks", 1),
        "size": config["preprocessing"]["size"][0],
        "fit": config["preprocessing"].get("fit", "crop"),
        "range": _range(config["preprocessing"].get("range"), bool(net["origin"].get("given"))),
        "balance": recipe.get("balance", "none"),
        "accumulate": recipe.get("accumulate", 1),
        "freeze": recipe.get("freeze", 0.0),
        "ema": recipe.get("ema", 0.0),
        "keep": recipe.get("keep", "last"),
        "patience": recipe.get("patience"),
        "init": net["init"],
        "weights": net.get("weights"),
        "group_by": data.get("group_by"),
        "exclude": data.get("exclude", []),
        "log": config.get("log"),
        "name": "again" if len(spans) > 1 else None,
    }
    choices = {key: value for key, value in choices.items() if value is not False and value not in (None, [])}
    given = net["origin"].get("given")
    if given:
        call = f"striate.train(module, {', '.join(f'{key}={value!r}' for key, value in choices.items())})"
    else:
        words = [
            "striate",
            "train",
            net["name"],
            *(["--pretrained"] if net["pretrained"] and not net.get("weights") else []),
        ]
        for key, value in choices.items():
            option = f"--{key.replace('_', '-')}"
            if value is True:
                words.append(option)
                continue
            for one in value if isinstance(value, list) else [value]:
                words += [option, f"{one:.12g}" if isinstance(one, float) else str(one)]
        call = shlex.join(words)
    for (_, before), (done, _), wanted in zip(spans, spans[1:], epochs[1:], strict=False):
        stopped = f"  # to be stopped after step {done}" if done < before else ""
        if given:
            moved = f"striate.resume('runs/again', module=module, epochs={wanted:.12g})"
        else:
            moved = f"striate train --resume runs/again --epochs {wanted:.12g}"
        call += f"{stopped}\n{moved}"
    return call
