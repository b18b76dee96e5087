"""A run that goes on from its newest whole checkpoint."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from striate.arguments import checked
from striate.data import DataLike, DataSet, is_name, read_data
from striate.errors import DataError, UsageError, param
from striate.evaluation.subject import SHOWN, require_place
from striate.events import Observer
from striate.experiment.extending import extended
from striate.experiment.finishing import finish, naming_disk, write_summary
from striate.experiment.holding import held
from striate.experiment.preparing import split
from striate.experiment.restarting import check_restarts
from striate.inference import build_net
from striate.machine import be_deterministic, usable_cores, use_cores
from striate.outcome import Ending
from striate.recipe import Recipe
from striate.run import Run
from striate.texts import dimensions
from striate.training import Audience, Job, Manner, Progress, Stop, make_job, resumed_state
from striate.training.clock import Clock
from striate.training.ranks import Ranks, spread

RANKS_A_CORE = 4
"""Processes that a run may ask for by itself."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the data of a run that goes on comes from: a folder to look for named sets in first, and data given in Python."""

    dir: str | Path | None = None
    given: DataLike | None = None


@checked
def resume(
    path: str | Path,
    *,
    epochs: float | None = None,
    module: torch.nn.Module | None = None,
    trust_code: bool = False,
    processes: int | None = None,
    data: DataLike | None = None,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    observers: Sequence[Observer] = (),
    stop: Stop | None = None,
    started: float | None = None,
) -> Run:
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
    started = started if started is not None else time.perf_counter()
    check_restarts()
    run = Run.open(path, module=module, trust_code=trust_code)
    if finished(run) and epochs is None:
        raise UsageError(
            f"{run.path} is {run.ending}. To train it longer, say how many epochs it is to have in all: "
            f"striate train --resume {shlex.quote(str(run.path))} --epochs {further(run.ending):g}"
        )
    if processes is None and Ranks.here().count == 1:
        processes = _ranks(run)
    if isinstance(data, str | Path):
        config, location = run.config, _absolute(data)
        settings = {**config.settings, "data": location} if config.settings else {}
        run.config = replace(config, data=replace(config.data, location=location), settings=settings)
    source = Source(data_dir, None if isinstance(data, str | Path) else data)
    audience = Audience([progress or Progress(), *observers], stop)
    with audience.answered():
        spread(processes, go_on, audience, run, epochs, source, started)
    return Run(run.path, module=module, trust_code=trust_code)


def further(ending: Ending) -> float:
    """Epochs in all that a finished run could be given: those that were planned if it has not had them, else twice as many."""
    return ending.planned_epochs if ending.steps < ending.planned_steps else 2 * ending.planned_epochs


def _absolute(data: str | Path) -> str:
    """A place of data as a config has it."""
    return str(data) if is_name(str(data)) else str(Path(data).resolve())


def _difference(run: Run, dataset: DataSet) -> str:
    """How the training images of a data set differ from those that a run was begun with."""
    had, has = run.data.classes, dataset.train.classes
    if had != has:
        return f"its classes are {', '.join(has[:SHOWN])}, and they were {', '.join(had[:SHOWN])}"
    if run.data.shape != dataset.train.shape:
        return f"its images are {dimensions(dataset.train.shape)}, and they were {dimensions(run.data.shape)}"
    kept = run.split.content or {}
    parts = ["train"] if "validation" in dataset.splits else ["train", "validation"]
    before = Counter(one for part in parts for one in kept.get(part, ()))
    now = Counter(dataset.train.content_hashes())
    if before and before != now:
        gone, new = (before - now).total(), (now - before).total()
        return f"of {before.total():,} training images {gone:,} are gone or changed, and {new:,} are new"
    count = sum(run.data.counts.get(part, 0) for part in parts)
    if count != len(dataset.train):
        return f"it has {len(dataset.train):,} training images, and had {count:,}"
    return "its training images, their labels or their order differ"


def _ranks(run: Run) -> int:
    """As many as the run had. Raises DataError if this machine is much too small for them."""
    ranks = run.config.plan.ranks
    most = max(RANKS_A_CORE * usable_cores(), torch.accelerator.device_count())
    if ranks > most:
        raise DataError(
            f"{run.path / 'config.yaml'}: plan.ranks is {ranks}, and this machine has {usable_cores()} cores: at most {most} "
            f"processes are started for a run without being asked. Say how many with {param('processes')}"
        )
    return ranks


def finished(run: Run) -> bool:
    """Whether it came to its end; without a report it died between its last step and that."""
    return run.summary.status == "finished" and "report" in run.summary.seconds


def go_on(ranks: Ranks, audience: Audience, run: Run, epochs: float | None, source: Source, started: float) -> Path:
    """What each rank does; gives the run's folder."""
    clock = Clock(started)
    try:
        with held(ranks, run, audience.warn), audience.recorded(run):
            _go_on(ranks, audience, run, epochs, source, clock)
    except UsageError:
        raise
    except BaseException:
        if ranks.first and run.summary.status == "running":  # as the process that died before left it
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
    """The data of a run, and its job as it was before step 1.

    Raises:
        DataError: the data has changed.
    """
    plan, location = run.config.plan, run.config.data.location
    device = ranks.device(plan.device if ranks.count == 1 else plan.device.split(":")[0])
    cores = use_cores(ranks.local_count)
    if run.config.deterministic:
        be_deterministic()
    manner = Manner.of(plan)
    if plan.ranks != ranks.count:
        manner = replace(manner, threads=min(manner.threads, cores))
    torch.set_num_threads(manner.threads)  # sums of floats depend on it
    if source.given is None:
        require_place(run, location)
    given = location if source.given is None else source.given
    reading = replace(run.reading, tested=run.config.judge == "test")
    dataset = read_data(given, reading, data_dir=source.dir, workers=usable_cores(), on_progress=audience.reading)
    if dataset.train.fingerprint() != run.data.fingerprint:
        raise DataError(
            f"{dataset.location} is not what {run.path} was begun with: {_difference(run, dataset)}. To go on, give back the "
            "images that it had, or train anew"
        )
    net = build_net(run)
    try:
        recipe = Recipe.from_dict(run.config.recipe.values)
        training, validation, _ = split(dataset, recipe)
        job = make_job(recipe, run.preprocessing, (training, validation), device, net, ranks)
    except (UsageError, DataError) as error:  # nobody asked for what the config says
        raise DataError(f"{run.path / 'config.yaml'}: {error}") from error
    if (steps := job.batches.steps_per_epoch) != plan.steps_per_epoch:
        raise DataError(
            f"{run.path / 'config.yaml'}: plan.steps_per_epoch is {plan.steps_per_epoch:,}, and its images make {steps:,} "
            f"batches of recipe.batch_size, {job.recipe.batch_size:,}"
        )
    manner.adopt(job.step)
    return dataset, job
