"""How a run learned: loss, accuracy and learning rate by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import altair as alt

from striate.drawing.theme import PAPER, Palette
from striate.drawing.vega import LABELS, percent_axis, themed
from striate.outcome import Row
from striate.report.facts import measured
from striate.report.wording import percent

MOST_POINTS = 40  # with more epochs the curves are drawn without points

Quantity = Literal["loss", "accuracy"]


def curves(metrics: Sequence[Row], palette: Palette = PAPER) -> alt.VConcatChart:
    """Loss and accuracy of training and validation side by side, the learning rate below: the run's curves.png.

    A curve without any finite figure, as the loss of a run that diverged at once, is left out. `metrics` needs a row.
    """
    pair = alt.hconcat(*(_curve(metrics, quantity, palette) for quantity in drawable(metrics)), spacing=36)
    above = pair.resolve_scale(color="independent", strokeDash="independent", shape="independent")
    width = max(1, len(drawable(metrics))) * (420 + LABELS) - LABELS + 36
    return themed(alt.vconcat(above, _rate(metrics, palette, width), spacing=20), palette)


def drawable(metrics: Sequence[Row]) -> list[Quantity]:
    """The quantities of which there is a finite figure to draw."""
    quantities: tuple[Quantity, ...] = ("loss", "accuracy")
    return [
        q
        for q in quantities
        if any(measured(row, f"{part}_{q}") is not None for part in ("train", "val") for row in metrics)
    ]


def curve(metrics: Sequence[Row], quantity: Quantity, palette: Palette = PAPER) -> alt.LayerChart:
    """One of the two curves by itself, training and validation told apart by colour, dash and point shape."""
    return themed(_curve(metrics, quantity, palette), palette)


def _epochs(metrics: Sequence[Row], field: str = "epoch") -> alt.X:
    last = math.ceil(metrics[-1]["epoch"])
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if last <= 15 * size)
    ticks = [*([1] if step > 2 else []), *range(step, last + 1, step)]
    scale = alt.Scale(domain=[0.5, last + 0.5], nice=False, zero=False)
    return alt.X(f"{field}:Q", scale=scale, axis=alt.Axis(title="epoch", values=ticks, format="d", labelOverlap=False))


def _range_of(values: Sequence[float], ceiling: float) -> list[float]:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05 * max(abs(high), 0.1)
    return [max(0.0, low - margin), min(ceiling, high + margin)]


def _curve(metrics: Sequence[Row], quantity: Quantity, palette: Palette) -> alt.LayerChart:
    series = {"training": f"train_{quantity}", "validation": f"val_{quantity}"}
    rows = [
        {"epoch": row["epoch"], "series": name, "value": number}
        for name, key in series.items()
        for row in metrics
        if (number := measured(row, key)) is not None
    ]
    names = [name for name in series if any(row["series"] == name for row in rows)]
    domain = _range_of([row["value"] for row in rows], 1.0 if quantity == "accuracy" else float("inf"))
    if quantity == "loss":
        title, axis = (
            alt.Title("Loss", subtitle="cross-entropy: lower is better"),
            alt.Axis(title=None, format=".3~g", tickCount=6, minExtent=LABELS),
        )
    else:
        title, axis = (
            alt.Title("Accuracy", subtitle="share of the images classified correctly"),
            percent_axis(domain[1] - domain[0]),
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


def _reading(metrics: Sequence[Row], series: dict[str, str], quantity: Quantity, palette: Palette) -> alt.Chart:
    """An invisible strip an epoch, which shows itself and the epoch's figures under the pointer."""
    rows: list[dict[str, object]] = []
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


def rate(metrics: Sequence[Row], palette: Palette = PAPER) -> alt.Chart:
    """The learning rate that each epoch ended with."""
    return themed(_rate(metrics, palette, width=420), palette)


def _rate(metrics: Sequence[Row], palette: Palette, width: int) -> alt.Chart:
    rows = [
        {"epoch": row["epoch"], "rate": number, "shown": f"{number:.4g}"}
        for row in metrics
        if (number := measured(row, "lr")) is not None
    ]
    point: dict[str, object] | bool = {"filled": True, "size": 28, "color": palette.muted}
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
