"""striate push and striate pull"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from striate.cli.options import Command, argument, call_with, option, run_path
from striate.cli.output import show_line, show_table
from striate.errors import UsageError

if TYPE_CHECKING:
    from striate.sharing import File


def _hub_name() -> Any:
    return argument("Name on the Hugging Face Hub.", "USER/NAME")


class Push(Command):
    """Upload a run to the Hugging Face Hub: figures, class names, weights, report. Images and paths are not uploaded."""

    run: Path = run_path()
    to: str = _hub_name()
    private: bool = option(False, "Create a private repository.")
    with_pictures: bool = option(False, "Also upload sample images and file names.")
    dry_run: bool = option(False, "Only list what would be uploaded.")
    yes: bool = option(False, "Upload without asking.", names="--yes -y")

    def __call__(self) -> None:
        from striate.run import Run
        from striate.sharing import push

        pushed = call_with(push, self, run=Run.open(self.run), agreed=self._agreed)
        self.show(asdict(pushed), {"sent to" if pushed.sent else "not sent": pushed.url})

    def _agreed(self, files: Sequence[File]) -> bool:
        if not self.as_json:
            show_table([{"file": file.name, "bytes": f"{file.bytes:,}"} for file in files], right=("bytes",))
            whom = "private" if self.private else "public"
            show_line(f"{sum(file.bytes for file in files):,} bytes in {len(files)} files, {whom}", err=True)
        if self.dry_run or self.yes:
            return not self.dry_run
        if not sys.stdin.isatty():
            raise UsageError("nothing was uploaded: check the list, then add --yes")
        return typer.confirm(f"Upload them to {self.to}?", err=True)


class Pull(Command):
    """Download a run from the Hugging Face Hub. No code in it is executed."""

    source: str = _hub_name()
    out: Path = option(Path("runs"), "Folder that the run is written to.")
    name: str | None = option(None, "Name of the run. Default: its name on the Hub.")
    revision: str | None = option(None, "Branch, tag or commit. Default: the newest.")

    def __call__(self) -> None:
        from striate.sharing import pull

        run = call_with(pull, self)
        pulled = run.summary.pulled
        assert pulled is not None, "pull() reports where it came from"
        places = {"run": run.path, "revision": pulled.revision, "report": run.path / "report.html"}
        self.show({"run": str(run.path), **pulled.as_dict()}, {**places, "next": f"striate predict {run.path} IMAGE"})
