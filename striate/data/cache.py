"""The pixel cache: what a folder's files decode to, kept on disk, so that they are decoded once.

A cache belongs to a folder (or table) and a preprocessing. In it a *generation* holds the images of one list of files, each
known by path, size and time of change: `<plan>.pixels`, uint8 rows, and `<plan>.index`, written last and atomically. While a
generation is built, `<plan>.journal` has a line for each row that is written. A builder that was killed leaves a journal, and
the next one goes on from it, after it has checked each row by its hash. A lock, which the system frees when its process ends,
keeps a second builder waiting. What an older generation holds of the same file, or of the same content, is copied.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL

from striate.data.decode import DECODER
from striate.data.formats import FORMATS, has_heif
from striate.data.images import Pixels, Store, content_hash
from striate.data.preprocessing import Preprocessing
from striate.data.reading import Entry, Files, Known, OnProgress
from striate.files import write_atomic
from striate.forms import Form
from striate.strictjson import to_json
from striate.texts import storage

if TYPE_CHECKING:
    from filelock import BaseFileLock

ABOUT, LOCK = "about.json", "lock"
MEMORY_SHARE = 0.25
"""Share of the free memory for the images of a set."""
RESERVE = 2**30
"""Bytes of the disk that a cache leaves free."""


class About(Form):
    """The content of `about.json` in a cache: the source of its images, and their preprocessing."""

    source: str
    size: tuple[int, int]
    channels: int
    fit: str


@dataclass(frozen=True, eq=False, slots=True)
class Prepared:
    """The images of some files, a row each; that of a file which could not be decoded is black.

    Attributes:
        pixels: uint8 (N, H, W, C), on disk or in memory.
        entries: what was found, in the order of the files.
        place: where they are kept, or why they are not.
    """

    pixels: Store
    entries: tuple[Entry, ...]
    place: str


def cache_root() -> Path:
    """The folder of all caches: $STRIATE_CACHE, or a place for them among the user's files."""
    from platformdirs import user_cache_path

    place = os.environ.get("STRIATE_CACHE")
    return Path(place) if place else user_cache_path("striate") / "pixels"


def prepare(
    source: Path,
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    workers: int,
    on_progress: OnProgress | None = None,
) -> Prepared:
    """The pixels of files that belong to `source`, from its cache, which is built or brought up to date where it must be.

    Without a place for a cache the images are decoded into memory; if that cannot hold them, whenever they are needed.
    """
    files = Files(paths, preprocessing, workers)
    plan = hashlib.blake2b(repr([*map(str, paths), *files.statuses]).encode(), digest_size=12).hexdigest()
    generation = _Generation(_folder_of(source, preprocessing), plan, files.shape)
    on_progress = on_progress or (lambda done, total: None)
    try:
        generation.folder.mkdir(parents=True, exist_ok=True)
        if (ready := generation.opened()) is None:
            with lock_of(generation.folder):
                about = About(
                    source=str(source.resolve()),
                    size=preprocessing.size,
                    channels=preprocessing.channels,
                    fit=preprocessing.fit,
                )
                write_atomic(generation.folder / ABOUT, to_json(about.as_dict(), ascii=True))
                if (ready := generation.opened()) is None:  # another process may have built it meanwhile
                    _build(generation, files, on_progress)
                    ready = generation.opened()
        if ready is not None:
            with suppress(PermissionError):  # a cache that is shared may be for reading only
                os.utime(generation.folder / ABOUT)
            return ready
        reason = "it cannot be read back"
    except OSError as error:
        reason = str(error.strerror or error)
    pixels = np.zeros(files.shape, dtype=np.uint8) if fits_memory(generation.size) else None
    entries: list[Entry] = []
    for portion in files.decoded(range(len(paths))):
        for entry, picture in portion:
            if picture is not None and pixels is not None:
                pixels[len(entries)] = picture
            entries.append(entry)
        on_progress(len(entries), len(paths))
    return Prepared(files if pixels is None else pixels, tuple(entries), f"no cache in {generation.folder}: {reason}")


def fits_memory(size: int) -> bool:
    """Whether so many bytes of pixels can be held in memory, with as much again for what trains on them."""
    import psutil

    return size < psutil.virtual_memory().available * MEMORY_SHARE


