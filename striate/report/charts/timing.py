"""Where a run's time went."""

from __future__ import annotations

import altair as alt

from striate.drawing.theme import PAPER, Palette
from striate.drawing.vega import name_axis, names_param, themed
from striate.report.facts import PHASES
from striate.report.wording import duration, percent


def time_spent(seconds: dict[str, float], palette: Palette = PAPER) -> alt.LayerChart:
    """Where the run's time went: a bar for each phase of summary.json's `seconds` that took any, each with its time
    and its share of their sum."""
    phases = [phase for phase in seconds if phase != "total" and seconds[phase]]
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
        y=alt.Y("place:O", scale=places, axis=name_axis(palette)),
    )
    bars = base.mark_bar(color=palette.first)
    figures = base.mark_text(align="left", dx=7, fontSize=12, color=palette.text).encode(text="shown:N")
    chart = alt.LayerChart(layer=[bars, figures]).properties(width=380, height=alt.Step(26))
    return themed(chart.add_params(names_param([PHASES.get(phase, phase) for phase in phases])), palette)
