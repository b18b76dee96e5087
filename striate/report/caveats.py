"""The limits of a run's net, derived from its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate.report.facts import size
from striate.report.wording import percent
from striate.texts import thousands

if TYPE_CHECKING:
    from striate.run import Run
    from striate.runforms.evaluation import EvaluationFigures


def caveats(run: Run, evaluation: EvaluationFigures | None) -> list[str]:
    """Sentences; `evaluation` is the leading one."""
    classes, title = run.data.classes, run.data.called
    names = f": {', '.join(classes)}" if len(classes) <= 12 else ""
    way_out = (
        ' With --abstain, striate predict answers "unknown" for images that differ too much from the training images; that '
        "catches many out-of-distribution images, not all."
    )
    said = [
        f"It knows only {len(classes)} classes{names}. Whatever the image shows, it predicts one of them, possibly with "
        f"high confidence.{way_out if run.calibration and run.calibration.abstain else ''}",
        f"It was trained and tested on images like those of {title}. On images from another source, with another camera, "
        "light, background or crop, accuracy can be much lower: evaluate it on your own images before you rely on it.",
        f"It sees {size(run.config.preprocessing)}. Finer detail is lost before the net sees it.",
    ]
    if evaluation is None:
        return [*said, "It has not been tested on held-out images, so its accuracy on new images is unknown."]
    if evaluation.split == "validation":
        said.append(
            "Its figures are measured on validation images, which help to choose settings and fit the temperature: they are not "
            "a test result."
        )
    worst = min((row for row in evaluation.per_class if row.support), key=lambda row: row.recall)
    if worst.recall < 1:
        said.append(
            f"Accuracy differs between classes: only {percent(worst.recall)} of the {thousands(worst.support)} "
            f"{worst.class_} images are recognised."
        )
    calibrated = evaluation.ece_calibrated
    error, after = (evaluation.ece, "") if calibrated is None else (calibrated, " after temperature scaling")
    return [
        *said,
        f"Its calibration error{after} is {percent(error)} on the same images: treat confidence as an indication, not as an "
        "exact probability.",
        f"This is one run with one seed ({run.config.recipe.seed}). Accuracy varies a little between seeds: compare nets "
        "over several seeds.",
    ]
