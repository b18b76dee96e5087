"""Job: a resolved config and its data made into what the loop needs. A resumed run makes the same job as the first one."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from striate.choices import Layout, Precision
from striate.data.batches import Batches
from striate.data.draws import DROPOUT, draw_key
from striate.data.images import ImageData
from striate.data.preprocessing import Preprocessing
from striate.errors import StriateError, UsageError, out_of_memory, param
from striate.inference import BATCH, logits, set_layout
from striate.nets import Net
from striate.nets.copying import copied
from striate.recipe import Recipe
from striate.runforms.config import Plan
from striate.training.optimizers import make_optimizer
from striate.training.ranks import ALONE, Ranks
from striate.training.step import TrainingStep, class_weights

MEASURE_SECONDS = 0.4
"""How long all manners of computing are tried before step 1, each for three steps at the least."""
MEASURE_SHARE, MEASURE_MOST = 0.08, 5.0
"""Share of a budget, and cap in seconds, for timing the chosen manner again: the plan is made from it and corrected later."""
FEW_STEPS = 40
"""Below which no other manner is tried where a step is long."""
LONG_STEP = 0.3
"""Seconds from which a step needs no repeats to be timed, and no trial on one thread."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Job:
    """What the loop works on, all of it on the device.

    Attributes:
        net, optimizer, step: step is TrainingStep(net).
        validation: images at the size of `preprocessing`, or None.
        ranks: who trains: this process, and others with it.
    """

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

    Raises:
        UsageError: a batch has fewer images than the ranks are to compute it in parts.
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
            recipe.batch_size,
            recipe.seed,
            device,
            balanced=recipe.balance == "sampler",
        ),
        validation=validation,
        preprocessing=preprocessing,
        recipe=recipe,
        device=device,
        ranks=ranks,
    )
    if job.smallest_share < recipe.micro_batches:
        many = f" on each of {ranks.count} ranks" if ranks.count > 1 else ""
        fewer = "ranks" if many else "micro-batches"
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


