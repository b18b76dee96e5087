"""An experiment: train a net, evaluate it, write the report. What `striate train` and `striate.train()` do."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

from striate.data import DataSet, Preprocessing, load_data
from striate.data.augmentation import Augmentation
from striate.data.preprocessing import Fit
from striate.errors import DataError, Interrupted, StriateError, UsageError
from striate.evaluation import Evaluation, ViewsTable, score, write_evaluation
from striate.evaluation import compare_views as compare_run_views
from striate.evaluation import evaluate as evaluate_run
from striate.evaluation.views import Told
from striate.experiment.announcing import announcement, prediction, repeat_command, worth_a_word
from striate.experiment.beginning import begin, write_start
from striate.experiment.extending import extended
from striate.experiment.preparing import check_space, manners, plan, predictions, split
from striate.experiment.restarting import begun_before, check_restarts, has_checkpoint
from striate.experiment.settings import Settings
from striate.inference import build_net, load_net, save_weights, set_layout
from striate.machine import usable_cores, use_cores
from striate.recipe import Balance, Keep, Recipe, Sizes
from striate.report import write_all, write_mistakes, write_samples
from striate.report.card import write_card
from striate.run import Run, write_json, write_yaml
from striate.tracking import Kind, Log
from striate.training import Job, Length, Progress, State, fit, fresh_state, make_job, measure, resumed_state
from striate.training.clock import Clock
from striate.training.finder import Found, find_rate
from striate.training.preflight import Check, first_step, preflight
from striate.training.ranks import Ranks, spread

__all__ = ["Settings", "compare_views", "evaluate", "resume", "search_rate", "train", "train_with", "try_out"]


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
    sizes: str | Sizes | None = None,
    group_by: str | None = None,
    exclude: Sequence[str] = (),
    on_bad: Literal["skip", "stop"] = "skip",
    balance: Balance | None = None,
    accumulate: int | None = None,
    freeze: float | None = None,
    ema: float | None = None,
    keep: Keep | None = None,
    patience: int | None = None,
    size: int | None = None,
    fit: Fit = "crop",
    init: Literal["default", "paper"] = "default",
    pretrained: bool = False,
    device: str = "auto",
    threads: int | None = None,
    layout: str | None = None,
    processes: int | None = None,
    log: Kind | None = None,
    name: str | None = None,
    out: str | Path = "runs",
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Run:
    """Trains a net, evaluates it on the test pictures once, at the end, and writes the report.

    Args:
        net to data_dir: see `Settings`, which says what each means.
        name: of the run; made of net and data if None.
        out: the folder that the run is made in.
        progress: what is printed while it goes; a bar or lines on stderr if None. Of one that goes to other processes only its
            `quiet` is taken along.

    Raises:
        UsageError: an unknown name, or numbers that do not go together.
        DataError: the data is missing, damaged, or nothing for this net.
        Interrupted: SIGINT or SIGTERM; the run can be resumed.
        StriateError: training failed, or there is no place to write.
    """
    settings = Settings(
        net=net,
        data=data,
        recipe=recipe,
        epochs=epochs,
        budget=budget,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        validation=validation,
        balance=balance,
        accumulate=accumulate,
        freeze=freeze,
        ema=ema,
        keep=keep,
        patience=patience,
        augment=augment,
        sizes=sizes,
        group_by=group_by,
        exclude=exclude,
        on_bad=on_bad,
        size=size,
        fit=fit,
        init=init,
        pretrained=pretrained,
        device=device,
        threads=threads,
        layout=layout,
        processes=processes,
        log=log,
        data_dir=data_dir,
    )
    return train_with(settings, name=name, out=out, progress=progress)


def train_with(
    settings: Settings,
    *,
    name: str | None = None,
    out: str | Path = "runs",
    progress: Progress | None = None,
    started: float | None = None,
) -> Run:
    """As `train`. `started`: `time.perf_counter()` from which a budget counts; now if None."""
    started = started if started is not None else time.perf_counter()
    check_restarts()
    path = spread(settings.processes, _train, settings, name, Path(out), progress or Progress(), started)
    return Run(path, module=settings.net if isinstance(settings.net, torch.nn.Module) else None)


def _train(ranks: Ranks, settings: Settings, name: str | None, out: Path, progress: Progress, started: float) -> Path:
    """What each rank does; gives the run's folder."""
    before = ranks.decided(lambda: begun_before(out, name))
    if before is not None and ranks.decided(lambda: has_checkpoint(before)):
        run = Run.open(before, module=settings.net if isinstance(settings.net, torch.nn.Module) else None)
        return before if _finished(run) else _resume(ranks, run, None, settings.data_dir, progress, started)
    progress = progress if ranks.first else Progress(quiet=True)
    clock = Clock(started)
    clock.add("start", clock.total())
    with clock.charge("load"):
        begun = ranks.together(lambda: begin(settings, progress, ranks))
    dataset, config, job = begun.dataset, begun.config, begun.job
    tried = manners(job.device, begun.cores, settings.threads, settings.layout)
    ranks.decided(lambda: check_space(job, out))
    progress.table(announcement(job, begun.row, dataset, config))
    progress.table(worth_a_word(begun.findings, dataset))
    with clock.charge("measure"):
        speed = measure(job, tried)
        worries = [check for check in first_step(job) if check.verdict != "ok"] if speed.parts == 1 else []
    for check in worries:
        progress.say(f"warning: {check.name}: {check.said}")
    if speed.parts != job.recipe.accumulate:
        progress.say(
            f"memory holds this step only in parts: a batch is computed in {speed.parts} of them, one after the other"
        )
        job = replace(job, recipe=replace(job.recipe, accumulate=speed.parts))
        config["recipe"]["accumulate"] = speed.parts
    steps, clock.until = ranks.decided(lambda: (plan(job, speed, len(dataset.splits["test"]), clock), clock.until))
    config["recipe"]["epochs"] = round(steps / job.batches.steps_per_epoch, 6)
    config["plan"] |= predictions(job, speed, steps)
    called = f"{Path(begun.row.name).name.replace('.py:', '-')}-{dataset.name}"
    run = Run(ranks.decided(lambda: before or Run.create(out, name, called).path))
    run.config = config
    progress.table({"plan": prediction(config["plan"]), "run": str(run.path)})
    if ranks.first:
        with clock.charge("load"):
            write_start(run, begun)
        _write_summary(run, "running", clock)
    _finish(run, job, dataset, fresh_state(job), clock, progress)
    return run.path


