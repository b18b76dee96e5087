"""Pictures: named sets and class folders, decoded and preprocessed in one way, split, and served in batches.

This module loads without torch's data sets; `load_data` reads what it is asked for and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from striate.data.folder import load_folder
from striate.data.images import DataSet, ImageData
from striate.data.named import NAMED, load_named
from striate.data.preprocessing import Preprocessing
from striate.errors import unknown_name

__all__ = ["NAMED", "DataSet", "ImageData", "Preprocessing", "load_data"]


def load_data(
    data: str | Path,
    *,
    data_dir: str | Path | None = None,
    size: tuple[int, int] = (224, 224),
    channels: int = 3,
    workers: int = 1,
) -> DataSet:
    """A set by name, or a folder of class folders.

    Args:
        data: a key of `NAMED`, or the path of a folder. What has a path separator, or is a folder here, is a path.
        data_dir: where to look for named sets first; $STRIATE_DATA if None.
        size, channels, workers: for folders, whose pictures are decoded to (H, W) at once by so many threads.

    Raises:
        UsageError: neither a known name nor a folder; the message gives the nearest names.
        DataError: what was found cannot be used.
    """
    if isinstance(data, str) and data in NAMED:
        return load_named(NAMED[data], data_dir)
    if Path(data).is_dir() or len(Path(data).parts) > 1:
        return load_folder(Path(data), size, channels, workers)
    raise unknown_name("data set or folder", str(data), NAMED, f"{', '.join(NAMED)}, or the path of a folder")
