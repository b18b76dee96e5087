"""An explanation as one drawing: image, map, both together, the curves of the check, and its figures in words."""

from __future__ import annotations

import textwrap

import numpy as np

from striate.drawing.heat import colours, palette
from striate.drawing.svg import FAINT, INK, LINE, document, image, text
from striate.drawing.theme import PAPER
from striate.explaining.explanation import DEPENDENT, Explanation
from striate.explaining.faithfulness import STEPS
from striate.texts import percent

SIDE = 232
"""Longer side of an image in the drawing, in pixels."""
MARGIN, GAP, TOP = 28.0, 22.0, 124.0

DELETION, INSERTION, ALARM = PAPER.second, PAPER.first, PAPER.wrong


def draw(explanation: Explanation) -> str:
    """The drawing as SVG, readable by itself."""
    height, width = explanation.heat.shape
    scale = SIDE / max(height, width)
    wide, tall = width * scale, height * scale
    step = max(wide, 150.0) + GAP
    elements = _heading(explanation)
    panels = (
        (f"the image as the net saw it, {height}x{width}", explanation.pixels),
        ("the map", colours(explanation.heat)),
        ("both", explanation.overlay()),
    )
    left = MARGIN
    for title, pixels in panels:
        elements.append(text(left, TOP - 10, title, 12.5, anchor="start", fill=FAINT))
        elements.append(image(pixels, left, TOP, wide, tall))
        left += step
    elements += _legend(MARGIN + step, TOP + tall + 12, wide)
    chart_left = left + 34
    elements += _chart(explanation, chart_left, TOP, 250.0, SIDE)
    bottom = TOP + max(tall + 44, SIDE + 50.0)
    total = chart_left + 250 + MARGIN + 88
    lines = _words(explanation, int((total - 2 * MARGIN) / 6.6))
    for number, (line, alarm) in enumerate(lines):
        elements.append(
            text(MARGIN, bottom + 14 + 20 * number, line, 13, anchor="start", fill=ALARM if alarm else INK, bold=alarm)
        )
    name = f"{explanation.picture}: what speaks for {explanation.target}"
    return document(total, bottom + 20 * len(lines) + 18, name, elements)


def _heading(explanation: Explanation) -> list[str]:
    asked = "" if explanation.target == explanation.predicted else f" ({percent(explanation.probability)})"
    return [
        text(MARGIN, 40, f"{explanation.predicted}, {percent(explanation.confidence)}", 22, anchor="start", bold=True),
        text(
            MARGIN, 64, f"What speaks for {explanation.target}{asked}, by {explanation.heading}", 13.5, anchor="start"
        ),
        text(MARGIN, 82, _shortened(explanation.picture), 12, anchor="start", fill=FAINT),
    ]


def _shortened(name: str) -> str:
    return name if len(name) <= 90 else f"{name[:30]} ... {name[-55:]}"


def _legend(left: float, top: float, wide: float) -> list[str]:
    strip = np.repeat(palette()[None], 12, axis=0)
    return [
        image(strip, left, top, wide, 9),
        text(left, top + 24, "nothing", 11, anchor="start", fill=FAINT),
        text(left + wide, top + 24, "most", 11, anchor="end", fill=FAINT),
    ]


def _chart(explanation: Explanation, left: float, top: float, wide: float, tall: float) -> list[str]:
    """The curves of deletion and insertion, those of random orders dashed."""
    elements = [
        text(left - 34, top - 10, f"probability of {_brief(explanation.target)}", 12.5, anchor="start", fill=FAINT)
    ]
    for share in (0, 0.5, 1):
        y = top + tall * (1 - share)
        elements.append(f'<path d="M{left:.1f},{y:.1f} h{wide:.1f}" stroke="{LINE}"/>')
        elements.append(text(left - 6, y + 4, percent(share, 0), 11, anchor="end", fill=FAINT))
        elements.append(text(left + wide * share, top + tall + 16, percent(share, 0), 11, fill=FAINT))
    elements.append(
        text(left + wide / 2, top + tall + 32, "of the patches taken or shown, highest first", 11, fill=FAINT)
    )
    found = explanation.faithfulness
    if found is None:
        return [*elements, text(left + wide / 2, top + tall * 0.3, "the map is empty", 13, fill=ALARM, bold=True)]
    for curve, colour, dashed in (
        (found.random_deletion, DELETION, True),
        (found.random_insertion, INSERTION, True),
        (found.deletion, DELETION, False),
        (found.insertion, INSERTION, False),
    ):
        points = " ".join(
            f"{left + wide * place / STEPS:.1f},{top + tall * (1 - value):.1f}" for place, value in enumerate(curve)
        )
        style = 'stroke-width="1.6" stroke-dasharray="2 4"' if dashed else 'stroke-width="2.6"'
        elements.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" {style} stroke-linejoin="round" '
            'stroke-linecap="round"/>'
        )
    for number, (word, colour, dash) in enumerate(
        (("taken", DELETION, ""), ("shown", INSERTION, ""), ("at random", FAINT, ' stroke-dasharray="2 4"'))
    ):
        x, y = left + wide + 12, top + 12 + 20 * number
        elements.append(f'<path d="M{x:.1f},{y - 4:.1f} h18" stroke="{colour}" stroke-width="2.4"{dash}/>')
        elements.append(text(x + 23, y, word, 11.5, anchor="start", fill=colour))
    return elements


def _brief(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:22]}..."


def _words(explanation: Explanation, letters: int) -> list[tuple[str, bool]]:
    """The figures, then the warnings, broken into lines of so many letters; with whether each is a warning."""
    lines = []
    if explanation.faithfulness is not None:
        areas = explanation.faithfulness.areas()
        lines += [
            f"Deletion {areas['deletion']:.2f}, in random order {areas['random_deletion']:.2f} (less is better): the mean "
            "probability while the patches that the map marks are taken away.",
            f"Insertion {areas['insertion']:.2f}, in random order {areas['random_insertion']:.2f} (more is better): while they "
            "are shown on the blurred image.",
        ]
    lines.append(
        f"Random weights {explanation.random_weights:.2f} (near 0 is better, above {DEPENDENT} fails): rank correlation with the "
        "map of the same net that has learnt nothing."
    )
    broken = [(part, False) for line in lines for part in textwrap.wrap(line, letters)]
    return broken + [(part, True) for line in explanation.warnings for part in textwrap.wrap(line, letters)]
