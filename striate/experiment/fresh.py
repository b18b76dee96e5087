"""A run from its first step on, and what can be learned before one: the pre-flight and the search for a learning rate."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from pathlib import Path

import torch

from striate.arguments import checked, takes
from striate.errors import StriateError, UsageError, param
from striate.events import Observer
from striate.experiment.announcement import announcement, prediction, remarks
from striate.experiment.auto import chosen, decided
from striate.experiment.finish import finish, held, judged, naming_disk, nothing_half, write_summary
from striate.experiment.recipes import for_length
from striate.experiment.resumed import Source, check_restarts, finished, go_on, previous_attempt
from striate.experiment.setup import Setup, set_up, write_start
from striate.experiment.soundness import require_sound, soundness, worries
from striate.machine import usable_cores
from striate.nets.undisturbed import same_generators
from striate.run import Run
from striate.settings import Settings
from striate.texts import storage
from striate.tracking import require
from striate.training import Audience, Job, Progress, Speed, Stop, candidates, fresh_state, measure, plan_steps
from striate.training.checkpoint import has_checkpoint
from striate.training.clock import Clock
from striate.training.finder import Found, find_rate
from striate.training.preflight import Check, first_step, preflight
from striate.training.ranks import ALONE, Ranks, spread

A_CORE = 16
"""Threads, and processes, for each core at most: more only wait for each other, and the system refuses them at some point."""
FREE_BYTES = 64 * 2**20
"""Kept free on the disk besides weights and checkpoints."""


@dataclass(frozen=True, slots=True)
class _Call(Settings):
    """Settings, and the arguments of a call from Python that are not settings: a run does not keep them."""

    _: KW_ONLY
    progress: Progress | None = None
    observers: Sequence[Observer] = ()
    stop: Stop | None = None


@checked
@takes(_Call)
def train(call: _Call) -> Run:
    """Trains a net, evaluates it once, at the end, on the test images (or what `judge` says), and writes the report.

    The arguments are the fields of `Settings`, which says what each means, and three that the run does not keep:

    - `progress` shows a bar or lines on stderr if None; `Progress(quiet=True)` shows nothing.
    - `observers` are functions that are called with each event, see `striate.events`, in this process and in the thread that
      trains, also where the run trains in several processes. One that raises stops the training as `stop` does, and is named.
    - `stop` is asked by another thread, `stop.ask()`, to stop the training as Ctrl-C does.

    Raises:
        UsageError: an unknown name, or numbers that do not go together.
        DataError: the data is missing, damaged, or nothing for this net.
        Interrupted: SIGINT, SIGTERM or `stop`; the run can be resumed.
        StriateError: training failed, an observer did, or there is no place to write.
    """
    # What other processes are given too.
    own = Settings(**{item.name: getattr(call, item.name) for item in fields(Settings)})
    return train_with(own, Audience([call.progress or Progress(), *call.observers], call.stop))


def train_with(settings: Settings, audience: Audience | None = None, *, started: float | None = None) -> Run:
    """As `train`. `started`: `time.perf_counter()` from which a budget counts; now if None."""
    started = started if started is not None else time.perf_counter()
    check_restarts()
    _check_bounds(settings)
    audience = audience or Audience([Progress()])
    with same_generators(), audience.answered():
        path = spread(settings.processes, _train, audience, settings, started)
    return Run(path, module=_module(settings))


def _train(ranks: Ranks, audience: Audience, settings: Settings, started: float) -> Path:
    """The work of each rank; returns the run's folder."""
    name, out = settings.name, Path(settings.out)
    before = ranks.decided(lambda: previous_attempt(out, name))
    if before is not None and ranks.decided(lambda: has_checkpoint(before)):
        run = Run.open(before, module=_module(settings))
        source = Source(settings.data_dir, None if isinstance(settings.data, str | Path) else settings.data)
        return before if finished(run) else go_on(ranks, audience, run, None, source, started)
    clock = Clock(started)
    clock.add("start", clock.total())
    with clock.charge("measure"):
        settings = _decided(settings, ranks, audience)
    with clock.charge("load"):
        setup = ranks.together(lambda: set_up(settings, audience, ranks))
    job = setup.job
    ranks.decided(lambda: _check_space(job, out))
    audience.table(announcement(setup) | remarks(setup))
    with clock.charge("measure"):
        ranks.together(lambda: require_sound(setup))
    audience.table(worries(setup))
    with clock.charge("measure"):
        speed = measure(job, candidates(job.device, setup.cores, settings))
        doubts = [check for check in first_step(job) if check.verdict != "ok"] if speed.parts == 1 else []
    for check in doubts:
        audience.warn(f"{check.name}: {check.said}")
    if speed.parts != job.recipe.micro_batches:
        audience.say(f"a whole batch does not fit into memory: each is split into {speed.parts} micro-batches")
        job = replace(job, recipe=replace(job.recipe, micro_batches=speed.parts))
    steps = _planned(setup, job, speed, clock)
    short, job = job, for_length(job, settings, setup.dataset.flippable, steps)
    if job is not short:
        audience.say(
            f"long run: training images are augmented ({job.recipe.augmentation}); {param('augment', 'none')} turns this off"
        )
        with clock.charge("measure"):
            speed = measure(job, [speed.execution])
        steps = _planned(setup, job, speed, clock)
    called = f"{Path(setup.row.name).name.replace('.py:', '-')}-{setup.dataset.name}"
    run = Run(ranks.decided(lambda: before or Run.create(out, name, called).path))
    run.config = setup.config(job, speed, steps)
    audience.table({"plan": prediction(run.config.plan), "run": str(run.path)})
    with held(ranks, run, audience):
        if ranks.first:
            with naming_disk(run), clock.charge("load"), nothing_half(run):
                write_start(run, setup)
                write_summary(run, "running", clock)
        finish(run, job, setup.dataset, fresh_state(job), clock, audience)
    return run.path


