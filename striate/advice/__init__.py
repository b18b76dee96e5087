"""What a run's figures say, and what would most likely help: a diagnosis, and at most three things to do next."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

from striate.advice.figures import Facts, State
from striate.advice.rules import RULES, Advice
from striate.commands import options
from striate.run import Run
from striate.runforms.config import RunConfig

__all__ = ["Advice", "Diagnosis", "State", "diagnose"]

MOST = 3
"""Pieces of advice at most."""
CHECKED = ("pixel values", "leakage", "labels")
"""Causes that the check-up of the data shows image by image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """What a run's figures say.

    Attributes:
        state: see `State`.
        said: the figures behind it, in a sentence; empty where there are none.
        baseline: the accuracy of always predicting the most frequent class of the images evaluated; None without an evaluation.
        advice: what to do, most promising first; empty where nothing speaks for a change.
    """

    state: State
    said: str
    baseline: float | None
    advice: tuple[Advice, ...]

    def as_dict(self) -> dict[str, object]:
        """The diagnosis in plain types."""
        return {
            "state": self.state,
            "said": self.said,
            "baseline": self.baseline,
            "advice": [one.as_dict() for one in self.advice],
        }


def diagnose(run: Run) -> Diagnosis:
    """What the figures of a run say, and what would most likely help. Reads the run's directory and nothing else.

    Raises:
        DataError: a file of the run is damaged.
    """
    facts = Facts(run)
    found = [one for rule in RULES if (one := rule(facts)) is not None][:MOST]
    advice = tuple(replace(one, command=_command(run.config, one)) for one in found)
    return Diagnosis(state=facts.state, said=facts.said, baseline=facts.baseline, advice=advice)


def _command(config: RunConfig, advice: Advice) -> str | None:
    """The command that the run was made by, with other settings; where its images are at fault, the check of its data."""
    if config.asked is None:
        return None
    if not advice.change:
        return shlex.join(["striate", "data", "check", config.data.location]) if advice.cause in CHECKED else None
    asked = {name: value for name, value in (config.asked | dict(advice.change)).items() if name != "name"}
    net = [str(asked.pop("net"))] if "net" in asked else []
    return shlex.join(["striate", "train", *net, *options(asked)])
