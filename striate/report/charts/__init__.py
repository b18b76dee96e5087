"""The charts of a run. Each is defined once, as an Altair chart drawn in a Palette: PNG in the run, interactive SVG in
the report.

The functions take rows of metrics.csv and parts of evaluation.json and return a chart. A class is a position on an axis and
its name is only a label, so that any text can be a class name. Labels are set in the fonts of this computer: a PNG shows
Chinese names where it has a Chinese font.
"""
