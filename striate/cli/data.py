"""striate data: show and check"""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from striate.cli.options import PlainGroup, Reading, add_command, argument, option
from striate.cli.output import WIDTH, show_fields, show_json, show_ledger, show_line, show_lines, show_table, words
from striate.errors import CheckError, UsageError

SHOWN = 3
"""Names that are printed of a finding; the page and the JSON have more."""


class _ShowUnlessNamed(PlainGroup):
    """`striate data NAME` is `striate data show NAME`; a folder called as a command is named with its path, as in ./check."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ShowUnlessNamed,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Describe a data set or folder, or check it for problems.",
)


class Check(Reading):
    """Check a data set for unreadable, blank and duplicate images, leakage, label errors and outliers."""

    name: str = argument("Name of a data set, or a folder or table of images.", "DATA")
    html: Path | None = option(None, "File for the page with contact sheets. Default: DATA-check.html.")
    strict: bool = option(False, "Exit with code 4 if anything more serious than a hint is found.")
    run: Path | None = option(None, "A run: report its accuracy without copies of training images.")

    def __call__(self) -> None:
        from striate.checkup import SIZE, check
        from striate.evaluation.subject import is_moved
        from striate.machine import use_cores
        from striate.report.checkup import effects_of_copies, names, write_checkup
        from striate.run import Run
        from striate.training import Progress

        use_cores()
        opened = None if self.run is None else Run.open(self.run)
        progress = Progress(quiet=self.as_json)
        dataset = self.load(self.name, size=SIZE, on_progress=progress.reading)
        progress.say(f"look    for copies among {sum(map(len, dataset.splits.values())):,} images")
        found = check(dataset)
        effects = [] if opened is None else effects_of_copies(found, opened, is_moved(opened, dataset, self.data_dir))
        page = write_checkup(found, dataset, effects, self.html)
        if self.as_json:
            ledger = None if dataset.ledger is None else dataset.ledger.as_dict()
            effect_rows = [asdict(effect) for effect in effects]
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
                _show_finding(finding.title, finding.words, names(finding, dataset))
            for effect in effects:
                show_line()
                show_lines(textwrap.fill(str(effect), WIDTH))
            if not found.findings:
                show_line("no problems found")
        if self.strict and found.weighty:
            raise CheckError(f"{len(found.weighty)} serious findings: {', '.join(f.kind for f in found.weighty)}")


def _show_finding(title: str, text: str, names: list[str]) -> None:
    show_line()
    show_line(title)
    show_lines(textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  "))
    for name in names[:SHOWN]:
        show_line(f"    {name}")
    if len(names) > SHOWN:
        show_line(f"    and {len(names) - SHOWN:,} more")


class Show(Reading):
    """Describe a data set or folder, and draw a grid of its images."""

    name: str = argument("Name of a data set, or a folder with one subfolder per class.", "DATA")
    grid: Path | None = option(None, "File for the grid of images. Default: DATA-samples.png.")
    augmented: bool = option(False, "Show one row per kind of augmentation instead of one per class.")
    augment: str | None = option(None, "Show the images after this augmentation, such as flip,shift=4,colour.")

    def __call__(self) -> None:
        from striate.data.augmentation import Augmentation
        from striate.report.samples import write_augmented_grid, write_sample_grid

        if self.augmented and self.augment is not None:
            raise UsageError("--augmented shows all kinds, --augment the given ones: use only one of the two")
        chosen = None if self.augment is None else Augmentation.parse(self.augment)
        dataset = self.load(self.name, size=(96, 96))
        if self.augmented or chosen is not None:
            picture = write_augmented_grid(dataset, chosen, self.grid)
        else:
            picture = write_sample_grid(dataset, self.grid)
        card = {**dataset.as_dict(), "grid": str(picture)}
        if self.as_json:
            show_json(card)
            return
        shown = ("title", "source", "licence", "location", "shape", "pictures", "grid")
        fields = {key.replace("pictures", "images"): words(card[key]) for key in shown}
        if dataset.values:
            fields["values"] = "; ".join(map(str, dataset.values))
        if not dataset.flippable:
            fields["no flip"] = "mirroring can change the class in this data set: recipes do not mirror it"
        show_fields(fields)
        if dataset.ledger is not None:
            show_ledger(dataset.ledger)
        show_line()
        show_table(
            [
                {"class": label, **{split: counts[place] for split, counts in card["class_counts"].items()}}
                for place, label in enumerate(card["classes"])
            ],
            right=tuple(card["class_counts"]),
        )
        for path, reason in dataset.unreadable.items():
            show_line(f"{path}: {reason}", err=True)


add_command(app, "check", Check)
add_command(app, "show", Show)
