"""Recipe: how a net is trained, one frozen dataclass, validated, kept with the run and enough to repeat it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from striate.data.augmentation import Augmentation
from striate.errors import UsageError, unknown_name
from striate.forms import read

Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["one-cycle", "constant", "step"]
Balance = Literal["none", "weights", "sampler"]
Keep = Literal["last", "best"]
Sizes = tuple[tuple[float, int], ...]
NO_AUGMENTATION = Augmentation()


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides what training does, apart from net and data."""

    name: str
    """The named recipe that this one began as."""
    source: str
    """Where its figures come from."""
    epochs: float
    """Passes over the training pictures; a part of one is possible where a time budget decides."""
    budget: float | None = None
    """Seconds that the whole command may take; `epochs` is planned from it."""
    batch_size: int
    """Pictures a step. The batches of an epoch are near-equal: their sizes differ by at most one."""
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
    """`one-cycle`: linear rise over `warmup`, then linear fall to zero. `constant`. `step`: the factors of `steps`."""
    warmup: float = 0.0
    """Share of training with a linear rise from zero."""
    steps: tuple[tuple[float, float], ...] = ()
    """For `step`: (share of training, factor on `lr` from there on), in order."""
    label_smoothing: float = 0.0
    balance: Balance = "none"
    """For classes of very different sizes: `weights` lets the loss of a rare class count more, `sampler` shows each as often."""
    augmentation: Augmentation = NO_AUGMENTATION
    """What is done to the training pictures."""
    sizes: Sizes = ()
    """Progressive sizes: (share of training, shorter side in pixels that the batches are scaled to from there on), in order, the
    first from 0 on. Empty: always the size of the preprocessing, which validation, test and prediction have in any case."""
    accumulate: int = 1
    """Parts that a batch is computed in, one after the other: less memory for the same step. Batch norm sees a part at a time."""
    freeze: float = 0.0
    """Share of training, at its beginning, in which only the head learns: for a body that was trained before."""
    ema: float = 0.0
    """Decay a step of a running mean of the weights, which is validated, evaluated and kept in their place; 0 for none."""
    keep: Keep = "last"
    """`last`: the weights at the end of the schedule. `best`: those of the epoch with the best validation accuracy."""
    patience: int | None = None
    """Training stops when validation was no better for so many epochs; None for never."""
    validation: float = 0.1
    """Share of the training pictures kept for validation where the data has no validation split of its own."""
    seed: int = 0
    """Decides weights, order, augmentation and dropout."""

    def __post_init__(self) -> None:
        self._require(math.isfinite(self.epochs) and self.epochs > 0, "epochs", "above 0")
        self._require(self.epochs <= 10**6, "epochs", "at most 1,000,000")
        self._require(self.budget is None or self.budget > 0, "budget", "above 0 seconds")
        self._require(self.batch_size >= 1, "batch_size", "at least 1")
        self._require(self.batch_size <= 2**24, "batch_size", f"at most {2**24:,}")
        self._require(math.isfinite(self.lr) and self.lr > 0, "lr", "above 0")
        self._require(0 <= self.momentum < 1, "momentum", "at least 0 and below 1")
        self._require(self.weight_decay >= 0, "weight_decay", "at least 0")
        self._require(0 <= self.warmup <= 1, "warmup", "from 0 to 1")
        self._require(0 <= self.label_smoothing < 1, "label_smoothing", "at least 0 and below 1")
        self._require(0 <= self.validation < 1, "validation", "at least 0 and below 1")
        self._require(0 <= self.seed < 2**63, "seed", "from 0 to 2^63 - 1")
        self._require(self.optimizer in ("adamw", "adam", "sgd"), "optimizer", "adamw, adam or sgd")
        self._require(self.schedule in ("one-cycle", "constant", "step"), "schedule", "one-cycle, constant or step")
        self._require(self.accumulate >= 1, "accumulate", "at least 1")
        self._require(0 <= self.freeze <= 1, "freeze", "from 0 to 1")
        self._require(0 <= self.ema < 1, "ema", "at least 0 and below 1")
        self._require(self.keep in ("last", "best"), "keep", "last or best")
        self._require(self.patience is None or self.patience >= 1, "patience", "at least 1 epoch")
        shares = [share for share, _ in self.sizes]
        in_order = shares == sorted(set(shares)) and shares[:1] in ([], [0.0]) and all(share < 1 for share in shares)
        self._require(
            in_order and all(1 <= side <= 4096 for _, side in self.sizes),
            "sizes",
            "sides of at most 4096 pixels from shares 0 to below 1 on",
        )
        self._require(self.balance in ("none", "weights", "sampler"), "balance", "none, weights or sampler")

    def _require(self, holds: bool, field: str, limit: str) -> None:
        if not holds:
            raise UsageError(f"{field.replace('_', '-')} must be {limit}, got {getattr(self, field)}")

    def rate(self, progress: float) -> float:
        """The learning rate when a share `progress` (0 <= progress < 1) of the steps is done."""
        if self.schedule == "step":
            factor = 1.0
            for share, value in self.steps:
                factor = value if progress >= share else factor
            return self.lr * factor
        if progress < self.warmup:
            return self.lr * progress / self.warmup
        if self.schedule == "constant":
            return self.lr
        return self.lr * (1 - progress) / (1 - self.warmup)

    def side(self, progress: float) -> int | None:
        """Shorter side of the pictures when a share `progress` of the steps is done; None for that of the preprocessing."""
        return next((side for share, side in reversed(self.sizes) if progress >= share), None)

    def work(self, progress: float) -> float:
        """The share of the arithmetic of a whole training that is done with a share `progress` of its steps, which differs where
        the sizes change: the arithmetic of a step goes with the area of its pictures.
        """
        spans = self.sizes or ((0.0, 1),)
        ends = (*(share for share, _ in spans[1:]), 1.0)
        done, whole = (
            sum(max(0.0, min(end, until) - begin) * side**2 for (begin, side), end in zip(spans, ends, strict=True))
            for until in (progress, 1.0)
        )
        return done / whole

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for the run's config."""
        pairs = {key: [list(pair) for pair in getattr(self, key)] for key in ("steps", "sizes")}
        return {**asdict(self), **pairs, "augmentation": str(self.augmentation)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, newer: bool = False) -> Recipe:
        """The inverse of `as_dict`. `newer`: whether fields that there are not are left aside.

        Raises:
            UsageError: a field that there is not.
            DataError: one is missing, of another type or out of its range; it names the field.
        """
        known = {field.name for field in fields(cls)}
        if not newer and (unknown := sorted(values.keys() - known)):
            raise unknown_name("recipe field", unknown[0], known, ", ".join(sorted(known)))
        return read(cls, dict(values), "recipe")


