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
import os
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from striate.data.decode import DECODER
from striate.data.formats import has_heif
from striate.data.images import Pixels, Store, content_hash
from striate.data.kinds import FORMATS
from striate.data.preprocessing import Preprocessing
from striate.data.reading import Entry, Files, OnProgress, Status, decoded
from striate.files import write_atomic
from striate.strictjson import to_json
from striate.texts import storage

ABOUT, LOCK = "about.json", "lock"
MEMORY_SHARE = 0.25
"""Share of the free memory for the images of a set."""
RESERVE = 2**30
"""Bytes of the disk that a cache leaves free."""


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
    if place := os.environ.get("STRIATE_CACHE"):
        return Path(place)
    from platformdirs import user_cache_path

    return user_cache_path("striate") / "pixels"


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
    found = [_status(path) for path in paths]
    plan = hashlib.blake2b(repr([*map(str, paths), *found]).encode(), digest_size=12).hexdigest()
    shape = (len(paths), *preprocessing.size, preprocessing.channels)
    folder = _folder_of(source, preprocessing)
    on_progress = on_progress or (lambda done, total: None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (ready := _opened(folder, plan, shape)) is None:
            with _lock(folder):
                _write_about(folder, source, preprocessing)
                if (ready := _opened(folder, plan, shape)) is None:  # another process may have built it meanwhile
                    _Builder(folder, plan, paths, found, preprocessing).build(workers, on_progress)
                    ready = _opened(folder, plan, shape)
        if ready is not None:
            with suppress(PermissionError):  # a cache that is shared may be for reading only
                os.utime(folder / ABOUT)
            return ready
        reason = f"no cache in {folder}: it cannot be read back"
    except OSError as error:
        reason = f"no cache in {folder}: {error.strerror or error}"
    pixels = np.zeros(shape, dtype=np.uint8) if fits_memory(int(np.prod(shape))) else None
    entries: list[Entry] = []
    for portion in decoded(paths, found, preprocessing, workers):
        for entry, picture in portion:
            if picture is not None and pixels is not None:
                pixels[len(entries)] = picture
            entries.append(entry)
        on_progress(len(entries), len(paths))
    return Prepared(Files(paths, preprocessing, workers) if pixels is None else pixels, tuple(entries), reason)


def fits_memory(size: int) -> bool:
    """Whether so many bytes of pixels can be held in memory, with as much again for what trains on them."""
    import psutil

    return size < psutil.virtual_memory().available * MEMORY_SHARE


class _Builder:
    """Builds one generation, under the cache's lock."""

    def __init__(
        self,
        folder: Path,
        plan: str,
        paths: Sequence[Path],
        found: Sequence[Status],
        preprocessing: Preprocessing,
    ) -> None:
        self.folder, self.plan, self.paths, self.found, self.preprocessing = folder, plan, paths, found, preprocessing
        self.shape = (len(paths), *preprocessing.size, preprocessing.channels)
        self.row_bytes = int(np.prod(self.shape[1:]))
        self.pixels, self.journal, self.index = (folder / f"{plan}.{end}" for end in ("pixels", "journal", "index"))

    def build(self, workers: int, on_progress: OnProgress) -> None:
        """Decodes what no older generation has, and removes the older ones."""
        entries = self._begun()
        older = _Older(self.folder, self.plan, self.shape[1:])
        todo = [row for row in range(len(self.paths)) if row not in entries]
        with (
            self.pixels.open("r+b", buffering=0) as pixels,
            self.journal.open("a", encoding="utf-8") as journal,
            ThreadPoolExecutor(1) as background,
        ):
            on_progress(len(entries), len(self.paths))
            chosen = ([self.paths[row] for row in todo], [self.found[row] for row in todo])
            rows = iter(todo)
            for portion in decoded(*chosen, self.preprocessing, workers, older):
                written = [next(rows) for _ in portion]
                for row, (entry, picture) in zip(written, portion, strict=True):
                    if picture is not None:
                        pixels.seek(row * self.row_bytes)
                        pixels.write(np.ascontiguousarray(picture).data)
                    entries[row] = entry
                # After the pixels: what the journal names is there.
                journal.writelines(to_json([row, *entries[row].as_list()], ascii=True) + "\n" for row in written)
                journal.flush()
                background.submit(os.fsync, pixels.fileno())  # while the next ones are decoded
                on_progress(len(entries), len(self.paths))
            background.submit(os.fsync, pixels.fileno()).result()
        content = {"paths": list(map(str, self.paths)), "entries": [entries[row].as_list() for row in sorted(entries)]}
        write_atomic(self.index, to_json(content, ascii=True))
        for path in self.folder.iterdir():
            if path not in (self.pixels, self.index) and path.name not in (ABOUT, LOCK):
                path.unlink(missing_ok=True)

    def _begun(self) -> dict[int, Entry]:
        """Row -> entry of what a builder that was stopped has written rightly; the space of all rows is allocated."""
        entries: dict[int, Entry] = {}
        size = self.shape[0] * self.row_bytes
        if self.journal.is_file() and self.pixels.is_file() and self.pixels.stat().st_size == size:
            stored = _mapped(self.pixels, self.shape)
            for line in self.journal.read_text(encoding="utf-8").splitlines():
                try:
                    row, *values = json.loads(line)
                    entry = Entry.from_list(values)
                except (ValueError, TypeError):
                    continue  # the line that was being written
                if not entry.content or content_hash(stored[row]) == entry.content:
                    entries[row] = entry
            return entries
        for path in self.folder.glob("*.journal"):  # of other lists of files: nobody will go on with them
            path.unlink()
            path.with_suffix(".pixels").unlink(missing_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < size + RESERVE:
            raise OSError(
                errno.ENOSPC,
                f"it needs {storage(size)} and {storage(free)} are free, of which {storage(RESERVE)} stay so; "
                "striate cache clear makes room",
            )
        self.journal.unlink(missing_ok=True)
        with self.pixels.open("wb") as file:
            if hasattr(os, "posix_fallocate") and size:
                os.posix_fallocate(file.fileno(), 0, size)  # a disk that fills up later cannot hurt then
            file.truncate(size)
        return entries


class _Older:
    """What other generations of a cache hold: images by their files' digests."""

    def __init__(self, folder: Path, plan: str, row: tuple[int, ...]) -> None:
        self._rows: dict[str, tuple[Entry, Pixels]] = {}
        self._same: dict[tuple[str, Status], str] = {}
        for index in folder.glob("*.index"):
            read = None if index.stem == plan else _read_index(index)
            if read is None:
                continue
            paths, entries = read
            stored = _mapped(index.with_suffix(".pixels"), (len(entries), *row))
            for path, entry, picture in zip(paths, entries, stored, strict=True):
                if entry.content:
                    self._rows[entry.digest] = entry, picture
                    self._same[path, (entry.size, entry.changed)] = entry.digest

    def digest(self, path: Path, status: Status) -> str | None:
        return self._same.get((str(path), status))

    def picture(self, digest: str) -> tuple[Entry, Pixels] | None:
        return self._rows.get(digest)


def _status(path: Path) -> Status:
    """(bytes, time of change in ns); (-1, -1) for what is not there."""
    try:
        status = os.stat(path)  # noqa: PTH116 - of 60,000 files: three times as fast
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _opened(folder: Path, plan: str, shape: tuple[int, ...]) -> Prepared | None:
    """A generation that is whole, or None."""
    read = _read_index(folder / f"{plan}.index")
    stored = folder / f"{plan}.pixels"
    if read is None or len(read[1]) != shape[0] or stored.stat().st_size != int(np.prod(shape)):
        return None
    return Prepared(_mapped(stored, shape), tuple(read[1]), str(folder))


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
    settings: tuple[Any, ...] = (str(absolute), preprocessing.size, preprocessing.channels, preprocessing.fit, *readers)
    if preprocessing.range is not None:
        settings = (*settings, preprocessing.range)
    digest = hashlib.blake2b(repr(settings).encode(), digest_size=8).hexdigest()
    return cache_root() / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', absolute.name)[:40].strip('-.') or 'pictures'}-{digest}"


def _lock(folder: Path) -> Any:
    from filelock import FileLock

    return FileLock(folder / LOCK)


def _write_about(folder: Path, source: Path, preprocessing: Preprocessing) -> None:
    size, channels, fit = preprocessing.size, preprocessing.channels, preprocessing.fit
    about = {"source": str(source.resolve()), "size": list(size), "channels": channels, "fit": fit}
    write_atomic(folder / ABOUT, to_json(about, ascii=True))


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """One cache on this machine.

    Attributes:
        source: the folder or table whose images it holds; `there`: whether that still exists.
        size, channels, fit: of its `Preprocessing`.
        pictures: how many are prepared; `whole`: whether these are all.
        bytes: on disk.
        used: seconds since the epoch when it was used last.
        path: its folder.
    """

    source: str
    there: bool
    size: tuple[int, int]
    channels: int
    fit: str
    pictures: int
    whole: bool
    bytes: int
    used: float
    path: str

    def as_dict(self) -> dict[str, Any]:
        """The cache in plain types."""
        return asdict(self)


def list_caches() -> list[CacheInfo]:
    """All caches of this user, the one used last first."""
    found = [_info(about) for about in cache_root().glob(f"*/{ABOUT}")]
    return sorted(found, key=lambda cache: -cache.used)


def _info(about: Path) -> CacheInfo:
    """What is known of the cache that `about` lies in; one whose `about` is damaged is there to be cleared."""
    folder = about.parent
    try:
        values = json.loads(about.read_text(encoding="utf-8"))
        source, channels, fit = str(values["source"]), int(values["channels"]), str(values["fit"])
        size = (int(values["size"][0]), int(values["size"][1]))
    except (OSError, ValueError, TypeError, LookupError):
        source, size, channels, fit = f"? ({about} is damaged)", (0, 0), 0, "?"
    indexes = list(folder.glob("*.index"))
    row = size[0] * size[1] * channels
    stored = sum(path.stat().st_size for path in folder.glob("*.pixels"))
    pictures = sum(path.with_suffix(".pixels").stat().st_size // row for path in indexes) if row else 0
    return CacheInfo(
        source=source,
        there=Path(source).exists(),
        size=size,
        channels=channels,
        fit=fit,
        pictures=pictures,
        whole=bool(indexes),
        bytes=stored + sum(path.stat().st_size for path in folder.iterdir() if path.suffix != ".pixels"),
        used=about.stat().st_mtime,
        path=str(folder),
    )


def clear_caches(source: Path | None = None) -> list[CacheInfo]:
    """Removes the caches of a folder or table, or all of them, but for those that are being built; says which were removed."""
    from filelock import Timeout

    removed = []
    for cache in list_caches():
        if source is not None and Path(cache.source) != source.resolve():
            continue
        folder = Path(cache.path)
        try:
            with _lock(folder).acquire(timeout=0):
                for path in sorted(folder.iterdir(), key=lambda path: path.suffix != ".index"):
                    if (
                        path.name != LOCK
                    ):  # the index first: a cache without one is none; the lock stays: others may wait for it
                        path.unlink()
        except Timeout:
            continue
        removed.append(cache)
    return removed
