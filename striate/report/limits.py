"""What one must not expect of a run's net, as far as its files tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from striate.report.facts import size
from striate.report.wording import percent
from striate.texts import thousands

if TYPE_CHECKING:
    from striate.run import Run


def limits(run: Run, evaluation: dict[str, Any] | None) -> list[str]:
    """Sentences; `evaluation` is the leading one."""
    classes, title = run.data["classes"], run.data.get("title") or run.data["name"]
    names = f": {', '.join(classes)}" if len(classes) <= 12 else ""
    way_out = (
        ' With --abstain, striate predict says "unknown" where a picture is too unlike those it was trained on; that '
        "catches many strangers and not all."
    )
    said = [
        f"It knows {len(classes)} classes and nothing else{names}. Whatever it is shown, it answers with one of them, "
        f"and it can be very sure of it.{way_out if run.calibration.get('abstain') else ''}",
        f"It was trained and measured on pictures like those of {title}. Pictures from another source, with another "
        "camera, light, background or crop, can do much worse: measure it on your own before you rely on it.",
        f"It sees {size(run.config['preprocessing'])}. Details smaller than that are lost before the net begins.",
    ]
    if evaluation is None:
        return [*said, "It has not been tested on pictures kept apart, so how good it is on new ones is not known."]
    worst = min((row for row in evaluation["per_class"] if row["support"]), key=lambda row: float(row["recall"]))
    if worst["recall"] < 1:
        said.append(
            f"Its accuracy is a mean over classes that differ: of {worst['class']} it finds only "
            f"{percent(worst['recall'])} ({thousands(worst['support'])} pictures)."
        )
    error = evaluation.get("ece_calibrated", evaluation["ece"])
    after = ", after calibration" if "ece_calibrated" in evaluation else ""
    return [
        *said,
        f"Its confidence is off by {percent(error)} on average (calibration error{after}, measured on the same "
        "pictures): read it as an indication and not as a probability of being right.",
        f"One run with one seed ({run.config['recipe']['seed']}). Another seed gives another net, with an "
        "accuracy that differs a little by luck alone: compare nets over several seeds.",
    ]
