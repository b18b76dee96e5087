"""striate runs"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.options import AsJson
from striate.cli.output import show_json, show_line, show_table
from striate.texts import duration, interval, share

if TYPE_CHECKING:
    from striate.runforms.summary import Overview


def runs(
    out: Annotated[Path, typer.Option(help="Folder that holds the runs; its subfolders are searched too.")] = Path(
        "runs"
    ),
    as_json: AsJson = False,
) -> None:
    """List runs, oldest first. If one cannot be read, the others are listed and the exit code is 3."""
    from striate.runforms.summary import Overview
    from striate.runlist import overviews

    found, closed = overviews(out)
    if as_json:
        unread = dict.fromkeys(item.name for item in fields(Overview)) if found else {}
        errors = [{**unread, "run": path, "status": "damaged", "error": reason} for path, reason in closed.items()]
        show_json([*(row.as_dict() for row in found), *errors])
    elif not found and not closed:
        show_line(f"no runs in {out} yet: striate train")
    else:
        show_table(
            [
                {
                    "run": row.run,
                    "status": _status(row),
                    "net": row.net,
                    "data": row.data,
                    "epochs": f"{row.epochs_done:.4g} of {row.epochs:.4g}",
                    "accuracy": "" if row.accuracy is None else share(row, "accuracy"),
                    "on": row.split or "",
                    "95 % interval": "" if row.low is None else interval(row),
                    "time": duration(row.seconds),
                }
                for row in found
            ],
            right=("epochs", "accuracy", "time"),
        )
    for reason in closed.values():
        show_line(f"not listed: {reason}", err=True)
    if closed:
        raise typer.Exit(3)


def _status(row: Overview) -> str:
    """`finished`, `finished, patience`, `finished, exploded`, `failed, not finite`."""
    further: list[str] = [row.ended] if row.ended in ("patience", "not finite") else []
    if row.learned not in ("learned", "unknown"):
        further.append(row.learned)
    return ", ".join([row.status, *further])
