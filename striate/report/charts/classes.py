"""Results by class: the confusion matrix; precision, recall and F1."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import altair as alt
import numpy as np

from striate.drawing.svg import shortened
from striate.drawing.theme import PAPER, Palette
from striate.drawing.vega import (
    PERCENT_LABEL,
    below,
    exactly,
    name_axis,
    named,
    percent_axis,
    plotted,
    themed,
    tooltips,
)
from striate.report.wording import INTERVAL, SPACE, percent
from striate.runforms.evaluation import ClassFigures
from striate.texts import thousands

MOST_NUMBERED = 25  # with more classes the matrix has no numbers in its cells
MOST_DRAWN = 120  # with more classes the matrix shows the most confused ones
MOST_ROWS = 30  # with more classes the chart of classes shows the worst ones
DENSE = 0.48  # share of the row above which a count is set in the colour for dense ink
WIDTH = 470  # of the chart of classes


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str], palette: Palette = PAPER) -> alt.LayerChart:
    """The confusion matrix: a row for each true class, a column for each predicted class; cells without an image stay empty.

    Blue is correct, brown is misclassified. The ink's opacity follows the square root of the share of the row, from a tenth
    up, so that rare errors show. Up to 25 classes each cell has its count. Of more than 120 classes the 60 in most
    mistakes are drawn, all others together in the last row and column.
    """
    totals = [sum(row) for row in matrix]
    if len(classes) > MOST_DRAWN:
        matrix, classes, totals = most_confused_part(matrix, classes)
    n = len(classes)
    numbered = n <= MOST_NUMBERED
    cell = {2: 110, 3: 90, 4: 76, 5: 66}.get(n, 52 if n <= 10 else 36 if numbered else max(9, 760 // n))
    cells = [
        {
            "truth": i,
            "predicted": j,
            "kind": "correct" if i == j else "misclassified",
            "share": round(count / totals[i], 5),
            "images": thousands(count),
            "of_row": percent(count / totals[i]),
            "truth_name": classes[i],
            "predicted_name": classes[j],
        }
        for i, row in enumerate(matrix)
        for j, count in enumerate(row)
        if count
    ]
    short = [shortened(name) for name in classes]
    x, y = _matrix_axes(short, cell, palette)
    base = plotted(cells).encode(x=x, y=y)
    layers = [_matrix_ink(base, "right" if n <= 5 else "bottom", palette)]
    if numbered:
        ink = alt.condition(alt.datum.share > DENSE, alt.value(palette.on_ink), alt.value(palette.off_ink))
        layers.append(base.mark_text(fontSize=13 if cell >= 50 else 10).encode(text="images:N", color=ink))
    edge = alt.ViewBackground(stroke=palette.grid, strokeWidth=1)
    chart = alt.LayerChart(layer=layers).properties(width=n * cell, height=n * cell, view=edge)
    return themed(chart.add_params(named(short)), palette)


def most_confused_part(
    matrix: Sequence[Sequence[int]], classes: Sequence[str], most: int = MOST_DRAWN // 2
) -> tuple[list[list[int]], list[str], list[int]]:
    """(matrix of the `most` classes with most mistakes, and all others as one; their names; images of each row).

    The last cell holds the correct ones of the others, not their mistakes among themselves.
    """
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
    """Axes of class positions; column labels are slanted where they are too long."""
    size = 12 if cell >= 50 else 11 if cell >= 16 else 8
    axis = partial(
        name_axis, palette, labelFontSize=size, labelPadding=6, ticks=False, domain=False, grid=cell >= 16,
        tickBand="extent", zindex=1,
    )  # fmt: skip
    slant: dict[str, Any] = {"labelAngle": 0}
    if max(map(len, names)) * 0.62 * size > cell - 6:
        slant = {"labelAngle": -45 if cell >= 16 else -90, "labelAlign": "left", "labelBaseline": "middle"}
    places = alt.Scale(domain=list(range(len(names))), paddingInner=0, paddingOuter=0)
    return (
        alt.X("predicted:O", scale=places, axis=axis(title="predicted class", orient="top", **slant)),
        alt.Y("truth:O", scale=places, axis=axis(title="true class")),
    )


def _matrix_ink(base: alt.Chart, orient: Literal["right", "bottom"], palette: Palette) -> alt.Chart:
    pointed = alt.selection_point(name="pointed_cell", on="pointerover", clear="pointerout", empty=False)
    legend = partial(alt.Legend, orient=orient, symbolType="square", symbolStrokeWidth=0, offset=16)
    kinds = legend(labelExpr=f"datum.label + '{4 * SPACE}'")  # the gap to the legend beside it
    shares = legend(
        title="share of the true class", titleOrient="top" if orient == "right" else "left", symbolSize=140,
        values=[0.01, 0.05, 0.25, 0.5, 1], labelExpr=PERCENT_LABEL.format(digits=0), symbolFillColor=palette.right,
    )  # fmt: skip
    hues = alt.Scale(domain=["correct", "misclassified"], range=[palette.right, palette.wrong])
    chart = base.mark_rect(strokeWidth=1.5).encode(
        color=alt.Color("kind:N", scale=hues, legend=kinds),
        opacity=alt.Opacity("share:Q", scale=alt.Scale(type="sqrt", domain=[0, 1], range=[0.1, 1]), legend=shares),
        stroke=alt.condition(pointed, alt.value(palette.text), alt.value("transparent")),
        tooltip=tooltips(
            truth_name="true class", predicted_name="predicted class", images="images", of_row="of the true class"
        ),
    )
    drawn: alt.Chart = chart.add_params(pointed)
    return drawn


def per_class(rows: Sequence[ClassFigures], palette: Palette = PAPER) -> alt.LayerChart:
    """Precision, recall and F1 of each class, lowest F1 on top, its figure at the right; a line for the interval of recall.

    Of more than 30 classes the 30 with the lowest F1 are drawn.
    """
    worst = worst_classes(rows)
    known = worst[0].low is not None
    measures = {"precision": "precision", "recall": "recall", "f1": "F1"}
    points = [
        {
            "place": place,
            "measure": word,
            "value": getattr(row, key),
            "class": row.class_,
            "shown": percent(getattr(row, key)),
            "images": thousands(row.support),
            "interval": "" if row.low is None or row.high is None else f"{percent(row.low)} to {percent(row.high)}",
        }
        for place, row in enumerate(worst)
        for key, word in measures.items()
    ]
    spans = [
        {"place": place, "low": row.low, "high": row.high, "f1": percent(row.f1)} for place, row in enumerate(worst)
    ]
    words = list(measures.values())
    floor = below(min(getattr(row, key) for row in worst for key in (*measures, *["low"] * known)))
    scale = exactly(floor, 1)
    y = alt.Y("place:O", scale=alt.Scale(domain=list(range(len(worst)))), axis=name_axis(palette, grid=True))
    inks = alt.Scale(domain=words, range=[palette.first, palette.second, palette.third])
    shapes = alt.Scale(domain=words, range=["circle", "triangle-up", "diamond"])
    titles = {"class": "class", "measure": "measure", "shown": "value", "images": "images"}
    dots = plotted(points).mark_point(filled=True, size=85, opacity=1).encode(
        x=alt.X("value:Q", scale=scale, axis=percent_axis(1 - floor)),
        y=y,
        color=alt.Color("measure:N", scale=inks),
        shape=alt.Shape("measure:N", scale=shapes),
        tooltip=tooltips(**titles, **({"interval": f"{INTERVAL} of recall"} if known else {})),
    )  # fmt: skip
    beside = plotted(spans).encode(y=y)
    lines = beside.mark_rule(color=palette.second, strokeWidth=1.5).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    right = alt.value(WIDTH + 12)
    figures = beside.mark_text(align="left", color=palette.text, fontSize=12).encode(x=right, text="f1:N")
    head = plotted([{"word": "F1"}]).mark_text(align="left", baseline="bottom", color=palette.muted, fontSize=12)
    layers = [*([lines] if known else []), dots, figures, head.encode(x=right, y=alt.value(-4), text="word:N")]
    chart = alt.LayerChart(layer=layers).properties(width=WIDTH, height=alt.Step(30 if len(worst) <= 12 else 22))
    return themed(chart.add_params(named([shortened(row.class_) for row in worst])), palette)


def worst_classes(rows: Sequence[ClassFigures]) -> list[ClassFigures]:
    """The classes that the chart shows: by F1, the worst first, 30 at most; those without images last."""
    return sorted(rows, key=lambda row: (row.support == 0, row.f1))[:MOST_ROWS]
