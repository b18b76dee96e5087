"""striate predict"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from striate.cli.options import Device, TrustCode, argument, option, run_path
from striate.cli.output import aside, show_ledger, show_line
from striate.errors import UsageError

if TYPE_CHECKING:
    from striate.predicting import Prediction

SECONDS = 5.0
"""Between two lines of progress where there is no terminal for a bar."""


class Predict(Device, TrustCode):
    """Classify images. Unreadable ones are listed, the others still classified, and the exit code is 3."""

    run: Path = run_path()
    pictures: list[str] = argument(
        "Image files; folders, with their subfolders; - for standard input, which holds paths, one per line, or the bytes of one "
        "image.",
        "IMAGE|FOLDER|-...",
    )
    top: int = option(3, "Number of most probable classes to show.", min=1, max=100_000)
    abstain: bool = option(False, "Answer `unknown` for images unlike the training images (out-of-distribution).")
    as_csv: bool = option(False, "Print the result as CSV.", names="--csv")
    as_parquet: bool = option(False, "Write Parquet; needs --output.", names="--parquet")
    output: Path | None = option(None, "Write to this new file: .csv, .json or .parquet.")

    def __call__(self) -> None:
        from striate.classifier import Classifier
        from striate.data.inputs import ImageFolder, expanded, from_stream, ledger_of
        from striate.files import writing
        from striate.predicting.writing import write_predictions
        from striate.run import Run

        form = _format({"csv": self.as_csv, "json": self.as_json, "parquet": self.as_parquet}, self.output)
        if "-" in self.pictures and self.pictures != ["-"]:
            raise UsageError("- means standard input, which names all images: give it alone")
        folders: list[ImageFolder] = []
        given = from_stream(sys.stdin.buffer) if self.pictures == ["-"] else list(expanded(self.pictures, folders))
        opened = Run.open(self.run, trust_code=self.trust_code)
        with aside():
            predictions = Classifier.of(opened, device=self.device).predict_many(
                given, top=self.top, abstain=self.abstain
            )
        count = _Count(len(given) if isinstance(given, list) else None)
        watched = _watched(predictions, count, quiet=self.output is None and sys.stdout.isatty())
        if form is None:
            for prediction in watched:
                if prediction.error is None:
                    show_line(prediction)
        elif self.output is None:
            sys.stdout.flush()
            write_predictions(watched, sys.stdout.buffer, form, self.top, shown=sys.stdout.isatty())
        else:
            with writing(self.output) as file:
                write_predictions(watched, file, form, self.top)
            show_line(
                f"{count.done:,} predictions: {self.output}", err=self.as_json
            )  # `--json` promises JSON on stdout, and that is in the file
        if (ledger := ledger_of(folders, count.errors)) is not None:
            show_ledger(ledger, beside=True, as_json=form == "json")
        if count.unanswered:
            if count.done > 1:
                show_line(f"{count.unanswered:,} of {count.done:,} images could not be classified", err=True)
            raise typer.Exit(3)


def _format(flags: Mapping[str, bool], output: Path | None) -> str | None:
    """The format that was asked for; None for lines of text. Raises UsageError for what does not go together."""
    from striate.predicting.writing import format_of, require_pyarrow

    wanted = [name for name, flag in flags.items() if flag]
    if len(wanted) > 1:
        raise UsageError(f"choose one format: --{' or --'.join(wanted)}")
    form = wanted[0] if wanted else None if output is None else format_of(output)
    if output is not None and output.exists():
        raise UsageError(f"{output} already exists: choose another name")
    if form == "parquet":
        if output is None:
            raise UsageError("Parquet cannot be printed: use --output FILE.parquet")
        require_pyarrow()
    return form


@dataclass
class _Count:
    """The progress. `total`: the number of images; None if unknown. `errors`: image -> why it was not read."""

    total: int | None
    done: int = 0
    errors: dict[str, str] = field(default_factory=dict)
    unanswered: int = 0

    def __str__(self) -> str:
        return f"{self.done:,}{'' if self.total is None else f' of {self.total:,}'} images"


def _watched(predictions: Iterable[Prediction], count: _Count, quiet: bool) -> Iterator[Prediction]:
    """Hands predictions on, counts them, and says on stderr which images cannot be read, and how far it is unless `quiet`."""
    from striate.predicting.results import NO_NUMBER

    with _progress(count, quiet) as show:
        coming = iter(predictions)
        while True:
            with aside():
                prediction = next(coming, None)
            if prediction is None:
                break
            count.done += 1
            if prediction.error is not None:
                count.unanswered += 1
                if prediction.error != NO_NUMBER:  # that one was read
                    count.errors[prediction.picture] = prediction.error
                show_line(prediction, err=True)
            yield prediction
            show()


@contextmanager
def _progress(count: _Count, quiet: bool) -> Iterator[Callable[[], None]]:
    """A function that shows the count: as a bar on a terminal, else as a line now and then."""
    if quiet:
        yield lambda: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn(compact=True), TextColumn("left"))
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=count.total)
            yield lambda: bar.update(task, completed=count.done, description=str(count))
    else:
        began = said = time.perf_counter()

        def line() -> None:
            nonlocal said
            now = time.perf_counter()
            if now - said >= SECONDS:
                said = now
                show_line(f"{count}, {count.done / (now - began):,.0f} a second", err=True)

        yield line
