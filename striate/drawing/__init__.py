"""Everything for drawing: the theme, drawings in "
"SVG, sheets of captioned images, charts through Vega, the frame of a page.

Importing this package is light: Altair and vl-convert are loaded when the first chart is drawn.
"""
