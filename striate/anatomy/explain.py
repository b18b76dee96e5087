"""The arithmetic of a net, spelled out: where each size, each parameter count and each MAC count comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from striate.anatomy.graph import Graph, Node, Shape
from striate.anatomy.rows import Row, operation_name
from striate.texts import dimensions

_EACH = 8  # products of one row that are spelled out
_ON_MAPS = "avg_pool2d", "max_pool2d_with_indices", "max_pool2d"


def explain_row(graph: Graph, row: Row) -> list[str]:
    """The calculations of one row: size, parameters, MACs; empty for an operation without any."""
    lines: list[str] = []
    products = sum(graph.nodes[index].macs != 0 for index in row.nodes)
    if products > _EACH and row.macs is not None:  # a recurrent layer: the same sums at every step
        known = f"parameters: {row.parameters:,}", f"MACs: {row.macs:,} in {products} products"
        return [line for line, count in zip(known, (row.parameters, row.macs), strict=True) if count]
    for index in row.nodes:
        node = graph.nodes[index]
        before = graph.nodes[node.inputs[0]].shape if node.inputs else ()
        lines += _size(node, before) + _parameters(graph, node) + _macs(node, before)
    return lines


def explain(graph: Graph, rows: Sequence[Row]) -> str:
    """Every row with its sums, then what each bottleneck saves."""
    lines = []
    for row in rows:
        sums = explain_row(graph, row)
        if sums:
            lines += [f"{row.path}  {row.operation} {row.setting}".rstrip(), *(f"    {line}" for line in sums)]
    savings = bottlenecks(graph)
    if savings:
        lines += ["", "Savings by the 1x1 bottlenecks", *(str(saving) for saving in savings)]
    return "\n".join(lines)


def _size(node: Node, before: Shape) -> list[str]:
    attributes = node.attributes
    if node.operation == "convolution":
        sums = [_convolved(node, side, before[2 + side]) for side in range(len(attributes["kernel"]))]
    elif node.operation in _ON_MAPS and len(before) == 4:
        ceil_mode = bool(attributes["ceil_mode"])
        sums = [node.window(side).sum(before[2 + side], ceil_mode=ceil_mode) for side in range(2)]
    elif node.operation == "cat" and len(node.inputs) > 1:
        return [f"size: {node.shape[1]} channels, side by side"] if int(attributes.get("dim", 0)) in (1, -3) else []
    elif operation_name(node) == "reshape" and len(before) == 4 and len(node.shape) == 2:
        return [f"size: {' * '.join(map(str, before[1:]))} = {node.shape[1]:,} features"]
    elif node.operation in ("_adaptive_avg_pool2d", "mean") and len(before) == 4 and before[2:] != node.shape[2:]:
        return [
            f"size: each of the {before[1]} channels of {dimensions(before[2:])} averaged to {dimensions(node.shape[2:])}"
        ]
    else:
        return []
    if len(set(sums)) == 1:
        return [f"size: {sums[0]}"]
    return [f"{name}: {text}" for name, text in zip(("depth", "height", "width")[-len(sums) :], sums, strict=True)]


def _convolved(node: Node, side: int, length: int) -> str:
    window = node.window(side)
    if node.attributes["transposed"]:
        return window.transposed_sum(length, node.setting("output_padding", side, 0))
    return window.sum(length)


def _parameters(graph: Graph, node: Node) -> list[str]:
    total = sum(graph.parameters[name] for name in node.parameters)
    if not total:
        return []
    weight = node.attributes.get("weight")
    if node.operation == "convolution" and weight is not None:
        bias = node.attributes["bias"]
        outputs = weight[1] * node.attributes["groups"] if node.attributes["transposed"] else weight[0]
        if prod(weight) + (outputs if bias else 0) != total:
            return []
        groups = node.attributes["groups"]
        note = f" (each filter sees {weight[1]} channels: {groups} groups)" if groups > 1 else ""
        return [f"parameters: {' * '.join(map(str, weight))}{f' + {outputs}' if bias else ''} = {total:,}{note}"]
    if node.operation == "addmm" and total % node.shape[-1] == 0:
        outputs = node.shape[-1]
        return [f"parameters: {total // outputs - 1} * {outputs} + {outputs} = {total:,}"]
    if node.operation == "native_batch_norm":
        return [f"parameters: 2 * {total // 2} = {total:,} (a scale and a shift per channel)"]
    return [f"parameters: {total:,}"]


def _macs(node: Node, before: Shape) -> list[str]:
    if node.macs is None:
        return [f"MACs: unknown for {node.operation}"]
    if not node.macs:
        return []
    if node.operation == "convolution":
        weight = node.attributes["weight"]
        places = before[2:] if node.attributes["transposed"] else node.shape[2:]
        return [f"MACs: {' * '.join(map(str, [*weight, *places]))} = {node.macs:,}"]
    if node.operation == "addmm":
        return [f"MACs: {node.macs // prod(node.shape)} * {' * '.join(map(str, node.shape[1:]))} = {node.macs:,}"]
    return [f"MACs: {node.macs:,}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """A k x k convolution behind a 1x1 convolution to fewer channels, against the same one without it."""

    path: str
    """Name of the larger convolution, where it is part of a net."""
    size: tuple[int, int]
    """Height and width of the output."""
    channels: int
    """Channels that enter the 1x1 convolution."""
    squeezed: int
    """Channels that leave the 1x1 convolution."""
    filters: int
    kernel: tuple[int, int]
    squeezed_size: tuple[int, int] | None = None
    """Height and width behind the 1x1 convolution, where the larger one shrinks them."""

    @property
    def parameters(self) -> int:
        """Number of parameters, biases included."""
        return self.channels * self.squeezed + self.squeezed + self._filters(self.squeezed) + self.filters

    @property
    def parameters_without(self) -> int:
        return self._filters(self.channels) + self.filters

    @property
    def macs(self) -> int:
        return prod(self.squeezed_size or self.size) * self.channels * self.squeezed + prod(self.size) * self._filters(
            self.squeezed
        )

    @property
    def macs_without(self) -> int:
        return prod(self.size) * self._filters(self.channels)

    def _filters(self, channels: int) -> int:
        return prod(self.kernel) * channels * self.filters

    def __str__(self) -> str:
        (kh, kw), (h, w) = self.kernel, self.size
        c, s, f = self.channels, self.squeezed, self.filters
        sh, sw = self.squeezed_size or self.size
        return "\n".join(
            [
                f"{self.path or 'layer'}: {c} channels through {f} filters of {kh}x{kw} to {h}x{w}, through {s} "
                f"channels",
                "  without the 1x1",
                f"    parameters: {kh}*{kw}*{c}*{f} + {f} = {self.parameters_without:,}",
                f"    MACs: {h}*{w}*{kh}*{kw}*{c}*{f} = {self.macs_without:,}",
                f"  with a 1x1 to {s} channels first",
                f"    parameters: ({c}*{s} + {s}) + ({kh}*{kw}*{s}*{f} + {f}) = {self.parameters:,}",
                f"    MACs: {sh}*{sw}*{c}*{s} + {h}*{w}*{kh}*{kw}*{s}*{f} = {self.macs:,}",
                f"  {self.parameters_without / self.parameters:.2f} times fewer parameters, "
                f"{self.macs_without / self.macs:.2f} times fewer MACs",
            ]
        )


def bottlenecks(graph: Graph) -> tuple[Bottleneck, ...]:
    """The bottlenecks of a net: a 1x1 convolution to fewer channels, then (norm, activation and) a larger convolution."""
    found = []
    for node in graph.nodes:
        kernel = _kernel(node)
        if kernel is None or kernel == (1, 1):
            continue
        source = graph.nodes[node.operands[0] or 0]
        while source.operation in ("native_batch_norm", "relu", "relu_", "identity") and len(source.inputs) == 1:
            source = graph.nodes[source.inputs[0]]
        if _kernel(source) != (1, 1):
            continue
        squeezed, channels = source.attributes["weight"][:2]
        if squeezed < channels:
            height, width = node.shape[2:]
            found.append(
                Bottleneck(
                    path=node.module, size=(height, width), channels=channels, squeezed=squeezed,
                    filters=node.attributes["weight"][0], kernel=kernel,
                    squeezed_size=(source.shape[2], source.shape[3]),
                )
            )  # fmt: skip
    return tuple(found)


def _kernel(node: Node) -> tuple[int, int] | None:
    """Kernel of a convolution over feature maps that is neither grouped nor transposed; None for all else."""
    attributes = node.attributes
    if node.operation != "convolution" or attributes["groups"] > 1 or attributes["transposed"]:
        return None
    return attributes["kernel"] if len(attributes["kernel"]) == 2 else None
