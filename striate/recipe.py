"""Recipe: how a net is trained, one frozen dataclass, validated, kept with the run and enough to repeat it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from striate.arguments import check_fields
from striate.choices import Balance, Keep, Optimizer, Schedule, renamed, takes_old_names
from striate.data.augmentation import Augmentation
from striate.errors import UsageError, check_choice, unknown_name
from striate.forms import read
from striate.nets import FAMILIES

ResizeSchedule = tuple[tuple[float, int], ...]
NO_AUGMENTATION = Augmentation()
MOST_EPOCHS, LARGEST_BATCH, LARGEST_SIDE = 1_000_000, 2**24, 4096
"""Limits far above what anybody trains with: beyond them is a slip of the hand, which would run for years or out of memory."""
LARGEST_SEED = 2**63 - 1


@takes_old_names
@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides what training does, apart from net and data."""

    name: str
    """The named recipe that this one began as."""
    source: str
    """Where its figures come from."""
    epochs: float
    """Passes over the training images; a part of one is possible where a time budget decides."""
    budget: float | None = None
    """Seconds that the whole command may take; `epochs` is planned from it."""
    batch_size: int
    """Images per step. The batches of an epoch are near-equal: their sizes differ by at most one."""
    optimizer: Optimizer
    lr: float
    """The highest learning rate of the schedule."""
    momentum: float = 0.0
    """For `sgd`."""
    nesterov: bool = False
    """For `sgd` with momentum."""
    weight_decay: float = 0.0
    decay_all: bool = False
    """Whether biases and norms decay too, as the papers had it."""
    schedule: Schedule
    """`one-cycle`: linear rise over `warmup`, then linear fall to zero. `constant`. `step`: the factors at the `milestones`."""
    warmup: float = 0.0
    """Share of training with a linear rise from zero."""
    milestones: tuple[tuple[float, float], ...] = ()
    """For `step`: (share of training, factor on `lr` from there on), in order."""
    label_smoothing: float = 0.0
    balance: Balance = "none"
    """For classes of very different sizes: `weights` lets the loss of a rare class count more, `sampler` shows each as often."""
    augmentation: Augmentation = NO_AUGMENTATION
    """What is done to the training images."""
    resize_schedule: ResizeSchedule = ()
    """Progressive resizing: (share of training, shorter side in pixels that batches are scaled to from there on), in order, the
    first from 0 on. Empty: always the size of the preprocessing, which validation, test and prediction use in any case."""
    micro_batches: int = 1
    """Micro-batches that a batch is split into, computed one after the other: less memory for the same step (gradient
    accumulation within the batch; it does not enlarge it). Batch norm sees one micro-batch at a time."""
    freeze: float = 0.0
    """Fraction of training, at its start, with a frozen backbone: only the head learns."""
    ema: float = 0.0
    """Decay per step of an exponential moving average (EMA) of the weights, which is validated, evaluated and saved instead of
    them; 0 for none."""
    keep: Keep = "last"
    """`last`: the weights at the end of the schedule. `best`: those of the epoch with the best validation accuracy."""
    patience: int | None = None
    """Training stops when validation was no better for so many epochs; None for never."""
    validation: float = 0.1
    """Share of the training images kept for validation where the data has no validation split of its own."""
    seed: int = 0
    """Decides weights, order, augmentation and dropout."""

    def __post_init__(self) -> None:
        check_fields(self)
        self._require(math.isfinite(self.epochs) and self.epochs > 0, "epochs", "above 0")
        self._require(self.epochs <= MOST_EPOCHS, "epochs", f"at most {MOST_EPOCHS:,}")
        self._require(self.budget is None or 0 < self.budget < math.inf, "budget", "above 0 seconds")
        self._require(self.batch_size >= 1, "batch_size", "at least 1")
        self._require(self.batch_size <= LARGEST_BATCH, "batch_size", f"at most {LARGEST_BATCH:,}")
        self._require(math.isfinite(self.lr) and self.lr > 0, "lr", "above 0")
        self._require(0 <= self.momentum < 1, "momentum", "at least 0 and below 1")
        self._require(self.weight_decay >= 0, "weight_decay", "at least 0")
        self._require(0 <= self.warmup <= 1, "warmup", "from 0 to 1")
        self._require(0 <= self.label_smoothing < 1, "label_smoothing", "at least 0 and below 1")
        self._require(0 <= self.validation < 1, "validation", "at least 0 and below 1")
        self._require(0 <= self.seed <= LARGEST_SEED, "seed", "from 0 to 2^63 - 1")
        for field, choice in (("optimizer", Optimizer), ("schedule", Schedule), ("keep", Keep), ("balance", Balance)):
            check_choice(field, getattr(self, field), choice)
        self._require(self.micro_batches >= 1, "micro_batches", "at least 1")
        self._require(0 <= self.freeze <= 1, "freeze", "from 0 to 1")
        self._require(0 <= self.ema < 1, "ema", "at least 0 and below 1")
        self._require(self.patience is None or self.patience >= 1, "patience", "at least 1 epoch")
        shares = [share for share, _ in self.resize_schedule]
        in_order = shares == sorted(set(shares)) and shares[:1] in ([], [0.0]) and all(share < 1 for share in shares)
        self._require(
            in_order and all(1 <= side <= LARGEST_SIDE for _, side in self.resize_schedule),
            "resize_schedule",
            f"sides up to {LARGEST_SIDE} from shares 0 to below 1 on",
        )

    def _require(self, holds: bool, field: str, limit: str) -> None:
        if not holds:
            raise UsageError(f"{field.replace('_', '-')} must be {limit}, got {getattr(self, field)}")

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
        the sizes change: the arithmetic of a step goes with the area of its images.
        """
        spans = self.resize_schedule or ((0.0, 1),)
        ends = (*(share for share, _ in spans[1:]), 1.0)
        done, whole = (
            sum(max(0.0, min(end, until) - begin) * side**2 for (begin, side), end in zip(spans, ends, strict=True))
            for until in (progress, 1.0)
        )
        return done / whole

    def as_dict(self) -> dict[str, object]:
        """Plain lists and numbers, for the run's config."""
        pairs = {key: [list(pair) for pair in getattr(self, key)] for key in ("milestones", "resize_schedule")}
        return {**asdict(self), **pairs, "augmentation": str(self.augmentation)}

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


