"""The end of a run: the last weights, calibration, evaluation and report; and what its summary says when it ends otherwise."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

from striate.choices import Judge
from striate.classifier import Classifier
from striate.data import DataSet, ImageData
from striate.errors import Interrupted, Signalled, StriateError
from striate.evaluation import Evaluation, score, write_evaluation
from striate.evaluation.calibration import calibrate
from striate.events import Evaluated
from striate.experiment.repeat import repeat_command, why_none
from striate.experiment.reported import show
from striate.experiment.soundness import require_saved
from striate.files import write_json
from striate.inference import load_net, save_weights
from striate.live import taken
from striate.nets import Net
from striate.outcome import Ending, How, Learning
from striate.report import undrawable, write_all, write_samples
from striate.report.card import write_card
from striate.run import Run
from striate.runforms.summary import Ended
from striate.texts import storage
from striate.tracking import Log
from striate.training import Audience, Job, State, fit
from striate.training.checkpoint import has_checkpoint
from striate.training.clock import Clock
from striate.training.guard import NotFinite
from striate.training.ranks import Ranks
from striate.training.rows import learning

FIGURES = ("accuracy", "low", "high", "top5", "macro_f1", "loss", "ece")
"""Figures of an evaluation that are reported."""


def finish(run: Run, job: Job, dataset: DataSet, state: State, clock: Clock, audience: Audience) -> None:
    """The rest of a run from `state`: training, the last weights, evaluation, report. Rank 0 does what follows training."""
    if not job.ranks.first:
        fit(job, run, state, clock, audience)
        return
    try:
        with naming_disk(run), Log(run, audience.warn) as log:
            log.rows(state.rows)
            audience.observers.insert(0, log)
            fit(job, run, state, clock, audience)
            last = run.path / "weights" / "last.safetensors"
            save_weights(state.meant(job), last, run.config, run.data.classes)
            _note_events(run, job, state)
            known = _outcome(run, job, state)
            net = state.meant(job) if job.recipe.keep == "last" else load_net(run, job.device)
            with clock.charge("evaluate"):
                require_saved(run, job, net)
                evaluation = _evaluate(run, job, net, dataset)
            if evaluation is not None:
                summary = evaluation.summary
                figures = {name: getattr(summary, name) for name in FIGURES}
                audience(Evaluated(data=summary.data, split=summary.split, n=summary.n, figures=figures))
            if log.seconds:
                clock.add("log", log.seconds)
            write_summary(run, "finished", clock, known)
            with clock.charge("report"):
                _report(run, job, evaluation)
            if run.config.report and (reason := undrawable()):
                audience.warn(reason)
            write_summary(run, "finished", clock, known)
    except BaseException as error:
        stopped = isinstance(error, Interrupted | Signalled | KeyboardInterrupt)
        how: How = "interrupted" if stopped else "not finite" if isinstance(error, NotFinite) else "failed"
        with suppress(OSError):  # a full disk takes no word about itself
            known = _outcome(run, job, state, how)
            write_summary(run, "interrupted" if stopped else "failed", clock, known, _missing(run))
        with suppress(OSError):
            write_card(run)
        if not isinstance(error, Signalled):
            raise
        way = f"everything is saved. To resume: striate train --resume {run.path}"
        raise Interrupted(
            f"stopped by {error.name} between training and the end of the report; "
            f"{way if has_checkpoint(run.path) else 'nothing had been trained yet'}",
            128 + error.number,
        ) from error


def judged(judge: Judge, job: Job, dataset: DataSet) -> ImageData | None:
    """The images that a run is judged by at its end; None for none."""
    return {"test": dataset.splits.get("test"), "validation": job.validation, "none": None}[judge]


def _evaluate(run: Run, job: Job, net: Net, dataset: DataSet) -> Evaluation | None:
    """Calibrates the net on the validation images and evaluates it on what the run is judged by; results of former weights are
    removed.
    """
    shutil.rmtree(run.path / "evaluations", ignore_errors=True)
    (run.path / "curves.png").unlink(missing_ok=True)
    for file in run.path.glob("calibration.*"):
        file.unlink()
    classifier = Classifier(net=net, preprocessing=job.preprocessing, classes=run.data.classes, device=job.device)
    temperature = None
    if job.validation is not None:
        temperature = calibrate(run, classifier, job.validation).temperature
    judge = run.config.judge
    if (pictures := judged(judge, job, dataset)) is None:
        return None
    name = run.config.data.name  # also where the data lies in a folder of another name by now
    evaluation = score(classifier, pictures, name=name, split=judge, temperature=temperature)
    write_evaluation(run, evaluation)
    return evaluation


def _outcome(run: Run, job: Job, state: State, how: How | None = None) -> tuple[Ended, Learning]:
    """How training ended and whether the net learned; derived from the completed steps unless `how` is given."""
    planned = run.config.plan.steps
    how = how or ("schedule" if state.step >= planned else "patience")
    ending = Ending(how=how, steps=state.step, planned_steps=planned, per_epoch=job.batches.steps_per_epoch)
    return Ended.of(ending), learning(job, run.config.plan, state)


def _note_events(run: Run, job: Job, state: State) -> None:
    """Keeps with the plan what went otherwise than planned."""
    plan = replace(
        run.config.plan,
        stopped_after_step=state.step if state.step < run.config.plan.steps else None,
        parts=state.parts if state.parts != job.recipe.micro_batches else None,
    )
    if plan != run.config.plan:
        run.keep(replace(run.config, plan=plan))


@contextmanager
def held(ranks: Ranks, run: Run, audience: Audience) -> Iterator[None]:
    """Inside, no other process trains this run, whose lock rank 0 holds for all ranks, and its events are recorded. Raises
    UsageError if another process has it, which is named.
    """
    with ExitStack() as stack:
        ranks.decided(lambda: stack.enter_context(taken(run, audience.warn)))
        stack.enter_context(audience.recorded(run))
        yield


@contextmanager
def naming_disk(run: Run) -> Iterator[None]:
    """Makes an error of a full or broken disk a StriateError that names it and says the way out; what had been saved still is."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS):
            raise
        way = f"resume with: striate train --resume {run.path}" if has_checkpoint(run.path) else "start again"
        left = storage(shutil.disk_usage(run.path.parent).free)
        file = error.filename if isinstance(error.filename, str) else "what is to be written"
        raise StriateError(
            f"the disk of {run.path} cannot store {file} ({error.strerror}; {left} are free): "
            f"free some space there and {way}"
        ) from error


