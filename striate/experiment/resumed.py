"""A run that goes on from its newest whole checkpoint, also with its end moved, or under torchrun --max-restarts: when a rank
dies all are started again, with the same command, and find their run.
"""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime
from pathlib import Path

import torch

from striate.arguments import check_fields, checked, takes
from striate.data import DataLike, DataSet, is_name, read_data
from striate.errors import DataError, UsageError, param
from striate.evaluation.subject import SHOWN, require_place
from striate.events import Observer
from striate.experiment.finish import finish, held, naming_disk, write_summary
from striate.experiment.images import split
from striate.inference import build_net
from striate.machine import be_deterministic, usable_cores, use_cores
from striate.outcome import Row
from striate.recipe import Recipe
from striate.run import Run
from striate.runforms.config import RunConfig
from striate.texts import counted, dimensions
from striate.training import Audience, Execution, Job, Length, Progress, Stop, make_job, resumed_state
from striate.training.clock import Clock
from striate.training.ranks import Ranks, spread
from striate.training.rows import out_of_patience

RANKS_A_CORE = 4
"""Processes that a run may ask for by itself."""


@dataclass(frozen=True, slots=True)
class Source:
    """The data of a run that goes on: the folder to look for named sets in first, and data given in Python."""

    dir: str | Path | None = None
    given: DataLike | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    """The arguments of `resume`."""

    path: str | Path
    _: KW_ONLY
    epochs: float | None = None
    module: torch.nn.Module | None = None
    trust_code: bool = False
    processes: int | None = None
    data: DataLike | None = None
    data_dir: str | Path | None = None
    progress: Progress | None = None
    observers: Sequence[Observer] = ()
    stop: Stop | None = None
    started: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@checked
@takes(_Call)
def resume(call: _Call) -> Run:
    """Goes on with a run from its newest whole checkpoint, with its own settings; then evaluates and reports.

    On the CPU it ends with the bits of a run that nothing interrupted, if nothing but the run's end is changed.

    Args:
        path: the run's folder.
        epochs: moves its end: in all, those that are done included. That extends a finished run. From the step on at which it
            goes on, each step has the rate that it has in a run of so many epochs, so that a schedule that falls to zero
            rises again, the less the fewer epochs are added, and ends at zero. The run's config keeps what was decided.
        module, trust_code: for an external net, see `Run.open`.
        processes: ranks to train in; as many as it had if None. With another number sums are rounded otherwise.
        data: where the run's data lies now, if it was moved; it is known again by its content, and the run keeps the new place.
            Or the data itself, where it was given in Python.
        data_dir, progress, observers, stop, started: as in `train`.

    Raises:
        UsageError: the run is finished and no epochs are added, so many are done already, its net cannot be made, or another
            process trains it.
        DataError: no checkpoint, or the data is no longer what the run was trained on.
        Interrupted, StriateError: see `train`.
    """
    started = call.started if call.started is not None else time.perf_counter()
    check_restarts()
    run = Run.open(call.path, module=call.module, trust_code=call.trust_code)
    if finished(run) and call.epochs is None:
        ending = run.ending
        further = ending.planned_epochs * (1 if ending.steps < ending.planned_steps else 2)
        raise UsageError(
            f"{run.path} is {ending}. To extend it, give the total number of epochs: "
            f"striate train --resume {shlex.quote(str(run.path))} --epochs {further:g}"
        )
    processes = call.processes
    if processes is None and Ranks.here().count == 1:
        processes = _ranks(run)
    source = Source(call.data_dir, call.data)
    if isinstance(call.data, str | Path):
        config, location = run.config, str(call.data) if is_name(str(call.data)) else str(Path(call.data).resolve())
        settings = {**config.settings, "data": location} if config.settings else {}
        run.config = replace(config, data=replace(config.data, location=location), settings=settings)
        source = Source(call.data_dir)
    audience = Audience([call.progress or Progress(), *call.observers], call.stop)
    with audience.answered():
        spread(processes, go_on, audience, run, call.epochs, source, started)
    return Run(run.path, module=call.module, trust_code=call.trust_code)


