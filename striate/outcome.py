"""How a run ended, and what its net made of it: two facts that config, summary, card, report and lists say in the same words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from striate.forms import Form
from striate.texts import counted, percent

How = Literal["schedule", "patience", "interrupted", "not finite", "failed", "running", "unknown"]
"""`schedule`: all planned steps are done. `patience`: validation was no better for long enough. `not finite`: a loss or a
gradient was NaN or infinite. `failed`: any other error. `running`: it still trains, or was killed. `unknown`: nothing in the run
says so."""

Verdict = Literal["learned", "exploded", "stuck", "below chance", "unknown"]
"""`exploded`: the loss rose far above that of guessing and did not come back. `stuck`: it never left that of guessing. `below
chance`: the net does worse than guessing on images that it did not train on. `unknown`: no epoch is done, or an older run."""


Row = Mapping[str, Any]
"""A row of metrics.csv, whose columns are those of `striate.runforms.summary.Epoch`; None where nothing was measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How training ended, the steps that are done and that were planned, and the steps of an epoch.

    `patience`: epochs without a better validation after which the recipe stops; None for never.
    """

    how: How
    steps: int
    planned_steps: int
    per_epoch: int
    patience: int | None = None

    @property
    def epochs(self) -> float:
        """Epochs that are done."""
        return round(self.steps / self.per_epoch, 6)

    @property
    def planned_epochs(self) -> float:
        """Epochs that were planned."""
        return round(self.planned_steps / self.per_epoch, 6)

    @property
    def count(self) -> str:
        """`12 epochs` where all that was planned is done, else `4 of 20 epochs`."""
        done = "" if self.steps == self.planned_steps else f"{self.epochs:.4g} of "
        return f"{done}{counted(self.planned_epochs, 'epoch')}"

    def __str__(self) -> str:
        if self.how == "schedule":
            return f"finished: {self.count}, as planned"
        if self.how == "patience":
            waited = counted(self.patience, "epoch") if self.patience else "as long as its patience"
            return f"stopped early after {self.count}: no improvement on validation for {waited}"
        if self.how == "not finite":
            return f"failed after {self.count}: the loss or a gradient was not finite"
        words = {"interrupted": "interrupted", "failed": "failed", "running": "not ended yet"}
        return f"{words.get(self.how, 'ended for an unknown reason')} after {self.count}"


class Learning(Form):
    """Whether a net learned; `said`: the figures behind it, and what to do; empty where it learned."""

    verdict: Verdict
    said: str = ""

    def __bool__(self) -> bool:
        """Whether no problem was found."""
        return self.verdict in ("learned", "unknown")

    def public(self) -> Learning:
        """The same in this module's own words: a run from somebody else can contain any text instead."""
        known = any(shape.fullmatch(self.said) for shape in _SAID)
        return self if known else replace(self, said=_PLAINLY[self.verdict])


_TOO_HIGH = "the learning rate is too high for this net, {}"
ROSE = f"the loss exploded: it rose to {{}} in epoch {{}} and is now {{}} (chance level: {{}}); {_TOO_HIGH}"
JUMPED = f"the loss exploded: it had fallen to {{}}, jumped and is now {{}} (chance level: {{}}); {_TOO_HIGH}"
STUCK = (
    "the loss is still at chance level ({}) after {} steps: check the net with striate train --try, or find a learning rate "
    "with --find-lr"
)
BELOW = (
    "validation accuracy is {}, below the chance level of {} for {} classes: check that training and validation labels mean "
    "the same, and that both hold the same kind of images"
)
"""The result of `judge`."""
_FIGURE = r"(try --lr )?(([<>]?-?[0-9.]{1,12}(e[+-]?[0-9]{1,3})?( ?%)?)|nan|inf)"
_SAID = [re.compile(_FIGURE.join(map(re.escape, words.split("{}")))) for words in ("", ROSE, JUMPED, STUCK, BELOW)]
_PLAINLY: Mapping[Verdict, str] = {
    "learned": "",
    "exploded": "the loss exploded",
    "stuck": "the loss is still at chance level",
    "below chance": "validation accuracy is below chance level",
    "unknown": "",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Chance:
    """The results at chance level.

    Attributes:
        loss: of giving every image the shares of the classes, as training computes it (smoothing and auxiliary heads included).
        accuracy: of always naming the most frequent of the `classes`; validating: images in validation.
    """

    loss: float
    accuracy: float
    classes: int
    validating: int = 0


JUMP = 3.0
"""A loss of so many times that of guessing, or of the first step where that is higher, has exploded."""
STILL, FALLEN = 0.99, 0.9
"""Shares of the chance-level loss: above the one nothing is learned, and below the other something had been."""
ENOUGH_STEPS = 50
"""After so many steps a loss should have moved."""


def judge(rows: Sequence[Row], chance: Chance, first: float, advice: str) -> Learning:
    """The verdict from the rows of
    metrics.csv. `first`: the loss of the first step, NaN if it is not known. `advice`: what to do where
    the rate is too high, as in `try --lr 0.001`.
    """
    if not rows:
        return Learning(verdict="unknown")
    last = rows[-1]
    accuracy = last.get("val_accuracy")
    if accuracy is None:
        guessing = not _far_above(last["train_accuracy"], chance)
    else:  # what training says is a mean over an epoch; validation says where the net stands at its end
        right = _far_above(accuracy, chance) and last["val_loss"] <= JUMP * chance.loss
        guessing = last["val_loss"] > STILL * chance.loss and not right
    if guessing and last["train_loss"] > STILL * chance.loss:
        return _nothing_learned(rows, chance, first, advice)
    guess = 1 / chance.classes
    deviation = math.sqrt(guess * (1 - guess) / chance.validating) if chance.validating else 1.0
    if accuracy is not None and accuracy < guess - 3 * deviation:
        said = BELOW.format(percent(accuracy), percent(guess), chance.classes)
        return Learning(verdict="below chance", said=said)
    return Learning(verdict="learned")


def _nothing_learned(rows: Sequence[Row], chance: Chance, first: float, advice: str) -> Learning:
    last, keys = rows[-1], ("train_loss", "highest_loss", "val_loss")
    highest, epoch = max(
        (float(row[key]), int(row["epoch"])) for row in rows for key in keys if row.get(key) is not None
    )
    lowest = min(float(row["train_loss"]) for row in rows)
    stands = f"{last['train_loss']:.4g}", f"{chance.loss:.3f}", advice
    if highest > JUMP * max(chance.loss, first if math.isfinite(first) else 0.0):
        return Learning(verdict="exploded", said=ROSE.format(f"{highest:.4g}", epoch, *stands))
    if lowest < FALLEN * chance.loss:
        return Learning(verdict="exploded", said=JUMPED.format(f"{lowest:.4g}", *stands))
    if last["step"] < ENOUGH_STEPS:
        return Learning(verdict="unknown")
    return Learning(verdict="stuck", said=STUCK.format(f"{chance.loss:.3f}", last["step"]))


def _far_above(accuracy: float, chance: Chance) -> bool:
    """Whether an accuracy is above that of a net with random weights, which may well be twice that of guessing."""
    return accuracy > chance.accuracy + 0.25 * (1 - chance.accuracy)


def rate_to_try(rate: float, usual: float | None, at: float | None = None) -> float:
    """A peak rate to try where `rate` was too high. `usual`: the rate that the recipe has by itself, if known. `at`: that of the
    step that failed, where it was lower: the peak has to be lower than that.
    """
    wanted = rate / 4 if at is None or at >= rate else min(rate / 4, at / 2 or rate / 4)
    return float(f"{usual if usual is not None and usual < wanted else wanted:.2g}")
