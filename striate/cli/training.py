"""striate train"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.options import AsJson, TrustCode
from striate.cli.output import aside, show_fields, show_json, show_line
from striate.cli.settings import with_settings
from striate.errors import CheckError, UsageError
from striate.runforms.summary import Ended
from striate.settings import Settings
from striate.texts import duration, interval, share

if TYPE_CHECKING:
    from striate.run import Run
    from striate.training.finder import Found
    from striate.training.preflight import Check


@with_settings
def train(
    context: typer.Context,
    settings: Settings,
    try_out: Annotated[
        bool,
        typer.Option("--try", help="Ten-second sanity check of this training; writes nothing."),
    ] = False,
    find_lr: Annotated[
        Path | None,
        typer.Option(
            "--find-lr", help="Only search for a learning rate, and plot the search to this PNG file.", metavar="PNG"
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Resume this run with its own settings. --epochs changes its length, even if it has finished; --data gives the "
            "new location of data that was moved.",
            metavar="RUN",
        ),
    ] = None,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Train a network, test it and write a report. Without arguments: LeNet-5 on the bundled sample."""
    from striate import experiment
    from striate.machine import process_start, speaks

    started = process_start()
    if trust_code and resume is None:
        raise UsageError("--trust-code needs --resume: a FILE.py:OBJECT that you name yourself is always run")
    if resume is not None:
        _require_own_settings(context)
        source = context.get_parameter_source("data")
        moved = str(settings.data) if source is not None and source.name == "COMMANDLINE" else None
        with aside():
            run = experiment.resume(
                resume,
                epochs=settings.epochs,
                trust_code=trust_code,
                processes=settings.processes,
                data=moved,
                data_dir=settings.data_dir,
                started=started,
            )
    else:
        if try_out:
            show_checks(experiment.try_out(settings), as_json)
        if find_lr is not None:
            show_search(experiment.search_rate(settings), find_lr, as_json)
        if try_out or find_lr is not None:
            return
        with aside():
            run = experiment.train_with(settings, started=started)
    if speaks() and as_json:
        show_json(result(run))
    elif speaks():
        show_result(run)


def _require_own_settings(context: typer.Context) -> None:
    """Raises UsageError if something was given that a resumed run has settled for itself."""
    sources = [(parameter, context.get_parameter_source(parameter.name or "")) for parameter in context.command.params]
    given = [
        parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.opts[0].upper()
        for parameter, source in sources
        if parameter.name not in ("resume", "epochs", "trust_code", "processes", "data", "data_dir", "as_json")
        and source
        and source.name == "COMMANDLINE"
    ]
    if given:
        raise UsageError(
            f"{', '.join(given)} cannot be combined with --resume: the run keeps its settings. Only its length (--epochs) and "
            "the location of its data (--data) can change"
        )


def show_checks(checks: Sequence[Check], as_json: bool) -> None:
    """The end of `striate train --try`. Raises CheckError if a check failed."""
    if as_json:
        show_json([check.as_dict() for check in checks])
    else:
        show_line()
        show_fields({f"{check.verdict:<7}  {check.name}": check.said for check in checks})
    if failed := [check.name for check in checks if check.verdict == "failed"]:
        raise CheckError(f"this training would fail: {', '.join(failed)}")


def show_search(found: Found, path: Path, as_json: bool) -> None:
    """The end of `striate train --find-lr PNG`."""
    from striate.drawing.vega import png
    from striate.files import write_new
    from striate.report.charts.learning import rate_search

    marks = {"steepest": found.steepest} if found.steepest is not None else {}
    write_new(path, png(rate_search(found.rates, found.losses, {**marks, "lowest loss": found.lowest})))
    if as_json:
        show_json({**found.as_dict(), "plot": str(path)})
        return
    advice = (
        "none: the loss never fell" if found.steepest is None else f"{found.steepest:.2g}, where the loss falls fastest"
    )
    show_fields({"try --lr": advice, "limit": f"{found.lowest:.2g}, where the loss is lowest", "plot": path})


def result(run: Run) -> dict[str, object]:
    """What `striate train --json` prints."""
    key, found = next(iter(run.evaluations.items()), (None, None))
    plan, ledger = run.config.plan, run.data.ledger
    return {
        "run": str(run.path),
        "net": run.config.net.name,
        "data": run.config.data.name,
        "ledger": ledger and ledger.as_dict(),
        "evaluation": key,
        **{name: getattr(found, name, None) for name in ("split", "accuracy", "low", "high", "n")},
        **{name: getattr(plan, name) for name in ("params", "macs", "epochs", "steps")},
        "ending": Ended.of(run.ending).as_dict(),
        "learning": run.learning.as_dict(),
        "seconds": run.summary.seconds,
        "report": str(run.path / "report.html") if run.config.report else None,
    }


def show_result(run: Run) -> None:
    """The end of `striate train` for a person: accuracy, time, where things are, what to try next."""
    evaluation = next(iter(run.evaluations.values()), None)
    seconds = run.summary.seconds
    spent = sorted(((value, key) for key, value in seconds.items() if key != "total" and value >= 0.05), reverse=True)
    show_fields(
        {
            "accuracy": "not measured (judge none); to test: striate evaluate " + shlex.quote(str(run.path))
            if evaluation is None
            else f"{share(evaluation, 'accuracy')} of {evaluation.n:,} {evaluation.split} images "
            f"(95 % interval {interval(evaluation)})",
            "time": f"{duration(seconds['total'])}: {', '.join(f'{key} {duration(value)}' for value, key in spent)}",
            "ended": str(run.ending),
            **({} if run.learning else {"warning": run.learning.said}),
            **({"report": run.path / "report.html"} if run.config.report else {"run": run.path}),
            **({"next": f"striate predict {shlex.quote(str(run.path))} IMAGE"} if run.learning else {}),
        }
    )
