"""Pictures: named sets and class folders, decoded and preprocessed in one way, split, and served in batches.

This module loads without torch's data sets; `load_data` reads what it is asked for and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from striate.data.arrays import load_npz
from striate.data.folder import load_folder
from striate.data.images import DataSet, ImageData
from striate.data.named import NAMED, load_named
from striate.data.preprocessing import Preprocessing
from striate.errors import DataError, UsageError, unknown_name

__all__ = ["NAMED", "DataSet", "ImageData", "Preprocessing", "load_data"]


def load_data(
    data: str | Path,
    *,
    data_dir: str | Path | None = None,
    size: tuple[int, int] = (224, 224),
    channels: int = 3,
    workers: int = 1,
    group_by: str | None = None,
) -> DataSet:
    """A set by name; a folder or table of pictures (`.csv`, `.tsv`); or a NumPy archive (`.npz`). docs/data.md has the forms.

    Args:
        data: a key of `NAMED`, or a path. What has a path separator or such an ending, or is a folder here, is a path.
        data_dir: where to look for named sets first; $STRIATE_DATA if None.
        size, channels, workers: for files, which are decoded to (H, W) at once by so many threads.
        group_by: for files, a pattern in their names; those in which it finds the same are never on two sides of a split.

    Raises:
        UsageError: neither a known name nor a path, with the nearest names; or a pattern that is none or finds nothing.
        DataError: what was found cannot be used.
    """
    if isinstance(data, str) and data in NAMED:
        if group_by is not None:
            raise UsageError(f"--group-by is for file names, and {data} has none")
        return load_named(NAMED[data], data_dir)
    path = Path(data)
    if path.suffix.lower() == ".parquet":
        raise DataError(f"{path}: Parquet is not read: write it as a table (.csv) with the columns path and label")
    if path.suffix.lower() == ".npz":
        if group_by is not None:
            raise UsageError(f"--group-by is for file names, and {path} is an archive")
        return load_npz(path)
    if path.is_dir() or len(path.parts) > 1 or path.suffix.lower() in (".csv", ".tsv"):
        return load_folder(path, size, channels, workers, group_by)
    raise unknown_name("data set or folder", str(data), NAMED, f"{', '.join(NAMED)}, or the path of a folder")
