"""How long a run is, where in its schedule a step lies, and when its end is moved to keep a time budget."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from striate.recipe import Recipe
from striate.runforms.config import Plan, Span
from striate.training.clock import Clock

LOOKS = (0.25, 0.5, 0.75, 0.9)
"""Shares of the steps after which it is seen whether the rest fits into what is left."""
TOLERANCE = 0.01
"""Share of the steps by which a run may miss; nearer than that its end stays where it is."""


@dataclass(frozen=True, slots=True)
class Length:
    """The steps of a run. Moving the end changes the schedule from the step on at which that was asked, and nothing before it:
    from there on each step has the rate that it has in a run of the new length.

    Attributes:
        spans: (first step, steps in all as planned from that step on), in order; the first begins at 0.
    """

    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, plan: Plan) -> Length:
        """The length that a plan has."""
        return cls(tuple((span.after_step, span.steps) for span in plan.lengths or ()) or ((0, plan.steps),))

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.spans[-1][1]

    def moved(self, done: int, steps: int) -> Length:
        """This length with `steps` in all, decided when `done` steps were done."""
        return Length((*(span for span in self.spans if span[0] < done), (done, steps)))

    def planned(self, plan: Plan) -> Plan:
        """A plan with this length in the place of its own."""
        epochs = self.steps / plan.steps_per_epoch
        return replace(
            plan,
            steps=self.steps,
            epochs=round(epochs, 6),
            seconds=round(plan.seconds_per_epoch * epochs, 3),
            lengths=tuple(Span(after_step=first, steps=steps) for first, steps in self.spans),
        )

    def progress(self, step: int) -> float:
        """The share of the schedule that is done in the middle of `step` (0, 1, ...)."""
        return (step + 0.5) / next(steps for first, steps in reversed(self.spans) if first <= step)


@dataclass(slots=True)
class Pace:
    """Looks now and then whether a run ends in time, and says where its end is to be moved if not.

    Attributes:
        began, until: `time.perf_counter()` at the first step, and when training and its validations are to be over.
        looked: how many of LOOKS are done.
    """

    until: float
    plan: Plan
    began: float
    looked: int = 0

    def due(self, length: Length, done: int) -> bool:
        """Whether a look is due after `done` steps."""
        return self.looked < len(LOOKS) and done >= LOOKS[self.looked] * length.steps and done < length.steps

    def steps(self, length: Length, done: int, recipe: Recipe, clock: Clock) -> int | None:
        """Steps in all that fit into the time, by what the `done` ones took; None if those that are planned do."""
        self.looked = sum(done >= share * length.steps for share in LOOKS)
        now, per_epoch = time.perf_counter(), self.plan.steps_per_epoch
        over = done // per_epoch
        validating = clock.seconds.get("validate", 0.0)
        predicted = self.plan.seconds_per_epoch - per_epoch * self.plan.seconds_per_step
        validation = validating / over if over else predicted
        share = recipe.work(done / length.steps)
        planned = (now - self.began - validating) / share * (1 - share)
        left = self.until - now - validation * (math.ceil(length.steps / per_epoch) - over)
        wanted = done + max(1, math.floor((length.steps - done) * left / planned))
        return None if abs(wanted - length.steps) <= TOLERANCE * length.steps else wanted
