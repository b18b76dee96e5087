"""The templates of the report and the card, and what both know of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from striate import texts
from striate.drawing import page
from striate.report import facts, wording
from striate.report.caveats import caveats
from striate.report.redact import redact_paths
from striate.runforms.evaluation import leading

if TYPE_CHECKING:
    import jinja2

    from striate.run import Run


def environment_of(run: Run) -> jinja2.Environment:
    """The templates, with numbers as words for filters; `public` takes the paths of this machine out of a text."""
    environment = page.templates("striate.report")
    words = ("percent", "share", "points", "large", "duration", "counted")
    environment.filters.update({name: getattr(wording, name) for name in words})
    environment.filters.update(thousands=texts.thousands, value=texts.value, moment=texts.moment)
    environment.filters["public"] = redact_paths(run)
    return environment


def context_of(run: Run) -> dict[str, Any]:
    """The values passed to the templates. `lead`: the evaluation that the headline quotes, or None."""
    evaluations = run.evaluations
    key = leading(run.config, evaluations)
    lead = evaluations[key] if key else None
    return {
        "run": run,
        "config": run.config,
        "data": run.data,
        "summary": run.summary,
        "environment": run.environment.values,
        "calibration": run.calibration,
        "evaluations": evaluations,
        "key": key,
        "lead": lead,
        "caveats": caveats(run, lead),
        "facts": facts,
    }
