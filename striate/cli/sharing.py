"""striate push, striate pull"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.options import AsJson, RunPath
from striate.cli.output import show_fields, show_json, show_line, show_table
from striate.errors import UsageError

if TYPE_CHECKING:
    from striate.sharing import File

HubName = Annotated[str, typer.Argument(metavar="USER/NAME", help="Name on the Hugging Face Hub.")]


def push(
    run: RunPath,
    to: HubName,
    private: Annotated[bool, typer.Option("--private", help="Create a private repository.")] = False,
    with_pictures: Annotated[
        bool, typer.Option("--with-pictures", help="Also upload sample images and file names.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be uploaded.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Upload without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Upload a run to the Hugging Face Hub: figures, class names, weights, report. Images and paths are not uploaded."""
    from striate import sharing
    from striate.run import Run

    def agreed(files: Sequence[File]) -> bool:
        if not as_json:
            show_table([{"file": file.name, "bytes": f"{file.bytes:,}"} for file in files], right=("bytes",))
            whom = "private" if private else "public"
            show_line(f"{sum(file.bytes for file in files):,} bytes in {len(files)} files, {whom}", err=True)
        if dry_run or yes:
            return yes and not dry_run
        if not sys.stdin.isatty():
            raise UsageError("nothing was uploaded: check the list, then add --yes")
        return typer.confirm(f"Upload them to {to}?", err=True)

    pushed = sharing.push(Run.open(run), to, private=private, with_pictures=with_pictures, agreed=agreed)
    if as_json:
        files = [{"name": file.name, "bytes": file.bytes} for file in pushed.files]
        show_json({"url": pushed.url, "sent": pushed.sent, "files": files})
    else:
        show_fields({"sent to" if pushed.sent else "not sent": pushed.url})


def pull(
    source: HubName,
    out: Annotated[Path, typer.Option(help="Folder that the run is written to.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run. Default: its name on the Hub.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit. Default: the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download a run from the Hugging Face Hub. No code in it is executed."""
    from striate import sharing

    run = sharing.pull(source, out=out, name=name, revision=revision)
    pulled = run.summary.pulled
    assert pulled is not None, "pull() says where it came from"
    if as_json:
        show_json({"run": str(run.path), **pulled.as_dict()})
        return
    show_fields(
        {
            "run": run.path,
            "revision": pulled.revision,
            "report": run.path / "report.html",
            "next": f"striate predict {run.path} IMAGE",
        }
    )