@dataclass(frozen=True, slots=True)
class Manner:
    """How a step is computed; sums of floats, and so the last bits, depend on it.

    Attributes:
        threads: of torch on the CPU.
        layout: of the net's weights, from which convolutions take theirs: `nchw` or `nhwc` (torch's channels_last).
        precision: `fp32`, or `bf16` for convolutions and matrix products in bfloat16; weights, norms and loss stay float32.
        compiled: by torch.compile.
    """

    threads: int
    layout: Layout
    precision: Precision = "fp32"
    compiled: bool = False

    @classmethod
    def of(cls, plan: Plan) -> Manner:
        """The manner that a plan has."""
        return cls(plan.threads, plan.layout, plan.precision, plan.compiled)

    def adopt(self, step: TrainingStep) -> None:
        """Makes `step`, and torch in this process, compute so."""
        torch.set_num_threads(self.threads)
        set_layout(step.net, self.layout)
        step.bf16 = self.precision == "bf16"
        if self.compiled:
            step.compile()


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured before step 1.

    Attributes:
        manner: the fastest one.
        step: seconds of one training step; with progressive sizes, of the mean one.
        picture: seconds to classify one image.
        parts: that a batch must be computed in for memory to hold a step; the recipe's, or more.
    """

    manner: Manner
    step: float
    picture: float
    parts: int = 1


def measure(job: Job, manners: Sequence[Manner]) -> Speed:
    """Times training steps on copies of the job's net, and leaves job and torch in the fastest of the `manners`.

    A later manner must be 5 % better to be taken; only the one that is taken is compiled. One thread is tried only where a step
    is short: such nets can be many times faster on it, where other programs compute too, than on threads that wait for each
    other at every operation. Where steps are long and few, only the first manner is tried: looking would cost more than the
    best one could win.

    Ranks measure side by side, as they will train, and take what rank 0 found.
    """
    limit = MEASURE_SECONDS / len(manners)
    few = job.recipe.budget is None and job.recipe.epochs * job.batches.steps_per_epoch < FEW_STEPS
    best: tuple[float, Manner] | None = None
    parts = job.recipe.micro_batches
    for manner in manners:
        if best is not None and best[0] > LONG_STEP and (few or manner.threads < best[1].threads):
            continue
        seconds, parts = _time_steps(job, replace(manner, compiled=False), limit, parts)
        if best is None or seconds < 0.95 * best[0]:
            best = seconds, manner
    assert best is not None, "measure() needs at least one manner"
    seconds, manner = best
    seconds, manner = job.ranks.decided(lambda: (seconds, manner))
    manner.adopt(job.step)
    if job.recipe.budget is not None or manner.compiled:
        # The best of several short looks is too good to plan by: chance helped it.
        again = min(MEASURE_SHARE * (job.recipe.budget or 0.0), MEASURE_MOST)
        seconds, parts = _time_steps(job, manner, again, parts)
    seconds *= _relative_length(job, manner, limit, parts)
    step, picture = seconds + _exchange_seconds(job), _time_inference(job)
    step, picture = job.ranks.decided(lambda: (step, picture))
    return Speed(manner=manner, step=step, picture=picture, parts=job.ranks.agree(parts)[0])


def _relative_length(job: Job, manner: Manner, limit: float, parts: int) -> float:
    """How long the mean step is, with the sizes that the recipe has on the way, relative to one of the full size."""
    shares = [*(share for share, _ in job.recipe.resize_schedule), 1.0]
    full = min(job.preprocessing.size)
    smaller = {side for _, side in job.recipe.resize_schedule} - {full}
    if not smaller:
        return 1.0
    seconds = {side: _steps_in_parts(job, manner, limit, parts, side) for side in (*smaller, full)}
    spans = zip(job.recipe.resize_schedule, shares[1:], strict=True)
    return sum((end - begin) * seconds[side] for (begin, side), end in spans) / seconds[full]


def _exchange_seconds(job: Job) -> float:
    """Seconds in which the ranks average their gradients; a step waits for it so long at the most."""
    if job.ranks.count == 1:
        return 0.0
    numbers = torch.zeros(sum(parameter.numel() for parameter in job.net.parameters()), device=job.device)
    job.ranks.greatest(numbers)  # connects
    _wait(job.device)
    begin = time.perf_counter()
    for _ in range(3):
        job.ranks.greatest(numbers)
    _wait(job.device)
    return (time.perf_counter() - begin) / 3


def _time_steps(job: Job, manner: Manner, limit: float, parts: int) -> tuple[float, int]:
    """(seconds of a training step, parts of a batch that memory holds): the mean of at least three steps (of one where it is
    long), and of what fits into `limit`.
    """
    while True:
        try:
            return _steps_in_parts(job, manner, limit, parts), parts
        except RuntimeError as error:
            if manner.compiled and isinstance(error, torch._dynamo.exc.TorchDynamoException):
                reason = str(error).strip().splitlines()[0]
                raise StriateError(
                    f"torch.compile cannot compile {job.net.spec.name} here ({reason}): leave {param('compile')} out; on the "
                    "CPU it needs a C++ compiler"
                ) from error
            parts = more_parts(job, parts, error)


def _steps_in_parts(job: Job, manner: Manner, limit: float, parts: int, side: int | None = None) -> float:
    net = copied(job.net)
    module = TrainingStep(net, job.recipe.label_smoothing, job.step.weights)
    manner.adopt(module)
    optimizer = make_optimizer(net, job.recipe)

    def step(number: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        samples = job.batches.samples(0, number % job.batches.steps_per_epoch)
        for part in samples[job.ranks.share(len(samples))].tensor_split(parts):
            loss, _ = module(*job.batches.inputs(0, part, side))
            loss.backward()
        optimizer.step()

    begin = time.perf_counter()
    step(0)  # allocates and chooses kernels
    _wait(job.device)
    least = 1 if time.perf_counter() - begin > LONG_STEP else 3
    begin, steps = time.perf_counter(), 0
    while steps < least or time.perf_counter() - begin < limit:
        step(steps)
        steps += 1
        _wait(job.device)
    return (time.perf_counter() - begin) / steps


def more_parts(job: Job, parts: int, error: RuntimeError) -> int:
    """Twice as many parts for a batch, if `error` says that memory ran out.

    Raises:
        RuntimeError: `error`, where it is another one.
        StriateError: memory does not hold the step of a single image.
    """
    if not out_of_memory(error):
        raise error
    if 2 * parts > job.smallest_share:
        height, width = job.preprocessing.size
        raise StriateError(
            f"memory does not hold a training step of {job.net.spec.name} on {parts} parts of a batch of {job.recipe.batch_size} "
            f"images of {height}x{width}: use a smaller {param('size')}, or a smaller net"
        ) from error
    return 2 * parts


def _time_inference(job: Job) -> float:
    """Seconds to classify one image."""
    pixels = job.batches.data.pixels[:BATCH]
    logits(job.net, job.preprocessing, pixels[:32], job.device)
    begin = time.perf_counter()
    logits(job.net, job.preprocessing, pixels, job.device)
    return (time.perf_counter() - begin) / len(pixels)


def plan_steps(job: Job, speed: Speed, seconds: float | None) -> int:
    """How many steps to train: the recipe's epochs, or what fits into `seconds` of training and validation; at least one."""
    per_epoch = job.batches.steps_per_epoch
    if seconds is None:
        return max(1, round(job.recipe.epochs * per_epoch))
    training, validating = per_epoch * speed.step, len(job.validation or ()) * speed.picture
    validations = 1
    while (
        epochs := (seconds - validations * validating) / training
    ) > validations:  # a part of an epoch has a whole one
        validations += 1
    if epochs > 1:
        epochs = math.floor(10 * epochs) / 10  # rather 17 epochs than 17 and a crumb
    return max(1, math.floor(per_epoch * epochs))


def epoch_seconds(job: Job, speed: Speed) -> float:
    """Predicted seconds of an epoch, its validation included."""
    return job.batches.steps_per_epoch * speed.step + len(job.validation or ()) * speed.picture


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
