"""Paths of this machine are private: they are taken out of what is handed out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from striate.run import Run


def redact_paths(run: Run) -> Callable[[str], str]:
    """A function that removes from a text the folders of the run, of its data and of its net's file, and shortens the
    home folder: `/home/ann/photos/ants` becomes `photos/ants` if the data is `photos`.

    The run itself keeps them in config.yaml, since it cannot be repeated without.
    """
    data, net = run.config.data, run.config.net
    things = [str(run.path.resolve()), data.location, data.dir, net.weights, net.origin.file, net.origin.target]
    folders = {Path(thing).parent for thing in things if thing and Path(thing).is_absolute()}
    prefixes = sorted((f"{folder}/" for folder in folders if folder != folder.parent), key=len, reverse=True)
    home = f"{Path.home()}/"

    def shortened(text: str) -> str:
        for prefix in prefixes:
            text = text.replace(prefix, "")
        return text.replace(home, "~/") if len(home) > 2 else text

    return shortened
