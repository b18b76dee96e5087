"""How the classes fared: the confusion matrix; precision, recall and F1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import altair as alt
import numpy as np

from striate.drawing.svg import shortened
from striate.drawing.theme import PAPER, Palette
from striate.drawing.vega import PERCENT_LABEL, name_axis, names_param, percent_axis, themed
from striate.report.wording import SPACE, percent
from striate.runforms.evaluation import ClassFigures
from striate.texts import thousands

MOST_NUMBERED = 25  # with more classes the matrix has no numbers in its cells
MOST_DRAWN = 120  # with more classes the matrix shows the most confused ones
MOST_ROWS = 30  # with more classes the chart of classes shows the worst ones
DENSE = 0.48  # share of the row above which a count is set in the colour for dense ink


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str], palette: Palette = PAPER) -> alt.LayerChart:
    """The confusion matrix: a row for each true class, a column for each answer; cells without an image stay
    empty.

    Blue is right, brown is wrong. The ink's opacity follows the square root of the share of the row, from a tenth
    up, so that rare errors show. Up to 25 classes each cell has its count. Of more than 120 classes the 60 in most
    mistakes are drawn, all others together in the last row and column.
    """
    totals = [sum(row) for row in matrix]
    if len(classes) > MOST_DRAWN:
        matrix, classes, totals = most_confused_part(matrix, classes)
    n = len(classes)
    numbered = n <= MOST_NUMBERED
    cell = {2: 110, 3: 90, 4: 76, 5: 66}.get(n, 52 if n <= 10 else 36 if numbered else max(9, 760 // n))
    short = [shortened(name) for name in classes]
    x, y = _matrix_axes(short, cell, palette)
    base = alt.Chart(alt.InlineData(values=_cells(matrix, classes, totals))).encode(x=x, y=y)
    layers = [_matrix_ink(base, "right" if n <= 5 else "bottom", palette)]
    if numbered:
        dense = alt.datum.share > DENSE
        counts = base.mark_text(fontSize=13 if cell >= 50 else 10).encode(
            text="images:N", color=alt.condition(dense, alt.value(palette.on_ink), alt.value(palette.off_ink))
        )
        layers.append(counts)
    edge = alt.ViewBackground(stroke=palette.grid, strokeWidth=1)
    chart = alt.LayerChart(layer=layers).properties(width=n * cell, height=n * cell, view=edge)
    return themed(chart.add_params(names_param(short)), palette)


def most_confused_part(
    matrix: Sequence[Sequence[int]], classes: Sequence[str], most: int = MOST_DRAWN // 2
) -> tuple[list[list[int]], list[str], list[int]]:
    """The matrix of the `most` classes that are in most mistakes, all others as one more; its classes; and how many
    images each row stands for. The last cell holds what is right of the others, not their mistakes among
    themselves."""
    counts = np.asarray(matrix, dtype=np.int64)
    right = np.diag(counts)
    chosen = np.sort(np.argsort(2 * right - counts.sum(0) - counts.sum(1), kind="stable")[:most])
    place = np.full(len(classes), len(chosen))
    place[chosen] = np.arange(len(chosen))
    merged = np.zeros((len(chosen) + 1, len(chosen) + 1), np.int64)
    np.add.at(merged, (place[:, None], place[None, :]), counts)
    totals = merged.sum(1).tolist()
    merged[-1, -1] = right.sum() - right[chosen].sum()
    rest = f"the other {thousands(len(classes) - len(chosen))}"
    return merged.tolist(), [*(classes[k] for k in chosen), rest], totals


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
            alt.Tooltip("images:N"),
            alt.Tooltip("of_row:N", title="of the true class"),
        ],
    )
    drawn: alt.Chart = chart.add_params(pointed)
    return drawn


def _cells(matrix: Sequence[Sequence[int]], classes: Sequence[str], totals: Sequence[int]) -> list[dict[str, object]]:
    return [
        {
            "truth": i,
            "predicted": j,
            "kind": "right" if i == j else "wrong",
            "share": round(count / totals[i], 5),
            "images": thousands(count),
            "of_row": percent(count / totals[i]),
            "truth_name": classes[i],
            "answer_name": classes[j],
        }
        for i, row in enumerate(matrix)
        for j, count in enumerate(row)
        if count
    ]


def per_class(rows: Sequence[ClassFigures], palette: Palette = PAPER) -> alt.LayerChart:
    """Precision, recall and F1 of each class, the worst F1 on top, its figure at the right; the line is the 95 %
    interval of recall.

    Of more than 30 classes the 30 worst are drawn.
    """
    worst = worst_classes(rows)
    measures = {"precision": "precision", "recall": "recall", "f1": "F1"}
    points = [
        {
            "place": place,
            "measure": word,
            "value": getattr(row, key),
            "class": row.class_,
            "shown": percent(getattr(row, key)),
            "images": thousands(row.support),
        }
        | ({} if row.low is None or row.high is None else {"interval": f"{percent(row.low)} to {percent(row.high)}"})
        for place, row in enumerate(worst)
        for key, word in measures.items()
    ]
    spans = [
        {"place": place, "low": row.low, "high": row.high, "f1": percent(row.f1)} for place, row in enumerate(worst)
    ]
    words, inks = list(measures.values()), [palette.first, palette.second, palette.third]
    known = worst[0].low is not None
    lowest = min(getattr(row, key) for row in worst for key in (*measures, *["low"] * known))
    floor = max(0.0, math.floor(20 * lowest - 0.2) / 20)  # a multiple of 5 %, below every point
    scale = alt.Scale(domain=[floor, 1], nice=False, zero=False)
    y = alt.Y("place:O", scale=alt.Scale(domain=list(range(len(worst)))), axis=name_axis(palette, grid=True))
    width = 470
    dots = (
        alt.Chart(alt.InlineData(values=points))
        .mark_point(filled=True, size=85, opacity=1)
        .encode(
            x=alt.X("value:Q", scale=scale, axis=percent_axis(1 - floor)),
            y=y,
            color=alt.Color("measure:N", scale=alt.Scale(domain=words, range=inks)),
            shape=alt.Shape("measure:N", scale=alt.Scale(domain=words, range=["circle", "triangle-up", "diamond"])),
            tooltip=[
                alt.Tooltip("class:N"),
                alt.Tooltip("measure:N"),
                alt.Tooltip("shown:N", title="value"),
                *([alt.Tooltip("interval:N", title=f"95{SPACE}% interval of recall")] if known else []),
                alt.Tooltip("images:N"),
            ],
        )
    )
    beside = alt.Chart(alt.InlineData(values=spans)).encode(y=y)
    lines = beside.mark_rule(color=palette.second, strokeWidth=1.5).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    figures = beside.mark_text(align="left", color=palette.text, fontSize=12).encode(
        x=alt.value(width + 12), text="f1:N"
    )
    head = (
        alt.Chart(alt.InlineData(values=[{"word": "F1"}]))
        .mark_text(align="left", baseline="bottom", color=palette.muted, fontSize=12)
        .encode(x=alt.value(width + 12), y=alt.value(-4), text="word:N")
    )
    chart = alt.LayerChart(layer=[*([lines] if known else []), dots, figures, head]).properties(
        width=width, height=alt.Step(30 if len(worst) <= 12 else 22)
    )
    return themed(chart.add_params(names_param([shortened(row.class_) for row in worst])), palette)


def worst_classes(rows: Sequence[ClassFigures]) -> list[ClassFigures]:
    """The classes that the chart shows: by F1, the worst first, 30 at most; those without images last."""
    return sorted(rows, key=lambda row: (row.support == 0, row.f1))[:MOST_ROWS]
