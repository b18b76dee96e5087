"""The figures of a run that advice goes by, and what state they show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from striate.outcome import Row
from striate.run import Run
from striate.runforms.evaluation import ClassFigures, EvaluationFigures, leading
from striate.texts import percent, points

State = Literal["exploded", "stuck", "below chance", "one answer", "overfitting", "underfitting", "fits", "unknown"]
"""`one answer`: nearly every image gets the same class. `overfitting`: much better on the training images than on others.
`underfitting`: not good on the training images either. `fits`: good on both. `unknown`: no epoch is done."""

GAP = 0.08
"""Training accuracy above validation accuracy, from which a net overfits."""
GOOD = 0.9
"""Training accuracy from which a net has learned its training images."""
SAME = 0.95
"""Share of the answers that are one class, from which the net gives one answer."""
FEW = 50
"""Images of a class below which weights that were trained before help more than any setting."""
LOST, SCATTERED = 0.5, 0.7
"""A class has doubtful labels if its recall is below this share of the median recall, and its images are taken for at least this
share of the other classes alike. A class that only resembles others is taken for those."""


class Facts:
    """The figures of a run that advice goes by."""

    def __init__(self, run: Run) -> None:
        self.config, self.data, self.learning = run.config, run.data, run.learning
        self.recipe = run.recipe
        self.rows: Sequence[Row] = run.metrics
        found = run.evaluations
        key = leading(run.config, found)
        self.evaluation: EvaluationFigures | None = None if key is None else found[key]

    @property
    def baseline(self) -> float | None:
        """The accuracy of always predicting the most frequent class."""
        found = self.evaluation
        return None if found is None else max(row.support for row in found.per_class) / found.n

    @cached_property
    def training(self) -> float | None:
        """Training accuracy in the last epoch."""
        return self.rows[-1].get("train_accuracy") if self.rows else None

    @cached_property
    def validated(self) -> list[tuple[int, float]]:
        """(epoch, validation accuracy)"""
        return [(row["epoch"], row["val_accuracy"]) for row in self.rows if row.get("val_accuracy") is not None]

    @property
    def held_out(self) -> tuple[str, float] | None:
        """The accuracy on validation images. Never that on test images: no setting is advised by them."""
        return ("validation", self.validated[-1][1]) if self.validated else None

    @property
    def luck(self) -> float:
        """Two deviations of an accuracy on so few images as there are for validation: a difference below is none."""
        count = self.data.counts.get("validation", 0)
        if self.held_out is None or not count:
            return 1.0
        return 2 * math.sqrt(self.held_out[1] * (1 - self.held_out[1]) / count)

    @property
    def gap(self) -> float:
        """Training accuracy above that on other images."""
        return 0.0 if self.training is None or self.held_out is None else self.training - self.held_out[1]

    @cached_property
    def state(self) -> State:
        """See `State`."""
        verdict = self.learning.verdict
        if verdict in ("exploded", "stuck", "below chance"):
            return verdict
        if self.training is None or self.held_out is None:
            return "unknown"
        if self.only_answer is not None:
            return "one answer"
        if self.gap > max(GAP, self.luck):
            return "overfitting"
        return "fits" if self.training >= GOOD else "underfitting"

    @property
    def said(self) -> str:
        """The figures behind the state."""
        if self.learning.said:
            return self.learning.said
        if self.only_answer is not None:
            return f"nearly every image is taken for {self.only_answer}"
        if self.training is None or self.held_out is None:
            return ""
        split, accuracy = self.held_out
        figures = f"training accuracy {percent(self.training)}, {split} {percent(accuracy)}"
        meaning = {
            "overfitting": f"the gap of {points(self.gap)} is overfitting",
            "underfitting": "the training images are not learned well yet",
            "fits": "the training images are learned, and others nearly as well",
        }
        return f"{figures}: {meaning[self.state]}"

    @cached_property
    def only_answer(self) -> str | None:
        """The class that nearly every image gets, where the images are of several classes."""
        found = self.evaluation
        if found is None or self.baseline is None or self.baseline >= SAME:
            return None
        totals = [sum(column) for column in zip(*found.confusion, strict=True)]
        most = max(range(len(totals)), key=totals.__getitem__)
        return found.classes[most] if totals[most] >= SAME * found.n else None

    def finding(self, *kinds: str) -> str | None:
        """What the check-up found of these kinds, the gravest first."""
        return next(
            (f"{one.title}. {one.words}" for kind in kinds for one in self.data.findings if one.kind == kind), None
        )

    @property
    def smallest_class(self) -> tuple[str, int]:
        """The class with the fewest training images, and how many it has."""
        counts = self.data.class_counts["train"]
        place = min(range(len(counts)), key=counts.__getitem__)
        return self.data.classes[place], counts[place]

    @cached_property
    def doubtful(self) -> tuple[ClassFigures, float] | None:
        """The class that is missed most, and the median recall, where its images are taken for all other classes alike."""
        found = self.evaluation
        rows = sorted((row for row in found.per_class if row.support), key=lambda row: row.recall) if found else []
        counts = dict(zip(self.data.classes, self.data.class_counts["train"], strict=True))
        if found is None or len(rows) < 4 or counts.get(rows[0].class_, 0) < FEW:
            return None
        if rows[0].recall > LOST * (median := rows[len(rows) // 2].recall):
            return None
        place = found.classes.index(rows[0].class_)
        wrong = [count for other, count in enumerate(found.confusion[place]) if other != place]
        total = sum(wrong)
        entropy = -sum(count / total * math.log(count / total) for count in wrong if count)
        return (rows[0], median) if total and math.exp(entropy) >= SCATTERED * (len(rows) - 1) else None
