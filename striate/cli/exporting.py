"""striate export"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate.cli.options import AsJson, RunPath, TrustCode
from striate.cli.output import aside, show_fields, show_json
from striate.texts import storage


def export(
    run: RunPath,
    to: Annotated[str, typer.Option(help="Format: onnx, pt2, safetensors, torchvision or zip.")],
    output: Annotated[
        Path | None,
        typer.Option(help="File to write. Default: in RUN/exports. For zip also a folder (a name without a dot)."),
    ] = None,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Export a trained network. The file is reopened and compared with the run; if it differs, it is removed (exit code 4)."""
    from striate import exporting
    from striate.run import Run

    with aside():
        exported = exporting.export(Run.open(run, trust_code=trust_code), to=to, path=output)
    form, found = exporting.FORMS[to], exported.check
    if as_json:
        show_json({**exported.as_dict(), "inside": form.inside, "beside": form.beside})
        return
    show_fields(
        {
            "file" if exported.path.is_file() else "folder": f"{exported.path} ({storage(exported.bytes)})",
            "inside": form.inside,
            "requires": form.beside,
            "checked": f"on {found.pictures} {exported.checked_on}: largest difference {found.difference:.1e} of the largest "
            f"logit, same class in {found.same} of {found.pictures}",
            "next": form.use.format(name=exported.path.name),
        }
    )
