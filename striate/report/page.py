"""What all our pages share: templates, charts and pictures that lie in the page, and Vega for the charts.

Each chart lies in the page twice: as an SVG, which shows at once, without scripts and on paper, and as its Vega-Lite
definition, from which the embedded Vega draws the same chart with tooltips.
"""

from __future__ import annotations

import base64
import contextlib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import platformdirs
from markupsafe import Markup, escape

from striate.files import write_atomic
from striate.runfiles import place
from striate.strictjson import to_json

if TYPE_CHECKING:
    import altair as alt


def templates() -> jinja2.Environment:
    """The templates of all pages: what goes into them is escaped, and a name that is missing is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("striate.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def chart_for_page(chart: alt.TopLevelMixin, description: str, narrowest: int) -> dict[str, object]:
    """A chart for the templates: SVG, definition, what it says in words, and between which widths in pixels it is
    scaled. Below `narrowest` it scrolls; it grows to an eighth more than its own width. Where no SVG can be drawn, a line
    says so, and the browser draws the chart from its definition."""
    from striate.report import charts

    definition = charts.definition(chart)
    if reason := charts.undrawable():
        svg, width = f"<p>{escape(f'{reason}. With scripts, the browser draws this one')}.</p>", narrowest
    else:
        svg = charts.svg(definition)
        width = int(float(svg.split(' width="', 1)[1].split('"', 1)[0]))
    return {
        "svg": Markup(svg),
        "definition": Markup(to_json(definition, ascii=True).replace("<", "\\u003c")),
        "alt": description,
        "narrowest": min(narrowest, width),
        "widest": round(1.125 * width),
    }


def picture_for_page(run: Path, name: str) -> dict[str, object] | None:
    """A PNG file of a run's folder for the templates: data URI and size in pixels; None where there is no such file."""
    path = place(run, name)
    if path is None:
        return None
    content = path.read_bytes()
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))  # IHDR
    return {"uri": f"data:image/png;base64,{base64.b64encode(content).decode()}", "width": width, "height": height}


def vega_bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script, out of the installed vl-convert.

    Bundling takes it a second, so what it made is kept in the user's cache, a file for each version; where that
    cannot be written it is simply made again.
    """
    import vl_convert

    path = platformdirs.user_cache_path("striate") / f"vega-{version('vl-convert-python')}.js"
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        bundle = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace("</script", "<\\/script")
    with contextlib.suppress(OSError):
        write_atomic(path, bundle)
    return bundle
