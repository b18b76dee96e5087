"""The charts of a run. Each is defined once, as an Altair chart drawn in a Palette: PNG in the run, interactive SVG
in the report.

The functions take plain lists and dicts (rows of metrics.csv, parts of evaluation.json) and return a chart; only
`save_png` touches a file. A class is a position on an axis and its name is only a label, so that any text can be a
class name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import altair as alt

from striate.report.facts import PHASES, SPACE, duration, measured, percent, thousands
from striate.report.theme import PAPER, Palette, vega_config
from striate.run import write_atomic

MOST_POINTS = 40  # with more epochs the curves are drawn without points
MOST_NUMBERED = 25  # with more classes the matrix has no numbers in its cells
MOST_ROWS = 30  # with more classes the chart of classes shows the worst ones
LABELS = 46  # points left of a curve for its figures, so that curves stand in line
PERCENT_LABEL = "format(100 * datum.value, '.{digits}f') + '\u00a0%'"
LONGEST_LABEL = 40  # characters of a class name beside a chart; the tables give the whole name

Chart = TypeVar("Chart", alt.Chart, alt.LayerChart, alt.VConcatChart)


def save_png(chart: alt.TopLevelMixin, path: Path, scale: float = 2) -> Path:
    """Write `chart` as a PNG with `scale` pixels a point, never asking the network for anything."""
    write_atomic(path, png(chart, scale))
    return path


def png(chart: alt.TopLevelMixin, scale: float = 2) -> bytes:
    """`chart` as a PNG file's bytes."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(chart.to_dict(), scale=scale, allowed_base_urls=[]))


def svg(chart: alt.TopLevelMixin) -> str:
    """`chart` as an SVG element."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(chart.to_dict(), allowed_base_urls=[]))


def themed(chart: Chart, palette: Palette) -> Chart:
    """`chart` with our theme; called once, on the outermost chart."""
    chart.config = alt.Config.from_dict(vega_config(palette))
    return chart


def shown_name(name: str) -> str:
    """A class name as an axis shows it: whole up to 40 characters, else its two ends."""
    if len(name) <= LONGEST_LABEL:
        return name
    half = (LONGEST_LABEL - 1) // 2
    return f"{name[:half].rstrip()}…{name[-half:].lstrip()}"


# ---------------------------------------------------------------- learning curves


def curves(metrics: Sequence[dict[str, Any]], palette: Palette = PAPER) -> alt.VConcatChart:
    """Loss and accuracy of training and validation side by side, the learning rate below: the run's curves.png."""
    pair = alt.hconcat(_curve(metrics, "loss", palette), _curve(metrics, "accuracy", palette), spacing=36)
    above = pair.resolve_scale(color="independent", strokeDash="independent", shape="independent")
    below = _rate(metrics, palette, width=2 * 420 + 36 + 50)
    return themed(alt.vconcat(above, below, spacing=20), palette)


def curve(
    metrics: Sequence[dict[str, Any]], quantity: Literal["loss", "accuracy"], palette: Palette = PAPER
) -> alt.LayerChart:
    """One of the two curves by itself, training and validation told apart by colour, dash and point shape."""
    return themed(_curve(metrics, quantity, palette), palette)


def _epochs(metrics: Sequence[dict[str, Any]], field: str = "epoch") -> alt.X:
    last = math.ceil(metrics[-1]["epoch"])
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if last <= 15 * size)
    ticks = [*([1] if step > 2 else []), *range(step, last + 1, step)]
    scale = alt.Scale(domain=[0.5, last + 0.5], nice=False, zero=False)
    return alt.X(f"{field}:Q", scale=scale, axis=alt.Axis(title="epoch", values=ticks, format="d", labelOverlap=False))


def _percent_axis(span: float) -> alt.Axis:
    """An axis of fractions, labelled `85 %`; with a decimal where the axis spans less than six points."""
    digits = 0 if span >= 0.06 else 1
    return alt.Axis(title=None, labelExpr=PERCENT_LABEL.format(digits=digits), tickCount=6, minExtent=LABELS)


def _range_of(values: Sequence[float], ceiling: float) -> list[float]:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05 * max(abs(high), 0.1)
    return [max(0.0, low - margin), min(ceiling, high + margin)]


