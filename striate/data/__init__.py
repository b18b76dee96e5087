"""Pictures: named sets and class folders, decoded and preprocessed in one way, split, and served in batches.

This module loads without torch's data sets; `load_data` reads what it is asked for and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from striate.arguments import checked
from striate.choices import Fit, OnBad
from striate.data.arrays import load_npz
from striate.data.cache import Told
from striate.data.folder import load_folder
from striate.data.images import DataSet, ImageData
from striate.data.named import NAMED, load_named
from striate.data.preprocessing import Preprocessing
from striate.data.ranges import range_of
from striate.errors import DataError, UsageError, check_choice, unknown_name

__all__ = ["NAMED", "DataSet", "ImageData", "Preprocessing", "load_data"]

SHOWN = 20
"""How many files that cannot be read an error names."""


@checked
def load_data(
    data: str | Path,
    *,
    data_dir: str | Path | None = None,
    size: tuple[int, int] = (224, 224),
    channels: int = 3,
    workers: int = 1,
    group_by: str | None = None,
    exclude: Sequence[str] = (),
    splits: str | None = None,
    on_bad: OnBad = "skip",
    fit: Fit = "crop",
    partial: bool = False,
    range: str | Sequence[float] | None = None,
    told: Told | None = None,
) -> DataSet:
    """A set by name; a folder or table of pictures; or a NumPy archive (`.npz`). docs/data.md has the forms.

    Args:
        data: a key of `NAMED`, or a path. What has a path separator or such an ending, or is a folder here, is a path.
        data_dir: where to look for named sets first; $STRIATE_DATA if None.
        size, channels, fit: for files, which are decoded to (H, W); see `Preprocessing`.
        workers: threads that decode.
        group_by: for files, a pattern in their names; those in which it finds the same are never on two sides of a split.
        exclude: for files, patterns such as `ants/*.gif` of those to leave out, of the path below the folder or of the name.
        splits: for folders, which of them are splits, where their names do not say it: `train=training_set,test=test_set`, or
            `none` if each is a class.
        on_bad: what files that cannot be read do: they are left out and named, or they are an error.
        partial: the pictures may be of some classes only, also in one split other ones than in another: to evaluate with.
        range: black and white of images of more than 8 bits, as in `(0, 4095)`; None for what is known of them (docs/data.md).
        told: is told, while files are decoded, how many are done, of how many.

    Raises:
        UsageError: neither a known name nor a path, with the nearest names; or a pattern that is none or finds nothing.
        DataError: what was found cannot be used; with `stop`, a file that cannot be read.
    """
    check_choice("--fit", fit, Fit)
    check_choice("--on-bad", on_bad, OnBad)
    wanted = range_of(range)
    path = Path(data)
    named = isinstance(data, str) and data in NAMED
    if named or path.suffix.lower() == ".npz":
        if group_by is not None or exclude:
            raise UsageError(f"--{'exclude' if exclude else 'group-by'} is for file names, and {data} has none")
        if splits is not None:
            raise UsageError(f"--splits is for folders, and {data} is none")
    if isinstance(data, str) and data in NAMED:
        return replace(load_named(NAMED[data], data_dir), range=wanted)
    if path.suffix.lower() == ".npz":
        return load_npz(path, partial, wanted)
    if path.is_dir() or len(path.parts) > 1 or path.suffix.lower() in (".csv", ".tsv", ".parquet"):
        preprocessing = Preprocessing(size=size, channels=channels, mean=(), std=(), fit=fit, range=wanted)
        read_as = {
            "size": size, "channels": channels, "fit": fit, "group_by": group_by, "exclude": tuple(exclude), "splits": splits,
            "range": wanted,
        }  # fmt: skip
        dataset = load_folder(path, preprocessing, workers, group_by, exclude, splits, told, partial=partial)
        if on_bad == "stop" and dataset.unreadable:
            raise DataError(*_bad_files(dataset.unreadable))
        return replace(dataset, read_as=read_as)
    raise unknown_name("data set or folder", str(data), NAMED, f"{', '.join(NAMED)}, or the path of a folder")


def _bad_files(unreadable: Mapping[str, str]) -> list[str]:
    shown = [f"{path}: {reason}" for path, reason in list(unreadable.items())[:SHOWN]]
    more = [f"and {len(unreadable) - SHOWN} more"] if len(unreadable) > SHOWN else []
    way = "Mend or remove them, --exclude them, or use --on-bad skip."
    return [f"{len(unreadable)} files cannot be read:", *shown, *more, way]
