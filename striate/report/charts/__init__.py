"""The charts of a run. Each is defined once, as an Altair chart drawn in a Palette: PNG in the run, interactive SVG in
the report.

The functions take plain lists and dicts (rows of metrics.csv, parts of evaluation.json) and return a chart; only
`save_png` touches a file. A class is a position on an axis and its name is only a label, so that any text can be a
class name. Labels are set in the fonts of this computer: a PNG shows Chinese names where it has a Chinese font.
"""

from striate.drawing.vega import definition, png, require_drawable, save_png, svg, undrawable
from striate.report.charts.classes import DENSE, MOST_DRAWN, confusion, most_confused_part, per_class, worst_classes
from striate.report.charts.confidence import coverage, reliability
from striate.report.charts.learning import curve, curves, drawable, rate
from striate.report.charts.robustness import KINDS, kinds, robustness, robustness_curve
from striate.report.charts.timing import time_spent

__all__ = [
    "DENSE",
    "KINDS",
    "MOST_DRAWN",
    "confusion",
    "coverage",
    "curve",
    "curves",
    "definition",
    "drawable",
    "kinds",
    "most_confused_part",
    "per_class",
    "png",
    "rate",
    "reliability",
    "require_drawable",
    "robustness",
    "robustness_curve",
    "save_png",
    "svg",
    "time_spent",
    "undrawable",
    "worst_classes",
]