def _curve(
    metrics: Sequence[dict[str, Any]], quantity: Literal["loss", "accuracy"], palette: Palette
) -> alt.LayerChart:
    series = {"training": f"train_{quantity}", "validation": f"val_{quantity}"}
    rows = [
        {"epoch": row["epoch"], "series": name, "value": number}
        for name, key in series.items()
        for row in metrics
        if (number := measured(row, key)) is not None
    ]
    names = [name for name in series if any(row["series"] == name for row in rows)]
    domain = _range_of([row["value"] for row in rows] or [0.0], 1.0 if quantity == "accuracy" else float("inf"))
    if quantity == "loss":
        title, axis = (
            alt.Title("Loss", subtitle="cross-entropy: lower is better"),
            alt.Axis(title=None, format=".3~g", tickCount=6, minExtent=LABELS),
        )
    else:
        title, axis = (
            alt.Title("Accuracy", subtitle="share of the pictures named right"),
            _percent_axis(domain[1] - domain[0]),
        )
    pointed = len(metrics) <= MOST_POINTS
    corner = alt.Legend(
        orient="top-right" if quantity == "loss" else "bottom-right",
        direction="vertical",
        offset=4,
        symbolStrokeWidth=0 if pointed else 2.5,
        symbolSize=90 if pointed else 700,
    )
    colour = alt.Color(
        "series:N", scale=alt.Scale(domain=names, range=[palette.first, palette.second][: len(names)]), legend=corner
    )
    dash = alt.StrokeDash(
        "series:N",
        scale=alt.Scale(domain=names, range=[[1, 0], [6, 4]][: len(names)]),
        legend=corner,
    )
    shape = alt.Shape(
        "series:N", scale=alt.Scale(domain=names, range=["circle", "triangle-up"][: len(names)]), legend=corner
    )
    y = alt.Y("value:Q", scale=alt.Scale(domain=domain, nice=False, zero=False), axis=axis)
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=_epochs(metrics), y=y, color=colour)
    layers: list[alt.Chart] = [base.mark_line(strokeWidth=2.5, strokeCap="round").encode(strokeDash=dash)]
    if pointed:
        layers.append(base.mark_point(filled=True, size=55, opacity=1).encode(shape=shape))
    layers.append(_reading(metrics, series, quantity, palette))
    return alt.LayerChart(layer=layers).properties(width=420, height=250, title=title)


def _reading(
    metrics: Sequence[dict[str, Any]], series: dict[str, str], quantity: Literal["loss", "accuracy"], palette: Palette
) -> alt.Chart:
    """An invisible strip an epoch, which shows itself and the epoch's figures under the pointer."""
    rows: list[dict[str, Any]] = []
    for row in metrics:
        strip = {"from": row["epoch"] - 0.5, "to": row["epoch"] + 0.5, "epoch": f"{row['epoch']:g}"}
        for name, key in series.items():
            number = measured(row, key)
            if number is not None:
                strip[name] = f"{number:.4f}" if quantity == "loss" else percent(number, 2)
        rows.append(strip)
    shown = ["epoch", *(name for name in series if any(name in row for row in rows))]
    pointed = alt.selection_point(name=f"pointed_{quantity}", on="pointerover", clear="pointerout", empty=False)
    strips: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_rect(color=palette.muted)
        .encode(
            x=_epochs(metrics, "from"),
            x2="to:Q",
            opacity=alt.condition(pointed, alt.value(0.14), alt.value(0)),
            tooltip=[alt.Tooltip(f"{name}:N", title=name) for name in shown],
        )
        .add_params(pointed)
    )
    return strips


def rate(metrics: Sequence[dict[str, Any]], palette: Palette = PAPER) -> alt.Chart:
    """The learning rate that each epoch ended with."""
    return themed(_rate(metrics, palette, width=420), palette)


def _rate(metrics: Sequence[dict[str, Any]], palette: Palette, width: int) -> alt.Chart:
    rows = [
        {"epoch": row["epoch"], "rate": number, "shown": f"{number:.4g}"}
        for row in metrics
        if (number := measured(row, "lr")) is not None
    ]
    point: dict[str, Any] | bool = {"filled": True, "size": 28, "color": palette.muted}
    y = alt.Y(
        "rate:Q", scale=alt.Scale(zero=True), axis=alt.Axis(title=None, tickCount=3, format="~g", minExtent=LABELS)
    )
    line: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(color=palette.muted, strokeWidth=1.5, point=point if len(metrics) <= MOST_POINTS else False)
        .encode(
            x=_epochs(metrics),
            y=y,
            tooltip=[alt.Tooltip("epoch:N"), alt.Tooltip("shown:N", title="learning rate")],
        )
        .properties(width=width, height=64, title="Learning rate")
    )
    return line


