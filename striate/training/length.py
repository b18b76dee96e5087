"""How long a run is, and where in its schedule a step lies, also when the end was moved on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace

from striate.runforms.config import Plan, Span


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