@dataclass(frozen=True, slots=True)
class _Generation:
    """The images of one list of files, whose name is `plan`, in a cache; `shape` is (N, H, W, C)."""

    folder: Path
    plan: str
    shape: tuple[int, ...]

    def file(self, ending: str) -> Path:
        """Its `pixels`, `index` or `journal`."""
        return self.folder / f"{self.plan}.{ending}"

    @property
    def size(self) -> int:
        """Bytes of its pixels."""
        return math.prod(self.shape)

    def opened(self) -> Prepared | None:
        """Its images if it is whole, or None."""
        read = _read_index(self.file("index"))
        if read is None or len(read[1]) != self.shape[0] or self.file("pixels").stat().st_size != self.size:
            return None
        return Prepared(_mapped(self.file("pixels"), self.shape), tuple(read[1]), str(self.folder))

    def begun(self) -> dict[int, Entry]:
        """Row -> entry of what a builder that was stopped has written rightly; the space of all rows is allocated."""
        entries: dict[int, Entry] = {}
        pixels, journal = self.file("pixels"), self.file("journal")
        if journal.is_file() and pixels.is_file() and pixels.stat().st_size == self.size:
            stored = _mapped(pixels, self.shape)
            for line in journal.read_text(encoding="utf-8").splitlines():
                try:
                    row, *values = json.loads(line)
                    entry = Entry.from_list(values)
                except (ValueError, TypeError):
                    continue  # the line that was being written
                if not entry.content or content_hash(stored[row]) == entry.content:
                    entries[row] = entry
            return entries
        for path in self.folder.glob("*.journal"):  # of other lists of files: no build will continue them
            path.unlink()
            path.with_suffix(".pixels").unlink(missing_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < self.size + RESERVE:
            raise OSError(
                errno.ENOSPC,
                f"it needs {storage(self.size)} and {storage(free)} are free, of which {storage(RESERVE)} are "
                "reserved; striate cache clear frees space",
            )
        with pixels.open("wb") as file:
            if hasattr(os, "posix_fallocate") and self.size:
                os.posix_fallocate(file.fileno(), 0, self.size)  # a disk that fills up later cannot hurt then
            file.truncate(self.size)
        return entries

    def older(self) -> Known:
        """The content of other generations of the cache."""
        known = Known({}, {})
        for index in self.folder.glob("*.index"):
            if index.stem == self.plan or (read := _read_index(index)) is None:
                continue
            stored = _mapped(index.with_suffix(".pixels"), (len(read[1]), *self.shape[1:]))
            for path, entry, picture in zip(*read, stored, strict=True):
                if entry.content:
                    known.images[entry.digest] = entry, picture
                    known.digests[path, (entry.size, entry.changed)] = entry.digest
        return known


def _build(generation: _Generation, files: Files, on_progress: OnProgress) -> None:
    """Decodes what no older generation has, and removes the older ones. The cache's lock is held."""
    count = len(files.paths)
    entries = generation.begun()
    todo = [row for row in range(count) if row not in entries]
    with (
        generation.file("pixels").open("r+b", buffering=0) as pixels,
        generation.file("journal").open("a", encoding="utf-8") as journal,
        ThreadPoolExecutor(1) as background,
    ):
        on_progress(len(entries), count)
        rows = iter(todo)
        for portion in files.decoded(todo, generation.older()):
            written = [next(rows) for _ in portion]
            for row, (entry, picture) in zip(written, portion, strict=True):
                if picture is not None:
                    pixels.seek(row * math.prod(generation.shape[1:]))
                    pixels.write(np.ascontiguousarray(picture).data)
                entries[row] = entry
            # After the pixels: what the journal names is there.
            journal.writelines(to_json([row, *entries[row].as_list()], ascii=True) + "\n" for row in written)
            journal.flush()
            background.submit(os.fsync, pixels.fileno())  # while the next ones are decoded
            on_progress(len(entries), count)
        background.submit(os.fsync, pixels.fileno()).result()
    content = {"paths": list(map(str, files.paths)), "entries": [entries[row].as_list() for row in range(count)]}
    write_atomic(generation.file("index"), to_json(content, ascii=True))
    kept = {generation.file("pixels").name, generation.file("index").name, ABOUT, LOCK}
    for path in generation.folder.iterdir():
        if path.name not in kept:
            path.unlink(missing_ok=True)


def _read_index(path: Path) -> tuple[list[str], list[Entry]] | None:
    """(paths, entries), or None where there is no index or none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content["paths"], [Entry.from_list(values) for values in content["entries"]]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def _mapped(path: Path, shape: tuple[int, ...]) -> Pixels:
    if not shape[0]:
        return np.empty(shape, dtype=np.uint8)
    return np.memmap(path, dtype=np.uint8, mode="r", shape=shape)


def _folder_of(source: Path, preprocessing: Preprocessing) -> Path:
    absolute = source.resolve()
    # What reads the files is among the settings: a file that could not be read before may be read by what was installed since.
    readers = (DECODER, PIL.__version__, FORMATS, has_heif())
    stated = () if preprocessing.range is None else (preprocessing.range,)
    settings = (str(absolute), preprocessing.size, preprocessing.channels, preprocessing.fit, *readers, *stated)
    digest = hashlib.blake2b(repr(settings).encode(), digest_size=8).hexdigest()
    return cache_root() / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', absolute.name)[:40].strip('-.') or 'pictures'}-{digest}"


def lock_of(folder: Path) -> BaseFileLock:
    """The lock of a cache, which its builder holds."""
    from filelock import FileLock

    return FileLock(folder / LOCK)
