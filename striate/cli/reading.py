"""striate nets, inspect, doctor"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate import catalogue
from striate.cli.options import AsJson, DataDir
from striate.cli.output import show_fields, show_json, show_lines, show_table, words
from striate.errors import UsageError
from striate.texts import dimensions

LARGEST = 10_000_000
"""Pixels, classes or pictures a batch that a net is read for: far above all there are, and far below what overflows."""


def nets(
    name: Annotated[str | None, typer.Argument(help="Show one net's card.")] = None,
    family: Annotated[str | None, typer.Option(help="Only this family, as in resnet.")] = None,
    geometry: Annotated[str | None, typer.Option(help="Only paper, native or tutorial.")] = None,
    sort: Annotated[str, typer.Option(help="name, year, params, macs or input.")] = "year",
    as_json: AsJson = False,
) -> None:
    """List the catalogue, or show the facts of one net."""
    if name is not None:
        facts = catalogue.card(name)
        if as_json:
            show_json(facts)
        else:
            shown = {**facts, "year": str(facts["year"])}
            show_fields(
                {key.replace("_", " "): words(value) for key, value in shown.items() if value not in (None, [])}
            )
        return
    every = catalogue.rows().values()
    rows = [row for row in every if family in (None, row["family"]) and geometry in (None, row["geometry"])]
    if not rows:
        families, geometries = sorted({row["family"] for row in every}), ("paper", "native", "tutorial")
        raise UsageError(f"no net is left; families: {', '.join(families)}; geometries: {', '.join(geometries)}")
    if sort not in ("name", "year", "params", "macs", "input"):
        raise UsageError(f"--sort must be name, year, params, macs or input, got {sort!r}")
    rows.sort(key=lambda row: row["input"][1] if sort == "input" else row[sort])
    if as_json:
        show_json(rows)
        return
    show_table(
        [
            {
                "net": row["name"],
                "year": row["year"],
                "geometry": row["geometry"],
                "input": dimensions(row["input"]),
                "params": f"{row['params']:,}",
                "MACs": f"{row['macs']:,}",
                "smallest": row["min_size"],
            }
            for row in rows
        ],
        right=("params", "MACs", "smallest"),
    )


def inspect(
    target: Annotated[
        str,
        typer.Argument(metavar="NET", help="A net of the catalogue, FILE.py:OBJECT, torchvision:NAME or timm:NAME."),
    ],
    input: Annotated[str | None, typer.Option(help="Channels, height and width of a picture, as in 3x224x224.")] = None,
    classes: Annotated[int | None, typer.Option(min=1, max=LARGEST, help="Number of classes.")] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, max=LARGEST, help="Pictures a batch: its memory, and whether batch norm can work."),
    ] = None,
    depth: Annotated[int | None, typer.Option(min=0, help="Fold modules nested deeper than this.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Spell out the sum behind every number.")] = False,
    diagram: Annotated[Path | None, typer.Option(help="Draw its operations into this SVG file.")] = None,
    maps: Annotated[Path | None, typer.Option(help="Draw the sizes of its feature maps into this SVG file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read a net without data: shapes, parameters, MACs, receptive fields, memory, mistakes."""
    from striate.anatomy import inspect as read
    from striate.files import write_new

    anatomy = read(target, None if input is None else parse_shape(input), classes=classes, batch=batch)
    for path, draw in ((diagram, anatomy.diagram), (maps, anatomy.maps)):
        if path is not None:
            write_new(path, draw())
    if as_json:
        show_json(anatomy.as_dict() | ({"explanation": anatomy.explain()} if explain else {}))
        return
    text = anatomy.explain() if explain else f"{anatomy.table(depth)}\n\n{anatomy.summary()}"
    show_lines(text)


def conv(
    input: Annotated[int, typer.Option(help="Side of the input in pixels.")],
    kernel: Annotated[int, typer.Option(help="Side of the window.")],
    stride: Annotated[int, typer.Option(help="Step of the window.")] = 1,
    padding: Annotated[int, typer.Option(help="Pixels added at each border.")] = 0,
    dilation: Annotated[int, typer.Option(help="Distance between the window's pixels.")] = 1,
    transposed: Annotated[bool, typer.Option("--transposed", help="The convolution that enlarges.")] = False,
    as_json: AsJson = False,
) -> None:
    """Work out the size that a convolution or a pool makes, with the sum shown, and what else would make it."""
    from dataclasses import asdict

    from striate.anatomy.sizes import conv_sizes

    worked = conv_sizes(input, kernel, stride, padding, dilation=dilation, transposed=transposed)
    if as_json:
        show_json(asdict(worked))
    else:
        show_lines(str(worked))


def doctor(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check this machine: versions, device, cores, speed of a matrix product, data found."""
    from striate.data.named import NAMED, find
    from striate.machine import environment, pick_device, sgemm_gflops, use_cores

    use_cores()
    found = {name: find(row, data_dir) for name, row in NAMED.items()}
    known, speed = environment(pick_device("auto")), round(sgemm_gflops(), 1)
    if as_json:
        places = {name: None if place is None else str(place) for name, place in found.items()}
        show_json({**known, "sgemm_gflops": speed, "data": places})
        return
    sets = {f"data {name}": place or "not on this machine" for name, place in found.items()}
    show_fields({**known, "SGEMM": f"{speed} GFLOP/s (float32, 2048 x 2048)", **sets})


def parse_shape(text: str) -> tuple[int, int, int]:
    """(C, H, W) of `1x28x28` or `1,28,28`."""
    parts = text.lower().replace(",", "x").split("x")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise UsageError(f"--input is channels, height and width, as in 1x28x28; got {text!r}")
    if any(len(part.strip()) > len(str(LARGEST)) or int(part) > LARGEST for part in parts):
        raise UsageError(f"--input is at most {LARGEST:,} each way, got {text!r}")
    channels, height, width = map(int, parts)
    return channels, height, width
