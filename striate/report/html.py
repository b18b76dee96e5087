"""report.html: the whole run on one page that opens from a file, without a network, and prints.

It is made from the run's files alone, so it can be made again at any time. Each chart lies in the page twice: as an
SVG, which shows at once, without scripts and on paper, and as its Vega-Lite definition, from which the embedded
Vega draws the same chart with tooltips. A content security policy in the page forbids every request, so that
"offline" is enforced by the browser and not only meant.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import platformdirs
from markupsafe import Markup

from striate.report import facts, wording
from striate.report.theme import FONT, NIGHT, PAGE, PAPER, css_variables
from striate.run import write_atomic

if TYPE_CHECKING:
    import altair as alt

    from striate.run import Run


def write_report(run: Run) -> Path:
    """Write report.html of the run, from its files, and return its path."""
    path = run.path / "report.html"
    write_atomic(path, render(run))
    return path


def templates() -> jinja2.Environment:
    """The templates of all pages: what goes into them is escaped, and a name that is missing is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("striate.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def render(run: Run) -> str:
    """The page as text. Sections for which the run has no material are left out."""
    environment = templates()
    filters = (
        wording.percent,
        wording.thousands,
        wording.large,
        wording.duration,
        wording.value,
        wording.moment,
        wording.epochs,
    )
    environment.filters.update({function.__name__: function for function in filters})
    metrics = run.metrics
    evaluations = run.evaluations
    lead = facts.leading(run.config, evaluations)
    ordered = sorted(evaluations.items(), key=lambda pair: pair[0] != lead)
    return environment.get_template("report.html.j2").render(
        run=run,
        config=run.config,
        data=run.data,
        environment=run.environment,
        summary=run.summary,
        metrics=metrics,
        last=metrics[-1] if metrics else None,
        lead=evaluations.get(lead) if lead else None,
        evaluations=[_evaluation(run, key, found) for key, found in ordered],
        facts=facts,
        wording=wording,
        curves=list(_curves(metrics)),
        time_spent=_time_spent(run.summary),
        samples=_picture(run.path / "samples.png"),
        light=Markup(css_variables(PAPER)),
        night=Markup(css_variables(NIGHT)),
        font=Markup(FONT),
        vega=Markup(vega_bundle()),
    )


def _curves(metrics: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    from striate.report import charts

    if not metrics:
        return
    for quantity in charts.drawable(metrics):
        words = facts.course(metrics, quantity)
        yield _chart(charts.curve(metrics, quantity, PAGE), f"{quantity.capitalize()} by epoch. {words}", 340)
    first, last = metrics[0]["lr"], metrics[-1]["lr"]
    yield _chart(charts.rate(metrics, PAGE), f"Learning rate by epoch, from {first:.4g} to {last:.4g}.", 340)


def _time_spent(summary: dict[str, Any]) -> dict[str, Any] | None:
    from striate.report import charts

    seconds = summary.get("seconds") or {}
    phases = {phase: spent for phase, spent in seconds.items() if phase != "total"}
    if not any(phases.values()):
        return None
    most = max(phases, key=lambda phase: float(phases[phase]))
    alt = f"Seconds by phase. The longest: {facts.PHASES.get(most, most)}, {wording.duration(phases[most])}."
    return _chart(charts.time_spent(seconds, PAGE), alt, 560)


def _evaluation(run: Run, key: str, found: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of an evaluation: the figures, its charts and its worst mistakes."""
    from striate.report import charts

    folder = run.path / "evaluations" / key
    worst = charts.worst_classes(found["per_class"])
    n = len(found["classes"])
    right = wording.percent(found["accuracy"], wording.digits_for(found["n"]))
    matrix = f"Confusion matrix of {n} classes: {right} of {found['n']} pictures lie on its diagonal."
    classes = f"Precision, recall and F1 by class. Lowest F1: {worst[0]['class']}, {wording.percent(worst[0]['f1'])}."
    return {
        "key": key,
        "figures": found,
        "digits": wording.digits_for(found["n"]),
        "per_class": _chart(charts.per_class(worst, PAGE), classes, 560),
        "shown_classes": len(worst),
        "confusion": _chart(
            charts.confusion(found["confusion"], found["classes"], PAGE), matrix, 960 if n > 25 else 540
        ),
        "mistakes": _picture(folder / "mistakes.png"),
        "worst": facts.worst_mistakes(facts.read_predictions(folder)),
    }


def _chart(chart: alt.TopLevelMixin, description: str, narrowest: int) -> dict[str, Any]:
    """A chart for the template: SVG, definition, what it says in words, and between which widths in pixels it is
    scaled. Below `narrowest` it scrolls; it grows to an eighth more than its own width."""
    from striate.report import charts

    definition = charts.definition(chart)
    svg = charts.svg(definition)
    width = int(float(svg.split(' width="', 1)[1].split('"', 1)[0]))
    return {
        "svg": Markup(svg),
        "definition": Markup(json.dumps(definition).replace("<", "\\u003c")),
        "alt": description,
        "narrowest": min(narrowest, width),
        "widest": round(1.125 * width),
    }


def _picture(path: Path) -> dict[str, Any] | None:
    """A PNG file for the template: data URI and size in pixels; None where there is no such file."""
    if not path.is_file():
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
