"""`inspect`: everything that can be known of a net without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from html import escape

from torch import nn

from striate.anatomy.diagram import draw_graph
from striate.anatomy.explain import explain
from striate.anatomy.finding import Finding
from striate.anatomy.findings import find_mistakes
from striate.anatomy.graph import Graph
from striate.anatomy.input_size import smallest_input, trace_or_explain, without_weights_or_with
from striate.anatomy.maps import draw_maps
from striate.anatomy.memory import Memory, estimate_memory
from striate.anatomy.rows import Row, Totals, make_rows, totals_of, unused_parameters
from striate.anatomy.table import render, summarise
from striate.anatomy.targets import resolve
from striate.arguments import checked
from striate.errors import UsageError, param
from striate.nets.netspec import NetFacts


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """A net read without data: `print(inspect("lenet5"))`."""

    name: str
    graph: Graph
    module: nn.Module
    """The net itself; one that was given by name has no weights."""
    classes: int | None
    """Number of classes that the net should have; None if nothing says so."""
    judged_batch: int | None
    """Images a batch, where that was said; else batch norm is not judged by it."""

    @property
    def input(self) -> tuple[int, int, int]:
        """(C, H, W) of the image."""
        _, channels, height, width = self.graph.input_shape
        return channels, height, width

    @property
    def batch(self) -> int:
        """Images a batch, for the memory."""
        return self.judged_batch or 1

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The layers and functional operations, in the order in which they run."""
        return make_rows(self.graph)

    @cached_property
    def totals(self) -> Totals:
        """Sums over the rows."""
        return totals_of(self.graph, self.rows)

    @property
    def unused(self) -> Mapping[str, int]:
        """Parameters that the forward pass does not read."""
        return unused_parameters(self.graph)

    @property
    def title(self) -> str:
        """The net's name as a paper would write it."""
        spec = getattr(self.module, "spec", None)
        return spec.title if isinstance(spec, NetFacts) else self.name

    @cached_property
    def memory(self) -> Memory:
        """Memory of inference and of a training step with SGD and momentum, at `batch` images."""
        return estimate_memory(self.module, self.input, self.batch)

    @cached_property
    def smallest_input(self) -> int | None:
        """Side in pixels of the smallest square image that the net takes, auxiliary heads included.

        Of a catalogue net it is the row's own, which a test finds and confirms in the same way.
        """
        spec = getattr(self.module, "spec", None)
        return spec.min_size if isinstance(spec, NetFacts) else smallest_input(self.module, self.input[0])

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Mistakes that can be seen without training."""
        return find_mistakes(self.module, self.graph, classes=self.classes, batch=self.judged_batch)

    def explain(self) -> str:
        """The arithmetic of every row, spelled out, and what its bottlenecks save."""
        return explain(self.graph, self.rows)

    def diagram(self, folded: bool | None = None) -> str:
        """The graph as an SVG drawing for a slide. `folded` draws a box a stage; None where the layers are too many."""
        return draw_graph(self.name, self.title, self.graph, self.rows, self.totals, folded)

    def maps(self) -> str:
        """The sizes of the feature maps as an SVG drawing of blocks."""
        return draw_maps(self.name, self.title, self.graph, self.rows)

    def table(self, depth: int | None = None, width: int = 100) -> str:
        """The rows as text of at most `width` columns. `depth` folds modules nested deeper; None unfolds what fits a page."""
        return render(self.name, self.graph, self.rows, self.totals, depth, width)

    def summary(self) -> str:
        """Memory, smallest input and findings in a few lines."""
        return summarise(self.memory, self.smallest_input, self.findings)

    def _repr_html_(self) -> str:
        drawing = f'<div style="overflow-x:auto">{self.diagram(folded=True)}</div>'
        return f'{drawing}<pre style="line-height:1.25">{escape(str(self))}</pre>'

    def __str__(self) -> str:
        return f"{self.table()}\n\n{self.summary()}"

    def as_dict(self) -> dict[str, object]:
        """All of it in plain types, for JSON."""
        return {
            "name": self.name,
            "input": list(self.input),
            "batch": self.batch,
            "rows": [asdict(row) for row in self.rows],
            "totals": asdict(self.totals) | {"flops": self.totals.flops},
            "unused_parameters": dict(self.unused),
            "memory": asdict(self.memory),
            "smallest_input": self.smallest_input,
            "findings": [asdict(finding) for finding in self.findings],
        }


@checked
def inspect(
    net: nn.Module | str,
    input: Sequence[int] | None = None,
    *,
    classes: int | None = None,
    batch: int | None = None,
) -> Anatomy:
    """Reads a net on the meta device: no data, no memory, nothing computed.

    Args:
        net: any module (left as it is), or what `resolve` takes: a catalogue name, `FILE.py:OBJECT`,
            `torchvision:NAME`, `timm:NAME`.
        input: (C, H, W) of an image; the net's default if None.
        classes: number of classes that the net should have; a named net is built so, a module is checked for it.
        batch: images a batch, for the memory, and for batch norm's sake; None counts the memory of one.

    Raises:
        UsageError: no such net; no input given where the net has no default; a net that does not take the input, with the
            layer that fails and what would fit.
    """
    if batch is not None and batch < 1:
        raise UsageError(f"batch must be at least 1, got {batch}")
    if input is not None and (len(input) != 3 or min(input) < 1):
        raise UsageError(f"input must be channels, height and width, each at least 1, got {tuple(input)}")

    def read(without_weights: bool) -> Anatomy:
        channels = None if input is None else int(input[0])
        target = resolve(net, channels=channels, classes=classes, without_weights=without_weights)
        picture = target.input if input is None else tuple(map(int, input))
        if picture is None:
            raise UsageError(
                f"{target.name} has no default input: say which images it takes, as in {param('input', '3x32x32')}"
            )
        graph = trace_or_explain(target.module, (1, *picture), target.name)
        return Anatomy(
            name=target.name, graph=graph, module=target.module, classes=target.classes, judged_batch=batch
        )  # fmt: skip

    return without_weights_or_with(read) if isinstance(net, str) else read(False)
