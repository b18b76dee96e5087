"""The decisions made before step 1: config.yaml."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Annotated, Literal

from striate.choices import Fit, Init, Judge, Keep, Layout, LogKind, Precision, Within
from striate.errors import DataError
from striate.forms import RARE, Form, Rare, Whole
from striate.runforms.kinds import MOST_THREADS, Count, Counts, Epochs, Figure, Name, Seconds, Side, Text

FORMAT = 1
"""Format of the run directory. Older ones stay readable; newer ones are refused."""
MOST_CLASSES, MOST_CHANNELS = 100_000, 64
"""Limits for a net that a run names: a config that came from somebody cannot ask for more memory than that takes."""

Macs = Annotated[int, Within(0, 10**18)]


class Origin(Form):
    """How an external net is made again."""

    target: Rare[Text] = None
    min_size: Rare[Side] = None
    given: Annotated[bool, RARE] = False
    file: Rare[Text] = None
    sha256: Rare[Name] = None


class NetConfig(Form):
    """A net, by which it is made again.

    Attributes:
        published: whether it began with published weights.
    """

    name: Text
    channels: Annotated[int, Within(1, MOST_CHANNELS)]
    classes: Annotated[int, Within(1, MOST_CLASSES)]
    init: Init = "default"
    weights: Text | None = None
    published: bool = False
    origin: Origin = Origin()
    notes: tuple[Text, ...] = ()
    pretrained: tuple[Text, ...] = ()

    @classmethod
    def renewed(cls, values: dict[str, object]) -> dict[str, object]:
        """Earlier versions did not say whether weights were published, and had null for none."""
        values = {key: value for key, value in values.items() if (key, value) != ("pretrained", None)}
        return {"published": bool(values.get("pretrained")) and not values.get("weights")} | values


class DataConfig(Form):
    name: Name
    location: Text
    dir: Text | None = None
    group_by: Text | None = None
    exclude: tuple[Text, ...] = ()
    splits: Text | None = None


class PreprocessingConfig(Form):
    """`Run.preprocessing`, without what computes with it, which needs torch."""

    size: tuple[Side, Side]
    channels: Literal[1, 3]
    mean: Annotated[tuple[Figure, ...], Within(1, 3)]
    std: Annotated[tuple[Annotated[float, Within(1e-6, 1e6)], ...], Within(1, 3)]
    fit: Fit = "crop"
    range: tuple[Figure, Figure] | None = None
    sixteen: bool = False


class RecipeConfig(Form):
    """The fields of a recipe shown in lists of runs and on their
    pages. `Run.recipe` reads all of it, which needs torch."""

    name: Name
    epochs: Epochs
    batch_size: Count
    optimizer: Name
    lr: Figure
    augmentation: Name = "none"
    keep: Keep = "last"
    patience: Count | None = None
    seed: Annotated[int, Within(0, 2**63 - 1)]
    values: Whole


class Span(Form):
    after_step: Count
    steps: Annotated[int, Within(1, 10**12)]


class Plan(Form):
    """The decisions made by measurement, and the changes during training.

    Attributes:
        macs: of an image; None where the cost of an operation is not known: `macs_counted` and `macs_not_counted` then.
        usual_lr: the rate that the recipe has by itself, where another was asked for.
        lengths: the steps in all, and the step after which that was decided, where the end was moved.
        patience_restarted: steps after which a run that its patience had ended was extended.
        parts: of a batch at the end, where memory ran out on the way.
        resumed_in: ranks, where there were others than at the beginning.
    """

    params: Count
    macs: Macs | None
    macs_counted: Rare[Macs] = None
    macs_not_counted: Annotated[Counts, RARE] = field(default_factory=dict)
    usual_lr: Figure | None = None
    steps: Annotated[int, Within(1, 10**12)]
    steps_per_epoch: Annotated[int, Within(1, 10**9)]
    epochs: Epochs
    seconds_per_step: Seconds = 0
    seconds_per_epoch: Seconds = 0
    seconds: Seconds = 0
    device: Name
    ranks: Annotated[int, Within(1, 1024)] = 1
    threads: Annotated[int, Within(1, MOST_THREADS)]
    layout: Layout
    precision: Precision = "fp32"
    compiled: bool = False
    lengths: Rare[Annotated[tuple[Span, ...], Within(1, 10_000)]] = None
    stopped_after_step: Rare[Count] = None
    patience_restarted: Annotated[tuple[Count, ...], RARE] = ()
    parts: Rare[Count] = None
    resumed_in: Rare[Annotated[int, Within(1, 1024)]] = None

    def __post_init__(self) -> None:
        # The epochs of a plan are rounded to six digits.
        if abs(self.steps - self.epochs * self.steps_per_epoch) > 1 + 1e-6 * self.steps_per_epoch:
            raise DataError(
                f"plan.steps is {self.steps:,}, and {self.epochs:g} epochs of {self.steps_per_epoch:,} steps are "
                f"{self.epochs * self.steps_per_epoch:,.0f}"
            )
        if self.lengths and (self.lengths[-1].steps != self.steps or self.lengths[0].after_step != 0):
            raise DataError(f"plan.lengths must lead from step 0 to plan.steps, {self.steps:,}")


class RunConfig(Form):
    """config.yaml: net, data, preprocessing, recipe and plan, resolved; enough to repeat the run."""

    format: Annotated[int, Within(1, 10**6)] = FORMAT
    striate: Name
    net: NetConfig
    data: DataConfig
    preprocessing: PreprocessingConfig
    recipe: RecipeConfig
    log: LogKind | None = None
    judge: Judge = "test"
    report: bool = True
    deterministic: bool = False
    plan: Plan
    settings: Annotated[dict[str, object], RARE] = field(default_factory=dict)
    """The settings of `striate.train` that repeat the run; empty in older runs."""
    asked: Rare[dict[str, object]] = None
    """The settings that differed from their defaults; None where one was an object of Python, and in older runs."""
    only_in_python: Rare[Text] = None
    """Why, for older runs, no command repeats it."""

    def __post_init__(self) -> None:
        pictures, net = self.preprocessing, self.net
        if net.channels != pictures.channels:
            raise DataError(
                f"preprocessing.channels must be {net.channels} as net.channels is, got {pictures.channels}"
            )
        for name, figures in (("mean", pictures.mean), ("std", pictures.std)):
            if len(figures) != pictures.channels:
                raise DataError(
                    f"preprocessing.{name} must have a number for each of {pictures.channels} channels, got {len(figures)}"
                )

    @classmethod
    def renewed(cls, values: dict[str, object]) -> dict[str, object]:
        """Raises DataError for what a later version wrote."""
        written = values.get("format", FORMAT)
        if isinstance(written, int) and written > FORMAT:
            raise DataError(f"format {written:,} is from a later version of striate; this one reads {FORMAT}: update")
        return values

    def planned(self, plan: Plan, **recipe: object) -> RunConfig:
        """This config with another plan, whose epochs its recipe has too, and other fields of the recipe."""
        values = {**self.recipe.values, "epochs": plan.epochs, **recipe}
        return replace(self, plan=plan, recipe=RecipeConfig.from_dict(values))