def _planned(setup: Setup, job: Job, speed: Speed, clock: Clock) -> int:
    """Steps to train, as rank 0 plans them; the clocks of all ranks have the same end."""
    images = len(judged(setup.settings.judge, job, setup.dataset) or ())
    steps, clock.until = job.ranks.decided(lambda: (plan_steps(job, speed, images, clock), clock.until))
    return steps


@checked
def try_out(settings: Settings, *, progress: Progress | None = None) -> list[Check]:
    """The pre-flight: what can be known of a training in about ten seconds. Nothing is written, and no test image is looked at.
    Raises as `train` does before step 1.
    """
    audience = Audience([progress or Progress()])
    _require_one(settings)
    with same_generators():
        setup = set_up(_decided(settings, ALONE, audience), audience)
        audience.table(announcement(setup) | remarks(setup))
        checks = soundness(setup)
        if checks[0].verdict == "failed":
            return checks  # a net that answers otherwise each time can be measured no further
        return [*checks, *preflight(setup.job, usual=setup.usual_lr)]


@checked
def search_rate(settings: Settings, *, progress: Progress | None = None) -> Found:
    """The learning-rate finder: the loss while the rate rises. Nothing is written. Raises as `train` does before step 1."""
    audience = Audience([progress or Progress()])
    _require_one(settings)
    with same_generators():
        setup = set_up(_decided(settings, ALONE, audience), audience)
        audience.table(announcement(setup) | worries(setup))
        require_sound(setup)
        return find_rate(setup.job)


def _decided(settings: Settings, ranks: Ranks, audience: Audience) -> Settings:
    """The settings with the net that is chosen where they ask for `auto`."""
    choice = ranks.decided(lambda: chosen(settings))
    if choice is None:
        return settings
    audience.table({"auto": [line for line in (choice.reason, choice.otherwise) if line]})
    return decided(settings, choice)


def _module(settings: Settings) -> torch.nn.Module | None:
    """The net, where it was given as a module."""
    return settings.net if isinstance(settings.net, torch.nn.Module) else None


def _require_one(settings: Settings) -> None:
    _check_bounds(settings)
    if settings.processes not in (None, 1):
        raise UsageError(f"a check before training is made in one process: leave {param('processes')} out")


def _check_bounds(settings: Settings) -> None:
    """Raises UsageError for epochs and a budget both, far fewer cores than threads or processes, or nothing to log with."""
    if settings.epochs is not None and settings.budget is not None:
        raise UsageError("epochs and budget cannot be combined: the budget decides the epochs")
    require(settings.log)
    most = A_CORE * usable_cores()
    for name in ("threads", "processes"):
        if (value := getattr(settings, name)) is not None and value > most:
            raise UsageError(f"{param(name)} must be at most {most} ({A_CORE} for each core), got {value}")


def _check_space(job: Job, out: Path) -> None:
    """Raises StriateError if the disk of `out` has too little room for the run's weights and checkpoints."""
    place = next(folder for folder in (out, *out.resolve().parents) if folder.is_dir())
    weights = sum(tensor.numel() * tensor.element_size() for tensor in job.net.state_dict().values())
    needed = FREE_BYTES + weights + 3 * 3 * weights  # last weights; three checkpoints, each with two moments a weight
    free = shutil.disk_usage(place).free
    if free < needed:
        raise StriateError(
            f"{place} has {storage(free)} free, but this run may need {storage(needed)}: free some space, or choose "
            f"another folder with {param('out')}"
        )
