"""striate cache"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from striate.cli.options import Command, add_command, argument, option
from striate.cli.output import show_json, show_line, show_table
from striate.errors import UsageError
from striate.texts import dimensions, storage

if TYPE_CHECKING:
    from striate.data.caches import CacheInfo

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Cache of decoded images; STRIATE_CACHE sets its folder.",
)


class List(Command):
    """List cached folders, the most recently used first."""

    def __call__(self) -> None:
        from striate.data.cache import cache_root
        from striate.data.caches import list_caches

        caches = list_caches()
        total = sum(cache.bytes for cache in caches)
        _show(caches, self.as_json, f"{len(caches)} in {cache_root()}" + (f", {storage(total)}" if caches else ""))


class Clear(Command):
    """Remove cached images. The original files stay; they are decoded again when needed."""

    source: Path | None = argument("Folder or table whose cache is removed.", default=None)
    everything: bool = option(False, "Remove the caches of all folders.", names="--all")

    def __call__(self) -> None:
        from striate.data.caches import clear_caches

        if (self.source is None) == (not self.everything):
            raise UsageError("give the folder to remove the cache of, or --all")
        removed = clear_caches(self.source)
        if self.source is not None and not removed:
            raise UsageError(
                f"there is no cache of {self.source}, or it is being written. List caches with: striate cache list"
            )
        _show(removed, self.as_json, f"removed {len(removed)}, {storage(sum(cache.bytes for cache in removed))}")


def _show(caches: Sequence[CacheInfo], as_json: bool, total: str) -> None:
    if as_json:
        show_json([cache.as_dict() for cache in caches])
        return
    show_table(
        [
            {
                "folder": cache.source + ("" if cache.there else " (gone)"),
                "size": dimensions((*cache.size, cache.channels)),
                "fit": cache.fit,
                "images": f"{cache.pictures:,}" if cache.whole else "not finished",
                "bytes": storage(cache.bytes),
                "last used": datetime.datetime.fromtimestamp(cache.used).strftime("%Y-%m-%d %H:%M"),
            }
            for cache in caches
        ],
        right=("images", "bytes"),
    )
    show_line(total)


add_command(app, "list", List)
add_command(app, "clear", Clear)