def parse_resize_schedule(text: str) -> ResizeSchedule:
    """`112,168@0.5,224@0.75` -> ((0, 112), (0.5, 168), (0.75, 224)); `full` -> (). Raises UsageError for anything else."""
    if text.strip() == "full":
        return ()
    try:
        pairs = [(share or "0", side) for side, _, share in (part.partition("@") for part in text.split(","))]
        return tuple((float(share), int(side)) for share, side in pairs)
    except ValueError:
        raise UsageError(
            f"sizes are sides in pixels with the share of training from which they hold, as in 112,168@0.5,224@0.75, or full; "
            f"got {text!r}"
        ) from None


def resize_schedule_text(sizes: ResizeSchedule) -> str:
    """The inverse of `parse_resize_schedule`."""
    return ",".join(f"{side}@{share!r}" if share else str(side) for share, side in sizes) or "full"


def for_long_runs(size: Sequence[int], flippable: bool) -> Augmentation:
    """What recipe `fast` does to the images of runs of LONG_RUN epochs and more: mirrors half of them, where a mirrored
    image keeps its class, and moves all by up to a fourteenth of their side: 2 pixels of 28.
    """
    return Augmentation(flip=flippable, shift=max(1, round(min(size) / 14)))


def progressive(size: Sequence[int], least: int) -> ResizeSchedule:
    """The sizes of recipe `fast`: half the side for half of training, then three quarters of it, then the whole for the last
    quarter; none below `least`, in multiples of 8, which strides divide. Nothing for images below PROGRESSIVE pixels.
    """
    full = min(size)
    if full < PROGRESSIVE:
        return ()
    wanted = {0.0: full / 2, 0.5: full * 3 / 4, 0.75: full}
    sides = {share: full if side == full else max(8 * round(side / 8), least) for share, side in wanted.items()}
    return tuple((share, side) for share, side in sides.items()) if sides[0.0] < full else ()


