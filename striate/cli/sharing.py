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

HubName = Annotated[str, typer.Argument(metavar="USER/NAME", help="Its name on the Hugging Face Hub.")]


def push(
    run: RunPath,
    to: HubName,
    private: Annotated[bool, typer.Option("--private", help="Only for those who may see it there.")] = False,
    with_pictures: Annotated[
        bool, typer.Option("--with-pictures", help="Send sheets of images and names of files too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be sent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send a run to the Hugging Face Hub: numbers, class names, weights, report. Images and paths stay home."""
    from striate import sharing
    from striate.run import Run

    def agreed(files: Sequence[File]) -> bool:
        if not as_json:
            show_table([{"file": file.name, "bytes": f"{file.bytes:,}"} for file in files], right=("bytes",))
            whom = "only those who may see it there" if private else "everybody"
            show_line(f"{sum(file.bytes for file in files):,} bytes in {len(files)} files for {whom}", err=True)
        if dry_run or yes:
            return yes and not dry_run
        if not sys.stdin.isatty():
            raise UsageError("nothing was sent: look at the list, and add --yes to send it")
        return typer.confirm(f"Send them to {to}?", err=True)

    pushed = sharing.push(Run.open(run), to, private=private, with_pictures=with_pictures, agreed=agreed)
    if as_json:
        files = [{"name": file.name, "bytes": file.bytes} for file in pushed.files]
        show_json({"url": pushed.url, "sent": pushed.sent, "files": files})
    else:
        show_fields({"sent to" if pushed.sent else "not sent": pushed.url})


def pull(
    source: HubName,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run here; that on the Hub if left out.")] = None,
    revision: Annotated[str | None, typer.Option(help="A branch, a tag or a commit; the newest if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Bring a run from the Hugging Face Hub, as a new run here. No code in it is run."""
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
