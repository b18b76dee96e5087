"""Many files decoded by threads, each with what was found of it."""

from __future__ import annotations

import functools
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from striate.data.decode import FileInfo, read_bytes
from striate.data.images import Indices, Pixels, content_hash
from striate.data.preprocessing import Preprocessing
from striate.data.values import Found
from striate.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")
PORTION = 128
"""Files that are decoded, and then handed on, at a time."""
Status = tuple[int, int]
"""Bytes of a file and its time of change in nanoseconds; (-1, -1) for what is not there."""
OnProgress = Callable[[int, int], None]
"""A function that is called with how many images are done, and how many there are."""


class Entry(NamedTuple):
    """One file as it was found. A tuple, for there may be many thousands of them to be read at every start.

    Attributes:
        size, changed: bytes, and nanoseconds; a file in which both are as before is taken to be the same.
        digest: of its bytes, 128 bits in hex; empty if it could not be read.
        content: `content_hash` of its pixels; empty if it could not be decoded.
        error: why it could not be read or decoded; empty if it could.
        info: what the file is, or None if it could not be decoded.
    """

    size: int
    changed: int
    digest: str
    content: str
    error: str
    info: FileInfo | None

    def as_list(self) -> list[Any]:
        """Plain values, for JSON."""
        *values, info = self
        return values if info is None else [*values, *info[:-1], *(info.found or ())]

    @classmethod
    def from_list(cls, values: list[Any]) -> Entry:
        """The inverse of `as_list`. Raises TypeError or ValueError for anything else."""
        size, changed, digest, content, error, *info = values
        return cls(size, changed, digest, content, error, _info(*info) if info else None)


@functools.lru_cache(maxsize=10_000)  # few kinds, many files
def _info(form: str, mode: str, width: int, height: int, grey: bool, *found: Any) -> FileInfo:
    return FileInfo(form, mode, width, height, grey, Found(*found) if found else None)


class Known(NamedTuple):
    """Images that were decoded before: (path, status) of an unchanged file -> its digest, without reading it; digest -> image."""

    digests: dict[tuple[str, Status], str]
    images: dict[str, tuple[Entry, Pixels]]


def in_portions(
    pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], size: int, ahead: int = 0
) -> Iterator[list[Result]]:
    """What the threads of a pool make of items, in order, `size` at a time; `ahead` portions are begun before one is used."""
    waiting, begun = iter(items), deque[list[Future[Result]]]()
    try:
        while portion := [pool.submit(work, item) for item in islice(waiting, size)]:
            begun.append(portion)
            if len(begun) > ahead:
                yield [future.result() for future in begun.popleft()]
        while begun:
            yield [future.result() for future in begun.popleft()]
    finally:  # nobody asks for the rest
        for future in chain(*begun):
            future.cancel()


class Files:
    """Images that are decoded whenever they are asked for: a store for sets that neither memory nor disk can hold."""

    def __init__(self, paths: Sequence[Path], preprocessing: Preprocessing, workers: int) -> None:
        self.paths, self.preprocessing, self.workers = paths, preprocessing, workers
        self.statuses = [_status(path) for path in paths]
        self.shape: tuple[int, ...] = (len(paths), *preprocessing.size, preprocessing.channels)

    def decoded(self, rows: Iterable[int], known: Known | None = None) -> Iterator[list[tuple[Entry, Pixels | None]]]:
        """Entry and pixels (None: unreadable) of each of these files in turn, a portion at a time."""
        digests, images = known or ({}, {})

        def one(row: int) -> tuple[Entry, Pixels | None]:
            path, status = self.paths[row], self.statuses[row]
            digest = digests.get((str(path), status))
            try:
                content = b"" if digest else read_bytes(path)
                digest = digest or hashlib.blake2b(content, digest_size=16).hexdigest()
                if digest in images:
                    entry, picture = images[digest]
                    return Entry(*status, digest, entry.content, "", entry.info), picture
                try:
                    picture, info = self.preprocessing.read_with_info(content)
                except DataError as error:
                    return Entry(*status, digest, "", str(error).removeprefix("the image: "), None), None
                return Entry(*status, digest, content_hash(picture), "", info), picture
            except DataError as error:
                return Entry(*status, "", "", str(error).removeprefix(f"{path}: "), None), None

        with ThreadPoolExecutor(self.workers) as pool:
            yield from in_portions(pool, one, rows, PORTION)

    def __getitem__(self, rows: int | Indices) -> Pixels:
        wanted = np.atleast_1d(rows).tolist()
        found: list[Pixels] = []
        for row, (entry, picture) in zip(wanted, chain.from_iterable(self.decoded(wanted)), strict=True):
            if picture is None:
                raise DataError(f"{self.paths[row]}: {entry.error}; it was readable when training began")
            found.append(picture)
        return np.stack(found) if np.ndim(rows) else found[0]


def _status(path: Path) -> Status:
    try:
        status = os.stat(path)  # noqa: PTH116 - of 60,000 files: three times as fast
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns
