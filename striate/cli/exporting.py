"""striate export"""

from __future__ import annotations

from dataclasses import MISSING
from pathlib import Path

from striate.cli.options import TrustCode, option, run_path
from striate.cli.output import aside
from striate.texts import storage


class Export(TrustCode):
    """Export a trained network. The file is reopened and compared with the run; if it differs, it is removed (exit code 4)."""

    run: Path = run_path()
    to: str = option(MISSING, "Format: onnx, pt2, safetensors, torchvision or zip.")
    output: Path | None = option(
        None, "File to write. Default: in RUN/exports. For zip also a folder (a name without a dot)."
    )

    def __call__(self) -> None:
        from striate import exporting
        from striate.run import Run

        with aside():
            exported = exporting.export(Run.open(self.run, trust_code=self.trust_code), to=self.to, path=self.output)
        form = exporting.FORMS[self.to]
        self.show(
            {**exported.as_dict(), "inside": form.inside, "beside": form.beside},
            {
                "file" if exported.path.is_file() else "folder": f"{exported.path} ({storage(exported.bytes)})",
                "inside": form.inside,
                "requires": form.beside,
                "checked": exported.verdict,
                "next": form.use.format(name=exported.path.name),
            },
        )
