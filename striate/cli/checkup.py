"""striate data check"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated

import typer

from striate.cli.options import AsJson, DataDir, Exclude, Range, Splits
from striate.cli.output import WIDTH, show_fields, show_json, show_ledger, show_line, show_lines, show_table
from striate.errors import CheckError

SHOWN = 3
"""Names that are printed of a finding; the page and the JSON have more."""


def check(
    name: Annotated[str, typer.Argument(metavar="DATA", help="Name of a data set, or a folder or table of images.")],
    html: Annotated[
        Path | None, typer.Option(help="File for the page with contact sheets. Default: DATA-check.html.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 4 if anything more serious than a hint is found.")
    ] = False,
    run: Annotated[
        Path | None, typer.Option(help="A run: report its accuracy without copies of training images.")
    ] = None,
    exclude: Exclude = None,
    splits: Splits = None,
    range: Range = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Check a data set for unreadable, blank and duplicate images, leakage, label errors and outliers."""
    from striate.checkup import SIZE
    from striate.checkup import check as check_up
    from striate.data import load_data
    from striate.evaluation.subject import is_moved
    from striate.machine import usable_cores, use_cores
    from striate.report.checkup import effects_of_copies, names, write_checkup
    from striate.run import Run
    from striate.training import Progress

    use_cores()
    opened = None if run is None else Run.open(run)
    progress = Progress(quiet=as_json)
    dataset = load_data(
        name,
        data_dir=data_dir,
        size=SIZE,
        workers=usable_cores(),
        exclude=exclude or (),
        splits=splits,
        range=range,
        on_progress=progress.reading,
    )
    dataset.require_excluded()
    progress.say(f"look    for copies among {sum(map(len, dataset.splits.values())):,} images")
    found = check_up(dataset)
    effects = [] if opened is None else effects_of_copies(found, opened, is_moved(opened, dataset, data_dir))
    page = write_checkup(found, dataset, effects, html)
    if as_json:
        ledger = None if dataset.ledger is None else dataset.ledger.as_dict()
        effect_rows = [effect.as_dict() for effect in effects]
        show_json({**found.as_dict(), "effects": effect_rows, "ledger": ledger, "page": str(page)})
    else:
        looked = ", ".join(f"{count:,} {split}" for split, count in found.pictures.items())
        show_fields({"checked": f"{looked} images of {len(found.classes)} classes", "page": page})
        if dataset.ledger is not None:
            show_ledger(dataset.ledger)
        show_line()
        rows = [{"severity": f.severity, "count": f.count or "", "finding": f.title} for f in found.findings]
        show_table(rows, right=("count",))
        for finding in found.findings:
            show_line()
            show_line(finding.title)
            show_lines(textwrap.fill(finding.words, WIDTH, initial_indent="  ", subsequent_indent="  "))
            lines = names(finding, dataset)
            for line in lines[:SHOWN]:
                show_line(f"    {line}")
            if len(lines) > SHOWN:
                show_line(f"    and {len(lines) - SHOWN:,} more")
        for effect in effects:
            show_line()
            show_lines(textwrap.fill(str(effect), WIDTH))
        if not found.findings:
            show_line("no problems found")
    if strict and found.weighty:
        raise CheckError(f"{len(found.weighty)} serious findings: {', '.join(f.kind for f in found.weighty)}")
