"""striate cache"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.options import AsJson
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


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List cached folders, the most recently used first."""
    from striate.data.cache import cache_root
    from striate.data.caches import list_caches

    caches = list_caches()
    if as_json:
        show_json([cache.as_dict() for cache in caches])
        return
    _show(caches)
    total = sum(cache.bytes for cache in caches)
    show_line(f"{len(caches)} in {cache_root()}" + (f", {storage(total)}" if caches else ""))


@app.command()
def clear(
    source: Annotated[Path | None, typer.Argument(help="Folder or table whose cache is removed.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove the caches of all folders.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove cached images. The original files stay; they are decoded again when needed."""
    from striate.data.caches import clear_caches

    if (source is None) == (not everything):
        raise UsageError("give the folder whose cache is to be removed, or --all")
    removed = clear_caches(source)
    if source is not None and not removed:
        raise UsageError(f"there is no cache of {source}, or it is being written. List caches with: striate cache list")
    if as_json:
        show_json([cache.as_dict() for cache in removed])
        return
    _show(removed)
    show_line(f"removed {len(removed)}, {storage(sum(cache.bytes for cache in removed))}")


def _show(caches: Sequence[CacheInfo]) -> None:
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
