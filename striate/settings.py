"""Settings: what a person asks for when a net is to be trained, each field said once.

From the fields come the signature of `striate.train`, the options of `striate train` with their help and choices, and what the
config keeps. Loads nothing heavy: the command line reads it to answer `--help`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, get_args, get_type_hints

from striate.arguments import check_fields
from striate.choices import Balance, Fit, Init, Keep, Layout, LogKind, OnBad, Precision

if TYPE_CHECKING:
    from torch import nn

    from striate.data import DataSet
    from striate.data.augmentation import Augmentation
    from striate.recipe import Recipe, Sizes

P = ParamSpec("P")
S = TypeVar("S")
R = TypeVar("R")

Group = Literal["Data", "Training", "Start", "Machine", "Output"]


def option(default: Any, help: str, group: Group, *, short: str = "", environment: str = "", metavar: str = "") -> Any:
    """A field with what the command line says of it.

    Args:
        default: its value where nothing is asked for.
        help: what it does, for both the command line and Python.
        group: the heading that `--help` shows it under.
        short: a one-letter option besides the long one, as in `-b`.
        environment: a variable that gives the value where no option does.
        metavar: what stands for the value in `--help`.
    """
    about = {"help": help, "group": group, "short": short, "environment": environment, "metavar": metavar}
    return field(default=default, metadata=about)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be asked for of a training. Where a field is None the recipe decides, or what is measured.

    `data` may also be what `load_data` gave; what decides how files are read (`group_by`, `exclude`, `splits`, `fit`, `range`,
    `size`) is that of `load_data` then. `net` may also be a module, which is copied and not changed, its present weights the
    start; `recipe` a Recipe, over which the other fields are laid where they are given; `augment` an Augmentation, and `sizes` as
    `Recipe` has them. `budget` is in seconds. Sums of floats depend on `threads` and `layout`: two runs of one seed are the same
    to the bit with the same ones.
    """

    net: str | nn.Module = option(
        "lenet5",
        "A net of the catalogue (striate nets lists them), FILE.py:OBJECT, torchvision:NAME or timm:NAME.",
        "Data",
    )
    data: str | Path | DataSet = option(
        "fashion-mnist-sample",
        "A set by name, or pictures of yours: a folder with one folder a class, a table of paths and labels, a .npz.",
        "Data",
    )
    _: KW_ONLY
    epochs: float | None = option(None, "Passes over the training pictures.", "Training")
    budget: float | None = option(
        None, "Time for the whole command instead, as in 90s, 5m or 1h30m.", "Training", metavar="TIME"
    )
    recipe: str | Recipe = option("fast", "fast, paper or tutorial.", "Training")
    batch_size: int | None = option(None, "Pictures a step.", "Training", short="-b")
    lr: float | None = option(None, "Highest learning rate.", "Training")
    seed: int | None = option(None, "Decides weights, order and augmentation.", "Training")
    augment: str | Augmentation | None = option(
        None, "What is done to training pictures, as in flip,shift=4,colour; docs/data.md lists the kinds.", "Training"
    )
    size: int | None = option(None, "Scale pictures to so many pixels each way.", "Data")
    fit: Fit = option(
        "crop", "How pictures of another shape come to size: crop the middle, pad with black, or squash.", "Data"
    )
    validation: float | None = option(None, "Share of the training pictures kept for validation.", "Data")
    splits: str | None = option(
        None,
        "Which folders are splits, as in train=training_set,test=test_set; none if every folder is a class. "
        "By their names if left out.",
        "Data",
    )
    range: str | Sequence[float] | None = option(
        None, "Values of black and white in images of more than 8 bits, as in 0,4095.", "Data", metavar="LOW,HIGH"
    )
    group_by: str | None = option(
        None, "Pattern in file names; files in which it finds the same are never on two sides of a split.", "Data"
    )
    exclude: Sequence[str] = option(
        (), "Leave out files whose path or name fits, as in 'ants/*.gif'; any number of times.", "Data"
    )
    on_bad: OnBad = option(
        "skip", "Files that cannot be read: skip leaves them out and names them, stop is an error.", "Data"
    )
    balance: Balance | None = option(
        None,
        "For classes of very different sizes: weights in the loss, or a sampler that shows each as often.",
        "Training",
    )
    patience: int | None = option(None, "Stop when validation was no better for so many epochs.", "Training")
    keep: Keep | None = option(None, "last weights, or the best ones by validation accuracy.", "Training")
    ema: float | None = option(
        None, "Keep a running mean of the weights with this decay a step, as in 0.99.", "Training"
    )
    sizes: str | Sizes | None = option(
        None, "Progressive sizes of the training pictures, as in 112,168@0.5,224@0.75, or full for none.", "Training"
    )
    freeze: float | None = option(
        None, "Share of training, at its beginning, in which only the head learns.", "Training"
    )
    init: Init = option("default", "How weights are drawn: default, or paper.", "Start")
    pretrained: bool = option(False, "Begin with the ImageNet weights that torchvision, or timm, publishes.", "Start")
    weights: str | Path | None = option(
        None, "Begin with the weights in this file, .pth or .safetensors; docs/sharing.md.", "Start"
    )
    accumulate: int | None = option(None, "Compute each batch in so many parts, for less memory.", "Machine")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps.", "Machine")
    threads: int | None = option(None, "Threads on the CPU; measured if left out.", "Machine")
    layout: Layout | None = option(None, "Layout of the weights; measured if left out.", "Machine")
    precision: Precision | None = option(
        None, "fp32, or bf16 for bfloat16 where it is safe; the faster one on CUDA if left out.", "Machine"
    )
    compile: bool = option(False, "Train through torch.compile.", "Machine")
    deterministic: bool = option(False, "The same bits each time on CUDA too, slower.", "Machine")
    processes: int | None = option(
        None, "Train in so many processes, each on its share of every batch; docs/scale.md has more.", "Machine"
    )
    data_dir: str | Path | None = option(
        None, "Where to look for named sets first.", "Data", environment="STRIATE_DATA"
    )
    name: str | None = option(None, "Name of the run.", "Output")
    out: str | Path = option(Path("runs"), "Folder of the runs.", "Output")
    log: LogKind | None = option(None, "Log the run in tensorboard or mlflow too; docs/tracking.md.", "Output")

    def __post_init__(self) -> None:
        """Raises UsageError for a value of another type. Who makes settings trains, so what is imported here is needed anyway."""
        from torch import nn

        from striate.data import DataSet
        from striate.data.augmentation import Augmentation
        from striate.recipe import Recipe, Sizes

        check_fields(self, nn=nn, DataSet=DataSet, Augmentation=Augmentation, Recipe=Recipe, Sizes=Sizes)

    @property
    def first_seed(self) -> int:
        """The seed that the run will have, known before its recipe."""
        return self.seed if self.seed is not None else int(getattr(self.recipe, "seed", 0))