TUTORIAL = Recipe(
    name="tutorial",
    source="the loop of the well-known tutorials: Adam at a constant 1e-3, nothing else",
    epochs=10,
    batch_size=64,
    optimizer="adam",
    lr=1e-3,
    schedule="constant",
)

FAST_SMALL = Recipe(
    name="fast",
    source="measured on LeNet-5 for small nets without batch norm: bench/LOG.md",
    epochs=12,
    batch_size=128,
    optimizer="adamw",
    lr=8e-3,
    schedule="one-cycle",
    warmup=0.2,
)
SMALL = 1_000_000
"""Parameters below which a net without batch norm takes the high rate of FAST_SMALL."""

FEWEST_STEPS, SMALLEST_BATCH = 12, 16
"""Steps of an epoch that `fast` wants at the least, by batches down to this size: measured on 208 photos (bench/LOG.md)."""

FAST_PLAIN = replace(
    FAST_SMALL,
    source="a safe rate for nets without batch norm behind every layer, not tuned",
    lr=1e-3,
    weight_decay=0.01,
)

FAST_NORM = Recipe(
    name="fast",
    source="measured here for nets with batch norm: bench/LOG.md",
    epochs=12,
    batch_size=128,
    optimizer="sgd",
    lr=0.2,
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    schedule="one-cycle",
    warmup=0.2,
    label_smoothing=0.1,
)

_SGD = Recipe(
    name="paper",
    source="",
    epochs=90,
    batch_size=128,
    optimizer="sgd",
    lr=0.01,
    momentum=0.9,
    decay_all=True,
    schedule="step",
)

PAPER: dict[str, Recipe] = {
    family.name: Recipe.from_dict({**_SGD.as_dict(), **family.recipe}) for family in FAMILIES.values()
}
"""Family of the catalogue -> how its paper trained it."""

RECIPES = ("fast", "paper", "tutorial")
LONG_RUN = 20
"""Epochs from which `fast` alters its images: measured on LeNet-5 (bench/LOG.md)."""
PROGRESSIVE = 96
"""Pixels of the shorter side from which `fast` begins with smaller images."""


def _of_few(recipe: Recipe, pictures: int) -> Recipe:
    """Smaller batches, so that an epoch has its `FEWEST_STEPS`, and a rate that fits them: proportional to the batch for SGD
    (Goyal et al. 2017, section 2.1), to its root for Adam (Malladi et al. 2022).
    """
    wanted = 2 ** int(math.log2(max(pictures / FEWEST_STEPS, SMALLEST_BATCH)))
    share = min(1.0, wanted / recipe.batch_size)
    rate = recipe.lr * (share if recipe.optimizer == "sgd" else math.sqrt(share))
    return replace(recipe, batch_size=round(share * recipe.batch_size), lr=rate)


def named_recipe(name: str, *, family: str, batch_norm: bool, params: int, pictures: int = 10**9) -> Recipe:
    """The recipe of that name for a net: `fast`, `paper` or `tutorial`.

    Args:
        name: one of `RECIPES`.
        family: the net's file in the catalogue; `paper` has one recipe for each, and none for `elsewhere`.
        batch_norm: whether the net has batch norm behind all its hidden layers; `fast` differs by it.
        params: the net's trainable parameters; `fast` differs by them where the catalogue's net has no batch norm.
        pictures: to train on; of few, `fast` makes smaller batches.

    Raises:
        UsageError: no such recipe, or no paper's recipe for such a net.
    """
    if name == "fast":
        # A net from elsewhere may be deep however small it is: it gets the safe rate.
        small = params < SMALL and family in PAPER
        recipe = _of_few(FAST_NORM if batch_norm else FAST_SMALL if small else FAST_PLAIN, pictures)
    elif name == "tutorial":
        recipe = TUTORIAL
    elif name == "paper":
        if family not in PAPER:
            raise UsageError("a net from elsewhere has no paper's recipe here: use --recipe fast or --recipe tutorial")
        recipe = PAPER[family]
    else:
        raise unknown_name("recipe", name, RECIPES, ", ".join(RECIPES))
    return recipe
