"""Settings: what a person asks for when a net is to be trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from striate.arguments import check_fields
from striate.data import DataSet
from striate.data.augmentation import Augmentation
from striate.data.preprocessing import Fit
from striate.recipe import Balance, Keep, Recipe, Sizes
from striate.tracking import Kind


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be asked for of a training. Where a field is None the recipe decides, or what is measured."""

    net: str | torch.nn.Module = "lenet5"
    """A name of the catalogue; `torchvision:NAME`, `timm:NAME` or `FILE.py:OBJECT`, see docs/elsewhere.md; or a module, whose
    present weights are the start. A module is copied, not changed."""
    data: str | Path | DataSet = "fashion-mnist-sample"
    """A set's name, a folder or table of pictures, or a NumPy archive: see `load_data`; or what that gave. What decides how files
    are read (`group_by`, `exclude`, `fit`, `size`) is that of `load_data` then."""
    recipe: str | Recipe = "fast"
    """`fast`, `paper`, `tutorial`, or a Recipe of your own. What follows is laid over it where it is given."""
    epochs: float | None = None
    """Passes over the training pictures."""
    budget: float | None = None
    """Seconds for the whole command instead; the epochs are planned from it."""
    batch_size: int | None = None
    lr: float | None = None
    seed: int | None = None
    validation: float | None = None
    balance: Balance | None = None
    accumulate: int | None = None
    freeze: float | None = None
    ema: float | None = None
    keep: Keep | None = None
    patience: int | None = None
    """As those above: see `Recipe`."""
    augment: str | Augmentation | None = None
    """What is done to training pictures instead of what the recipe does: `flip,shift=4,colour`, `none`, or an `Augmentation`."""
    sizes: str | Sizes | None = None
    """Progressive sizes instead of the recipe's: `112,168@0.5,224@0.75`, `full` for none, or as `Recipe` has them."""
    group_by: str | None = None
    """A pattern in file names, such as `patient[0-9]+`: files in which it finds the same are never on two sides of a split that
    is made."""
    exclude: Sequence[str] = ()
    splits: str | None = None
    """Patterns of files to leave out, such as `ants/*.gif`."""
    on_bad: Literal["skip", "stop"] = "skip"
    """Whether files that cannot be read are left out and named, or are an error."""
    size: int | None = None
    """Pictures are scaled to (size, size) pixels."""
    fit: Fit = "crop"
    """How pictures of another shape come to that: `crop`, `pad` or `squash`, see `Preprocessing`."""
    range: str | Sequence[float] | None = None
    """The values that are black and white in images of more than 8 bits, as in `(0, 4095)`; None for what is known of them."""
    init: Literal["default", "paper"] = "default"
    """How the weights are drawn."""
    pretrained: bool = False
    """Begin with published ImageNet weights, downloaded once; their mean and deviation too."""
    weights: str | Path | None = None
    """Begin with the weights in this file instead, of anybody's training of the same net; a classifier of other classes begins
    anew, and pictures get the mean and deviation that the file names, where it does. See docs/sharing.md."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps`."""
    threads: int | None = None
    layout: str | None = None
    """Threads of torch on the CPU, and the layout of the weights, `nchw` or `nhwc`; the fastest, measured, if None. Sums of
    floats depend on them, so that two runs of one seed are the same to the bit only with the same ones."""
    precision: Literal["fp32", "bf16"] | None = None
    """`bf16`: convolutions and matrix products of training in bfloat16, weights, norms and loss in float32; evaluation is always
    float32. The faster one if None, measured, on CUDA; float32 elsewhere."""
    compile: bool = False
    """Train through torch.compile: steps may be faster, beginning takes longer."""
    deterministic: bool = False
    """Use only operations that give the same bits each time, so that a resumed run is exact on CUDA too. Slower there; on the
    CPU nothing is different."""
    processes: int | None = None
    """Ranks to train in on this machine, each on its share of every batch; one if None. Under torchrun, those that it started."""
    log: Kind | None = None
    """Log the run in `tensorboard` or `mlflow` too, see docs/tracking.md; a resumed run goes on with the same log."""
    data_dir: str | Path | None = None
    """Where to look for named sets first."""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def first_seed(self) -> int:
        """The seed that the run will have, known before its recipe."""
        if self.seed is not None:
            return self.seed
        return self.recipe.seed if isinstance(self.recipe, Recipe) else 0
