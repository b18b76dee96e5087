"""Shared by all pages: their frame, charts that lie in the page, and Vega for the charts.

Each chart lies in the page twice: as an SVG, which shows at once, without scripts and on paper, and as its Vega-Lite
definition, from which the embedded Vega draws the same chart with tooltips.
"""

from __future__ import annotations

import contextlib
from importlib.metadata import version
from typing import TYPE_CHECKING

import jinja2
import platformdirs
from markupsafe import Markup, escape

from striate import __version__
from striate.drawing.theme import FONT, NIGHT, PAPER, css_variables
from striate.files import write_atomic
from striate.strictjson import to_json

if TYPE_CHECKING:
    import altair as alt


def templates(package: str) -> jinja2.Environment:
    """A package's templates, which extend `page.html.j2`: what goes into them is escaped, and a name that is missing is an error.

    A page that shows charts is given `vega`, see `vega_bundle`.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("striate.drawing")]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    light, night = Markup(css_variables(PAPER)), Markup(css_variables(NIGHT))
    environment.globals.update(light=light, night=night, font=Markup(FONT), version=__version__, vega="")
    return environment


def chart_for_page(chart: alt.TopLevelMixin, description: str, narrowest: int) -> dict[str, object]:
    """A chart for the templates: SVG, definition, what it says in words, and between which widths in pixels it is
    scaled. Below `narrowest` it scrolls; it grows to an eighth more than its own width. Where no SVG can be drawn, a line
    says so, and the browser draws the chart from its definition."""
    from striate.drawing import vega

    definition = vega.definition(chart)
    if reason := vega.undrawable():
        svg, width = f"<p>{escape(f'{reason}. With scripts, the browser draws this one')}.</p>", narrowest
    else:
        svg = vega.svg(definition)
        width = int(float(svg.split(' width="', 1)[1].split('"', 1)[0]))
    return {
        "svg": Markup(svg),
        "definition": Markup(to_json(definition, ascii=True).replace("<", "\\u003c")),
        "alt": description,
        "narrowest": min(narrowest, width),
        "widest": round(1.125 * width),
    }


def vega_bundle() -> Markup:
    """Vega, Vega-Lite and vega-embed as one script, out of the installed vl-convert.

    Bundling takes a second, so the result is kept in the user's cache, a file for each version, if that can be written.
    """
    import vl_convert

    path = platformdirs.user_cache_path("striate") / f"vega-{version('vl-convert-python')}.js"
    try:
        return Markup(path.read_text(encoding="utf-8"))
    except OSError:
        bundle = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace("</script", "<\\/script")
    with contextlib.suppress(OSError):
        write_atomic(path, bundle)
    return Markup(bundle)
