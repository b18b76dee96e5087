"""The page of a check-up: each finding with its words and a contact sheet, in one file that opens without a network.

And what a run's accuracy is without the test images that are copies of training images.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from markupsafe import Markup, escape
from PIL import Image, ImageOps

from striate import texts
from striate.checkup import Checkup, copies_of_training
from striate.checkup.findings import Finding, Pair, Picture
from striate.data import DataSet
from striate.data.decode import decode
from striate.drawing.images import data_uri, to_image
from striate.drawing.page import templates
from striate.errors import DataError, UsageError
from striate.files import write_beside, write_new
from striate.metrics.classification import wilson
from striate.outcome import Row
from striate.report import facts, wording
from striate.run import Run
from striate.terminal import plain

SIDE = 144
"""Side of an image on the page, in pixels; small images are enlarged by whole factors up to about that."""
TABLES = (".csv", ".tsv", ".parquet")
"""Endings of data that is a table, beside which its images lie."""
SHEET = 60
"""Images or pairs that a contact sheet shows."""
LISTED = 500
"""Names that the page lists of a finding; the JSON has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A run's accuracy on a split, with and without the images that are, or nearly are, training images.

    Attributes:
        run, evaluation: the names of the run and of its evaluation.
        n, accuracy: of all images.
        copies, accuracy_on_copies: of those that are copies of training images; None without any.
        accuracy_without_copies, interval_without_copies: of the others, with its 95 % interval; None without any.
    """

    run: str
    evaluation: str
    n: int
    accuracy: float
    copies: int
    accuracy_on_copies: float | None
    accuracy_without_copies: float | None
    interval_without_copies: list[float] | None

    def __str__(self) -> str:
        percent = partial(wording.percent, digits=texts.digits_for(self.n))
        whole = f"{self.run}, {self.evaluation}: accuracy {percent(self.accuracy)} of {self.n:,} images"
        if self.accuracy_on_copies is None:
            return f"{whole}; none of them is a copy of a training image."
        if self.accuracy_without_copies is None or self.interval_without_copies is None:
            return f"{whole}; all of them are copies of training images, so nothing was tested."
        low, high = map(percent, self.interval_without_copies)
        return (
            f"{whole}; without the {self.copies:,} that are copies of training images {percent(self.accuracy_without_copies)} "
            f"({wording.INTERVAL} {low} to {high}); on the copies alone {percent(self.accuracy_on_copies)}."
        )


def effects_of_copies(checkup: Checkup, run: Run, moved: bool = False) -> list[Effect]:
    """One for each evaluation of the run on a held-out split of the data that was checked.

    `moved`: it is the run's own data, at another place than where the run was trained.

    Raises:
        UsageError: the run has no such evaluation.
        DataError: its predictions are of other images than those that were checked.
    """
    found = []
    name = run.config.data.name if moved else checkup.name
    for key, evaluation in run.evaluations.items():
        split = evaluation.split
        if evaluation.data != name or split == "train" or split not in checkup.pictures:
            continue
        rows = facts.read_predictions(run.path / "evaluations" / key)
        if moved:
            rows = [{**row, "path": _moved(row["path"], run, checkup)} for row in rows]
        copies = copies_of_training(checkup.findings, split)
        is_copy = np.array(_copied(rows, copies, checkup.pictures[split], key))
        correct = np.array([row["truth"] == row["predicted"] for row in rows])
        rest = correct[~is_copy]
        found.append(
            Effect(
                run=run.name,
                evaluation=key,
                n=len(rows),
                accuracy=float(correct.mean()),
                copies=int(is_copy.sum()),
                accuracy_on_copies=float(correct[is_copy].mean()) if is_copy.any() else None,
                accuracy_without_copies=float(rest.mean()) if len(rest) else None,
                interval_without_copies=list(wilson(int(rest.sum()), len(rest))) if len(rest) else None,
            )
        )
    if not found:
        on = ", ".join(f"{e.data} ({e.split})" for e in run.evaluations.values()) or "nothing"
        raise UsageError(
            f"--run {run.name} was evaluated on {on}, and not on held-out images of {checkup.name}: "
            f"striate evaluate {facts.address(run)}"
        )
    return found


def _moved(path: str, run: Run, checkup: Checkup) -> str:
    """Where an image of a run's data lies now. The run may have kept it relative to where it was trained."""
    old, new = Path(run.config.data.location), Path(checkup.location)
    old, new = (place.parent if place.suffix.lower() in TABLES else place for place in (old, new))
    parts = Path(path).parts
    shared = next((n for n in range(len(old.parts), 0, -1) if parts[:n] == old.parts[-n:]), 0)
    return str(new.joinpath(*parts[shared:])) if path and shared else path