class _Own:
    """Stands for a type of the library that no text becomes."""


@cache
def plain_types() -> dict[str, tuple[Any, bool]]:
    """Field -> (its type without None and without the library's own types, whether None is possible)."""
    own = {"nn": SimpleNamespace(Module=_Own), "Augmentation": _Own, "Recipe": _Own, "Sizes": _Own, "DataSet": _Own}
    hints = get_type_hints(Settings, localns=own)
    parts = {name: get_args(hint) if isinstance(hint, UnionType) else (hint,) for name, hint in hints.items()}
    return {
        item.name: (
            next(part for part in parts[item.name] if part not in (_Own, NoneType)),
            NoneType in parts[item.name],
        )
        for item in fields(Settings)
    }


def asked(settings: Settings) -> dict[str, Any]:
    """The fields that differ from their defaults, in their order."""
    return {item.name: value for item in fields(settings) if (value := getattr(settings, item.name)) != item.default}


def takes(make: Callable[P, S]) -> Callable[[Callable[[S], R]], Callable[P, R]]:
    """Gives a function of one object the signature by which that object is made, for people, editors and type checkers."""

    def wrap(work: Callable[[S], R]) -> Callable[P, R]:
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return work(make(*args, **kwargs))

        call.__name__, call.__qualname__, call.__module__ = work.__name__, work.__qualname__, work.__module__
        call.__doc__ = work.__doc__
        call.__signature__ = inspect.signature(make)  # type: ignore[attr-defined]
        return call

    return wrap
