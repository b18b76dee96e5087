"""report.html: the whole run on one page that opens from a file, without a network, and prints.

It is made from the run's files alone and shows what is there: nothing is measured again, and a section whose file is
missing, as in runs of earlier versions, is left out. A content security policy in the page forbids every request, so
that "offline" is enforced by the browser and not only meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from striate.advice import diagnose
from striate.drawing import page
from striate.drawing.images import data_uri
from striate.drawing.page import chart_for_page
from striate.drawing.sheet import read_tiles
from striate.drawing.theme import PAGE
from striate.files import write_atomic
from striate.report import facts
from striate.report.charts import classes, confidence, learning, robustness
from striate.report.templating import context_of, environment_of
from striate.report.wording import duration, percent, share
from striate.runfiles import place

if TYPE_CHECKING:
    from striate.outcome import Row
    from striate.run import Run
    from striate.runforms.data import Data
    from striate.runforms.evaluation import EvaluationFigures


def write_report(run: Run) -> Path:
    """Writes report.html of the run, from its files, and returns its path."""
    path = run.path / "report.html"
    write_atomic(path, render(run))
    return path


def render(run: Run) -> str:
    """The page as text. Sections for which the run has no material are left out."""
    known, metrics = context_of(run), run.metrics
    lead = known["key"]
    ordered = dict(sorted(run.evaluations.items(), key=lambda pair: pair[0] != lead))
    views = facts.read_views(run, run.evaluations)
    elsewhere = {row.key for table in views for row in table.rows} - {lead}
    known |= {
        "metrics": metrics,
        "diagnosis": diagnose(run),
        "last": metrics[-1] if metrics else None,
        "evaluations": [found for key, found in ordered.items() if key not in elsewhere],
        "views": views,
        "detailed": [_evaluation(run, key, found) for key, found in facts.first_of_each(ordered).items()],
        "ledger": _ledger(run.data),
        "curves": list(_curves(metrics)),
        "time_spent": _time_spent(run.summary.seconds),
        "samples": _sheet(run.path, "samples.png"),
        "version": run.config.striate,
        "vega": page.vega_bundle(),
    }
    return environment_of(run).get_template("report.html.j2").render(known)


def _sheet(run: Path, name: str) -> dict[str, object] | None:
    """A sheet of a run's folder for the templates; None if there is no such file.

    If the file says where its images are, they are shown one by one with their captions as text, to follow the page's width.
    """
    path = place(run, name)
    if path is None:
        return None
    content, tiles = path.read_bytes(), read_tiles(path)
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))  # IHDR
    found: dict[str, object] = {"uri": data_uri(content), "width": width, "height": height, "tiles": tiles}
    if tiles:
        boxes = [tile.box for tile in tiles]
        wide, tall = boxes[0][2:]
        columns = max(Counter(top for _, top, _, _ in boxes).values())
        least = "45%" if wide > 1.5 * tall else "30%" if any(len(tile.lines) > 1 for tile in tiles) else "22%"
        found |= {"columns": columns, "side": max(wide, 112), "least": least}  # least: of the width of a phone
    return found


def _ledger(data: Data) -> list[str]:
    """The ledger of the data, in lines; empty if the run has none."""
    if data.ledger is None:
        return []
    from striate.data.ledger import ledger_lines  # loads torch, which reports of sets by name do without

    return ledger_lines(data.ledger.as_dict())


def _curves(metrics: Sequence[Row]) -> Iterator[dict[str, object]]:
    if not metrics:
        return
    for quantity in learning.drawable(metrics):
        said = f"{quantity.capitalize()} by epoch. {facts.describe_curve(metrics, quantity)}"
        yield chart_for_page(learning.curve(metrics, quantity, PAGE), said, 340)
    first, last = metrics[0]["lr"], metrics[-1]["lr"]
    said = f"Learning rate by epoch, from {first:.4g} to {last:.4g}."
    yield chart_for_page(learning.rate(metrics, PAGE), said, 340)


def _time_spent(seconds: dict[str, float]) -> dict[str, object] | None:
    phases = {phase: spent for phase, spent in seconds.items() if phase != "total"}
    if not any(phases.values()):
        return None
    most = max(phases, key=lambda phase: phases[phase])
    alt = f"Seconds by phase. The longest: {facts.PHASES.get(most, most)}, {duration(phases[most])}."
    return chart_for_page(learning.time_spent(seconds, PAGE), alt, 560)


def _evaluation(run: Run, key: str, found: EvaluationFigures) -> dict[str, object]:
    """The part of the page about an evaluation: the figures, its charts and its worst mistakes."""
    folder = run.path / "evaluations" / key
    worst, n = classes.worst_classes(found.per_class), len(found.classes)
    matrix = f"Confusion matrix of {n} classes: {share(found, 'accuracy')} of {found.n} images lie on its diagonal."
    lowest = f"Precision, recall and F1 by class. Lowest F1: {worst[0].class_}, {percent(worst[0].f1)}."
    drawn = classes.confusion(found.confusion, found.classes, PAGE)
    location = run.config.data.location
    mistakes = facts.worst_mistakes(facts.read_predictions(folder))
    return {
        "figures": found,
        "per_class": chart_for_page(classes.per_class(worst, PAGE), lowest, 560),
        "shown_classes": len(worst),
        "confusion": chart_for_page(drawn, matrix, 960 if n > 25 else 540),
        "merged": n > classes.MOST_DRAWN,
        "mistakes": _sheet(run.path, f"evaluations/{key}/mistakes.png"),
        "worst": [{**row, "path": facts.place_in(row["path"], location) if row["path"] else ""} for row in mistakes],
        "confidence": list(_confidence(found)),
        "robustness": _robustness(folder),
        "attention": _sheet(run.path, f"evaluations/{key}/attention.png"),
    }


def _confidence(found: EvaluationFigures) -> Iterator[dict[str, object]]:
    """Reliability before and, where there is a temperature, after temperature scaling; accuracy by confidence."""
    scaled = found.temperature not in (None, 1)
    for bins, error, when in (
        (found.reliability, found.ece, "before" if scaled else "without"),
        (found.reliability_calibrated if scaled else None, found.ece_calibrated, "after"),
    ):
        if bins and error is not None:
            title = f"Reliability {when} temperature scaling"
            said = f"{title}: calibration error {percent(error)}."
            yield chart_for_page(confidence.reliability(bins, PAGE, title), said, 340)
    if found.by_confidence:
        half = facts.accuracy_of_surest(found.by_confidence, 0.5)
        said = f"Accuracy by confidence: {percent(half)} on the most confident half."
        yield chart_for_page(confidence.coverage(found.by_confidence, PAGE), said, 340)


def _robustness(folder: Path) -> dict[str, object] | None:
    """The curves of robustness.json, and its figures; None where it was not tried."""
    found = facts.read_robustness(folder)
    if found is None:
        return None
    drawn = []
    for name in robustness.kinds(found):
        worst = min(row.accuracy for row in found.corruptions if row.name == name)
        title = robustness.KINDS[name].title
        said = f"{title}: accuracy {percent(worst)} at worst, {percent(found.clean)} without."
        drawn.append(chart_for_page(robustness.robustness_curve(found, name, PAGE), said, 300))
    return {"found": found, "kinds": robustness.KINDS, "charts": drawn}
