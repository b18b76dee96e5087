"""A run that goes on from its newest whole checkpoint."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from striate.data import DataSet, Preprocessing, load_data
from striate.errors import DataError, UsageError
from striate.experiment.extending import extended
from striate.experiment.finishing import finish, naming_disk, write_summary
from striate.experiment.holding import held
from striate.experiment.preparing import split
from striate.experiment.restarting import check_restarts
from striate.inference import build_net
from striate.machine import be_deterministic, usable_cores, use_cores
from striate.recipe import Recipe
from striate.run import Run, write_yaml
from striate.training import Job, Manner, Progress, make_job, resumed_state
from striate.training.clock import Clock
from striate.training.ranks import Ranks, spread


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
        UsageError: the run is finished and no epochs are added, so many are done already, its net cannot be made, or another
            process trains it.
        DataError: no checkpoint, or the data is no longer what the run was trained on.
        Interrupted, StriateError: see `train`.
    """
    started = started if started is not None else time.perf_counter()
    check_restarts()
    run = Run.open(path, module=module, trust_code=trust_code)
    plan = run.config["plan"]
    if finished(run) and epochs is None:
        raise UsageError(
            f"{run.path} is finished: all {plan['steps']} steps are done. To train it longer, say how many epochs it "
            f"is to have in all: striate train --resume {run.path} --epochs {2 * plan['epochs']:g}"
        )
    if processes is None and Ranks.here().count == 1:
        processes = plan.get("ranks", 1)
    spread(processes, go_on, run, epochs, data_dir, progress or Progress(), started)
    return Run(run.path, module=module, trust_code=trust_code)


def finished(run: Run) -> bool:
    """Whether it came to its end; without a report it died between its last step and that."""
    return run.summary.get("status") == "finished" and "report" in run.summary.get("seconds", {})


def go_on(
    ranks: Ranks, run: Run, epochs: float | None, data_dir: str | Path | None, progress: Progress, started: float
) -> Path:
    """What each rank does; gives the run's folder."""
    progress = progress if ranks.first else Progress(quiet=True)
    clock = Clock(started)
    try:
        with held(ranks, run, progress.say):
            _go_on(ranks, run, epochs, data_dir, progress, clock)
    except UsageError:
        raise
    except BaseException:
        if ranks.first and run.summary.get("status") == "running":  # as the process that died before left it
            with suppress(OSError):
                write_summary(run, "interrupted", clock)
        raise
    return run.path


def _go_on(
    ranks: Ranks, run: Run, epochs: float | None, data_dir: str | Path | None, progress: Progress, clock: Clock
) -> None:
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
            write_summary(run, "running", clock)
    finish(run, job, dataset, state, clock, progress)


def _made_again(ranks: Ranks, run: Run, data_dir: str | Path | None, progress: Progress) -> tuple[DataSet, Job]:
    """The data of a run, and its job as it was before step 1.

    Raises:
        DataError: the data has changed.
    """
    config, plan = run.config, run.config["plan"]
    device = ranks.device(plan["device"] if ranks.count == 1 else plan["device"].split(":")[0])
    cores = use_cores(ranks.local_count)
    if config.get("deterministic"):
        be_deterministic()
    manner = Manner.of(plan)
    if plan.get("ranks", 1) != ranks.count:
        manner = replace(manner, threads=min(manner.threads, cores))
    torch.set_num_threads(manner.threads)  # sums of floats depend on it
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
    manner.adopt(job.step)
    return dataset, job
