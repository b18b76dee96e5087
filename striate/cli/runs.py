"""striate runs, and follow and stop for a run that another process trains"""

from __future__ import annotations

import shlex
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from striate.cli.options import Command, option, run_path
from striate.cli.output import show_json, show_line, show_table
from striate.errors import UsageError
from striate.texts import duration, interval, share

if TYPE_CHECKING:
    from striate.runforms.summary import Overview


class Runs(Command):
    """List runs, oldest first. If one cannot be read, the others are listed and the exit code is 3."""

    out: Path = option(Path("runs"), "Folder that holds the runs; its subfolders are searched too.")

    def __call__(self) -> None:
        from striate.runforms.summary import Overview
        from striate.runlist import overviews

        found, closed = overviews(self.out)
        if self.as_json:
            unread = dict.fromkeys(item.name for item in fields(Overview)) if found else {}
            errors = [{**unread, "run": path, "status": "damaged", "error": reason} for path, reason in closed.items()]
            show_json([*(row.as_dict() for row in found), *errors])
        elif not found and not closed:
            show_line(f"no runs in {self.out} yet: striate train")
        else:
            show_table(list(map(_row, found)), right=("epochs", "accuracy", "time"))
        for reason in closed.values():
            show_line(f"not listed: {reason}", err=True)
        if closed:
            raise typer.Exit(3)


def _row(run: Overview) -> dict[str, str]:
    """The status is as in `finished`, `finished, patience`, `finished, exploded`, `failed, not finite`."""
    further: list[str] = [run.ended] if run.ended in ("patience", "not finite") else []
    if run.learned not in ("learned", "unknown"):
        further.append(run.learned)
    return {
        "run": run.run,
        "status": ", ".join([run.status, *further]),
        "net": run.net,
        "data": run.data,
        "epochs": f"{run.epochs_done:.4g} of {run.epochs:.4g}",
        "accuracy": "" if run.accuracy is None else share(run, "accuracy"),
        "on": run.split or "",
        "95 % interval": "" if run.low is None else interval(run),
        "time": duration(run.seconds),
    }


class Follow(Command):
    """Show what a run says while another process trains it, from its first line on; or what it said, if it has ended."""

    run: Path = run_path()
    live: bool = option(True, "Wait for what is still to come.")
    as_json: bool = option(False, "Print each event as a line of JSON.", names="--json")

    def __call__(self) -> None:
        from striate.live import EVENTS, follow
        from striate.strictjson import to_json
        from striate.terminal import plain_json
        from striate.training import Progress

        progress, event = Progress(stream=sys.stdout), None
        for event in follow(self.run, live=self.live):
            if self.as_json:
                print(plain_json(to_json(event.as_dict(), ascii=True)), flush=True)
            else:
                progress(event)
        if event is None:
            raise UsageError(
                f"{self.run / EVENTS} is not there: the run was made by an earlier version, or has not started"
            )


class Stop(Command):
    """Stop a run that another process trains, as Ctrl-C there would: it ends its step, saves, and can be resumed."""

    run: Path = run_path()
    wait: bool = option(True, "Wait until it has stopped.")

    def __call__(self) -> None:
        from striate.live import stop
        from striate.run import Run

        status = stop(self.run, wait=self.wait)
        if self.as_json:
            show_json({"run": str(self.run), "waited": self.wait, "status": status})
            return
        way = f"To resume: striate train --resume {shlex.quote(str(self.run))}"
        if not self.wait:
            show_line(f"{self.run} will stop after the current step; t{way[1:]}")
        elif status == "finished":
            show_line(f"{self.run} had already finished training")
        elif status == "interrupted":
            show_line(f"{self.run} is stopped: {Run(self.run).ending}. {way}")
        else:
            show_line(f"{self.run} has ended by itself, with status {status}. {way}")
