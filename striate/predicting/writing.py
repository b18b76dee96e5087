"""Predictions into a stream, one after the other: CSV, JSON, Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TextIO

from striate.errors import UsageError
from striate.files import csv_cell
from striate.predicting.results import Prediction
from striate.strictjson import to_json
from striate.terminal import plain, plain_json

COLUMNS = ("picture", "label", "confidence", "known", "error")
"""Columns of a table; then `class_1`, `confidence_1` and so on, the likeliest classes."""
ROWS = 5000
"""Rows of a Parquet file that are held until they are written."""


def format_of(path: Path) -> str:
    """The format that a file's ending names. Raises UsageError for another one."""
    ending = path.suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        raise UsageError(
            f"{path} must end in one of {', '.join(f'.{name}' for name in FORMATS)}, which decide the format"
        )
    return ending


def write_predictions(
    predictions: Iterable[Prediction], stream: BinaryIO, form: str, top: int, shown: bool = False
) -> None:
    """Writes them in one of `FORMATS` as they come, in constant memory.

    Args:
        top: how many classes a table has columns for; JSON has what there is.
        shown: whether the stream is a terminal, which is shown escapes for what it would act on.

    Raises:
        UsageError: Parquet without pyarrow.
    """
    FORMATS[form](map(_plain, predictions) if shown else predictions, stream, top)


def write_csv(predictions: Iterable[Prediction], stream: BinaryIO, top: int) -> None:
    """A heading and a line an image, UTF-8; probabilities with 6 decimals, texts as `csv_cell` writes them."""
    with _text(stream) as text:
        writer = csv.DictWriter(text, list(_row(Prediction(picture=""), top)), lineterminator="\n")
        writer.writeheader()
        for prediction in predictions:
            row = _row(prediction, top) | {"known": {True: "true", False: "false", None: ""}[prediction.known]}
            writer.writerow(
                {key: f"{value:.6f}" if isinstance(value, float) else csv_cell(value) for key, value in row.items()}
            )


def write_json(predictions: Iterable[Prediction], stream: BinaryIO, top: int) -> None:
    """A list of what `Prediction.as_dict` gives."""
    with _text(stream) as text:
        separator = "[\n"
        for prediction in predictions:
            item = plain_json(to_json(prediction.as_dict(), indent=2))
            text.write(separator + "  " + item.replace("\n", "\n  "))
            separator = ",\n"
        text.write("[]\n" if separator == "[\n" else "\n]\n")


def write_parquet(predictions: Iterable[Prediction], stream: BinaryIO, top: int) -> None:
    """Columns of strings and doubles; `known` is boolean."""
    require_pyarrow()
    import pyarrow
    import pyarrow.parquet

    names = list(_row(Prediction(picture=""), top))
    kinds = {name: pyarrow.float64() for name in names if name.startswith("confidence")} | {"known": pyarrow.bool_()}
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in names])
    # File names may hold bytes that are no UTF-8.
    rows = (
        _row(prediction, top) | {"picture": prediction.picture.encode(errors="backslashreplace").decode()}
        for prediction in predictions
    )
    with pyarrow.parquet.ParquetWriter(stream, schema) as writer:
        while part := list(islice(rows, ROWS)):
            writer.write_table(pyarrow.Table.from_pylist(part, schema=schema))


FORMATS: Mapping[str, Callable[[Iterable[Prediction], BinaryIO, int], None]] = {
    "csv": write_csv,
    "json": write_json,
    "parquet": write_parquet,
}


def require_pyarrow() -> None:
    """Raises UsageError where pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        raise UsageError("Parquet is written with pyarrow: pip install 'striate[parquet]'")


def _plain(prediction: Prediction) -> Prediction:
    """As a terminal may be shown it."""
    return replace(
        prediction,
        picture=plain(prediction.picture),
        label=prediction.label and plain(prediction.label),
        top=tuple((plain(name), value) for name, value in prediction.top),
        error=prediction.error and plain(prediction.error),
    )


def _row(prediction: Prediction, top: int) -> dict[str, object]:
    """A prediction as a row of a table."""
    row: dict[str, object] = {name: getattr(prediction, name) for name in COLUMNS}
    for place in range(1, top + 1):
        best = prediction.top[place - 1] if place <= len(prediction.top) else (None, None)
        row[f"class_{place}"], row[f"confidence_{place}"] = best
    return row


@contextmanager
def _text(stream: BinaryIO) -> Iterator[TextIO]:
    """The stream as text; it stays open. File names that are no UTF-8 are written as escapes."""
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", newline="\n")
    try:
        yield text
    finally:
        text.detach()
