"""The content of a run's evaluation files. docs/evaluation.md explains the figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated

from striate.choices import Within
from striate.errors import DataError
from striate.forms import Form, Rare, shown
from striate.runforms.config import RunConfig
from striate.runforms.kinds import Classes, Count, Figure, Loss, Name, Seconds, Share, Side, Temperature, Text

Images = Annotated[int, Within(1, 10**10)]
Passes = Annotated[int, Within(1, 10**6)]


class ClassFigures(Form):
    """How a class fared; `low` and `high` are the 95 % interval of the recall."""

    class_: Name
    support: Count
    precision: Share
    recall: Share
    low: Rare[Share] = None
    high: Rare[Share] = None
    f1: Share


class Confused(Form):
    truth: Name
    predicted: Name
    count: Count


class Bin(Form):
    """Images of about one confidence; `confidence` and `accuracy` are their means."""

    low: Share
    high: Share
    n: Images
    confidence: Share
    accuracy: Share


Bins = Annotated[tuple[Bin, ...], Within(1, 100_000)]


class Kept(Form):
    """The accuracy on the share of images whose confidence is above a threshold."""

    kept: Share
    threshold: Share
    accuracy: Share


class Seen(Form):
    """The evaluated images, and their views.

    Attributes:
        protocol: the paper's, None for a view.
        scales: pixels of the shorter side; empty in evaluations of earlier versions.
        views_each: views that the net saw of an image; `mirrored`: whether some of them were.
        absent: classes without an image.
        by_position: which number was taken for which class, where images had no class names.
    """

    data: Name
    split: Name
    views: Name
    protocol: Name | None = None
    scales: tuple[Side, ...] = ()
    views_each: Passes = 1
    mirrored: bool = False
    fingerprint: Name = ""
    absent: tuple[Name, ...] = ()
    by_position: Text = ""


class EvaluationFigures(Seen):
    """evaluation.json; what evaluations of earlier versions, or without a calibration, lack is None."""

    n: Images
    unanswered: Count = 0
    correct: Count
    accuracy: Share
    low: Share
    high: Share
    balanced_accuracy: Rare[Share] = None
    top5: Share | None
    loss: Loss
    brier: Rare[Annotated[float, Within(-1e-6, 2 + 1e-6)]] = None
    macro_f1: Share
    macro_f1_low: Rare[Annotated[float, Within(-1, 1)]] = None
    macro_f1_high: Rare[Annotated[float, Within(0, 2)]] = None
    ece: Share
    reliability: Rare[Bins] = None
    temperature: Rare[Temperature] = None
    loss_calibrated: Rare[Loss] = None
    ece_calibrated: Rare[Share] = None
    reliability_calibrated: Rare[Bins] = None
    by_confidence: Rare[Annotated[tuple[Kept, ...], Within(1, 100_000)]] = None
    classes: Classes
    confusion: tuple[tuple[Count, ...], ...]
    per_class: tuple[ClassFigures, ...]
    most_confused: tuple[Confused, ...]

    def __post_init__(self) -> None:
        for names in _TOGETHER:
            lacking = [name for name in names if getattr(self, name) is None]
            if lacking and len(lacking) < len(names):
                there = next(name for name in names if name not in lacking)
                raise DataError(f"{lacking[0]} is missing, and {there} is there")
        self._check_classes()
        if self.correct > self.n:
            raise DataError(f"correct is more than n, {self.n:,}")

    def _check_classes(self) -> None:
        """Raises DataError if confusion, per_class and most_confused do not go together."""
        count = len(self.classes)
        if len(self.confusion) != count or any(len(row) != count for row in self.confusion):
            raise DataError(f"confusion must have {count} rows of {count} numbers")
        if [row.class_ for row in self.per_class] != list(self.classes):
            raise DataError(f"per_class must have a row for each of {count} classes, in their order")
        supported = sum(row.support for row in self.per_class)
        if supported != self.n:
            raise DataError(f"per_class has {supported:,} images, and n is {self.n:,}")
        for row, cells in zip(self.per_class, self.confusion, strict=True):
            if sum(cells) > row.support:  # it can be less: of some images there may be no answer
                raise DataError(f"confusion has {sum(cells):,} images of {shown(row.class_)}, of {row.support:,}")
        known = {name: place for place, name in enumerate(self.classes)}
        for pair in self.most_confused:
            if not {pair.truth, pair.predicted} <= known.keys():
                raise DataError(f"most_confused names a class that is not in classes: {shown(pair.truth)}")
            if pair.count > self.confusion[known[pair.truth]][known[pair.predicted]]:
                raise DataError(f"most_confused has {pair.count:,} of {shown(pair.truth)}, more than confusion")


_TOGETHER = (
    ("macro_f1_low", "macro_f1_high"),
    ("reliability", "by_confidence"),
    ("temperature", "ece_calibrated", "reliability_calibrated"),
)
"""Fields that older or uncalibrated evaluations lack: all of a group or none."""


class Corruption(Form):
    """Accuracy on images that were made worse; `value` says by how much, and `low` and `high` are its 95 % interval."""

    name: Name
    level: Annotated[int, Within(0, 100)]
    value: Figure
    n: Count
    accuracy: Share
    low: Share
    high: Share


class Robustness(Form):
    """robustness.json"""

    clean: Share
    clean_low: Rare[Share] = None
    clean_high: Rare[Share] = None
    n: Images
    source: Text = ""
    mean: Share | None = None
    corruptions: Annotated[tuple[Corruption, ...], Within(0, 1_000)] = ()


class ViewsRow(Form):
    """An evaluation beside others of the same images; gained and lost: correct here and not in the first row, and vice versa."""

    views: Name
    protocol: Name | None = None
    scales: tuple[Side, ...] = ()
    views_each: Passes = 1
    n: Count
    correct: Count
    accuracy: Share
    low: Share
    high: Share
    macro_f1: Share
    loss: Loss
    gained: Count
    lost: Count
    seconds: Seconds
    key: Name


class Views(Form):
    """<data>-<split>-views.json"""

    rows: Annotated[tuple[ViewsRow, ...], Within(0, 1_000)]
    impossible: dict[str, Text] = field(default_factory=dict)


def leading(config: RunConfig, evaluations: Mapping[str, Seen]) -> str | None:
    """The key of the evaluation that the headline quotes: of the set that the run was trained on, if possible of its test images,
    each seen once (`centre`). None without an evaluation on that set: a run is not known for its accuracy on others.
    """
    own = [key for key, found in evaluations.items() if found.data == config.data.name]
    tests = [key for key in own if evaluations[key].split == "test"]
    centre = [key for key in tests if evaluations[key].views == "centre"]
    return next(iter(centre + tests + own), None)