def try_out(settings: Settings, *, progress: Progress | None = None) -> list[Check]:
    """The pre-flight: what can be known of a training in about ten seconds. Nothing is written, and no test picture is looked at.

    Raises as `train` does before step 1.
    """
    progress = progress or Progress()
    _require_one(settings)
    begun = begin(settings, progress)
    progress.table(announcement(begun.job, begun.row, begun.dataset, begun.config))
    progress.table(worth_a_word(begun.findings, begun.dataset))
    return preflight(begun.job)


def search_rate(settings: Settings, *, progress: Progress | None = None) -> Found:
    """The learning-rate finder: what the loss does while the rate rises. Nothing is written.

    Raises as `train` does before step 1.
    """
    progress = progress or Progress()
    _require_one(settings)
    begun = begin(settings, progress)
    progress.table(announcement(begun.job, begun.row, begun.dataset, begun.config))
    return find_rate(begun.job)


def _require_one(settings: Settings) -> None:
    if settings.processes not in (None, 1):
        raise UsageError("a look beforehand is made in one process: leave --processes out")


def resume(
    path: str | Path,
    *,
    epochs: float | None = None,
    module: torch.nn.Module | None = None,
    trust_code: bool = False,
    processes: int | None = None,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    started: float | None = None,
) -> Run:
    """Goes on with a run from its newest whole checkpoint, with its own settings; then evaluates and reports.

    On the CPU it ends with the bits of a run that nothing interrupted, if nothing but the run's end is changed.

    Args:
        path: the run's folder.
        epochs: moves its end: in all, those that are done included. That extends a finished run. From the step on at which it
            goes on, each step has the rate that it has in a run of so many epochs, so that a schedule that falls to zero
            rises again, the less the fewer epochs are added, and ends at zero. The run's config keeps what was decided.
        module, trust_code: for a net from elsewhere, see `Run.open`.
        processes: ranks to train in; as many as it had if None. With another number sums are rounded otherwise.
        data_dir, progress, started: as in `train`.

    Raises:
        UsageError: the run is finished and no epochs are added, so many are done already, or its net cannot be made.
        DataError: no checkpoint, or the data is no longer what the run was trained on.
        Interrupted, StriateError: see `train`.
    """
    started = started if started is not None else time.perf_counter()
    check_restarts()
    run = Run.open(path, module=module, trust_code=trust_code)
    plan = run.config["plan"]
    if _finished(run) and epochs is None:
        raise UsageError(
            f"{run.path} is finished: all {plan['steps']} steps are done. To train it longer, say how many epochs it "
            f"is to have in all: striate train --resume {run.path} --epochs {2 * plan['epochs']:g}"
        )
    if processes is None and Ranks.here().count == 1:
        processes = plan.get("ranks", 1)
    spread(processes, _resume, run, epochs, data_dir, progress or Progress(), started)
    return Run(run.path, module=module, trust_code=trust_code)


