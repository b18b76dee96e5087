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
"""Pixels, classes or images a batch that a net is read for: far above all there are, and far below what overflows."""


def nets(
    name: Annotated[str | None, typer.Argument(help="Show the card of this network.")] = None,
    family: Annotated[str | None, typer.Option(help="Only this family, such as resnet.")] = None,
    geometry: Annotated[
        str | None, typer.Option(help="Only this variant: paper, native (for small images) or tutorial.")
    ] = None,
    sort: Annotated[str, typer.Option(help="Sort by name, year, params, macs or input.")] = "year",
    as_json: AsJson = False,
) -> None:
    """List the networks of the catalogue, or describe one."""
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
        raise UsageError(f"no network matches; families: {', '.join(families)}; geometries: {', '.join(geometries)}")
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
                "min. input": row["min_size"],
            }
            for row in rows
        ],
        right=("params", "MACs", "min. input"),
    )


def inspect(
    target: Annotated[
        str,
        typer.Argument(
            metavar="NET", help="Network: a name from `striate nets`, FILE.py:OBJECT, torchvision:NAME or timm:NAME."
        ),
    ],
    input: Annotated[
        str | None, typer.Option(help="Channels, height and width of an image, such as 3x224x224.")
    ] = None,
    classes: Annotated[int | None, typer.Option(min=1, max=LARGEST, help="Number of classes.")] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, max=LARGEST, help="Batch size, for the memory estimate and for checks of batch norm."),
    ] = None,
    depth: Annotated[
        int | None, typer.Option(min=0, help="Summarise modules that are nested deeper than this.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show how every number is calculated.")] = False,
    diagram: Annotated[Path | None, typer.Option(help="Draw the operations to this SVG file.")] = None,
    maps: Annotated[Path | None, typer.Option(help="Draw the feature-map sizes to this SVG file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Analyse a network without data: shapes, parameters, MACs, receptive fields, memory, mistakes."""
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
    input: Annotated[int, typer.Option(help="Input size in pixels (one side).")],
    kernel: Annotated[int, typer.Option(help="Kernel size.")],
    stride: Annotated[int, typer.Option(help="Stride.")] = 1,
    padding: Annotated[int, typer.Option(help="Padding at each border, in pixels.")] = 0,
    dilation: Annotated[int, typer.Option(help="Dilation.")] = 1,
    transposed: Annotated[bool, typer.Option("--transposed", help="Transposed convolution.")] = False,
    as_json: AsJson = False,
) -> None:
    """Calculate the output size of a convolution or pooling layer, step by step, with alternatives."""
    from dataclasses import asdict

    from striate.anatomy.sizes import conv_sizes

    worked = conv_sizes(input, kernel, stride, padding, dilation=dilation, transposed=transposed)
    if as_json:
        show_json(asdict(worked))
    else:
        show_lines(str(worked))


def doctor(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check this machine: versions, devices, cores, speed, data sets found."""
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
