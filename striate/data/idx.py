"""The IDX format of MNIST (LeCun, yann.lecun.com/exdb/mnist): magic 0 0 type rank, big-endian sizes, then the values."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from striate.data.images import Pixels
from striate.errors import DataError

_UINT8 = 0x08


def read_idx(path: Path) -> Pixels:
    """The uint8 array in an IDX file, gzipped (`.gz`) or not. Raises DataError if it is damaged or of another type."""
    return parse_idx(unpack(path), path)


def unpack(path: Path) -> bytes:
    """The bytes of a file, gunzipped where its name ends in `.gz`. Raises DataError if they are damaged."""
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}): remove it and get it again") from error


def parse_idx(content: bytes, path: Path) -> Pixels:
    """The array in the bytes of an IDX file; `path` is for the message of the DataError."""
    rank = content[3] if len(content) >= 4 else 0
    if content[:3] != bytes((0, 0, _UINT8)) or len(content) < 4 + 4 * rank:
        raise DataError(f"{path} is no IDX file of bytes: it begins with {content[:4].hex(' ') or 'nothing'}")
    sizes = tuple(np.frombuffer(content, dtype=">u4", count=rank, offset=4).tolist())
    start = 4 + 4 * rank
    if len(content) - start != math.prod(sizes):
        raise DataError(
            f"{path} should hold {' x '.join(map(str, sizes))} bytes and holds {len(content) - start}: "
            "remove it and get it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(sizes).copy()  # writable: torch wants it so


def write_idx(path: Path, values: Pixels) -> None:
    """Writes a uint8 array as gzipped IDX; the same array always gives the same bytes."""
    header = bytes((0, 0, _UINT8, values.ndim)) + np.array(values.shape, dtype=">u4").tobytes()
    path.write_bytes(gzip.compress(header + values.tobytes(), compresslevel=9, mtime=0))
