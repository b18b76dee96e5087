"""What the files of a run hold: one class a file, its limits beside its types.

A run can come from anybody, and from an earlier or a later version: a field that is not always there has a default, one more is
one more line, and keys that a class does not know are allowed. `striate.forms` has the rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from striate import forms
from striate.choices import Judge
from striate.errors import DataError
from striate.forms import Within
from striate.outcome import How, Verdict

Name = Annotated[str, Within(0, 10_000)]
Text = Annotated[str, Within(0, 10_000)]
LARGEST_SIDE, MOST_THREADS = 4096, 1024
Side = Annotated[int, Within(1, LARGEST_SIDE)]
Share = Annotated[float, Within(-1e-6, 1 + 1e-6)]
"""From 0 to 1, but for rounding."""
Count = Annotated[int, Within(0, 10**12)]
Seconds = Annotated[float, Within(0, 10**10)]
Figure = Annotated[float, Within(-1e300, 1e300)]
"""Of a training that went wrong it can be large."""
Epochs = Annotated[float, Within(0, 10**6)]
Classes = Annotated[tuple[Name, ...], Within(1, 100_000)]
Counts = dict[str, Count]

MOST_CLASSES = 100_000
MOST_CHANNELS = 64
"""Of a net that a run names: a config that came from somebody cannot ask for more memory than that takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """How a net from elsewhere is made again."""

    target: Text | None = None
    file: Text | None = None
    sha256: Name | None = None
    given: bool | None = None
    min_size: Side | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NetConfig:
    name: Text
    channels: Annotated[int, Within(1, MOST_CHANNELS)]
    classes: Annotated[int, Within(1, MOST_CLASSES)]
    init: Literal["default", "paper"] = "default"
    weights: Text | None = None
    origin: Origin = Origin()
    notes: tuple[Text, ...] = ()
    pretrained: tuple[Text, ...] | None = ()
    published: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    name: Name
    location: Text
    group_by: Text | None = None
    exclude: tuple[Text, ...] = ()
    splits: Text | None = None
    dir: Text | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessingConfig:
    size: tuple[Side, Side]
    channels: Literal[1, 3]
    mean: Annotated[tuple[Figure, ...], Within(1, 3)]
    std: Annotated[tuple[Annotated[float, Within(1e-6, 1e6)], ...], Within(1, 3)]
    fit: Literal["crop", "pad", "squash"] = "crop"
    range: tuple[Figure, Figure] | None = None
    sixteen: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeConfig:
    """What lists of runs and their pages say of a recipe. `Run.recipe` reads all of it, which needs torch."""

    name: Name
    epochs: Epochs
    batch_size: Count
    optimizer: Name
    lr: Figure
    keep: Literal["last", "best"] = "last"
    patience: Count | None = None
    seed: Annotated[int, Within(0, 2**63 - 1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    after_step: Count
    steps: Annotated[int, Within(1, 10**12)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    steps: Annotated[int, Within(1, 10**12)]
    steps_per_epoch: Annotated[int, Within(1, 10**9)]
    epochs: Epochs
    params: Count
    macs: Annotated[int, Within(0, 10**18)] | None
    macs_counted: Annotated[int, Within(0, 10**18)] | None = None
    macs_not_counted: Counts = field(default_factory=dict)
    usual_lr: Figure | None = None
    seconds_per_step: Seconds = 0
    seconds_per_epoch: Seconds = 0
    seconds: Seconds = 0
    device: Name
    ranks: Annotated[int, Within(1, 1024)] = 1
    threads: Annotated[int, Within(1, MOST_THREADS)]
    layout: Literal["nchw", "nhwc"]
    precision: Literal["fp32", "bf16"] = "fp32"
    compiled: bool = False
    lengths: Annotated[tuple[Span, ...], Within(1, 10_000)] | None = None
    stopped_after_step: Count | None = None
    patience_restarted: tuple[Count, ...] = ()
    parts: Count | None = None
    resumed_in: Annotated[int, Within(1, 1024)] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """config.yaml"""

    format: Annotated[int, Within(1, 10**6)] = 1
    striate: Name
    net: NetConfig
    data: DataConfig
    preprocessing: PreprocessingConfig
    recipe: RecipeConfig
    log: Literal["tensorboard", "mlflow"] | None = None
    deterministic: bool = False
    judge: Judge = "test"
    report: bool = True
    only_in_python: Text | None = None
    plan: Plan

    @classmethod
    def from_dict(cls, values: object) -> RunConfig:
        """Raises DataError, which names the field."""
        made = forms.read(cls, values)
        pictures, net, plan = made.preprocessing, made.net, made.plan
        if net.channels != pictures.channels:
            raise DataError(
                f"preprocessing.channels must be {net.channels} as net.channels is, got {pictures.channels}"
            )
        for name, figures in (("mean", pictures.mean), ("std", pictures.std)):
            if len(figures) != pictures.channels:
                raise DataError(
                    f"preprocessing.{name} must have a number for each of {pictures.channels} channels, got {len(figures)}"
                )
        # The epochs of a plan are rounded to six digits.
        if abs(plan.steps - plan.epochs * plan.steps_per_epoch) > 1 + 1e-6 * plan.steps_per_epoch:
            raise DataError(
                f"plan.steps is {plan.steps:,}, and {plan.epochs:g} epochs of {plan.steps_per_epoch:,} steps are "
                f"{plan.epochs * plan.steps_per_epoch:,.0f}"
            )
        if plan.lengths and (plan.lengths[-1].steps != plan.steps or plan.lengths[0].after_step != 0):
            raise DataError(f"plan.lengths must lead from step 0 to plan.steps, {plan.steps:,}")
        return made


@dataclass(frozen=True, kw_only=True, slots=True)
class FindingRow:
    kind: Name
    severity: Name = ""
    count: Count | None = None
    title: Text
    words: Annotated[str, Within(0, 100_000)]


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerRow:
    fate: Literal["used", "excluded", "junk", "unreadable", "other"]
    kind: Text
    count: Count
    examples: tuple[Text, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """What became of every entry of the data: see `striate.data.ledger`."""

    what: Name
    entries: Count
    used: Count
    excluded: Count
    junk: Count
    unreadable: Count
    other: Count
    named: Annotated[tuple[LedgerRow, ...], Within(0, 10_000)]
    notes: Annotated[tuple[Text, ...], Within(0, 10_000)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """data.json"""

    name: Name
    title: Text = ""
    source: Text = ""
    licence: Text = ""
    classes: Classes
    counts: Counts
    class_counts: dict[str, tuple[Count, ...]]
    shape: tuple[Annotated[int, Within(1, 10**6)], Annotated[int, Within(1, 10**6)], Annotated[int, Within(1, 64)]]
    fingerprint: Name
    unreadable: dict[str, Text] = field(default_factory=dict)
    excluded: tuple[Text, ...] = ()
    junk: Count = 0
    seen_in_training: Counts = field(default_factory=dict)
    findings: tuple[FindingRow, ...] = ()
    ledger: Ledger | None = None
    values: tuple[dict[str, Any], ...] = ()

    @classmethod
    def from_dict(cls, values: object) -> Data:
        """Raises DataError, which names the field."""
        made = forms.read(cls, values)
        for split in ("train", *(split for split, count in made.counts.items() if count)):
            for name, counted in (("counts", made.counts), ("class_counts", made.class_counts)):
                if split not in counted:
                    raise DataError(f"{name}.{split} is missing")
        for split, counts in made.class_counts.items():
            if len(counts) != len(made.classes):
                raise DataError(f"class_counts.{split} must have {len(made.classes)} counts, got {len(counts)}")
        for split, count in made.counts.items():
            if count and split not in made.class_counts:
                raise DataError(f"class_counts.{forms.shown(split)} is missing, and counts has {count:,} of it")
        for split, count in made.seen_in_training.items():
            if count > made.counts.get(split, 0):
                raise DataError(f"seen_in_training.{forms.shown(split)} is {count:,}, more than counts has of it")
        return made


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    how: How
    steps_done: Count | None = None
    steps_planned: Count | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    verdict: Verdict
    said: Text = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """summary.json"""

    status: Name = "unknown"
    started: Annotated[str, Within(0, 40)] | None = None
    finished: Annotated[str, Within(0, 40)] | None = None
    command: Annotated[str, Within(0, 100_000)] | None = None
    no_command: Text | None = None
    ending: Ended | None = None
    learning: Learned | None = None
    missing: tuple[Name, ...] = ()
    seconds: dict[str, Seconds] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: object) -> Summary:
        """Raises DataError, which names the field."""
        made = forms.read(cls, values)
        for name, text in (("started", made.started), ("finished", made.finished)):
            _check_time(name, text)
        return made


@dataclass(frozen=True, kw_only=True, slots=True)
class WithoutReferences:
    score: Literal["energy", "max_logit", "max_softmax"]
    threshold: Figure
    keep: Share


@dataclass(frozen=True, kw_only=True, slots=True)
class Abstain:
    score: Literal["nearest", "energy", "max_logit", "max_softmax"]
    threshold: Figure
    keep: Share
    without_references: WithoutReferences | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """calibration.json"""

    split: Name = "validation"
    not_finite: Count = 0
    how: Literal["fitted", "shrunk", "left out"] = "fitted"
    likeliest: Figure | None = None
    abstain: Abstain | None = None
    temperature: Annotated[float, Within(1e-3, 1e4)]
    n: Count
    loss_before: Figure
    ece_before: Share
    loss: Figure
    ece: Share

    @classmethod
    def from_dict(cls, values: object) -> Calibration:
        """Raises DataError, which names the field."""
        return forms.read(cls, values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """answer.json"""

    logits: Annotated[tuple[tuple[Figure | None, ...], ...], Within(1, 100)]

    @classmethod
    def from_dict(cls, values: object) -> Answer:
        """Raises DataError, which names the field."""
        made = forms.read(cls, values)
        if len({len(row) for row in made.logits}) > 1:
            raise DataError("logits must be rows of as many numbers each")
        return made


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """split.json"""

    validation: tuple[Annotated[int, Within(0, 10**9)], ...] | None = None
    content: dict[str, tuple[Name, ...]] | None = None

    @classmethod
    def from_dict(cls, values: object) -> Split:
        """Raises DataError, which names the field."""
        return forms.read(cls, values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """environment.json"""

    striate: Name = ""
    python: Name = ""
    torch: Name = ""
    platform: Name = ""
    cpu: Name = ""
    cores: Count = 0
    threads: Count = 0
    device: Name = ""

    @classmethod
    def from_dict(cls, values: object) -> Environment:
        """Raises DataError, which names the field."""
        return forms.read(cls, values)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassFigures:
    class_: Name
    support: Count
    precision: Share
    recall: Share
    f1: Share
    low: Share | None = None
    high: Share | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Confused:
    truth: Name
    predicted: Name
    count: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    low: Share
    high: Share
    n: Annotated[int, Within(1, 10**10)]
    confidence: Share
    accuracy: Share


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    kept: Share
    threshold: Share
    accuracy: Share


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationFigures:
    """evaluation.json"""

    data: Name
    split: Name
    views: Name
    protocol: Name | None = None
    scales: tuple[Side, ...] = ()
    views_each: Annotated[int, Within(1, 10**6)] = 1
    mirrored: bool = False
    fingerprint: Name = ""
    n: Annotated[int, Within(1, 10**10)]
    unanswered: Count = 0
    absent: tuple[Name, ...] = ()
    by_position: Text = ""
    correct: Count
    accuracy: Share
    low: Share
    high: Share
    balanced_accuracy: Share | None = None
    top5: Share | None
    loss: Annotated[float, Within(-1e-6, 1e300)]
    brier: Annotated[float, Within(-1e-6, 2 + 1e-6)] | None = None
    macro_f1: Share
    macro_f1_low: Annotated[float, Within(-1, 1)] | None = None
    macro_f1_high: Annotated[float, Within(0, 2)] | None = None
    ece: Share
    reliability: tuple[Bin, ...] | None = None
    temperature: Annotated[float, Within(1e-3, 1e4)] | None = None
    loss_calibrated: Annotated[float, Within(-1e-6, 1e300)] | None = None
    ece_calibrated: Share | None = None
    reliability_calibrated: tuple[Bin, ...] | None = None
    by_confidence: Annotated[tuple[Kept, ...], Within(1, 100_000)] | None = None
    classes: Classes
    confusion: tuple[tuple[Count, ...], ...]
    per_class: tuple[ClassFigures, ...]
    most_confused: tuple[Confused, ...]

    @classmethod
    def from_dict(cls, values: object) -> EvaluationFigures:
        """Raises DataError, which names the field."""
        made = forms.read(cls, values)
        assert isinstance(values, dict), "read() accepts nothing else"
        for names in _TOGETHER:
            _require_together(values, names)
        for place, row in enumerate(values["per_class"]):
            _require_together(row, ("low", "high"), f"per_class[{place}].")
        count = len(made.classes)
        if len(made.confusion) != count or any(len(row) != count for row in made.confusion):
            raise DataError(f"confusion must have {count} rows of {count} numbers")
        if [row.class_ for row in made.per_class] != list(made.classes):
            raise DataError(f"per_class must have a row for each of {count} classes, in their order")
        supported = sum(row.support for row in made.per_class)
        if supported != made.n:
            raise DataError(f"per_class has {supported:,} pictures, and n is {made.n:,}")
        for row, cells in zip(made.per_class, made.confusion, strict=True):
            if sum(cells) > row.support:  # it can be less: of some images there may be no answer
                raise DataError(
                    f"confusion has {sum(cells):,} pictures of {forms.shown(row.class_)}, of {row.support:,}"
                )
        known = {name: place for place, name in enumerate(made.classes)}
        for pair in made.most_confused:
            if not {pair.truth, pair.predicted} <= known.keys():
                raise DataError(f"most_confused names a class that is not in classes: {forms.shown(pair.truth)}")
            if pair.count > made.confusion[known[pair.truth]][known[pair.predicted]]:
                raise DataError(f"most_confused has {pair.count:,} of {forms.shown(pair.truth)}, more than confusion")
        for name, bins in (("reliability", made.reliability), ("reliability_calibrated", made.reliability_calibrated)):
            if bins is not None and not any(one.n for one in bins):
                raise DataError(f"{name} has no pictures")
        return made


_TOGETHER = (
    ("balanced_accuracy",),
    ("macro_f1_low", "macro_f1_high"),
    ("reliability", "by_confidence"),
    ("temperature", "ece_calibrated", "reliability_calibrated"),
)
"""What evaluations of earlier versions, or without a calibration, lack: all of a group or nothing of it."""


def _require_together(values: dict[str, Any], names: tuple[str, ...], within: str = "") -> None:
    there = [name for name in names if name in values]
    for name in names if there else ():
        if values.get(name) is None:
            raise DataError(f"{within}{name} is missing" + (f", and {there[0]} is there" if there[0] != name else ""))


@dataclass(frozen=True, kw_only=True, slots=True)
class Corruption:
    name: Name
    level: Annotated[int, Within(0, 100)]
    value: Any = None
    n: Count = 0
    accuracy: Share
    low: Share | None = None
    high: Share | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Robustness:
    """robustness.json"""

    clean: Share
    n: Annotated[int, Within(1, 10**10)]
    mean: Share | None = None
    corruptions: Annotated[tuple[Corruption, ...], Within(0, 1_000)] = ()

    @classmethod
    def from_dict(cls, values: object) -> Robustness:
        """Raises DataError, which names the field."""
        return forms.read(cls, values)


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewsRow:
    key: Name
    views: Name
    protocol: Name | None = None
    scales: tuple[Side, ...] = ()
    views_each: Annotated[int, Within(1, 10**6)] = 1
    n: Count
    correct: Count
    accuracy: Share
    low: Share
    high: Share
    macro_f1: Share
    loss: Annotated[float, Within(-1e-6, 1e300)]
    gained: Count
    lost: Count
    seconds: Seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Views:
    """<data>-<split>-views.json"""

    rows: Annotated[tuple[ViewsRow, ...], Within(0, 1_000)]
    impossible: dict[str, Text] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: object) -> Views:
        """Raises DataError, which names the field."""
        return forms.read(cls, values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """A row of metrics.csv."""

    epoch: Count
    step: Count
    seconds: Seconds
    lr: Figure
    train_loss: float | None = None
    train_accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    pictures_per_second: Annotated[float, Within(0, 1e12)] | None = None

    @classmethod
    def from_dict(cls, values: object) -> Epoch:
        """Raises DataError, which names the field."""
        return forms.read(cls, values)


def _check_time(name: str, text: str | None) -> None:
    from datetime import datetime

    try:
        if text is not None:
            datetime.fromisoformat(text)
    except ValueError:
        raise DataError(f"{name} must be a time such as 2026-01-31T12:00:00+00:00, got {forms.shown(text)}") from None
