"""An explanation as one drawing: image, map, both together, the curves of the check, and its figures in words."""

from __future__ import annotations

import textwrap

import numpy as np

from striate.drawing.heat import colours, palette
from striate.drawing.svg import FAINT, INK, LINE, bold, document, image, path, shortened, text
from striate.drawing.theme import PAPER
from striate.explaining.explanation import DEPENDENT, Explanation
from striate.explaining.faithfulness import STEPS
from striate.texts import percent

SIDE = 232
"""Longer side of an image in the drawing, in pixels."""
MARGIN, GAP, TOP = 28.0, 22.0, 124.0
CHART = 250.0
"""Width of the curves' chart; it is as high as an image."""
SOLID, DASHED = 'stroke-width="2.6"', 'stroke-width="1.6" stroke-dasharray="2 4"'
DELETION, INSERTION, ALARM = PAPER.second, PAPER.first, PAPER.wrong


def draw(explanation: Explanation) -> str:
    """The drawing as SVG, readable by itself."""
    height, width = explanation.heat.shape
    scale = SIDE / max(height, width)
    wide, tall = width * scale, height * scale
    target = explanation.target
    asked = "" if target == explanation.predicted else f" ({percent(explanation.probability)})"
    elements = [
        bold(text(MARGIN, 40, f"{explanation.predicted}, {percent(explanation.confidence)}", 22, anchor="start")),
        text(MARGIN, 64, f"Evidence for {target}{asked}, by {explanation.heading}", 13.5, anchor="start"),
        text(MARGIN, 82, shortened(explanation.picture, 90), 12, anchor="start", fill=FAINT),
    ]
    left = MARGIN
    for title, pixels in (
        (f"the net's input, {height}x{width}", explanation.pixels),
        ("the map", colours(explanation.heat)),
        ("both", explanation.overlay()),
    ):
        elements.append(text(left, TOP - 10, title, 12.5, anchor="start", fill=FAINT))
        elements.append(image(pixels, left, TOP, wide, tall))
        left += max(wide, 150.0) + GAP
    middle, below = MARGIN + max(wide, 150.0) + GAP, TOP + tall + 36
    elements += [
        image(np.repeat(palette()[None], 12, axis=0), middle, TOP + tall + 12, wide, 9),
        text(middle, below, "nothing", 11, anchor="start", fill=FAINT),
        text(middle + wide, below, "most", 11, anchor="end", fill=FAINT),
    ]
    elements += _chart(explanation, left + 34)
    bottom = TOP + max(tall + 44, SIDE + 50.0) + 14
    total = left + 34 + CHART + MARGIN + 88
    lines = _words(explanation, int((total - 2 * MARGIN) / 6.6))
    for number, (line, alarm) in enumerate(lines):
        element = text(MARGIN, bottom + 20 * number, line, 13, anchor="start", fill=ALARM if alarm else INK)
        elements.append(bold(element) if alarm else element)
    return document(total, bottom + 20 * len(lines) + 4, f"{explanation.picture}: evidence for {target}", elements)


def _chart(explanation: Explanation, left: float) -> list[str]:
    """The curves of deletion and insertion, those of random orders dashed."""
    bottom, middle = TOP + SIDE, left + CHART / 2
    title = f"probability of {shortened(explanation.target, 24)}"
    elements = [
        text(left - 34, TOP - 10, title, 12.5, anchor="start", fill=FAINT),
        text(middle, bottom + 32, "of the patches removed or shown, highest first", 11, fill=FAINT),
    ]
    for share in (0, 0.5, 1):
        y = bottom - SIDE * share
        elements.append(path(f"M{left:.1f},{y:.1f} h{CHART:.1f}", arrow=False, colour=LINE))
        elements.append(text(left - 6, y + 4, percent(share, 0), 11, anchor="end", fill=FAINT))
        elements.append(text(left + CHART * share, bottom + 16, percent(share, 0), 11, fill=FAINT))
    found = explanation.faithfulness
    if found is None:
        return [*elements, bold(text(middle, TOP + SIDE * 0.3, "the map is empty", 13, fill=ALARM))]
    for curve, colour, style in (
        (found.random_deletion, DELETION, DASHED),
        (found.random_insertion, INSERTION, DASHED),
        (found.deletion, DELETION, SOLID),
        (found.insertion, INSERTION, SOLID),
    ):
        points = " ".join(
            f"{left + CHART * k / STEPS:.1f},{bottom - SIDE * value:.1f}" for k, value in enumerate(curve)
        )
        elements.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" {style} stroke-linejoin="round" '
            'stroke-linecap="round"/>'
        )
    x, y = left + CHART + 12, TOP + 12
    for word, colour, style in (
        ("removed", DELETION, SOLID),
        ("shown", INSERTION, SOLID),
        ("at random", FAINT, DASHED),
    ):
        elements.append(f'<path d="M{x:.1f},{y - 4:.1f} h18" stroke="{colour}" {style}/>')
        elements.append(text(x + 23, y, word, 11.5, anchor="start", fill=colour))
        y += 20
    return elements


def _words(explanation: Explanation, letters: int) -> list[tuple[str, bool]]:
    """The figures, then the warnings, broken into lines of so many letters; with whether each is a warning."""
    lines = []
    if areas := explanation.areas:
        lines += [
            f"Deletion {areas['deletion']:.2f}, in random order {areas['random_deletion']:.2f} (lower is better): the mean "
            "probability while the patches that the map marks are removed.",
            f"Insertion {areas['insertion']:.2f}, in random order {areas['random_insertion']:.2f} (higher is better): while they "
            "are shown on the blurred image.",
        ]
    lines.append(
        f"Random weights {explanation.random_weights:.2f} (near 0 is better, above {DEPENDENT} fails): rank correlation with the "
        "map of the same net, untrained."
    )
    broken = [(part, False) for line in lines for part in textwrap.wrap(line, letters)]
    return broken + [(part, True) for line in explanation.warnings for part in textwrap.wrap(line, letters)]
