"""Recipe: how a net is trained, one frozen dataclass, validated, kept with the run and enough to repeat it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, get_args, get_origin, get_type_hints

import yaml

from striate.arguments import check, check_fields
from striate.choices import (
    Balance,
    Batch,
    Count,
    Epochs,
    Keep,
    Optimizer,
    Part,
    Patience,
    Rate,
    Schedule,
    Seconds,
    Seed,
    Share,
    Within,
    renamed,
    takes_old_names,
)  # fmt: skip
from striate.data.augmentation import Augmentation
from striate.errors import DataError, UsageError, param, unknown_name
from striate.forms import read, shown, written


class _ByShare(tuple[tuple[float, Any], ...]):
    """Values over the course of training: pairs of (share of training, value from there on), in order.

    Raises UsageError, when it is made, for anything else.
    """

    __slots__ = ()
    name, wanted, none = "", "", "none"
    kind: type[float] = float

    def __new__(cls, pairs: Iterable[Any] = ()) -> Self:
        """The pairs, checked."""
        try:
            made = tuple((share, value) for share, value in pairs)
            shares = [share for share, _ in made]
            holds = shares == sorted(set(shares)) and all(0 <= share < 1 for share in shares)
            holds = holds and all(isinstance(value, int | float) and 0 <= value < math.inf for _, value in made)
        except (TypeError, ValueError):
            holds = False
        if not holds:
            raise UsageError(f"{param(cls.name)} must be {cls.wanted}, got {shown(pairs)}")
        return super().__new__(cls, made)

    @classmethod
    def parse(cls, text: str) -> Self:
        """As `112,168@0.5`: 112 from the start, 168 from half of training on. Raises UsageError for anything else."""
        if text.strip() == cls.none:
            return cls()
        try:
            pairs = [(share or "0", value) for value, _, share in (part.partition("@") for part in text.split(","))]
            return cls((float(share), cls.kind(value)) for share, value in pairs)
        except ValueError:
            raise UsageError(f"{param(cls.name)} must be {cls.wanted}, or {cls.none}; got {text!r}") from None

    def __str__(self) -> str:
        """As `parse` reads it."""
        return ",".join(f"{value}@{share!r}" if share else str(value) for share, value in self) or self.none


class Milestones(_ByShare):
    """Factors on the learning rate over the course of training."""

    __slots__ = ()
    name = "milestones"
    wanted = "factors on the learning rate from shares 0 to below 1 of training on, in order, as in 0.1@0.5,0.01@0.75"


class ResizeSchedule(_ByShare):
    """Sides in pixels over the course of training, the first from 0 on."""

    __slots__ = ()
    name, none, kind = "resize_schedule", "full", int
    wanted = "sides from 1 to 4,096 from shares 0 to below 1 of training on, in order, as in 112,168@0.5,224@0.75"

    def __new__(cls, pairs: Iterable[Any] = ()) -> Self:
        """The pairs, checked."""
        made = super().__new__(cls, pairs)
        if made and (made[0][0] or not all(isinstance(side, int) and 1 <= side <= 4096 for _, side in made)):
            raise UsageError(f"{param(cls.name)} must be {cls.wanted}, got {tuple(made)!r}")
        return made


LARGEST_RECIPE = 2**18
"""Characters of a recipe file."""
NO_AUGMENTATION, NO_MILESTONES, ONE_SIZE = Augmentation(), Milestones(), ResizeSchedule()


@takes_old_names
@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides what training does, apart from net and data."""

    name: str
    """The named recipe that this one began as."""
    source: str
    """Where its figures come from."""
    epochs: Epochs
    """Passes over the training images; a part of one is possible where a time budget decides."""
    budget: Seconds | None = None
    """Seconds that the whole command may take; `epochs` is planned from it."""
    batch_size: Batch
    """Images per step. The batches of an epoch are near-equal: their sizes differ by at most one."""
    optimizer: Optimizer
    lr: Rate
    """The highest learning rate of the schedule."""
    momentum: Part = 0.0
    """Momentum of `sgd`."""
    nesterov: bool = False
    """Whether `sgd` uses Nesterov momentum."""
    weight_decay: Annotated[float, Within(0)] = 0.0
    decay_all: bool = False
    """Whether biases and norms decay too, as the papers had it."""
    schedule: Schedule
    """`one-cycle`: linear rise over `warmup`, then linear fall to zero. `constant`. `step`: the factors at the `milestones`."""
    warmup: Share = 0.0
    """Share of training with a linear rise from zero."""
    milestones: Milestones = NO_MILESTONES
    """Schedule of `step`: (share of training, factor on `lr` from there on), in order."""
    label_smoothing: Part = 0.0
    balance: Balance = "none"
    """Class imbalance: `weights` lets the loss of a rare class count more, `sampler` shows each as often."""
    augmentation: Augmentation = NO_AUGMENTATION
    """What is done to the training images."""
    resize_schedule: ResizeSchedule = ONE_SIZE
    """Progressive resizing: (share of training, shorter side in pixels that batches are scaled to from there on), in order, the
    first from 0 on. Empty: always the size of the preprocessing, which validation, test and prediction use in any case."""
    micro_batches: Count = 1
    """Micro-batches that a batch is split into, computed one after the other: less memory for the same step (gradient
    accumulation within the batch; it does not enlarge it). Batch norm sees one micro-batch at a time."""
    freeze: Share = 0.0
    """Fraction of training, at its start, with a frozen backbone: only the head learns."""
    ema: Part = 0.0
    """Decay per step of an exponential moving average (EMA) of the weights, which is validated, evaluated and saved instead of
    them; 0 for none."""
    keep: Keep = "last"
    """`last`: the weights at the end of the schedule. `best`: those of the epoch with the best validation accuracy."""
    patience: Patience | None = None
    """Training stops when validation was no better for so many epochs; None for never."""
    validation: Part = 0.1
    """Share of the training images kept for validation where the data has no validation split of its own."""
    seed: Seed = 0
    """Decides weights, order, augmentation and dropout."""

    def __post_init__(self) -> None:
        """Raises UsageError for a value of another type or beyond its limits, which it names."""
        for name, kind in (("resize_schedule", ResizeSchedule), ("milestones", Milestones)):
            object.__setattr__(self, name, kind(getattr(self, name)))
        check_fields(self)

    def rate(self, progress: float) -> float:
        """The learning rate when a share `progress` (0 <= progress < 1) of the steps is done."""
        if self.schedule == "step":
            factor = 1.0
            for share, value in self.milestones:
                factor = value if progress >= share else factor
            return self.lr * factor
        if progress < self.warmup:
            return self.lr * progress / self.warmup
        if self.schedule == "constant":
            return self.lr
        return self.lr * (1 - progress) / (1 - self.warmup)

    def side(self, progress: float) -> int | None:
        """Shorter side of the images when a share `progress` of the steps is done; None for that of the preprocessing."""
        return next((side for share, side in reversed(self.resize_schedule) if progress >= share), None)

    def work(self, progress: float) -> float:
        """The share of the arithmetic of a whole training that is done with a share `progress` of its steps, which differs where
        the sizes change: the cost of a step is proportional to the area of its images.
        """
        spans = self.resize_schedule or ((0.0, 1),)
        ends = (*(share for share, _ in spans[1:]), 1.0)
        done, whole = (
            sum(max(0.0, min(end, until) - begin) * side**2 for (begin, side), end in zip(spans, ends, strict=True))
            for until in (progress, 1.0)
        )
        return float(done / whole)

    def changed(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe with other values in some fields. A text is read as the field's type has it: `5e-4`, `true`, `0.1@0.5`.

        Raises:
            UsageError: an unknown field, or a value of another type or out of its range.
        """
        known = [field.name for field in fields(self) if field.name not in ("name", "source")]
        given = {name.replace("-", "_"): value for name, value in renamed(values).items()}
        if unknown := sorted(given.keys() - set(known)):
            raise unknown_name("recipe field", unknown[0], known, ", ".join(known))
        return replace(self, **{name: read_field(name, value) for name, value in given.items()})

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """The recipe in a YAML file: the fields of this class by name, or a run's config.yaml. Without `name` and `source` it is
        named after the file.

        Raises:
            UsageError: no such file.
            DataError: it is no YAML, or a field is missing, unknown, of another type or out of its range; both are named.
        """
        path = Path(path)
        try:
            with path.open(encoding="utf-8-sig") as file:
                text = file.read(LARGEST_RECIPE + 1)
            values = yaml.safe_load(text) if len(text) <= LARGEST_RECIPE else None
        except OSError as error:
            raise UsageError(f"the recipe file {path} cannot be read ({error.strerror})") from None
        except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
            raise DataError(f"{path} is not YAML: {' '.join(str(error).split())[:300]}") from error
        if isinstance(values, dict) and isinstance(values.get("recipe"), dict):
            values = values["recipe"]
        if not isinstance(values, dict) or not all(isinstance(name, str) and _is_flat(values[name]) for name in values):
            raise DataError(f"{path} is no recipe: it must hold fields and values, such as lr: 0.1")
        try:
            known = {field.name for field in fields(cls)} - {"name", "source"}
            given = {
                name: read_field(name, value) if name in known else value for name, value in renamed(values).items()
            }
            return cls.from_dict({"name": path.stem, "source": path.name, **given})
        except (UsageError, DataError) as error:
            raise DataError(f"{path}: {error}") from error

    def as_dict(self) -> dict[str, object]:
        """Plain lists and numbers, for the run's config."""
        return {field.name: written(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, newer: bool = False) -> Recipe:
        """The inverse of `as_dict`, which also reads the names that older runs have. `newer`: whether unknown fields are ignored.

        Raises:
            UsageError: an unknown field.
            DataError: one is missing, of another type or out of its range; it names the field.
        """
        known, values = {field.name for field in fields(cls)}, renamed(values)
        if not newer and (unknown := sorted(values.keys() - known)):
            raise unknown_name("recipe field", unknown[0], known, ", ".join(sorted(known)))
        return read(cls, values, "recipe")


def _is_flat(value: Any) -> bool:
    """Whether it is a value, or a list of pairs of values."""
    rows = value if isinstance(value, list) else [[value]]
    return all(isinstance(row, list) and not any(isinstance(one, list | dict) for one in row) for row in rows)


def read_field(name: str, value: Any) -> Any:
    """A value as a field has it: that of a text is read by the field's type."""
    hint = get_type_hints(Recipe)[name]
    kinds = get_args(hint) if get_origin(hint) is UnionType else (hint,)
    if not isinstance(value, str) or get_origin(hint) is Literal:
        return value
    if NoneType in kinds and value == "none":
        return None
    if hasattr(hint, "parse"):
        return hint.parse(value)
    try:
        return {"true": True, "false": False}[value.lower()] if hint is bool else kinds[0](value)
    except (ValueError, KeyError):
        check(name, value, hint)
        raise
