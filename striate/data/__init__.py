"""Images: named sets and class folders, decoded and preprocessed in one way, split, and served in batches.

This module loads without torch's data sets; `load_data` reads what it is asked for and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from striate.arguments import checked
from striate.choices import Fit, OnBad
from striate.data.arrays import load_npz
from striate.data.dataset import DataSet, Reading
from striate.data.elsewhere import is_name, load_elsewhere
from striate.data.folder import load_folder
from striate.data.given import GIVEN, DataLike, load_given
from striate.data.images import ImageData
from striate.data.named import NAMED, load_named
from striate.data.preprocessing import Preprocessing
from striate.data.ranges import range_of
from striate.data.reading import OnProgress
from striate.errors import UsageError, param, unknown_name

__all__ = [
    "GIVEN",
    "NAMED",
    "DataLike",
    "DataSet",
    "ImageData",
    "OnProgress",
    "Preprocessing",
    "Reading",
    "is_name",
    "load_data",
    "read_data",
]


@checked
def load_data(
    data: DataLike,
    *,
    data_dir: str | Path | None = None,
    size: tuple[int, int] = (224, 224),
    channels: int | None = None,
    workers: int = 1,
    group_by: str | None = None,
    exclude: Sequence[str] = (),
    splits: str | None = None,
    on_bad: OnBad = "skip",
    fit: Fit = "crop",
    partial: bool = False,
    range: str | Sequence[float] | None = None,
    on_progress: OnProgress | None = None,
) -> DataSet:
    """A set by name; a folder or table of images; a NumPy archive (`.npz`); or images and labels given in Python.

    docs/data.md has the forms. In Python: `(images, labels)`, with images as an array, a tensor, or a list of PIL images, arrays,
    tensors or files; a torch Dataset of (image, label); a Hugging Face Dataset; a dict of splits of these; a DataSet as it is.

    Args:
        data: a key of `NAMED`, `torchvision:NAME`, `hf:USER/NAME` or `medmnist:NAME`; a path; or the data itself.
            A text with a path separator or the ending of a table or archive, or that names a folder here, is a path.
        data_dir: where to look for named sets first; $STRIATE_DATA if None.
        size, channels, fit: for files, which are decoded to (H, W); see `Preprocessing`. Without `channels` images that are all
            grey have one, and others three.
        workers: threads that decode.
        group_by: for files, a pattern in their names; those in which it finds the same are never on two sides of a split.
        exclude: for files, patterns such as `ants/*.gif` of those to leave out, of the path below the folder or of the name.
        splits: for folders, which of them are splits, where their names do not say it: `train=training_set,test=test_set`, or
            `none` if each is a class.
        on_bad: whether files that cannot be read are left out and named, or an error.
        partial: a split may lack classes, as for data to evaluate with.
        range: black and white of images of more than 8 bits, as in `(0, 4095)`; None for what is known of them (docs/data.md).
        on_progress: called with (done, total) while files are decoded.

    Raises:
        UsageError: neither a known name nor a path, with the nearest names; a pattern that is invalid or matches nothing.
        DataError: the data cannot be used; with `on_bad="stop"`, a file cannot be read.
    """
    reading = Reading(
        size=size, channels=channels, fit=fit, range=range_of(range), group_by=group_by, exclude=tuple(exclude), splits=splits,
        on_bad=on_bad, partial=partial,
    )  # fmt: skip
    return read_data(data, reading, data_dir=data_dir, workers=workers, on_progress=on_progress)


def read_data(
    data: DataLike,
    reading: Reading,
    *,
    data_dir: str | Path | None = None,
    workers: int = 1,
    on_progress: OnProgress | None = None,
) -> DataSet:
    """As `load_data`, which has the same arguments one by one, and raises the same errors."""
    dataset = _read(data, reading, data_dir, workers, on_progress)
    return dataset if reading.tested else dataset.untested()


def _read(
    data: DataLike, reading: Reading, data_dir: str | Path | None, workers: int, on_progress: OnProgress | None
) -> DataSet:
    if isinstance(data, DataSet):
        return data
    if not isinstance(data, str | Path):
        _require_no_files(reading, "images given in Python")
        return load_given(data, reading)
    path = Path(data)
    suffix = path.suffix.lower()
    if is_name(data) or suffix == ".npz":
        _require_no_files(reading, str(data))
    if data in NAMED:
        return replace(load_named(NAMED[str(data)], data_dir, reading.tested), range=reading.range)
    if is_name(data):
        return load_elsewhere(str(data), reading, data_dir)
    if suffix == ".npz":
        return load_npz(path, reading)
    if path.is_dir() or len(path.parts) > 1 or suffix in (".csv", ".tsv", ".parquet"):
        return load_folder(path, reading, workers, on_progress)
    raise unknown_name("data set or folder", str(data), NAMED, f"{', '.join(NAMED)}, or the path of a folder")


def _require_no_files(reading: Reading, what: str) -> None:
    """Raises UsageError for options about files, where there are none."""
    if reading.group_by is not None or reading.exclude:
        option = param("exclude" if reading.exclude else "group_by")
        raise UsageError(f"{option} is for file names, but {what} has none")
    if reading.splits is not None:
        raise UsageError(f"{param('splits')} is for folders, and {what} is none")
