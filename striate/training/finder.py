"""The learning-rate finder: the loss while the rate rises step by step (Smith 2015, "Cyclical learning rates", section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from striate.forms import Form
from striate.nets.copying import copied
from striate.training.job import Job, seed_step
from striate.training.step import TrainingStep, make_optimizer

STEPS, LOWEST, HIGHEST = 120, 1e-6, 10.0
SMOOTHING = 0.9
"""Smoothing of the loss: the share of the past in its running mean."""
RISEN = 3.0
"""The search ends when the smoothed loss is so many times the smallest one."""


class Found(Form):
    """The result of the search.

    Attributes:
        rates, losses: the learning rate of each step, and the smoothed training loss before it.
        steepest: the rate at which the loss fell fastest, a safe peak for a schedule; None if it never fell.
        lowest: the rate with the smallest loss: training breaks soon above it.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    steepest: float | None
    lowest: float


def find_rate(job: Job, steps: int = STEPS) -> Found:
    """Trains a copy of the job's net for at most `steps` steps, the rate rising from 1e-6 to 10 by equal factors.

    The batches are those of the first epochs, and the draws those of the recipe, so that the same job gives the same answer.
    """
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    rising = [LOWEST * (HIGHEST / LOWEST) ** (number / (steps - 1)) for number in range(steps)]
    for rate, value in zip(rising, trial(job, rising), strict=True):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        smoothed = mean / (1 - SMOOTHING ** (len(rates) + 1))
        if not math.isfinite(value) or (losses and smoothed > RISEN * min(losses)):
            break
        rates.append(rate)
        losses.append(smoothed)
    lowest = rates[losses.index(min(losses))]
    return Found(rates=tuple(rates), losses=tuple(losses), steepest=steepest(rates, losses), lowest=lowest)


def steepest(rates: list[float], losses: list[float]) -> float | None:
    """The rate in the middle of the fifth of the search over which the loss fell most, before its smallest value."""
    end = losses.index(min(losses)) + 1
    width = max(2, len(losses) // 5)
    falls = [(losses[i] - losses[i + width], i) for i in range(end - width)]
    if not falls or max(falls)[0] <= 0:
        return None
    return rates[max(falls)[1] + width // 2]


def trial(job: Job, rates: Iterable[float]) -> Iterator[float]:
    """The loss of each step of a training with these rates, before its update: of a copy of the job's net, with the batches of
    the first epochs.
    """
    net = copied(job.net).train()
    step, optimizer = TrainingStep(net, job.recipe.label_smoothing, job.step.weights), make_optimizer(net, job.recipe)
    for number, rate in enumerate(rates):
        seed_step(job.recipe.seed, number, job.device)
        loss, _ = step(*job.batches.batch(*divmod(number, job.batches.steps_per_epoch)))
        yield float(loss.detach())
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