def _difference(run: Run, dataset: DataSet) -> str:
    """How the training images of a data set differ from those that a run was begun with."""
    had, has = run.data.classes, dataset.train.classes
    if had != has:
        return f"its classes are {', '.join(has[:SHOWN])}, but they were {', '.join(had[:SHOWN])}"
    if run.data.shape != dataset.train.shape:
        return f"its images are {dimensions(dataset.train.shape)}, but they were {dimensions(run.data.shape)}"
    kept = run.split.content or {}
    parts = ["train"] if "validation" in dataset.splits else ["train", "validation"]
    before = Counter(one for part in parts for one in kept.get(part, ()))
    now = Counter(dataset.train.content_hashes())
    if before and before != now:
        gone, new = (before - now).total(), (now - before).total()
        return f"of {before.total():,} training images {gone:,} are gone or changed, and {new:,} are new"
    count = sum(run.data.counts.get(part, 0) for part in parts)
    if count != len(dataset.train):
        return f"it has {len(dataset.train):,} training images, but had {count:,}"
    return "its training images, their labels or their order differ"


def _ranks(run: Run) -> int:
    """As many as the run had. Raises DataError if this machine is much too small for them."""
    ranks = run.config.plan.ranks
    most = max(RANKS_A_CORE * usable_cores(), torch.accelerator.device_count())
    if ranks > most:
        raise DataError(
            f"{run.path / 'config.yaml'}: plan.ranks is {ranks}, but this machine has {usable_cores()} cores: no more "
            f"than {most} processes are started automatically. Set the number with {param('processes')}"
        )
    return ranks


def finished(run: Run) -> bool:
    """Whether it is complete; one without a report died between its last step and that."""
    return run.summary.status == "finished" and "report" in run.summary.seconds


def go_on(ranks: Ranks, audience: Audience, run: Run, epochs: float | None, source: Source, started: float) -> Path:
    """The work of each rank; returns the run's folder."""
    clock = Clock(started)
    try:
        with held(ranks, run, audience):
            _go_on(ranks, audience, run, epochs, source, clock)
    except BaseException as error:
        # As the process that died before left it.
        if ranks.first and not isinstance(error, UsageError) and run.summary.status == "running":
            with suppress(OSError):
                write_summary(run, "interrupted", clock)
        raise
    return run.path


def _go_on(ranks: Ranks, audience: Audience, run: Run, epochs: float | None, source: Source, clock: Clock) -> None:
    clock.add("start", clock.total())
    with clock.charge("load"):
        dataset, job = ranks.together(lambda: _made_again(ranks, run, source, audience))
        state, warnings = resumed_state(job, run)
    for warning in warnings:
        audience.warn(warning)
    config, plan = run.config, run.config.plan
    if ranks.count != plan.ranks:
        audience.say(f"{ranks.count} ranks instead of {plan.ranks}: rounding and dropout differ from the earlier steps")
        if state.step:
            config = replace(config, plan=replace(plan, resumed_in=ranks.count))
    with naming_disk(run):
        if epochs is not None:
            config, moved = extended(config, state.step, epochs, state.rows)
            audience.say(moved)
        audience.say(f"resuming {run.path} after step {state.step} of {config.plan.steps}")
        run.config = config
        if ranks.first and config != Run(run.path).config:
            run.keep(config)
        if ranks.first:
            write_summary(run, "running", clock)
    finish(run, job, dataset, state, clock, audience)


