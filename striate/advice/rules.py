"""What may limit a run, a rule a cause, and what to do about it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from striate.advice.figures import FEW, GOOD, Facts
from striate.commands import options
from striate.outcome import rate_to_try
from striate.texts import counted, percent

WORSE = 0.02
"""Validation accuracy lost since the best epoch, from which the training was too long."""
UNEVEN = 5.0
"""Times the smallest class the largest is, from which imbalance matters."""
SHRUNK = 3.0
"""Times the side of the images is larger in the files than in the net, from which larger images are advised."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """Something to do.

    Attributes:
        cause: what it is about, in a word or two.
        said: the figures and what to do, a sentence or two.
        change: settings to train with instead; empty where the images are to be changed.
        command: the command of the run with these settings, or the check of its data; None where the run was made of objects
            of Python, which no command can name.
    """

    cause: str
    said: str
    change: Mapping[str, object]
    command: str | None = None

    @property
    def options(self) -> str:
        """The settings as options, `--epochs 24`; empty where the images are to be changed."""
        net = [str(self.change["net"])] if "net" in self.change else []
        return shlex.join([*net, *options({name: value for name, value in self.change.items() if name != "net"})])

    def as_dict(self) -> dict[str, object]:
        """The advice in plain types."""
        return {"cause": self.cause, "said": self.said, "change": dict(self.change), "command": self.command}


Rule = Callable[[Facts], Advice | None]


def _values(facts: Facts) -> Advice | None:
    """Blank images, or values that use little of their range: nothing else can help before these are mended."""
    said = facts.finding("unused-range", "clipped", "blank")
    if said is None:
        return None
    wide = [row for row in facts.data.values if isinstance(row.get("most"), int | float)]
    most = max((float(str(row["most"])) for row in wide), default=0.0)
    change = (
        {}
        if most < 1 or facts.config.preprocessing.range is None
        else {"range": f"0,{2 ** math.ceil(math.log2(most + 1)) - 1}"}
    )
    return Advice(cause="pixel values", said=said, change=change)


def _leakage(facts: Facts) -> Advice | None:
    """Test images that were trained on: the accuracy is too high."""
    seen = {part: count for part, count in facts.data.seen_in_training.items() if count}
    if not seen:
        said = facts.finding("leakage", "near-leakage")
        return None if said is None else Advice(cause="leakage", said=said, change={})
    shares = " and ".join(
        f"{count:,} of {facts.data.counts.get(part, 0):,} {part} images" for part, count in seen.items()
    )
    return Advice(
        cause="leakage",
        said=f"{shares} are also training images, so the accuracy on them is too high: keep copies in one split",
        change={},
    )


def _labels(facts: Facts) -> Advice | None:
    """The same image in two classes, or a class that is missed as if its labels were wrong."""
    if (said := facts.finding("label-conflict", "near-label-conflict")) is not None:
        return Advice(cause="labels", said=said, change={})
    if facts.doubtful is None or facts.state not in ("overfitting", "underfitting", "fits"):
        return None
    row, median = facts.doubtful
    return Advice(
        cause="labels",
        said=f"{percent(row.recall)} of class {row.class_} are recognised (median of the classes: {percent(median)}), and the "
        f"others are taken for all classes alike: check the labels of {row.class_}",
        change={},
    )


def _rate(facts: Facts) -> Advice | None:
    """A rate at which the loss exploded, or one at which it did not move."""
    usual, rate = facts.config.plan.usual_lr, facts.recipe.lr
    if facts.state == "exploded":
        wanted = rate_to_try(rate, usual)
        return Advice(cause="learning rate", said=f"the learning rate {rate:g} is too high", change={"lr": wanted})
    if facts.state in ("stuck", "one answer") and usual is not None and rate != usual:
        how = "low" if rate < usual else "high"
        said = f"the learning rate {rate:g} is probably too {how}: the recipe's own is {usual:g}"
        return Advice(cause="learning rate", said=said, change={"lr": usual})
    return None


def _colour(facts: Facts) -> Advice | None:
    """Colour images that the net saw in grey."""
    if facts.config.preprocessing.channels != 1 or not facts.data.colour:
        return None
    return Advice(cause="colour", said="the images have colour, and the net saw them in grey", change={"channels": 3})


def _few(facts: Facts) -> Advice | None:
    """Classes with so few images that features have to come from elsewhere."""
    name, count = facts.smallest_class
    if facts.state == "fits" or count >= FEW or facts.config.net.published or facts.config.net.weights:
        return None
    return Advice(
        cause="few images",
        said=f"class {name} has {counted(count, 'training image')}: add images, or start from pretrained weights",
        change={"net": "torchvision:resnet18", "pretrained": True, "size": 224},
    )


def _balance(facts: Facts) -> Advice | None:
    """Small classes beside large ones, which training gives up."""
    counts, classes = facts.data.class_counts["train"], facts.data.classes
    most, least = counts.index(max(counts)), counts.index(min(counts))
    if counts[most] < UNEVEN * counts[least] or facts.recipe.balance != "none":
        return None
    return Advice(
        cause="imbalance",
        said=f"class {classes[most]} has {counts[most]:,} training images and {classes[least]} {counts[least]:,}",
        change={"balance": "sampler"},
    )


def _too_long(facts: Facts) -> Advice | None:
    """Validation that was better before."""
    if facts.state != "overfitting" or len(facts.validated) < 3 or facts.recipe.keep == "best":
        return None
    (epoch, best), (last_epoch, last) = max(facts.validated, key=lambda pair: pair[1]), facts.validated[-1]
    if best - last < max(WORSE, 1.5 * facts.luck):  # the best of many epochs is lucky
        return None
    return Advice(
        cause="too many epochs",
        said=f"validation accuracy was best after epoch {epoch} ({percent(best)}) and {percent(last)} after {last_epoch}",
        change={"keep": "best"},
    )


def _augment(facts: Facts) -> Advice | None:
    """Overfitting without augmentation."""
    if facts.state != "overfitting" or str(facts.recipe.augmentation) != "none":
        return None
    shift = max(1, round(min(facts.config.preprocessing.size) / 8))
    flip = "flip," if facts.data.flippable else ""
    return Advice(
        cause="augmentation",
        said="the net overfits, and its images are not augmented",
        change={"augment": f"{flip}shift={shift}"},
    )


def _too_short(facts: Facts) -> Advice | None:
    """Training images that are not learned yet."""
    if facts.state not in ("underfitting", "one answer", "stuck") or (facts.training or 0.0) >= GOOD:
        return None
    epochs = facts.config.plan.epochs
    said = f"{counted(epochs, 'epoch')} were too few: training accuracy was still {percent(facts.training or 0.0)}"
    if facts.recipe.budget is not None:
        return Advice(cause="too few epochs", said=said, change={"budget": 2 * facts.recipe.budget})
    return Advice(cause="too few epochs", said=said, change={"epochs": max(3, round(2 * epochs))})


def _larger(facts: Facts) -> Advice | None:
    """Files that are much larger than what the net sees."""
    side = min(facts.config.preprocessing.size)
    if facts.state not in ("underfitting", "overfitting") or facts.data.side is None or facts.data.side < SHRUNK * side:
        return None
    return Advice(
        cause="image size",
        said=f"the images are {facts.data.side} pixels high or wide in the files (median), and the net sees {side}",
        change={"size": min(2 * side, facts.data.side)},
    )


def _more(facts: Facts) -> Advice | None:
    """More images of the class that does worst, where the net overfits."""
    if facts.state != "overfitting" or facts.evaluation is None:
        return None
    weak = min((row for row in facts.evaluation.per_class if row.support), key=lambda row: row.f1)
    return Advice(
        cause="more images",
        said=f"more training images would help, of {weak.class_} first: its F1 is lowest ({percent(weak.f1)})",
        change={},
    )


RULES: Sequence[Rule] = (
    _values, _leakage, _rate, _colour, _balance, _labels, _too_long, _few, _larger, _augment, _too_short, _more,
)  # fmt: skip
"""The most promising first: what spoils every figure, then what training cannot mend, then dials."""