@contextmanager
def nothing_half(run: Run) -> Iterator[None]:
    """Removes a run that could not be begun, unless an earlier start of it has left something."""
    fresh = not has_checkpoint(run.path)
    try:
        yield
    except BaseException:
        if fresh:
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def _report(run: Run, job: Job, evaluation: Evaluation | None) -> None:
    if not run.config.report:
        write_card(run)
        return
    write_samples(run, job.batches.data.pixels, job.batches.data.labels)
    if evaluation is not None:
        show(run, evaluation)
    write_all(run)


def _missing(run: Run) -> tuple[str, ...]:
    """What is missing from a run that ended early, or is not of its last weights."""
    if run.summary.status != "running":  # it was finished, except for the report
        return ("report",)
    weights = () if (run.path / "weights" / "last.safetensors").is_file() else ("weights",)
    return (*weights, "evaluation", "report")


def write_summary(
    run: Run, status: str, clock: Clock, known: tuple[Ended, Learning] | None = None, missing: tuple[str, ...] = ()
) -> None:
    """Writes how the run stands into its summary: `known`, how training ended and whether the net learned, None while it trains;
    `missing`, what the run lacks where it ended early.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = run.summary
    started = before.started or now
    ending, learned = known or (None, None)
    after = replace(
        before,
        started=started,
        command=repeat_command(run.config),
        no_command=why_none(run.config),
        status=status,
        finished=None if status == "running" else max(now, started),  # clocks are set back
        seconds=clock.as_dict(),
        missing=missing,
        ending=ending,
        learning=learned,
    )
    write_json(run.path / "summary.json", after.as_dict())