def _made_again(ranks: Ranks, run: Run, source: Source, audience: Audience) -> tuple[DataSet, Job]:
    """The data of a run, and its job as it was before step 1. Raises DataError if the data has changed."""
    plan, location = run.config.plan, run.config.data.location
    device = ranks.device(plan.device if ranks.count == 1 else plan.device.split(":")[0])
    cores = use_cores(ranks.local_count)
    if run.config.deterministic:
        be_deterministic()
    execution = Execution.of(plan)
    if plan.ranks != ranks.count:
        execution = replace(execution, threads=min(execution.threads, cores))
    torch.set_num_threads(execution.threads)  # sums of floats depend on it
    if source.given is None:
        require_place(run, location)
    given = location if source.given is None else source.given
    reading = replace(run.reading, tested=run.config.judge == "test")
    dataset = read_data(given, reading, data_dir=source.dir, workers=usable_cores(), on_progress=audience.reading)
    if dataset.train.fingerprint() != run.data.fingerprint:
        raise DataError(
            f"{dataset.location} is not the data that {run.path} was trained "
            f"on: {_difference(run, dataset)}. To resume, put the images "
            "back that it had, or train again"
        )
    net = build_net(run)
    try:
        recipe = Recipe.from_dict(run.config.recipe.values)
        training, validation, _ = split(dataset, recipe)
        job = make_job(recipe, run.preprocessing, (training, validation), device, net, ranks)
    except (UsageError, DataError) as error:  # the number comes from the config, not from the user
        raise DataError(f"{run.path / 'config.yaml'}: {error}") from error
    if (steps := job.batches.steps_per_epoch) != plan.steps_per_epoch:
        raise DataError(
            f"{run.path / 'config.yaml'}: plan.steps_per_epoch is {plan.steps_per_epoch:,}, but its images make "
            f"{steps:,} batches of recipe.batch_size, {job.recipe.batch_size:,}"
        )
    execution.apply_to(job.step)
    return dataset, job


def check_restarts() -> None:
    """Raises UsageError if torchrun could not start ranks of several nodes again: its agents then share a store that keeps the
    addresses of those that are gone, and count restarts each by itself.
    """
    said = os.environ
    restarts, nodes = (int(said.get(name, 0)) for name in ("TORCHELASTIC_MAX_RESTARTS", "GROUP_WORLD_SIZE"))
    if restarts > 0 and nodes > 1 and said.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise UsageError(
            "ranks of several nodes cannot be restarted in the store that torchrun's agents share: start torchrun with "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment and --rdzv-backend=c10d, or without --max-restarts"
        )


def previous_attempt(out: Path, name: str | None) -> Path | None:
    """The run that this launch of torchrun began before a rank died; None the first time, and without torchrun --max-restarts.

    How often it was restarted does not tell: where there are several nodes, each agent counts by itself. Raises UsageError if
    restarted ranks could not find the run again, for want of a name.
    """
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) == 0:
        return None
    if name is None:
        raise UsageError(
            "with torchrun --max-restarts, a run needs a name so that restarted ranks can find it: add "
            f"{param('name', 'NAME')}"
        )
    path = out / name
    if not path.is_dir():
        return None
    import psutil

    started = Run(path).summary.started
    began = datetime.fromisoformat(started).timestamp() if started else path.stat().st_mtime
    launched = psutil.Process(os.getppid()).create_time() // 1  # a summary has whole seconds
    return path if began >= launched else None


def extended(config: RunConfig, done: int, epochs: float, rows: Sequence[Row] = ()) -> tuple[RunConfig, str]:
    """(config, what is to be said) of a run that is to have `epochs` in all, decided when `done` steps were done; `rows`: of
    metrics.csv. A run that its patience ended waits anew from here: it would end at once otherwise.

    Raises UsageError if so many are done already.
    """
    plan, recipe = config.plan, Recipe.from_dict(config.recipe.values)
    per_epoch = plan.steps_per_epoch
    length = Length.of(plan)
    steps = round(epochs * per_epoch)
    if steps <= done:
        done_epochs = f"{done / per_epoch:.4g}"
        raise UsageError(f"{param('epochs')} must be more than the {done_epochs} that are done already, got {epochs:g}")
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
    anew = f"its patience of {counted(recipe.patience or 0, 'epoch')} starts anew; " if impatient else ""
    return config.planned(changed, budget=None), (
        f"{anew}{now} in all instead of {before}: from step {done + 1} on the learning rate is that of a run of {now}, "
        f"{rate:.3g} after {last:.3g}, and {end:.3g} in the last step"
    )
