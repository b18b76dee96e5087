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
    pictures: Annotated[list[str], typer.Argument(metavar="PICTURE...", help="Picture files.")],
    method: Annotated[
        str, typer.Option(help="grad-cam, saliency, integrated-gradients, occlusion or guided-backprop.")
    ] = "grad-cam",
    layer: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="For grad-cam; the last stage with maps of 4x4 or more if left out."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="CLASS", help="The class to explain; the predicted one if left out.")
    ] = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the pictures are written.")] = Path(),
    seed: Annotated[int, typer.Option(help="Of the random orders and weights that a map is compared with.")] = 0,
    device: Device = "auto",
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Show what a run's net looks at in pictures, with the figures that say how far each map can be believed."""
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
        areas = one.faithfulness.areas() if one.faithfulness else {}
        rows.append(
            {
                "picture": one.picture,
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
        f"{explanations[0].heading}. In brackets the same for patches in random order: deletion should be below it, "
        "insertion above. Random weights: correlation with the map of a net that has learnt nothing; it should be near 0."
    )
    for one in explanations:
        for warning in one.warnings:
            show_line(f"{one.picture}: {warning}", err=True)


def look(
    subject: Annotated[
        str, typer.Argument(metavar="NET|RUN", help="A run's folder, or a net with weights drawn anew.")
    ],
    picture: Annotated[str | None, typer.Argument(help="A picture file, for maps.")] = None,
    what: Annotated[
        str | None,
        typer.Option(help="filters, maps, unit or embedding; maps with a PICTURE, filters without, if left out."),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Whose maps, or whose units; all stages, or the classes.")
    ] = None,
    unit: Annotated[int | None, typer.Option(min=0, help="Number of the unit; the first twelve if left out.")] = None,
    split: Annotated[str, typer.Option(help="Whose pictures unit and embedding show.")] = "validation",
    data: Annotated[
        str | None,
        typer.Option(help="Where those pictures lie, if the run's data was moved; or others of its classes."),
    ] = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the pictures are written.")] = Path(),
    seed: Annotated[int, typer.Option(help="Of drawn weights and of gradient ascent.")] = 0,
    device: Device = "auto",
    data_dir: DataDir = None,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Look inside of a net: its filters, its maps of a picture, what units respond to, its pictures in two dimensions."""
    from striate.report.looking import look as look_inside
    from striate.report.looking import write_look
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
