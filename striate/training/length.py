"""How long a run is, and where in its schedule a step lies, also when the end was moved on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Length:
    """The steps of a run. Moving the end changes the schedule from the step on at which that was asked, and nothing before it:
    from there on each step has the rate that it has in a run of the new length.

    Attributes:
        spans: (first step, steps in all as planned from that step on), in order; the first begins at 0.
    """

    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> Length:
        """The length that the plan of a run's config has."""
        lengths = plan.get("lengths", [{"after_step": 0, "steps": plan["steps"]}])
        return cls(tuple((span["after_step"], span["steps"]) for span in lengths))

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.spans[-1][1]

    def moved(self, done: int, steps: int) -> Length:
        """This length with `steps` in all, decided when `done` steps were done."""
        return Length((*(span for span in self.spans if span[0] < done), (done, steps)))

    def planned(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """The plan of a run's config with this length."""
        epochs = self.steps / plan["steps_per_epoch"]
        return {
            **plan,
            "steps": self.steps,
            "epochs": round(epochs, 6),
            "seconds": round(plan["seconds_per_epoch"] * epochs, 3),
            "lengths": self.as_list(),
        }

    def as_list(self) -> list[dict[str, int]]:
        """For the run's config."""
        return [{"after_step": first, "steps": steps} for first, steps in self.spans]

    def progress(self, step: int) -> float:
        """The share of the schedule that is done in the middle of `step` (0, 1, ...)."""
        return (step + 0.5) / next(steps for first, steps in reversed(self.spans) if first <= step)
