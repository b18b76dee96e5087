"""striate follow and striate stop: a run that another process trains"""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from striate.cli.options import AsJson, RunPath
from striate.cli.output import show_json, show_line
from striate.errors import UsageError


def follow(
    run: RunPath,
    live: Annotated[bool, typer.Option("--live/--no-live", help="Wait for what is still to come.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.")] = False,
) -> None:
    """Show what a run says while another process trains it, from its first line on; or what it said, if it has ended."""
    from striate.live import EVENTS
    from striate.live import follow as events_of
    from striate.strictjson import to_json
    from striate.terminal import plain_json
    from striate.training import Progress

    progress, number = Progress(stream=sys.stdout), 0
    for event in events_of(run, live=live):
        number += 1
        if as_json:
            print(plain_json(to_json(event.as_dict(), ascii=True)), flush=True)
        else:
            progress(event)
    if number == 0:
        raise UsageError(f"{run / EVENTS} is not there: the run was trained by an earlier version, or has not begun")


def stop(
    run: RunPath,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has stopped.")] = True,
    as_json: AsJson = False,
) -> None:
    """Stop a run that another process trains, as Ctrl-C there would: it ends its step, saves, and can be resumed."""
    from striate.live import stop as ask
    from striate.run import Run

    status = ask(run, wait=wait)
    if as_json:
        show_json({"run": str(run), "waited": wait, "status": status})
        return
    way = f"To go on: striate train --resume {shlex.quote(str(run))}"
    if not wait:
        show_line(f"{run} is asked to stop after its step; {way[0].lower()}{way[1:]}")
    elif status == "finished":
        show_line(f"{run} had trained to its end already, and is finished")
    elif status == "interrupted":
        show_line(f"{run} is stopped: {Run(run).ending}. {way}")
    else:
        show_line(f"{run} has ended by itself, its status is {status}. {way}")