# ---------------------------------------------------------------- classes


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str], palette: Palette = PAPER) -> alt.LayerChart:
    """The confusion matrix: a row for each true class, a column for each answer; cells without a picture stay
    empty.

    Blue is right, orange is wrong. The ink's opacity follows the square root of the share of the row, from a tenth
    up, so that rare errors show. Up to 25 classes each cell has its count.
    """
    n = len(classes)
    numbered = n <= MOST_NUMBERED
    cell = {2: 110, 3: 90, 4: 76, 5: 66}.get(n, 52 if n <= 10 else 36 if numbered else max(9, 760 // n))
    short = [shown_name(name) for name in classes]
    x, y = _matrix_axes(short, cell, palette)
    base = alt.Chart(alt.InlineData(values=_cells(matrix, classes))).encode(x=x, y=y)
    layers = [_matrix_ink(base, "right" if n <= 5 else "bottom", palette)]
    if numbered:
        dense = (alt.datum.kind == "right") & (alt.datum.share > 0.3) | (alt.datum.share > 0.45)
        counts = base.mark_text(fontSize=13 if cell >= 50 else 10).encode(
            text="pictures:N", color=alt.condition(dense, alt.value(palette.on_ink), alt.value(palette.text))
        )
        layers.append(counts)
    edge = alt.ViewBackground(stroke=palette.grid, strokeWidth=1)
    chart = alt.LayerChart(layer=layers).properties(width=n * cell, height=n * cell, view=edge)
    return themed(chart.add_params(_names(short)), palette)


def _matrix_axes(names: Sequence[str], cell: int, palette: Palette) -> tuple[alt.X, alt.Y]:
    """Axes of class positions, labelled from the chart's parameter `names`; column labels are slanted where they
    are too long."""
    size = 12 if cell >= 50 else 11 if cell >= 16 else 8
    common: dict[str, Any] = {
        "labelExpr": "names[datum.value]",
        "labelFontSize": size,
        "labelColor": palette.text,
        "labelOverlap": False,
        "labelPadding": 6,
        "ticks": False,
        "domain": False,
        "grid": cell >= 16,
        "tickBand": "extent",
        "zindex": 1,
        "maxExtent": 900,
    }
    slant: dict[str, Any] = {"labelAngle": 0}
    if max(map(len, names)) * 0.62 * size > cell - 6:
        slant = {"labelAngle": -45 if cell >= 16 else -90, "labelAlign": "left", "labelBaseline": "middle"}
    places = alt.Scale(domain=list(range(len(names))), paddingInner=0, paddingOuter=0)
    across = alt.Axis(title="answer of the net", orient="top", **common, **slant)
    return alt.X("predicted:O", scale=places, axis=across), alt.Y(
        "truth:O", scale=places, axis=alt.Axis(title="true class", **common)
    )


def _matrix_ink(base: alt.Chart, legend: Literal["right", "bottom"], palette: Palette) -> alt.Chart:
    pointed = alt.selection_point(name="pointed_cell", on="pointerover", clear="pointerout", empty=False)
    hue = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=["right", "wrong"], range=[palette.right, palette.wrong]),
        legend=alt.Legend(
            orient=legend,
            labelExpr=f"datum.label + '{4 * SPACE}'",  # the gap to the legend beside it
            symbolType="square",
            symbolStrokeWidth=0,
            offset=16,
        ),
    )
    density = alt.Legend(
        orient=legend,
        title="share of the true class",
        titleOrient="top" if legend == "right" else "left",
        values=[0.01, 0.05, 0.25, 0.5, 1],
        labelExpr=PERCENT_LABEL.format(digits=0),
        symbolType="square",
        symbolFillColor=palette.right,
        symbolStrokeWidth=0,
        symbolSize=140,
        offset=16,
    )
    share = alt.Opacity("share:Q", scale=alt.Scale(type="sqrt", domain=[0, 1], range=[0.1, 1]), legend=density)
    chart = base.mark_rect(strokeWidth=1.5).encode(
        color=hue,
        opacity=share,
        stroke=alt.condition(pointed, alt.value(palette.text), alt.value("transparent")),
        tooltip=[
            alt.Tooltip("truth_name:N", title="true class"),
            alt.Tooltip("answer_name:N", title="answer"),
            alt.Tooltip("pictures:N"),
            alt.Tooltip("of_row:N", title="of the true class"),
        ],
    )
    drawn: alt.Chart = chart.add_params(pointed)
    return drawn


def _cells(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "truth": i,
            "predicted": j,
            "kind": "right" if i == j else "wrong",
            "share": round(count / sum(row), 5),
            "pictures": thousands(count),
            "of_row": percent(count / sum(row)),
            "truth_name": classes[i],
            "answer_name": classes[j],
        }
        for i, row in enumerate(matrix)
        for j, count in enumerate(row)
        if count
    ]


