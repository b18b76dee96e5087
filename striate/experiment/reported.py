"""`striate.evaluation` with the run's report made again: images of the worst mistakes, charts, pages."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from striate import evaluation
from striate.arguments import checked
from striate.evaluation import Evaluation, ViewsTable
from striate.report import write_all, write_mistakes
from striate.report.attention import write_attention
from striate.run import Run

P = ParamSpec("P")
Found = TypeVar("Found", bound=Evaluation | ViewsTable)


def show(run: Run, found: Evaluation) -> None:
    """Writes the images of an evaluation: the worst mistakes, and what the net looked at."""
    folder, pixels = run.path / "evaluations" / found.key, found.data.pixels
    write_mistakes(folder, pixels, found.predictions)
    write_attention(found.classifier, folder, pixels, found.predictions)


def _reported(work: Callable[P, Found]) -> Callable[P, Found]:
    """The function; after it the images of what it found are written, and the run's report."""

    @functools.wraps(work)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Found:
        found = work(*args, **kwargs)
        run = args[0] if args else kwargs["run"]
        assert isinstance(run, Run)
        for one in found.evaluations if isinstance(found, ViewsTable) else [found]:
            show(run, one)
        write_all(run)
        return found

    return checked(wrapper)


evaluate = _reported(evaluation.evaluate)
compare_views = _reported(evaluation.compare_views)
