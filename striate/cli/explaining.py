"""striate explain and striate look"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from striate.cli.options import AsJson, DataDir, Device, RunPath, TrustCode
from striate.cli.output import aside, show_json, show_line, show_table
from striate.texts import percent


def explain(
    run: RunPath,
    pictures: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files.")],
    method: Annotated[
        str, typer.Option(help="Method: grad-cam, saliency, integrated-gradients, occlusion or guided-backprop.")
    ] = "grad-cam",
    layer: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="Stage for grad-cam. Default: the last with a feature map of 4x4 or more."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Class to explain. Default: the predicted one.")
    ] = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write the images to.")] = Path(),
    seed: Annotated[
        int, typer.Option(help="Random seed for the random orders and weights that each map is compared with.")
    ] = 0,
    device: Device = "auto",
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Show which regions of an image support the prediction, and how faithful each map is."""
    from striate.explaining import explain as explain_pictures
    from striate.explaining import write_explanations
    from striate.run import Run

    opened = Run.open(run, trust_code=trust_code)
    with aside():
        explanations = explain_pictures(
            opened, pictures, method=method, layer=layer, target=target, device=device, seed=seed
        )
    paths = write_explanations(explanations, output)
    if as_json:
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


def look(
    subject: Annotated[
        str, typer.Argument(metavar="NET|RUN", help="Folder of a run, or a network with random weights.")
    ],
    picture: Annotated[str | None, typer.Argument(metavar="IMAGE", help="Image file, for maps.")] = None,
    what: Annotated[
        str | None,
        typer.Option(help="filters, maps, unit or embedding. Default: maps if an image is given, else filters."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="Stage to show. Default: all stages for maps, the classes for units."),
    ] = None,
    unit: Annotated[int | None, typer.Option(min=0, help="Number of the unit. Default: the first twelve.")] = None,
    split: Annotated[str, typer.Option(help="Split whose images unit and embedding show.")] = "validation",
    data: Annotated[
        str | None,
        typer.Option(
            help="Data for these images: the new location of moved data, or other images of the same classes."
        ),
    ] = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write the images to.")] = Path(),
    seed: Annotated[int, typer.Option(help="Random seed for weights and gradient ascent.")] = 0,
    device: Device = "auto",
    data_dir: DataDir = None,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Look inside a network: filters, feature maps, what units respond to, a 2-D embedding of images."""
    from striate.explaining.look import look as look_inside
    from striate.explaining.look import write_look
    from striate.run import Run

    is_run = Path(subject).is_dir()
    opened = Run.open(subject, trust_code=trust_code) if is_run else subject
    with aside():
        found = look_inside(
            opened, picture, what=what, layer=layer, unit=unit, split=split, data=data, device=device,
            data_dir=data_dir, seed=seed,
        )  # fmt: skip
    stem = Path(subject).resolve().name if is_run else re.sub(r"[^A-Za-z0-9._-]+", "-", Path(subject).name)
    paths = write_look(found, stem, output)
    if as_json:
        show_json({"title": found.title, "files": [str(path) for path in paths]})
        return
    show_line(found.title)
    for path in paths:
        show_line(str(path))
