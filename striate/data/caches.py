"""The pixel caches on this machine: listed, and cleared."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

from striate.data.cache import ABOUT, LOCK, About, cache_root, lock_of
from striate.errors import DataError


class CacheInfo(About):
    """One cache on this machine.

    Attributes:
        there: whether the folder or table whose images it holds still exists.
        pictures: how many are prepared; `whole`: whether these are all.
        bytes: on disk.
        used: seconds since the epoch when it was used last.
        path: its folder.
    """

    there: bool
    pictures: int
    whole: bool
    bytes: int
    used: float
    path: str


def list_caches() -> list[CacheInfo]:
    """All caches of this user, the one used last first."""
    found = [_info(about) for about in cache_root().glob(f"*/{ABOUT}")]
    return sorted(found, key=lambda cache: -cache.used)


def _info(about: Path) -> CacheInfo:
    """The facts about the cache that `about` is in; one with a damaged `about` can still be cleared."""
    folder = about.parent
    try:
        made = About.from_dict(json.loads(about.read_text(encoding="utf-8")))
    except (OSError, ValueError, DataError):
        made = About(source=f"? ({about} is damaged)", size=(0, 0), channels=0, fit="?")
    row = math.prod((*made.size, made.channels))
    whole = [index.with_suffix(".pixels").stat().st_size for index in folder.glob("*.index")]
    return CacheInfo(
        **asdict(made), there=Path(made.source).exists(), pictures=sum(size // row for size in whole) if row else 0,
        whole=bool(whole), bytes=sum(path.stat().st_size for path in folder.iterdir()), used=about.stat().st_mtime,
        path=str(folder),
    )  # fmt: skip


def clear_caches(source: Path | None = None) -> list[CacheInfo]:
    """Removes the caches of a folder or table, or all of them, but for those that are being built; says which were removed."""
    from filelock import Timeout

    removed = []
    for cache in list_caches():
        if source is not None and Path(cache.source) != source.resolve():
            continue
        folder = Path(cache.path)
        try:
            with lock_of(folder).acquire(timeout=0):
                for path in sorted(folder.iterdir(), key=lambda path: path.suffix != ".index"):
                    # The index first: a cache without one is none. The lock stays: others may wait for it.
                    if path.name != LOCK:
                        path.unlink()
        except Timeout:
            continue
        removed.append(cache)
    return removed
