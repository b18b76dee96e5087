"""A training so small that it can be broken in a hundred ways within seconds."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from striate.data import ImageData, Preprocessing
from striate.data.augmentation import Augmentation
from striate.files import write_yaml
from striate.namedrecipes import FAST_NORM
from striate.nets import build
from striate.run import Run
from striate.training import Audience, Progress, State, fit, fresh_state, make_job, resumed_state
from striate.training.clock import Clock
from striate.training.job import Job
from tests import run_config

BATCH, PICTURES, HELD = 8, 64, 16
RECIPE = replace(FAST_NORM, epochs=3, batch_size=BATCH, lr=0.02, augmentation=Augmentation(shift=2), seed=5)


@dataclass
class Tiny:
    """A run of 24 steps, 8 an epoch, with batch norm, momentum and augmentation."""

    run: Run
    job: Job
    state: State
    warnings: list[str]

    def fit(self, progress: Progress | None = None) -> None:
        """Trains to the end."""
        fit(self.job, self.run, self.state, Clock(0.0), Audience([progress] if progress else []))

    def bits(self) -> dict[str, torch.Tensor]:
        """Weights, buffers and the optimizer's momenta."""
        momenta = self.job.optimizer.state_dict()["state"]
        return {
            **{name: tensor.clone() for name, tensor in self.job.net.state_dict().items()},
            **{f"momentum {key}": value["momentum_buffer"].clone() for key, value in momenta.items()},
        }


def pictures(count: int, seed: int) -> ImageData:
    """Grey ones of 28x28, brighter the higher their label, with noise."""
    labels = np.arange(count) % 10
    noise = np.random.default_rng(seed).integers(0, 120, (count, 28, 28, 1))
    return ImageData((noise + 12 * labels[:, None, None, None]).astype(np.uint8), labels, tuple("0123456789"))


def make_tiny(folder: Path, resume: bool, steps: int | None, changes: dict[str, Any]) -> Tiny:
    """The training in `folder`: afresh, or from its newest checkpoint."""
    recipe = replace(RECIPE, **changes)
    preprocessing = Preprocessing(size=(28, 28), channels=1, mean=(0.5,), std=(0.25,))
    total = steps if steps is not None else round(recipe.epochs * PICTURES / BATCH)
    per_epoch = PICTURES // BATCH
    config = run_config.config(
        "lenet5-bn",
        preprocessing=preprocessing.as_dict(),
        recipe=recipe.as_dict(),
        plan={"steps": total, "steps_per_epoch": per_epoch, "epochs": total / per_epoch, "seconds_per_step": 0.01},
    )
    run = Run(folder)
    if not resume:
        write_yaml(run.path / "config.yaml", config)
    torch.manual_seed(recipe.seed)
    net = build("lenet5-bn")
    job = make_job(recipe, preprocessing, (pictures(PICTURES, 7), pictures(HELD, 8)), torch.device("cpu"), net)
    state, warnings = resumed_state(job, run) if resume else (fresh_state(job), [])
    return Tiny(run, job, state, warnings)


def same_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of named tensors are equal to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
