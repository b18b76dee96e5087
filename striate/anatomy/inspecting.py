"""`inspect`: everything that can be known of a net without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from striate.anatomy.graph import Graph, trace
from striate.anatomy.rows import Row, make_rows, unused_parameters
from striate.anatomy.table import render
from striate.anatomy.targets import Target, resolve
from striate.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over the rows."""

    parameters: int
    """Read by the forward pass, tied ones once."""
    parameters_unused: int
    """Of the module, but not read by the forward pass in eval mode: auxiliary heads, forgotten layers."""
    macs: int
    """For one picture; FLOPs are 2 x MACs."""
    activation_bytes: int
    """Of all outputs for one picture."""

    @property
    def flops(self) -> int:
        return 2 * self.macs


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """A net read without data: `print(inspect("lenet5"))`."""

    name: str
    input: tuple[int, int, int]
    """(C, H, W) of the picture."""
    batch: int
    """Pictures a batch, for the memory."""
    rows: tuple[Row, ...]
    totals: Totals
    unused: Mapping[str, int]
    """Parameters that the forward pass does not read."""
    graph: Graph

    def table(self, depth: int | None = None, width: int = 100) -> str:
        """The rows as text of at most `width` columns. `depth` folds modules nested deeper; None unfolds what fits a page."""
        return render(self, depth, width)

    def __str__(self) -> str:
        return self.table()

    def as_dict(self) -> dict[str, Any]:
        """All of it in plain types, for JSON."""
        return {
            "name": self.name,
            "input": list(self.input),
            "batch": self.batch,
            "rows": [asdict(row) for row in self.rows],
            "totals": asdict(self.totals) | {"flops": self.totals.flops},
            "unused_parameters": dict(self.unused),
        }


def inspect(
    net: nn.Module | str, input: Sequence[int] | None = None, *, classes: int | None = None, batch: int = 1
) -> Anatomy:
    """Reads a net on the meta device: no data, no memory, nothing computed.

    Args:
        net: any module (left as it is), or what `resolve` takes: a catalogue name, `FILE.py:OBJECT`,
            `torchvision:NAME`, `timm:NAME`.
        input: (C, H, W) of a picture; the net's default if None.
        classes: number of classes that the net should have; a named net is built so, a module is checked for it.
        batch: pictures a batch, for the memory.

    Raises:
        UsageError: no such net, or no input given where the net has no default.
    """
    if batch < 1:
        raise UsageError(f"batch must be at least 1, got {batch}")
    if input is not None and (len(input) != 3 or min(input) < 1):
        raise UsageError(f"input must be channels, height and width, each at least 1, got {tuple(input)}")
    target = _target(net, input, classes)
    picture = target.input if input is None else (int(input[0]), int(input[1]), int(input[2]))
    if picture is None:
        raise UsageError(f"{target.name} has no default input: say which pictures it takes, as in --input 3x32x32")
    graph = trace(target.module, (1, *picture))
    rows = make_rows(graph)
    unused = unused_parameters(graph)
    totals = Totals(
        parameters=sum(row.parameters for row in rows),
        parameters_unused=sum(unused.values()),
        macs=sum(row.macs for row in rows),
        activation_bytes=sum(row.activation_bytes for row in rows),
    )
    return Anatomy(name=target.name, input=picture, batch=batch, rows=rows, totals=totals, unused=unused, graph=graph)


def _target(net: nn.Module | str, input: Sequence[int] | None, classes: int | None) -> Target:
    if isinstance(net, str):
        return resolve(net, channels=None if input is None else int(input[0]), classes=classes)
    spec = getattr(net, "spec", None)
    name = spec.name if spec is not None else type(net).__name__
    default = (net.channels, *spec.input[1:]) if spec is not None else None
    return Target(name=name, module=net, input=default, classes=classes)
