"""striate data"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from striate.cli.checkup import check
from striate.cli.options import AsJson, DataDir, Exclude, Range, Splits
from striate.cli.output import show_fields, show_json, show_ledger, show_line, show_table, words
from striate.errors import UsageError


class _ShowUnlessNamed(TyperGroup):
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
app.command("check")(check)


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="DATA", help="Name of a data set, or a folder with one subfolder per class.")
    ],
    grid: Annotated[Path | None, typer.Option(help="File for the grid of images. Default: DATA-samples.png.")] = None,
    augmented: Annotated[
        bool, typer.Option("--augmented", help="Show one row per kind of augmentation instead of one per class.")
    ] = False,
    augment: Annotated[
        str | None, typer.Option(help="Show the images after this augmentation, such as flip,shift=4,colour.")
    ] = None,
    exclude: Exclude = None,
    splits: Splits = None,
    range: Range = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Describe a data set or folder, and draw a grid of its images."""
    from striate.data import load_data
    from striate.data.augmentation import Augmentation
    from striate.machine import usable_cores
    from striate.report.samples import write_augmented_grid, write_sample_grid

    if augmented and augment is not None:
        raise UsageError("--augmented shows every kind, and --augment those that it names: give one of them")
    chosen = None if augment is None else Augmentation.parse(augment)
    dataset = load_data(
        name,
        data_dir=data_dir,
        size=(96, 96),
        workers=usable_cores(),
        exclude=exclude or (),
        splits=splits,
        range=range,
    )
    dataset.require_excluded()
    if augmented or chosen is not None:
        picture = write_augmented_grid(dataset, chosen, grid)
    else:
        picture = write_sample_grid(dataset, grid)
    card = {**dataset.as_dict(), "grid": str(picture)}
    if as_json:
        show_json(card)
        return
    shown = ("title", "source", "licence", "location", "shape", "pictures", "grid")
    fields = {key.replace("pictures", "images"): words(card[key]) for key in shown}
    if dataset.values:
        fields["values"] = "; ".join(map(str, dataset.values))
    if not dataset.flippable:
        fields["no flip"] = "a mirrored image of this set can mean another class: recipes do not mirror it"
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
