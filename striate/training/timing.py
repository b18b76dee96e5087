"""How a step is computed, how long it takes here, and how many steps are planned from that; all before step 1."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from striate.choices import Layout, Precision
from striate.errors import StriateError, UsageError, out_of_memory, param
from striate.inference import BATCH, logits, set_layout
from striate.nets.copying import copied
from striate.outofdistribution import REFERENCES
from striate.runforms.config import Plan
from striate.settings import Settings
from striate.texts import duration
from striate.training.clock import Clock
from striate.training.job import Job
from striate.training.step import TrainingStep, make_optimizer

MEASURE_SECONDS = 0.4
"""How long all executions together are tried before step 1, each for at least three steps."""
MEASURE_SHARE, MEASURE_MOST = 0.08, 5.0
"""Share of a budget, and cap in seconds, for timing the chosen execution again: the plan is made from it and corrected later."""
FEW_STEPS = 40
"""Below which no other execution is tried where a step is long."""
LONG_STEP = 0.3
"""Seconds from which a step needs no repeats to be timed, and no trial on one thread."""
MARGIN = 0.02
"""Share of a budget that is not planned: early is better than late."""
REPORT_SECONDS = 3.0
"""Kept free of a budget for charts, report and leaving."""


@dataclass(frozen=True, slots=True)
class Execution:
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
    def of(cls, plan: Plan) -> Execution:
        """The execution that a plan records."""
        return cls(plan.threads, plan.layout, plan.precision, plan.compiled)

    def apply_to(self, step: TrainingStep) -> None:
        """Makes `step`, and torch in this process, compute so."""
        torch.set_num_threads(self.threads)
        set_layout(step.net, self.layout)
        step.bf16 = self.precision == "bf16"
        if self.compiled:
            step.compile()


def candidates(device: torch.device, cores: int, settings: Settings) -> list[Execution]:
    """The executions to be timed, the likeliest first; bfloat16 without being asked for only on CUDA, where it can be faster."""
    threads, layout, precision = settings.threads, settings.layout, settings.precision
    halves = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    layouts: list[Layout] = [layout] if layout else ["nchw"] if device.type == "mps" else ["nchw", "nhwc"]
    numbers = [threads] if threads else [cores, 1] if cores > 1 and device.type == "cpu" else [cores]
    precisions: list[Precision] = [precision] if precision else ["fp32", "bf16"] if halves else ["fp32"]
    return [Execution(*one, settings.compile) for one in itertools.product(numbers, layouts, precisions)]


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured before step 1: the fastest execution, and the seconds of a training step (the mean one, with progressive
    resizing) and to classify an image. `parts`: micro-batches that a batch must be split into for memory to hold a step.
    """

    execution: Execution
    step: float
    image: float
    parts: int = 1


def measure(job: Job, tried: Sequence[Execution]) -> Speed:
    """Times training steps on copies of the job's net, and leaves job and torch in the fastest execution of those `tried`.

    A later one must be 5 % better to be taken; only the one that is taken is compiled. One thread is tried only where a step is
    short: where other programs compute too, such nets can be many times faster on it than on threads that wait for each other.
    Where steps are long and few, only the first one is tried: trying others would cost more than the best one could gain. Ranks
    measure side by side, as they will train, and take what rank 0 found.
    """
    limit = MEASURE_SECONDS / len(tried)
    few = job.recipe.budget is None and job.recipe.epochs * job.batches.steps_per_epoch < FEW_STEPS
    seconds, best = math.inf, tried[0]
    parts = job.recipe.micro_batches
    for execution in tried:
        if LONG_STEP < seconds < math.inf and (few or execution.threads < best.threads):
            continue
        found, parts = _time_steps(job, replace(execution, compiled=False), limit, parts)
        if found < 0.95 * seconds:
            seconds, best = found, execution
    seconds, best = job.ranks.decided(lambda: (seconds, best))
    best.apply_to(job.step)
    if job.recipe.budget is not None or best.compiled:
        # The best of several short looks is too good to plan by: chance helped it.
        again = min(MEASURE_SHARE * (job.recipe.budget or 0.0), MEASURE_MOST)
        seconds, parts = _time_steps(job, best, again, parts)
    seconds *= _relative_length(job, best, limit, parts)
    step, image = seconds + _exchange_seconds(job), _time_inference(job)
    step, image = job.ranks.decided(lambda: (step, image))
    return Speed(execution=best, step=step, image=image, parts=job.ranks.agree(parts)[0])


