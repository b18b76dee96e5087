"""The end of a run: the last weights, calibration, evaluation and report; and what its summary says when it ends otherwise."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from striate.data import DataSet
from striate.errors import Interrupted, StriateError
from striate.evaluation import Evaluation, score, write_evaluation
from striate.evaluation.calibration import calibrate
from striate.experiment.evaluating import show
from striate.experiment.repeating import repeat_command, why_none
from striate.experiment.sounding import require_saved
from striate.inference import load_net, save_weights
from striate.nets import Net
from striate.outcome import Ending, How
from striate.report import write_all, write_samples
from striate.report.card import write_card
from striate.run import Run, write_json, write_yaml
from striate.tracking import Log
from striate.training import Job, Length, Progress, State, fit
from striate.training.clock import Clock
from striate.training.guard import NotFinite
from striate.training.learning import learning


def finish(run: Run, job: Job, dataset: DataSet, state: State, clock: Clock, progress: Progress) -> None:
    """The rest of a run from `state`: training, the last weights, evaluation, report. Rank 0 does what follows training."""
    if not job.ranks.first:
        fit(job, run, Length.of(run.config["plan"]), state, clock, progress)
        return
    try:
        with naming_disk(run), Log(run, progress.say) as log:
            log.rows(state.rows)
            fit(job, run, Length.of(run.config["plan"]), state, clock, progress, log)
            classes = run.data["classes"]
            save_weights(state.meant(job), run.path / "weights" / "last.safetensors", run.config, classes)
            _note_events(run, job, state)
            known = _outcome(run, job, state)
            net = state.meant(job) if job.recipe.keep == "last" else load_net(run, job.device)
            with clock.charge("evaluate"):
                require_saved(run, job, net)
                evaluation = _evaluate(run, job, net, dataset)
            log.evaluation(evaluation.summary)
            if log.seconds:
                clock.add("log", log.seconds)
            write_summary(run, "finished", clock, known)
            with clock.charge("report"):
                _report(run, job, net, evaluation)
            write_summary(run, "finished", clock, known)
    except BaseException as error:
        interrupted = isinstance(error, Interrupted | KeyboardInterrupt)
        how: How = "interrupted" if interrupted else "not finite" if isinstance(error, NotFinite) else "failed"
        with suppress(OSError):  # a full disk takes no word about itself
            write_summary(run, "interrupted" if interrupted else "failed", clock, _outcome(run, job, state, how))
            write_card(run)
        raise


def _evaluate(run: Run, job: Job, net: Net, dataset: DataSet) -> Evaluation:
    """Calibrates the net on the validation pictures and evaluates it on the test pictures. What former weights came to goes."""
    shutil.rmtree(run.path / "evaluations", ignore_errors=True)
    for file in run.path.glob("calibration.*"):
        file.unlink()
    temperature = None
    if job.validation is not None:
        temperature = calibrate(run, net, job.preprocessing, job.validation, job.device)["temperature"]
    pictures = dataset.splits["test"]
    evaluation = score(
        net,
        job.preprocessing,
        pictures,
        job.device,
        name=run.config["data"]["name"],  # also where the data lies in a folder of another name by now
        split="test",
        temperature=temperature,
    )
    write_evaluation(run, evaluation)
    return evaluation


def _outcome(run: Run, job: Job, state: State, how: How | None = None) -> dict[str, Any]:
    """How training ended and whether the net learned, for the summary; by the steps that are done unless `how` says it."""
    planned = run.config["plan"]["steps"]
    ending = Ending(
        how=how or ("schedule" if state.step >= planned else "patience"),
        steps=state.step,
        planned_steps=planned,
        per_epoch=job.batches.steps_per_epoch,
    )
    return {"ending": ending.as_dict(), "learning": learning(job, run.config["plan"], state).as_dict()}


def _note_events(run: Run, job: Job, state: State) -> None:
    """Keeps with the plan what went otherwise than planned."""
    plan = {key: value for key, value in run.config["plan"].items() if key not in ("stopped_after_step", "parts")}
    if state.step < plan["steps"]:
        plan["stopped_after_step"] = state.step
    if state.parts != job.recipe.accumulate:
        plan["parts"] = state.parts
    if plan != run.config["plan"]:
        run.config = {**run.config, "plan": plan}
        write_yaml(run.path / "config.yaml", run.config)


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


def _report(run: Run, job: Job, net: Net, evaluation: Evaluation) -> None:
    training = job.batches
    write_samples(run, training.data.pixels, training.data.labels)
    show(run, net, job.preprocessing, evaluation)
    write_all(run)


def write_summary(run: Run, status: str, clock: Clock, known: Mapping[str, Any] | None = None) -> None:
    """Writes summary.json. `known`: how training ended and whether the net learned; nothing while it trains."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    changed = {
        "command": repeat_command(run.config),
        "no_command": why_none(run.config),
        "status": status,
        "finished": None if status == "running" else now,
        "seconds": clock.as_dict(),
    }
    before: dict[str, Any] = run.summary or {"started": now}
    kept = {key: value for key, value in before.items() if key not in ("ending", "learning")}
    write_json(run.path / "summary.json", {**kept, **changed, **(known or {})})