def _finished(run: Run) -> bool:
    """Whether it came to its end; without a report it died between its last step and that."""
    return run.summary.get("status") == "finished" and "report" in run.summary.get("seconds", {})


def _resume(
    ranks: Ranks, run: Run, epochs: float | None, data_dir: str | Path | None, progress: Progress, started: float
) -> Path:
    """What each rank does; gives the run's folder."""
    progress = progress if ranks.first else Progress(quiet=True)
    clock = Clock(started)
    clock.add("start", clock.total())
    with clock.charge("load"):
        dataset, job = ranks.together(lambda: _made_again(ranks, run, data_dir, progress))
        state, warnings = resumed_state(job, run)
    for warning in warnings:
        progress.say(f"warning: {warning}")
    config, before = run.config, run.config["plan"].get("ranks", 1)
    if ranks.count != before:
        progress.say(
            f"in {ranks.count} ranks instead of {before}: sums are rounded otherwise, and dropout falls otherwise"
        )
    with naming_disk(run):
        if epochs is not None:
            config, moved = extended(config, state.step, epochs)
            progress.say(moved)
        progress.say(f"going on with {run.path} after step {state.step} of {config['plan']['steps']}")
        run.config = config
        if ranks.first and epochs is not None:
            write_yaml(run.path / "config.yaml", config)
        if ranks.first:
            _write_summary(run, "running", clock)
    _finish(run, job, dataset, state, clock, progress)
    return run.path


def _made_again(ranks: Ranks, run: Run, data_dir: str | Path | None, progress: Progress) -> tuple[DataSet, Job]:
    """The data of a run, and its job as it was before step 1.

    Raises:
        DataError: the data has changed.
    """
    config, plan = run.config, run.config["plan"]
    device = ranks.device(plan["device"] if ranks.count == 1 else plan["device"].split(":")[0])
    cores = use_cores(ranks.local_count)
    # Sums of floats depend on the number of threads.
    torch.set_num_threads(plan["threads"] if plan.get("ranks", 1) == ranks.count else min(plan["threads"], cores))
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
    validation = validation and preprocessing.resized(validation)
    job = make_job(config, preprocessing.resized(training), validation, device, build_net(run), ranks)
    set_layout(job.net, plan["layout"])
    return dataset, job


def evaluate(
    run: Run,
    data: str | Path | None = None,
    *,
    split: str = "test",
    views: str = "centre",
    scales: Sequence[int] | None = None,
    robust: bool = False,
    device: str = "auto",
    data_dir: str | Path | None = None,
    told: Told | None = None,
) -> Evaluation:
    """`striate.evaluation.evaluate`, then the pictures of the worst mistakes and the report made again with the result."""
    evaluation = evaluate_run(
        run, data, split=split, views=views, scales=scales, robust=robust, device=device, data_dir=data_dir, told=told
    )
    _show(run, evaluation)
    write_all(run)
    return evaluation