def _relative_length(job: Job, execution: Execution, limit: float, parts: int) -> float:
    """How long the mean step is, with the sizes that the recipe has on the way, relative to one of the full size."""
    shares = [*(share for share, _ in job.recipe.resize_schedule), 1.0]
    full = min(job.preprocessing.size)
    smaller = {side for _, side in job.recipe.resize_schedule} - {full}
    if not smaller:
        return 1.0
    seconds = {side: _steps_in_parts(job, execution, limit, parts, side) for side in (*smaller, full)}
    spans = zip(job.recipe.resize_schedule, shares[1:], strict=True)
    return sum((end - begin) * seconds[side] for (begin, side), end in spans) / seconds[full]


def _exchange_seconds(job: Job) -> float:
    """Seconds in which the ranks average their gradients; a step waits for it so long at the most."""
    if job.ranks.count == 1:
        return 0.0
    numbers = torch.zeros(sum(parameter.numel() for parameter in job.net.parameters()), device=job.device)
    begin = 0.0
    for _ in range(4):
        job.ranks.summed(numbers)
        _wait(job.device)
        begin = begin or time.perf_counter()  # the first one connects
    return (time.perf_counter() - begin) / 3


def _time_steps(job: Job, execution: Execution, limit: float, parts: int) -> tuple[float, int]:
    """(seconds of a training step, parts of a batch that memory holds): the mean of as many steps as fit into `limit` seconds, at
    least three, or one where it is long.
    """
    while True:
        try:
            return _steps_in_parts(job, execution, limit, parts), parts
        except RuntimeError as error:
            if execution.compiled and isinstance(error, torch._dynamo.exc.TorchDynamoException):
                reason = str(error).strip().splitlines()[0]
                raise StriateError(
                    f"torch.compile cannot compile {job.net.spec.name} here ({reason}): leave out {param('compile')}; "
                    f"on the CPU it needs a C++ compiler"
                ) from error
            parts = more_parts(job, parts, error)


def _steps_in_parts(job: Job, execution: Execution, limit: float, parts: int, side: int | None = None) -> float:
    net = copied(job.net)
    module = TrainingStep(net, job.recipe.label_smoothing, job.step.weights)
    execution.apply_to(module)
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
    """Twice as many parts for a batch, if `error` says that memory ran out; any other is raised again. Raises StriateError if
    memory does not hold the step of a single image.
    """
    if not out_of_memory(error):
        raise error
    if 2 * parts > job.smallest_share:
        height, width = job.preprocessing.size
        raise StriateError(
            f"not enough memory for a training step of {job.net.spec.name} with {parts} micro-batches of a batch "
            f"of {job.recipe.batch_size} "
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


def plan_steps(job: Job, speed: Speed, judged: int, clock: Clock) -> int:
    """How many steps to train, at least one: the recipe's epochs, or what its budget leaves for training and validation after
    start, evaluation of `judged` images, and report; `clock.until` is when these begin. Raises UsageError if it leaves nothing.
    """
    per_epoch, held = job.batches.steps_per_epoch, len(job.validation or ())
    if job.recipe.budget is None:
        return max(1, round(job.recipe.epochs * per_epoch))
    calibrating = held + min(REFERENCES, held)  # it looks at its references twice
    after = REPORT_SECONDS + (judged + calibrating) * speed.image
    clock.until = clock.started + (1 - MARGIN) * job.recipe.budget - after
    seconds = clock.until - time.perf_counter()
    if seconds < speed.step:
        raise UsageError(
            f"a budget of {duration(job.recipe.budget)} leaves no time to train: starting took {duration(clock.total())}, "
            f"evaluation and report need {duration(after)}"
        )
    validations, epochs = 0, math.inf
    while epochs > validations:  # a part of an epoch has a whole validation
        validations += 1
        epochs = (seconds - validations * held * speed.image) / (per_epoch * speed.step)
    if epochs > 1:
        epochs = math.floor(10 * epochs) / 10  # rather 17 epochs than 17 and a crumb
    return max(1, math.floor(per_epoch * epochs))


def epoch_seconds(job: Job, speed: Speed) -> float:
    """Predicted seconds of an epoch, its validation included."""
    return job.batches.steps_per_epoch * speed.step + len(job.validation or ()) * speed.image


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
