"""striate train"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from striate.cli.options import TrustCode, call_with, option
from striate.cli.output import WIDTH, aside, show_line
from striate.errors import CheckError, UsageError
from striate.settings import Settings
from striate.texts import duration, interval, percent, share

if TYPE_CHECKING:
    from striate.advice import Diagnosis
    from striate.run import Run
    from striate.training.finder import Found
    from striate.training.preflight import Check


class Train(TrustCode):
    """Train a network, test it and write a report. Without arguments: LeNet-5 on the bundled sample."""

    context: typer.Context
    settings: Settings
    try_out: bool = option(False, "Ten-second sanity check of this training; writes nothing.", names="--try")
    find_lr: Path | None = option(
        None, "Only search for a learning rate, and plot the search to this PNG file.", metavar="PNG"
    )
    resume: Path | None = option(
        None,
        "Resume this run with its own settings. --epochs changes its length, even if it has finished; --data gives the new "
        "location of data that was moved.",
        metavar="RUN",
    )

    def __call__(self) -> None:
        from striate import experiment
        from striate.machine import process_start, speaks

        started, settings = process_start(), self.settings
        if self.trust_code and self.resume is None:
            raise UsageError("--trust-code needs --resume: a FILE.py:OBJECT on the command line is always run")
        if self.resume is not None:
            with aside():
                run = call_with(
                    experiment.resume, settings, path=self.resume, trust_code=self.trust_code, data=self._moved(),
                    started=started,
                )  # fmt: skip
        else:
            if self.try_out:
                self._show_checks(experiment.try_out(settings))
            if self.find_lr is not None:
                self._show_search(experiment.search_rate(settings), self.find_lr)
            if self.try_out or self.find_lr is not None:
                return
            with aside():
                run = experiment.train_with(settings, started=started)
        if speaks():
            from striate.advice import diagnose

            found = diagnose(run)
            self.show(_result(run, found), _shown(run, found))
            if not self.as_json:
                _show_advice(found)

    def _moved(self) -> str | None:
        """The new location of a resumed run's data, if any. Raises UsageError for options that the run has settled for itself."""
        sources = {one: self.context.get_parameter_source(one.name or "") for one in self.context.command.params}
        given = {one.name: one.opts[0] for one, source in sources.items() if source and source.name == "COMMANDLINE"}
        free = {"resume", "epochs", "trust_code", "processes", "data", "data_dir", "as_json"}
        if settled := [
            name if name.startswith("-") else name.upper() for key, name in given.items() if key not in free
        ]:
            raise UsageError(
                f"{', '.join(settled)} cannot be combined with --resume: the run keeps its settings. Only its length (--epochs) "
                "and the location of its data (--data) can change"
            )
        return str(self.settings.data) if "data" in given else None

    def _show_checks(self, checks: Sequence[Check]) -> None:
        """The end of `striate train --try`. Raises CheckError if a check failed."""
        if not self.as_json:
            show_line()
        shown = {f"{check.verdict:<7}  {check.name}": check.said for check in checks}
        self.show([check.as_dict() for check in checks], shown)
        if failed := [check.name for check in checks if check.verdict == "failed"]:
            raise CheckError(f"this training would fail: {', '.join(failed)}")

    def _show_search(self, found: Found, path: Path) -> None:
        """The end of `striate train --find-lr PNG`."""
        from striate.drawing.vega import png
        from striate.files import write_new
        from striate.report.charts.learning import rate_search

        marks = {"steepest": found.steepest} if found.steepest is not None else {}
        write_new(path, png(rate_search(found.rates, found.losses, {**marks, "lowest loss": found.lowest})))
        steepest = f"{marks['steepest']:.2g}, where the loss falls fastest" if marks else "none: the loss never fell"
        limit = f"{found.lowest:.2g}, where the loss is lowest"
        self.show({**found.as_dict(), "plot": str(path)}, {"try --lr": steepest, "limit": limit, "plot": path})


def _result(run: Run, diagnosis: Diagnosis) -> dict[str, object]:
    """The output of `striate train --json`."""
    from striate.runforms.summary import Ended

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
        "diagnosis": diagnosis.as_dict(),
        "seconds": run.summary.seconds,
        "report": str(run.path / "report.html") if run.config.report else None,
    }


def _shown(run: Run, found: Diagnosis) -> dict[str, object]:
    """The end of `striate train` for a person: accuracy, time, where things are, what to try next."""
    evaluation = next(iter(run.evaluations.values()), None)
    against = "" if found.baseline is None else f" (always the most frequent class: {percent(found.baseline)})"
    seconds = run.summary.seconds
    spent = sorted(((value, key) for key, value in seconds.items() if key != "total" and value >= 0.05), reverse=True)
    return {
        "accuracy": "not measured (judge none); to test: striate evaluate " + shlex.quote(str(run.path))
        if evaluation is None
        else f"{share(evaluation, 'accuracy')} of {evaluation.n:,} {evaluation.split} images "
        f"(95 % interval {interval(evaluation)})",
        "time": f"{duration(seconds['total'])}: {', '.join(f'{key} {duration(value)}' for value, key in spent)}",
        "ended": str(run.ending),
        **({} if run.learning else {"warning": run.learning.said}),
        **({"learned": f"{found.said}{against}"} if found.said and run.learning else {}),
        **({"report": run.path / "report.html"} if run.config.report else {"run": run.path}),
        **({"next": f"striate predict {shlex.quote(str(run.path))} IMAGE"} if run.learning else {}),
    }


def _show_advice(found: Diagnosis) -> None:
    """What to do next, each with its command on a line of its own, ready to be copied."""
    for place, advice in enumerate(found.advice, 1):
        label, indent = "improve" if place == 1 else "", " " * 13
        lines = textwrap.wrap(f"{label:10}{place}. {advice.said}", WIDTH, subsequent_indent=indent)
        way = advice.command or (f"with {advice.options}" if advice.options else "")
        for line in [*lines, *([indent + way] if way else [])]:
            show_line(line)
