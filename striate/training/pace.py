"""Pace: keeps a run within its time budget. Machines drift by some percent, and no plan made before step 1 knows how."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from striate.recipe import Recipe
from striate.runforms.config import Plan
from striate.training.clock import Clock
from striate.training.length import Length

LOOKS = (0.25, 0.5, 0.75, 0.9)
"""Shares of the steps after which it is seen whether the rest fits into what is left."""
TOLERANCE = 0.01
"""Share of the steps by which a run may miss; nearer than that its end stays where it is."""


@dataclass(slots=True)
class Pace:
    """Looks now and then whether a run ends in time, and says where its end is to be moved if not.

    Attributes:
        until: `time.perf_counter()` at which training and its validations are to be over.
        plan: the run's, with the predicted seconds of a step and of an epoch.
        began: `time.perf_counter()` at the first step.
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