def parse_sizes(text: str) -> Sizes:
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


def sizes_text(sizes: Sizes) -> str:
    """The inverse of `parse_sizes`."""
    return ",".join(f"{side}@{share:g}" if share else str(side) for share, side in sizes) or "full"


def for_long_runs(size: Sequence[int], flippable: bool) -> Augmentation:
    """What recipe `fast` does to the pictures of runs of LONG_RUN epochs and more: mirrors half of them, where a mirrored
    picture keeps its class, and moves all by up to a fourteenth of their side: 2 pixels of 28.
    """
    return Augmentation(flip=flippable, shift=max(1, round(min(size) / 14)))


def progressive(size: Sequence[int], least: int) -> Sizes:
    """The sizes of recipe `fast`: half the side for half of training, then three quarters of it, then the whole for the last
    quarter; none below `least`, in multiples of 8, which strides divide. Nothing for pictures below PROGRESSIVE pixels.
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
    "lenet": replace(
        _SGD,
        source="LeCun et al. 1998, section III.C: 20 passes, one picture a step, global rates 5e-4, 2e-4, 1e-4, 5e-5, 1e-5 over "
        "mu = 0.02; plain gradient steps here for the paper's diagonal second-order ones",
        epochs=20,
        batch_size=1,
        lr=0.025,
        momentum=0.0,
        steps=((0.1, 0.4), (0.25, 0.2), (0.4, 0.1), (0.6, 0.02)),
    ),
    "alexnet": replace(
        _SGD,
        source="Krizhevsky et al. 2012, section 5: rate divided by 10 three times; when is not given, equal quarters here",
        weight_decay=5e-4,
        steps=((0.25, 0.1), (0.5, 0.01), (0.75, 0.001)),
        augmentation=Augmentation(flip=True),
    ),
    "vgg": replace(
        _SGD,
        source="Simonyan and Zisserman 2014, section 3.1: 74 epochs, rate divided by 10 three times; equal quarters here",
        epochs=74,
        batch_size=256,
        weight_decay=5e-4,
        steps=((0.25, 0.1), (0.5, 0.01), (0.75, 0.001)),
        augmentation=Augmentation(flip=True),
    ),
    "nin": replace(
        _SGD,
        source="Lin et al. 2013, section 4.1: batch 128, rate divided by 10 twice; rate, epochs and times are not given, "
        "0.1 and AlexNet's 90 here",
        lr=0.1,
        weight_decay=5e-4,
        steps=((0.5, 0.1), (0.75, 0.01)),
        augmentation=Augmentation(flip=True),
    ),
    "googlenet": replace(
        _SGD,
        source="Szegedy et al. 2014, section 6: momentum 0.9, rate less 4 % every 8 epochs; rate, batch and decay are not "
        "given, those of Caffe's reference solver here",
        epochs=250,
        batch_size=32,
        weight_decay=2e-4,
        steps=tuple((8 * i / 250, 0.96**i) for i in range(1, 32)),
        augmentation=Augmentation(flip=True),
    ),
    "resnet": replace(
        _SGD,
        source="He et al. 2015, section 4.2: 64,000 steps of 128, rate divided by 10 at a half and at three quarters",
        epochs=182,
        lr=0.1,
        weight_decay=1e-4,
        steps=((0.5, 0.1), (0.75, 0.01)),
        augmentation=Augmentation(flip=True, shift=4),
    ),
    "preresnet": replace(
        _SGD,
        source="He et al. 2016, appendix: as He et al. 2015, section 4.2, at a tenth of the rate for the first 400 steps",
        epochs=182,
        lr=0.1,
        weight_decay=1e-4,
        steps=((0.0, 0.1), (400 / 64_000, 1.0), (0.5, 0.1), (0.75, 0.01)),
        augmentation=Augmentation(flip=True, shift=4),
    ),
    "densenet": replace(
        _SGD,
        source="Huang et al. 2017, section 4.2 (CIFAR): batch 64, 300 epochs, rate divided by 10 at 50 % and 75 %",
        epochs=300,
        batch_size=64,
        lr=0.1,
        nesterov=True,
        weight_decay=1e-4,
        steps=((0.5, 0.1), (0.75, 0.01)),
        augmentation=Augmentation(flip=True, shift=4),
    ),
}

RECIPES = ("fast", "paper", "tutorial")
LONG_RUN = 20
"""Epochs from which `fast` alters its pictures: measured on LeNet-5 (bench/LOG.md)."""
PROGRESSIVE = 96
"""Pixels of the shorter side from which `fast` begins with smaller pictures."""


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
