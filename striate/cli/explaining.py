"""striate explain and striate look"""

from __future__ import annotations

import re
from pathlib import Path

from striate.cli.options import DataDir, Device, TrustCode, argument, call_with, option, run_path
from striate.cli.output import aside, show_json, show_line, show_table
from striate.texts import percent


class Explain(Device, TrustCode):
    """Show which regions of an image support the prediction, and how faithful each map is."""

    run: Path = run_path()
    pictures: list[str] = argument("Image files.", "IMAGE...")
    method: str = option("grad-cam", "Method: grad-cam, saliency, integrated-gradients, occlusion or guided-backprop.")
    layer: str | None = option(
        None, "Stage for grad-cam. Default: the last with a feature map of 4x4 or more.", metavar="STAGE"
    )
    target: str | None = option(None, "Class to explain. Default: the predicted one.", metavar="CLASS")
    output: Path = option(Path(), "Folder to write the images to.", metavar="DIR")
    seed: int = option(0, "Random seed for the random orders and weights that each map is compared with.")

    def __call__(self) -> None:
        from striate.explaining.explanation import explain, write_explanations
        from striate.run import Run

        run = Run.open(self.run, trust_code=self.trust_code)
        with aside():
            explanations = call_with(explain, self, run=run)
        paths = write_explanations(explanations, self.output)
        if self.as_json:
            show_json([{**one.as_dict(), "file": str(path)} for one, path in zip(explanations, paths, strict=True)])
            return
        rows = []
        for one, path in zip(explanations, paths, strict=True):
            areas = one.areas
            rows.append(
                {
                    "image": one.picture,
                    "class": one.predicted,
                    "confidence": percent(one.confidence),
                    **{
                        key: f"{areas[key]:.2f} ({areas[f'random_{key}']:.2f})" if areas else "-"
                        for key in ("deletion", "insertion")
                    },
                    "random weights": f"{one.random_weights:.2f}",
                    "file": path,
                }
            )
        show_table(rows, right=("confidence", "deletion", "insertion", "random weights"))
        show_line(
            f"{explanations[0].heading}. In brackets: the same with patches in random order; deletion should be lower, insertion "
            "higher. Random weights: correlation with the map of an untrained net; it should be near 0."
        )
        for one in explanations:
            for warning in one.warnings:
                show_line(f"{one.picture}: {warning}", err=True)


class Look(Device, DataDir, TrustCode):
    """Look inside a network: filters, feature maps, what units respond to, a 2-D embedding of images."""

    subject: str = argument("Folder of a run, or a network with random weights.", "NET|RUN")
    picture: str | None = argument("Image file, for maps.", "IMAGE", None)
    what: str | None = option(
        None, "filters, maps, unit or embedding. Default: maps if an image is given, else filters."
    )
    layer: str | None = option(
        None, "Stage to show. Default: all stages for maps, the classes for units.", metavar="STAGE"
    )
    unit: int | None = option(None, "Number of the unit. Default: the first twelve.", min=0)
    split: str = option("validation", "Split whose images unit and embedding show.")
    data: str | None = option(
        None, "Data for these images: the new location of moved data, or other images of the same classes."
    )
    output: Path = option(Path(), "Folder to write the images to.", metavar="DIR")
    seed: int = option(0, "Random seed for weights and gradient ascent.")

    def __call__(self) -> None:
        from striate.explaining.look import look, write_look
        from striate.run import Run

        is_run = Path(self.subject).is_dir()
        subject = Run.open(self.subject, trust_code=self.trust_code) if is_run else self.subject
        with aside():
            found = call_with(look, self, subject=subject)
        name = (
            Path(self.subject).resolve().name if is_run else re.sub(r"[^A-Za-z0-9._-]+", "-", Path(self.subject).name)
        )
        paths = write_look(found, name, self.output)
        if self.as_json:
            show_json({"title": found.title, "files": [str(path) for path in paths]})
            return
        show_line(found.title)
        for path in paths:
            show_line(str(path))
