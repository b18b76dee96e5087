"""The anatomy as a plain text table: nested by stage, aligned, readable at 100 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, takewhile
from textwrap import wrap

from striate.anatomy.finding import Finding
from striate.anatomy.graph import Graph
from striate.anatomy.memory import Memory
from striate.anatomy.receptive import ReceptiveField
from striate.anatomy.rows import Row, Totals, known_sum, unused_parameters
from striate.texts import counted, dimensions, storage

_PAGE = 90  # lines of a table that one still reads; longer ones are folded unless a depth is asked for


def quantity(count: int | None) -> str:
    """1234567 -> `1,234,567`; nothing for 0, `?` for what is not known."""
    if count is None:
        return "?"
    return f"{count:,}" if count else ""


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    indent: int
    cells: tuple[str, ...] = ()


def render(name: str, graph: Graph, rows: Sequence[Row], totals: Totals, depth: int | None, width: int) -> str:
    """The table. Lines that stand for several layers (folded) are marked with the number of them."""
    deepest = max((len(_parts(row.path)) for row in rows), default=1)
    lines: list[_Line] = []
    shown = deepest
    for shown in [depth] if depth is not None else range(deepest, 0, -1):
        lines = _lines(rows, max(1, shown))
        if len(lines) <= _PAGE:
            break
    sums = ("", quantity(totals.parameters), quantity(totals.macs), storage(totals.activation_bytes))
    head = _Line("", 0, ("output", "parameters", "MACs", "activations", "RF", "stride", "RF centre"))
    text = [f"{name}, one image of {dimensions(graph.input_shape[1:])}", ""]
    text += _align([head, *lines, _Line("total", 0, sums)], width)
    text.insert(-1, "-" * max(len(line) for line in text))
    text.append("")
    if totals.flops is None:
        text += wrap(f"{totals.macs_in_words}: those are unknown. FLOPs are 2 x MACs.", width)
    else:
        text.append(f"{totals.macs_in_words} are {totals.flops:,} FLOPs (2 x MACs). RF: receptive field, in pixels.")
    if totals.parameters_unused:
        text.append(
            f"{totals.parameters_unused:,} more are not read by the forward pass: {_owners(unused_parameters(graph))}."
        )
    if frozen := sum(row.frozen for row in rows):
        text.append(f"{frozen:,} of the parameters are frozen: training does not change them.")
    if depth is None and shown < deepest:
        text.append(f"Folded to {shown} of {deepest} levels; --depth {deepest} shows every operation.")
    return "\n".join(text)


def summarise(memory: Memory, smallest_input: int | None, findings: Sequence[Finding]) -> str:
    """The lines below the table: memory, smallest image, findings."""
    lines = [f"Memory with {counted(memory.batch, 'image')} a batch: {storage(memory.inference)} to infer, "]
    if memory.training is None or memory.activations is None:
        lines[-1] += "training not possible on such a batch"
    else:
        lines[-1] += f"training {storage(memory.training)}"
        lines.append(
            f"  weights {storage(memory.weights)}, gradients {storage(memory.gradients)}, {memory.optimizer} "
            f"{storage(memory.optimizer_state)}, saved activations {storage(memory.activations)}"
        )
    if smallest_input is not None:
        lines.append(f"Smallest image: {smallest_input}x{smallest_input}")
    lines.append("Findings: none" if not findings else "Findings")
    for finding in findings:
        lines += wrap(str(finding), 98, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines)


def _owners(parameters: Iterable[str]) -> str:
    names = list(dict.fromkeys(_parts(name)[0] for name in parameters))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more modules" if len(names) > 3 else "")


def _parts(path: str) -> list[str]:
    return path.removeprefix("stages.").split(".")


def _lines(rows: Sequence[Row], depth: int) -> list[_Line]:
    lines: list[_Line] = []
    open_path: list[str] = []
    for parts, members in groupby(rows, key=lambda row: tuple(_parts(row.path)[:depth])):
        group = list(members)
        *outer, own = parts
        shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(outer, open_path, strict=False))))
        lines += [_Line(name, level) for level, name in list(enumerate(outer))[shared:]]
        open_path = outer
        folded = len(_parts(group[0].path)) > depth
        for row in [_folded(group)] if folded else group:
            what = f"({len(group)} layers)" if folded else f"{row.operation} {row.setting}".rstrip()
            held = sum(row.frozen for row in group)
            if held:
                what += ", frozen" if held == sum(row.parameters for row in group) else ", partly frozen"
            name = what if own == row.operation or row.operation == own else f"{own}  {what}"
            lines.append(_Line(name, len(outer), _cells(row)))
    return lines


def _folded(group: list[Row]) -> Row:
    """Several rows as one: the last one's output, the sums of the rest."""
    return replace(
        group[-1], operation="", setting="", parameters=sum(row.parameters for row in group),
        macs=known_sum([row.macs for row in group]), activation_bytes=sum(row.activation_bytes for row in group),
    )  # fmt: skip


def _cells(row: Row) -> tuple[str, ...]:
    stored = storage(row.activation_bytes) if row.activation_bytes else ""
    return (
        dimensions(row.shape),
        quantity(row.parameters),
        quantity(row.macs),
        stored,
        *(_field_cells(row.field) if row.reads_picture else ("", "", "")),
    )


def _field_cells(field: ReceptiveField | None) -> tuple[str, str, str]:
    """`27` or, over branches and skips, `11-27`; `all` for the whole image, which has no stride and one centre, `11-all` where
    a path sees less of it; `?` where it is not known."""
    if field is None:
        return ("?", "", "")
    if field.whole and 0 in field.stride:
        return ("all", "", "")
    largest, smallest = "all" if field.whole else both(field.largest), both(field.smallest)
    return (largest if largest == smallest else f"{smallest}-{largest}", both(field.stride), both(field.centre))


def both(values: tuple[float, float]) -> str:
    """One number where height and width agree, else `HxW`."""
    texts = [f"{value:g}" for value in values]
    return texts[0] if texts[0] == texts[1] else "x".join(texts)


def _align(lines: Sequence[_Line], width: int) -> list[str]:
    columns = max(len(line.cells) for line in lines)
    widths = [max(len(line.cells[i]) for line in lines if i < len(line.cells)) for i in range(columns)]
    names = ["  " * line.indent + line.name for line in lines]
    longest = max(len(name) for name in names)
    gap = 2 if longest + sum(widths) + 2 * columns <= width else 1
    first = min(longest, max(width - sum(widths) - gap * columns, 20))
    text = []
    for name, line in zip(names, lines, strict=True):
        short = name if len(name) <= first or not line.cells else name[: first - 1] + "…"
        cells = [short.ljust(first)] + [cell.rjust(w) for cell, w in zip(line.cells, widths, strict=False)]
        text.append((" " * gap).join(cells).rstrip())
    return text