def per_class(rows: Sequence[dict[str, Any]], palette: Palette = PAPER) -> alt.LayerChart:
    """Precision, recall and F1 of each class as points on a line, the worst F1 on top, its figure at the right.

    `rows` are those of evaluation.json (`class`, `support`, `precision`, `recall`, `f1`); of more than 30 classes
    the 30 worst are drawn.
    """
    worst = worst_classes(rows)
    measures = {"precision": "precision", "recall": "recall", "f1": "F1"}
    points = [
        {"place": place, "measure": word, "value": row[key], "class": row["class"], "shown": percent(row[key])}
        for place, row in enumerate(worst)
        for key, word in measures.items()
    ]
    extremes = [(min(row[key] for key in measures), max(row[key] for key in measures)) for row in worst]
    spans = [
        {"place": place, "low": low, "high": high, "f1": percent(row["f1"])}
        for place, (row, (low, high)) in enumerate(zip(worst, extremes, strict=True))
    ]
    words, inks = list(measures.values()), [palette.first, palette.second, palette.third]
    floor = max(
        0.0, math.floor(20 * min(low for low, _ in extremes) - 0.2) / 20
    )  # a multiple of 5 %, below every point
    scale = alt.Scale(domain=[floor, 1], nice=False, zero=False)
    y = alt.Y("place:O", scale=alt.Scale(domain=list(range(len(worst)))), axis=_name_axis(palette, grid=True))
    width = 470
    dots = (
        alt.Chart(alt.InlineData(values=points))
        .mark_point(filled=True, size=85, opacity=1)
        .encode(
            x=alt.X("value:Q", scale=scale, axis=_percent_axis(1 - floor)),
            y=y,
            color=alt.Color("measure:N", scale=alt.Scale(domain=words, range=inks)),
            shape=alt.Shape("measure:N", scale=alt.Scale(domain=words, range=["circle", "triangle-up", "diamond"])),
            tooltip=[alt.Tooltip("class:N"), alt.Tooltip("measure:N"), alt.Tooltip("shown:N", title="value")],
        )
    )
    beside = alt.Chart(alt.InlineData(values=spans)).encode(y=y)
    lines = beside.mark_rule(color=palette.muted, strokeWidth=1.5).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    figures = beside.mark_text(align="left", color=palette.text, fontSize=12).encode(
        x=alt.value(width + 12), text="f1:N"
    )
    head = (
        alt.Chart(alt.InlineData(values=[{"word": "F1"}]))
        .mark_text(align="left", baseline="bottom", color=palette.muted, fontSize=12)
        .encode(x=alt.value(width + 12), y=alt.value(-4), text="word:N")
    )
    chart = alt.LayerChart(layer=[lines, dots, figures, head]).properties(
        width=width, height=alt.Step(30 if len(worst) <= 12 else 22)
    )
    return themed(chart.add_params(_names([shown_name(row["class"]) for row in worst])), palette)


def worst_classes(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The classes that the chart shows: by F1, the worst first, 30 at most."""
    return sorted(rows, key=lambda row: float(row["f1"]))[:MOST_ROWS]


def _names(names: Sequence[str]) -> alt.Parameter:
    return alt.param(name="names", value=list(names))


def _name_axis(palette: Palette, *, grid: bool = False) -> alt.Axis:
    """An axis of positions, labelled from the chart's parameter `names`."""
    return alt.Axis(
        title=None,
        labelExpr="names[datum.value]",
        labelFontSize=12,
        labelColor=palette.text,
        labelPadding=8,
        labelOverlap=False,
        maxExtent=900,
        grid=grid,
    )


# ---------------------------------------------------------------- time


def time_spent(seconds: dict[str, float], palette: Palette = PAPER) -> alt.LayerChart:
    """Where the run's time went: a bar for each phase of summary.json's `seconds`, each with its time and its share
    of their sum."""
    phases = [phase for phase in seconds if phase != "total"]
    total = sum(seconds[phase] for phase in phases) or 1.0
    longest = max((seconds[phase] for phase in phases), default=0.0) or 1.0
    rows = [
        {
            "place": place,
            "seconds": seconds[phase],
            "shown": f"{duration(seconds[phase])} · {percent(seconds[phase] / total)}",
        }
        for place, phase in enumerate(phases)
    ]
    places = alt.Scale(domain=list(range(len(phases))), paddingInner=0.25)
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("seconds:Q", scale=alt.Scale(domain=[0, longest], nice=False), axis=None),
        y=alt.Y("place:O", scale=places, axis=_name_axis(palette)),
    )
    bars = base.mark_bar(color=palette.first, cornerRadiusEnd=3)
    figures = base.mark_text(align="left", dx=7, fontSize=12, color=palette.text).encode(text="shown:N")
    chart = alt.LayerChart(layer=[bars, figures]).properties(width=380, height=alt.Step(26))
    return themed(chart.add_params(_names([PHASES.get(phase, phase) for phase in phases])), palette)
