"""Job: a resolved config and its data made into what the loop needs. A resumed run makes the same job as the first one."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from striate.data.batches import Batches, Order
from striate.data.draws import DROPOUT, draw_key
from striate.data.images import ImageData
from striate.data.preprocessing import Preprocessing
from striate.errors import UsageError, param
from striate.nets import Net
from striate.recipe import Recipe
from striate.training.ranks import ALONE, Ranks
from striate.training.step import TrainingStep, class_weights, make_optimizer


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Job:
    """What the loop works on, on the device; `step` is TrainingStep(net), `validation` has the size of `preprocessing`."""

    net: Net
    optimizer: torch.optim.Optimizer
    step: TrainingStep
    batches: Batches
    validation: ImageData | None
    preprocessing: Preprocessing
    recipe: Recipe
    device: torch.device
    ranks: Ranks = ALONE

    @property
    def smallest_share(self) -> int:
        """The fewest images that a rank has of a batch."""
        return len(self.batches.labels) // self.batches.steps_per_epoch // self.ranks.count

    def freeze_body(self, frozen: bool) -> None:
        """Lets the stages learn, or keeps their weights and the statistics of their batch norm as they are."""
        if self.net.stages.training == frozen:  # also after a validation, which puts the whole net back into its mode
            self.net.stages.train(not frozen).requires_grad_(not frozen)


def make_job(
    recipe: Recipe,
    preprocessing: Preprocessing,
    images: tuple[ImageData, ImageData | None],
    device: torch.device,
    net: Net,
    ranks: Ranks = ALONE,
) -> Job:
    """The job of a recipe: a net, and the images that it learns from and is validated on, at the size of the preprocessing.

    Raises UsageError if a batch has fewer images than it is to have micro-batches.
    """
    train, validation = (one and preprocessing.resized(one) for one in images)
    assert train is not None
    net = net.to(device)
    weights = class_weights(train).to(device) if recipe.balance == "weights" else None
    job = Job(
        net=net,
        optimizer=make_optimizer(net, recipe),
        step=TrainingStep(net, recipe.label_smoothing, weights),
        batches=Batches(
            train,
            preprocessing,
            recipe.augmentation,
            Order(recipe.batch_size, recipe.seed, balanced=recipe.balance == "sampler"),
            device,
        ),
        validation=validation,
        preprocessing=preprocessing,
        recipe=recipe,
        device=device,
        ranks=ranks,
    )  # fmt: skip
    if job.smallest_share < recipe.micro_batches:
        many, fewer = (f" on each of {ranks.count} ranks", "ranks") if ranks.count > 1 else ("", "micro-batches")
        raise UsageError(
            f"a batch of {len(train) // job.batches.steps_per_epoch} images cannot be split into {recipe.micro_batches} "
            f"micro-batch{'es' * (recipe.micro_batches > 1)}{many}: use a larger {param('batch_size')}, or fewer {fewer}"
        )
    return job


def seed_step(seed: int, step: int, device: torch.device, rank: int = 0) -> None:
    """Seeds torch for one step, so that dropout is a function of (seed, step, rank) and nothing has to be restored on resume.

    `torch.manual_seed` would do, but where CUDA is not in use it notes a stack trace at every call: 0.5 ms a step.
    """
    value = draw_key(seed, step, DROPOUT) ^ rank
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)
