"""An experiment: train a net, evaluate it, write the report. What `striate train` and `striate.train()` do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from pathlib import Path

import torch

from striate.arguments import checked
from striate.errors import UsageError, param
from striate.events import Observer
from striate.experiment.announcing import announcement, prediction, worth_a_word
from striate.experiment.beginning import begin, write_start
from striate.experiment.bounds import check_bounds
from striate.experiment.evaluating import compare_views, evaluate
from striate.experiment.finishing import finish, judged, naming_disk, nothing_half, write_summary
from striate.experiment.holding import held
from striate.experiment.preparing import check_space, for_length, manners, plan
from striate.experiment.restarting import begun_before, check_restarts, has_checkpoint
from striate.experiment.resuming import Source, finished, go_on, resume
from striate.experiment.sounding import require_sound, soundness, worries
from striate.nets.undisturbed import same_generators
from striate.run import Run
from striate.settings import Settings, takes
from striate.training import Audience, Progress, Stop, fresh_state, measure
from striate.training.clock import Clock
from striate.training.finder import Found, find_rate
from striate.training.preflight import Check, first_step, preflight
from striate.training.ranks import Ranks, spread

__all__ = ["Settings", "compare_views", "evaluate", "resume", "search_rate", "train", "train_with", "try_out"]


@dataclass(frozen=True, slots=True)
class _Call(Settings):
    """Settings, and what goes with a call from Python but is none: a run does not keep it."""

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
    own = Settings(
        **{item.name: getattr(call, item.name) for item in fields(Settings)}
    )  # which goes to other processes
    return train_with(own, Audience([call.progress or Progress(), *call.observers], call.stop))


def train_with(settings: Settings, audience: Audience | None = None, *, started: float | None = None) -> Run:
    """As `train`. `started`: `time.perf_counter()` from which a budget counts; now if None."""
    started = started if started is not None else time.perf_counter()
    check_restarts()
    check_bounds(settings)
    audience = audience or Audience([Progress()])
    with same_generators(), audience.answered():
        path = spread(settings.processes, _train, audience, settings, started)
    return Run(path, module=settings.net if isinstance(settings.net, torch.nn.Module) else None)


def _train(ranks: Ranks, audience: Audience, settings: Settings, started: float) -> Path:
    """What each rank does; gives the run's folder."""
    name, out = settings.name, Path(settings.out)
    before = ranks.decided(lambda: begun_before(out, name))
    if before is not None and ranks.decided(lambda: has_checkpoint(before)):
        run = Run.open(before, module=settings.net if isinstance(settings.net, torch.nn.Module) else None)
        return before if finished(run) else go_on(ranks, audience, run, None, _source(settings), started)
    clock = Clock(started)
    clock.add("start", clock.total())
    with clock.charge("load"):
        begun = ranks.together(lambda: begin(settings, audience, ranks))
    dataset, job = begun.dataset, begun.job
    tried = manners(job.device, begun.cores, settings)
    ranks.decided(lambda: check_space(job, out))
    audience.table(announcement(begun))
    audience.table(worth_a_word(begun.findings, dataset, begun.wanting))
    with clock.charge("measure"):
        ranks.together(lambda: require_sound(begun))
    audience.table(worries(begun))
    with clock.charge("measure"):
        speed = measure(job, tried)
        doubts = [check for check in first_step(job) if check.verdict != "ok"] if speed.parts == 1 else []
    for check in doubts:
        audience.warn(f"{check.name}: {check.said}")
    if speed.parts != job.recipe.micro_batches:
        audience.say(f"a whole batch does not fit into memory: each is split into {speed.parts} micro-batches")
        job = replace(job, recipe=replace(job.recipe, micro_batches=speed.parts))
    steps, clock.until = ranks.decided(
        lambda: (plan(job, speed, len(judged(settings.judge, job, dataset) or ()), clock), clock.until)
    )
    short, job = job, for_length(job, settings, dataset.flippable, steps)
    if job is not short:
        audience.say(
            f"long run: training images are augmented ({job.recipe.augmentation}); {param('augment', 'none')} turns this off"
        )
        with clock.charge("measure"):
            speed = measure(job, [speed.manner])
        steps, clock.until = ranks.decided(
            lambda: (plan(job, speed, len(judged(settings.judge, job, dataset) or ()), clock), clock.until)
        )
    called = f"{Path(begun.row.name).name.replace('.py:', '-')}-{dataset.name}"
    run = Run(ranks.decided(lambda: before or Run.create(out, name, called).path))
    run.config = begun.config(job, speed, steps)
    audience.table({"plan": prediction(run.config.plan), "run": str(run.path)})
    with held(ranks, run, audience.warn), audience.recorded(run):
        if ranks.first:
            with naming_disk(run), clock.charge("load"), nothing_half(run):
                write_start(run, begun)
                write_summary(run, "running", clock)
        finish(run, job, dataset, fresh_state(job), clock, audience)
    return run.path


def _source(settings: Settings) -> Source:
    """What a run goes on with that its own settings began."""
    return Source(settings.data_dir, None if isinstance(settings.data, str | Path) else settings.data)


@checked
def try_out(settings: Settings, *, progress: Progress | None = None) -> list[Check]:
    """The pre-flight: what can be known of a training in about ten seconds. Nothing is written, and no test image is looked at.

    Raises as `train` does before step 1.
    """
    audience = Audience([progress or Progress()])
    _require_one(settings)
    with same_generators():
        begun = begin(settings, audience)
        audience.table(announcement(begun))
        audience.table(worth_a_word(begun.findings, begun.dataset, begun.wanting))
        checks = soundness(begun)
        if checks[0].verdict == "failed":
            return checks  # a net that answers otherwise each time can be measured no further
        return [*checks, *preflight(begun.job, usual=begun.usual_lr)]


@checked
def search_rate(settings: Settings, *, progress: Progress | None = None) -> Found:
    """The learning-rate finder: what the loss does while the rate rises. Nothing is written.

    Raises as `train` does before step 1.
    """
    audience = Audience([progress or Progress()])
    _require_one(settings)
    with same_generators():
        begun = begin(settings, audience)
        audience.table({**announcement(begun), **worries(begun)})
        require_sound(begun)
        return find_rate(begun.job)


def _require_one(settings: Settings) -> None:
    check_bounds(settings)
    if settings.processes not in (None, 1):
        raise UsageError(f"a look beforehand is made in one process: leave {param('processes')} out")
