"""The charts of a run. Each is defined once, as an Altair chart drawn in a Palette: PNG in the run, SVG in the report.

A class is a position on an axis and its name only a label, so any text can be a class name. Labels are set in the fonts of this
computer: a PNG shows Chinese names where there is a Chinese font.
"""
