"""An experiment: train a net, evaluate it, write the report. What `striate train` and `striate.train()` do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

from striate.anatomy.targets import facts
from striate.data import DataSet, Preprocessing, load_data
from striate.data.augmentation import Augmentation
from striate.data.preprocessing import Fit, preprocessing_for
from striate.errors import DataError, Interrupted, UsageError
from striate.evaluation import Evaluation, score, write_evaluation
from striate.evaluation import evaluate as evaluate_run
from striate.experiment.announcing import announcement, prediction, repeat_command
from striate.experiment.preparing import (
    Settings,
    begin_net,
    check_size,
    check_space,
    make_config,
    manners,
    plan,
    predictions,
    resolve_recipe,
    split,
    write_start,
)
from striate.inference import build_net, save_weights, set_layout
from striate.machine import pick_device, usable_cores, use_cores
from striate.recipe import Balance, Recipe
from striate.report import write_all, write_mistakes, write_samples
from striate.report.card import write_card
from striate.run import Run, write_json
from striate.training import Job, Progress, State, fit, fresh_state, make_job, measure, resumed_state
from striate.training.clock import Clock

__all__ = ["evaluate", "resume", "train"]


def train(
    net: str | torch.nn.Module = "lenet5",
    data: str | Path = "fashion-mnist-sample",
    *,
    recipe: str | Recipe = "fast",
    epochs: float | None = None,
    budget: float | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    validation: float | None = None,
    augment: str | Augmentation | None = None,
    group_by: str | None = None,
    exclude: Sequence[str] = (),
    on_bad: Literal["skip", "stop"] = "skip",
    balance: Balance | None = None,
    size: int | None = None,
    fit: Fit = "crop",
    init: Literal["default", "paper"] = "default",
    pretrained: bool = False,
    device: str = "auto",
    threads: int | None = None,
    layout: str | None = None,
    name: str | None = None,
    out: str | Path = "runs",
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    started: float | None = None,
) -> Run:
    """Trains a net, evaluates it on the test pictures once, at the end, and writes the report.

    Args:
        net: a name of the catalogue; `torchvision:NAME`, `timm:NAME` or `FILE.py:OBJECT`, see docs/elsewhere.md; or a
            module, whose present weights are the start. A module is copied, not changed.
        data: a set's name, a folder or table of pictures, or a NumPy archive: see `load_data`.
        recipe: `fast`, `paper`, `tutorial`, or a Recipe of your own. What follows is laid over it where it is given.
        epochs: passes over the training pictures.
        budget: seconds for the whole command instead; the epochs are planned from it.
        batch_size, lr, seed, validation: see `Recipe`.
        augment: what is done to training pictures instead of what the recipe does: `flip,shift=4,colour`, `none`, or an
            `Augmentation`.
        group_by: a pattern in file names, such as `patient[0-9]+`: files in which it finds the same are never on two sides
            of a split that is made.
        exclude: patterns of files to leave out, such as `ants/*.gif`.
        on_bad: whether files that cannot be read are left out and named (`skip`) or are an error (`stop`).
        balance: for classes of very different sizes: `weights` in the loss, or a `sampler` that shows each class as often.
        size: pictures are scaled to (size, size) pixels.
        fit: how pictures of another shape come to that: `crop`, `pad` or `squash`, see `Preprocessing`.
        init: how the weights are drawn, `default` or `paper`.
        pretrained: begin with torchvision's published ImageNet weights, downloaded once; their mean and deviation too.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        threads, layout: of torch on the CPU, and of the weights (`nchw` or `nhwc`); the fastest, measured, if None. Sums of
            floats depend on them, so that two runs of one seed are the same to the bit only with the same ones.
        name: of the run; made of net and data if None.
        out: the folder that the run is made in.
        data_dir: where to look for named sets first.
        progress: what is printed while it goes; a bar or lines on stderr if None.
        started: `time.perf_counter()` from which a budget counts; now if None.

    Raises:
        UsageError: an unknown name, or numbers that do not go together.
        DataError: the data is missing, damaged, or nothing for this net.
        Interrupted: SIGINT or SIGTERM; the run can be resumed.
        StriateError: training failed, or there is no place to write.
    """
    progress = progress or Progress()
    clock = Clock(started if started is not None else time.perf_counter())
    clock.add("start", clock.total())
    row = facts(net)
    settings = Settings(
        recipe=recipe,
        epochs=epochs,
        budget=budget,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        validation=validation,
        augment=augment,
        group_by=group_by,
        exclude=exclude,
        balance=balance,
        size=size,
        fit=fit,
        init=init,
        pretrained=pretrained,
    )
    chosen = pick_device(device)
    cores = use_cores()
    tried = manners(chosen, cores, threads, layout)
    with clock.charge("load"):
        dataset = load_data(
            data,
            data_dir=data_dir,
            size=(size, size) if size else (row.input[1], row.input[2]),
            channels=row.input[0],
            workers=usable_cores(),
            group_by=group_by,
            exclude=exclude,
            on_bad=on_bad,
            fit=fit,
            told=progress.reading,
        )
        dataset.require_excluded()
        picture = (size, size) if size else dataset.train.shape[:2]
        check_size(row, picture)
        begun, published = begin_net(row, dataset, picture, settings)
        resolved = resolve_recipe(row, begun, dataset, settings)
        training, validating, held = split(dataset, resolved)
        preprocessing = preprocessing_for(training, picture, begun.channels, fit)
        if published is not None:
            preprocessing = replace(preprocessing, mean=published.mean, std=published.std)
        config = make_config(begun, dataset, preprocessing, resolved, settings)
        config["net"]["pretrained"] = list(published.notes) if published is not None else []
        job = make_job(
            config, preprocessing.resized(training), validating and preprocessing.resized(validating), chosen, begun
        )
    check_space(job, Path(out))
    progress.table(announcement(job, row, dataset, config))
    with clock.charge("measure"):
        speed = measure(job, tried)
    steps = plan(job, speed, len(dataset.splits["test"]), clock)
    config["recipe"]["epochs"] = round(steps / job.batches.steps_per_epoch, 6)
    config["plan"] |= predictions(job, speed, steps)
    run = Run.create(Path(out), name, f"{Path(row.name).name.replace('.py:', '-')}-{dataset.name}")
    progress.table({"plan": prediction(config["plan"]), "run": str(run.path)})
    with clock.charge("load"):
        write_start(run, config, dataset, held, chosen)
    _write_summary(run, "running", clock)
    _finish(run, job, dataset, fresh_state(job), clock, progress)
    return Run.open(run.path, module=net if isinstance(net, torch.nn.Module) else None)


def resume(
    path: str | Path,
    *,
    module: torch.nn.Module | None = None,
    trust_code: bool = False,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    started: float | None = None,
) -> Run:
    """Goes on with an interrupted run from its newest checkpoint, with its own settings; then evaluates and reports.

    Args:
        path: the run's folder.
        module, trust_code: for a net from elsewhere, see `Run.open`.
        data_dir, progress, started: as in `train`.

    Raises:
        UsageError: the run is finished, or its net cannot be made.
        DataError: no checkpoint, or the data is no longer what the run was trained on.
    """
    progress = progress or Progress()
    clock = Clock(started if started is not None else time.perf_counter())
    clock.add("start", clock.total())
    run = Run.open(path, module=module, trust_code=trust_code)
    config = run.config
    if run.summary.get("status") == "finished":
        raise UsageError(f"{run.path} is finished: all {config['plan']['steps']} steps are done")
    device = pick_device(config["plan"]["device"])
    use_cores()
    torch.set_num_threads(config["plan"]["threads"])  # float sums depend on the number of threads
    with clock.charge("load"):
        preprocessing = Preprocessing.from_dict(config["preprocessing"])
        dataset = load_data(
            config["data"]["location"],
            data_dir=data_dir,
            size=preprocessing.size,
            channels=preprocessing.channels,
            workers=usable_cores(),
            group_by=config["data"].get("group_by"),
            exclude=config["data"].get("exclude", ()),
            fit=preprocessing.fit,
            told=progress.reading,
        )
        if dataset.train.fingerprint() != run.data["fingerprint"]:
            raise DataError(f"{dataset.location} has changed since {run.path} was begun: its training pictures differ")
        training, validation, _ = split(dataset, Recipe.from_dict(config["recipe"]))
        job = make_job(
            config,
            preprocessing.resized(training),
            validation and preprocessing.resized(validation),
            device,
            build_net(run),
        )
        set_layout(job.net, config["plan"]["layout"])
        state, warnings = resumed_state(job, run)
    for warning in warnings:
        progress.say(f"warning: {warning}")
    progress.say(f"going on with {run.path} after step {state.step} of {config['plan']['steps']}")
    _write_summary(run, "running", clock)
    _finish(run, job, dataset, state, clock, progress)
    return Run.open(run.path)


def evaluate(
    run: Run,
    data: str | None = None,
    *,
    split: str = "test",
    device: str = "auto",
    data_dir: str | Path | None = None,
) -> Evaluation:
    """`striate.evaluation.evaluate`, then the pictures of the worst mistakes and the report made again with the result."""
    evaluation = evaluate_run(run, data, split=split, device=device, data_dir=data_dir)
    write_mistakes(run.path / "evaluations" / evaluation.key, evaluation.data.pixels, evaluation.predictions)
    write_all(run)
    return evaluation


def _finish(run: Run, job: Job, dataset: DataSet, state: State, clock: Clock, progress: Progress) -> None:
    """The rest of a run from `state`: training, the last weights, evaluation, report."""
    try:
        fit(job, run, run.config["plan"]["steps"], state, clock, progress)
        save_weights(job.net, run.path / "weights" / "last.safetensors", run.config)
        with clock.charge("evaluate"):
            evaluation = score(
                job.net, job.preprocessing, dataset.splits["test"], job.device, name=dataset.name, split="test"
            )
            write_evaluation(run, evaluation)
    except BaseException as error:
        _write_summary(run, "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed", clock)
        write_card(run)
        raise
    _write_summary(run, "finished", clock)
    with clock.charge("report"):
        _report(run, job, evaluation)
    _write_summary(run, "finished", clock)


def _report(run: Run, job: Job, evaluation: Evaluation) -> None:
    training = job.batches
    write_samples(run, training.data.pixels, training.data.labels)
    write_mistakes(run.path / "evaluations" / evaluation.key, evaluation.data.pixels, evaluation.predictions)
    write_all(run)


def _write_summary(run: Run, status: str, clock: Clock) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before: dict[str, Any] = run.summary or {"started": now, "command": repeat_command(run.config)}
    finished = None if status == "running" else now
    write_json(
        run.path / "summary.json", {**before, "status": status, "finished": finished, "seconds": clock.as_dict()}
    )