def _copied(rows: Sequence[Row], copies: set[Picture], count: int, key: str) -> list[bool]:
    """Whether each row is of one of the copies: by its file if it is of one, else by its position.

    What a run kept can be relative to the folder in which it was trained: paths are resolved.
    """
    paths = {str(Path(copy.path).resolve()) for copy in copies if copy.path}
    positions = {copy.index for copy in copies if copy.path is None}
    if positions and len(rows) != count:
        raise DataError(
            f"the evaluation {key} is of {len(rows):,} images, and the split that was checked has {count:,}"
        )
    return [str(Path(row["path"]).resolve()) in paths if row["path"] else row["index"] in positions for row in rows]


def write_checkup(checkup: Checkup, dataset: DataSet, effects: Sequence[Effect] = (), path: Path | None = None) -> Path:
    """Writes the page and returns its path.

    Args:
        checkup: of `dataset`, whose images are shown: out of their files where there are any.
        path: where; if None, `<name>-check.html` in this folder, with a number added rather than overwriting another file.

    Raises:
        UsageError: `path` was given and holds something else.
    """
    page = render_checkup(checkup, dataset, effects)
    return write_new(path, page) if path else write_beside(Path(), f"{dataset.name}-check", "html", page)


def render_checkup(checkup: Checkup, dataset: DataSet, effects: Sequence[Effect] = ()) -> str:
    """The page as text."""
    environment = templates("striate.report")
    environment.filters.update(thousands=texts.thousands, options=_options)
    return environment.get_template("checkup.html.j2").render(
        checkup=checkup,
        title=dataset.title,
        excluded=dataset.excluded_files(),
        sections=[_section(finding, dataset) for finding in checkup.findings],
        effects=effects,
        ledger=[] if dataset.ledger is None else dataset.ledger.lines(),
        sheet=SHEET,
    )


def _options(words: str) -> Markup:
    """Text with the options that it names set as code."""
    return Markup(re.sub(r"--[a-z-]+", r"<code>\g<0></code>", str(escape(words))))


def _section(finding: Finding, dataset: DataSet) -> dict[str, object]:
    lines = names(finding, dataset)
    return {
        "finding": finding,
        "pairs": [
            {"sides": [_shown(side, dataset) for side in (pair.first, pair.second)], "how": _likeness(pair)}
            for pair in finding.pairs[:SHEET]
        ],
        "pictures": [_shown(picture, dataset) for picture in finding.pictures[:SHEET]],
        "names": lines[:LISTED],
        "more": max(0, len(lines) - LISTED),
    }


def names(finding: Finding, dataset: DataSet) -> list[str]:
    """The subjects of a finding, one printable line each."""
    return [
        *(f"{_name(path, dataset)}: {plain(reason)}" for path, reason in finding.files),
        *(f"{_name_of(one, dataset)}{f' ({one.note})' if one.note else ''}" for one in finding.pictures),
        *(f"{_name_of(pair.first, dataset)} = {_name_of(pair.second, dataset)}" for pair in finding.pairs),
    ]


def _likeness(pair: Pair) -> str:
    how = "equal pixels" if pair.likeness == 1 else f"likeness {pair.likeness:.2f}"
    return f"{how}, mirrored" if pair.mirrored else how


def _shown(picture: Picture, dataset: DataSet) -> dict[str, object]:
    image = _image(picture, dataset)
    small = max(image.size) * 2 <= SIDE
    if small:
        image = ImageOps.scale(image, SIDE // max(image.size), Image.Resampling.NEAREST)
    image.thumbnail((SIDE, SIDE))
    return {
        "uri": data_uri(image, "PNG" if small else "JPEG"),
        "width": image.width,
        "height": image.height,
        "name": _name_of(picture, dataset),
        "label": plain(picture.label),
        "split": picture.split,
        "note": picture.note,
    }


def _image(picture: Picture, dataset: DataSet) -> Image.Image:
    """The image out of its file, whole; out of the loaded pixels where there is no file any more."""
    if picture.path is not None:
        try:
            return decode(picture.path, at_least=SIDE)
        except DataError:
            pass
    pixels = np.asarray(dataset.splits[picture.split].pixels[picture.index])
    return to_image(pixels)


def _name_of(picture: Picture, dataset: DataSet) -> str:
    return f"{picture.split} {picture.index}" if picture.path is None else _name(picture.path, dataset)


def _name(path: str, dataset: DataSet) -> str:
    """A file's path below the data's folder, fit to be shown."""
    place, folder = Path(path), Path(dataset.location)
    folder = folder if folder.is_dir() else folder.parent
    resolved = place.parent.resolve() / place.name
    return plain(str(resolved.relative_to(folder) if resolved.is_relative_to(folder) else place))
