"""striate inspect and striate conv"""

from __future__ import annotations

from dataclasses import MISSING, asdict
from pathlib import Path

from striate.cli.options import Command, argument, call_with, option
from striate.cli.output import show_json, show_lines
from striate.errors import UsageError

LARGEST = 10_000_000
"""Pixels, classes or images a batch that a net is read for: far above all there are, and far below what overflows."""


class Inspect(Command):
    """Analyse a network without data: shapes, parameters, MACs, receptive fields, memory, mistakes."""

    target: str = argument("Network: a name from `striate nets`, FILE.py:OBJECT, torchvision:NAME or timm:NAME.", "NET")
    input: str | None = option(None, "Channels, height and width of an image, such as 3x224x224.")
    classes: int | None = option(None, "Number of classes.", min=1, max=LARGEST)
    batch: int | None = option(
        None, "Batch size, for the memory estimate and for checks of batch norm.", min=1, max=LARGEST
    )
    depth: int | None = option(None, "Summarise modules that are nested deeper than this.", min=0)
    explain: bool = option(False, "Show how every number is calculated.")
    diagram: Path | None = option(None, "Draw the operations to this SVG file.")
    maps: Path | None = option(None, "Draw the feature-map sizes to this SVG file.")

    def __call__(self) -> None:
        from striate.anatomy import inspect
        from striate.files import write_new

        shape = None if self.input is None else parse_shape(self.input)
        anatomy = call_with(inspect, self, net=self.target, input=shape)
        for path, draw in ((self.diagram, anatomy.diagram), (self.maps, anatomy.maps)):
            if path is not None:
                write_new(path, draw())
        if self.as_json:
            show_json(anatomy.as_dict() | ({"explanation": anatomy.explain()} if self.explain else {}))
        else:
            show_lines(anatomy.explain() if self.explain else f"{anatomy.table(self.depth)}\n\n{anatomy.summary()}")


class Conv(Command):
    """Calculate the output size of a convolution or pooling layer, step by step, with alternatives."""

    input: int = option(MISSING, "Input size in pixels (one side).")
    kernel: int = option(MISSING, "Kernel size.")
    stride: int = option(1, "Stride.")
    padding: int = option(0, "Padding at each border, in pixels.")
    dilation: int = option(1, "Dilation.")
    transposed: bool = option(False, "Transposed convolution.")

    def __call__(self) -> None:
        from striate.anatomy.sizes import conv_sizes

        worked = call_with(conv_sizes, self)
        if self.as_json:
            show_json(asdict(worked))
        else:
            show_lines(str(worked))


def parse_shape(text: str) -> tuple[int, int, int]:
    """(C, H, W) of `1x28x28` or `1,28,28`."""
    parts = text.lower().replace(",", "x").split("x")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise UsageError(f"--input is channels, height and width, as in 1x28x28; got {text!r}")
    if any(len(part.strip()) > len(str(LARGEST)) or int(part) > LARGEST for part in parts):
        raise UsageError(f"--input is at most {LARGEST:,} each way, got {text!r}")
    channels, height, width = map(int, parts)
    return channels, height, width