def compare_views(
    run: Run,
    data: str | Path | None = None,
    *,
    split: str = "test",
    views: Sequence[str] | None = None,
    device: str = "auto",
    data_dir: str | Path | None = None,
    told: Told | None = None,
) -> ViewsTable:
    """`striate.evaluation.compare_views`, then pictures and report as of `evaluate`."""
    table = compare_run_views(run, data, split=split, views=views, device=device, data_dir=data_dir, told=told)
    for evaluation in table.evaluations:
        _show(run, evaluation)
    write_all(run)
    return table


def _show(run: Run, evaluation: Evaluation) -> None:
    """The pictures of the worst mistakes."""
    write_mistakes(run.path / "evaluations" / evaluation.key, evaluation.data.pixels, evaluation.predictions)


def _finish(run: Run, job: Job, dataset: DataSet, state: State, clock: Clock, progress: Progress) -> None:
    """The rest of a run from `state`: training, the last weights, evaluation, report. Rank 0 does what follows training."""
    if not job.ranks.first:
        fit(job, run, Length.of(run.config["plan"]), state, clock, progress)
        return
    try:
        with naming_disk(run), Log(run, progress.say) as log:
            log.rows(state.rows)
            fit(job, run, Length.of(run.config["plan"]), state, clock, progress, log)
            save_weights(state.meant(job), run.path / "weights" / "last.safetensors", run.config)
            _note_events(run, job, state)
            net = state.meant(job) if job.recipe.keep == "last" else load_net(run, job.device)
            with clock.charge("evaluate"):
                evaluation = score(
                    net, job.preprocessing, dataset.splits["test"], job.device, name=dataset.name, split="test"
                )
                write_evaluation(run, evaluation)
            log.evaluation(evaluation.summary)
            if log.seconds:
                clock.add("log", log.seconds)
            _write_summary(run, "finished", clock)
            with clock.charge("report"):
                _report(run, job, evaluation)
            _write_summary(run, "finished", clock)
    except BaseException as error:
        with suppress(OSError):  # a full disk takes no word about itself
            _write_summary(
                run, "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed", clock
            )
            write_card(run)
        raise


def _note_events(run: Run, job: Job, state: State) -> None:
    """Keeps with the plan what went otherwise than planned."""
    plan = run.config["plan"]
    events = {"stopped_after_step": state.step} if state.step < plan["steps"] else {}
    if state.parts != job.recipe.accumulate:
        events["parts"] = state.parts
    if events:
        write_yaml(run.path / "config.yaml", {**run.config, "plan": {**plan, **events}})


@contextmanager
def naming_disk(run: Run) -> Iterator[None]:
    """Makes an error of the disk one that names it and says the way out.

    Raises:
        StriateError: the disk is full or broken; what had been saved still is.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS):
            raise
        saved = any((run.path / "checkpoints").glob("step-*.pt"))
        way = f"go on with: striate train --resume {run.path}" if saved else "start again"
        free = shutil.disk_usage(run.path).free / 2**20
        raise StriateError(
            f"the disk of {run.path} does not take what is to be written ({error.strerror}; {free:,.0f} MiB are free): "
            f"make room there and {way}"
        ) from error


def _report(run: Run, job: Job, evaluation: Evaluation) -> None:
    training = job.batches
    write_samples(run, training.data.pixels, training.data.labels)
    write_mistakes(run.path / "evaluations" / evaluation.key, evaluation.data.pixels, evaluation.predictions)
    write_all(run)


def _write_summary(run: Run, status: str, clock: Clock) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    changed = {
        "command": repeat_command(run.config),
        "status": status,
        "finished": None if status == "running" else now,
        "seconds": clock.as_dict(),
    }
    before: dict[str, Any] = run.summary or {"started": now}
    write_json(run.path / "summary.json", {**before, **changed})
