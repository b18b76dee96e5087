"""The pre-flight: what can be known of a training before an evening is spent on it. `striate train --try`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.nets.copying import copied
from striate.nets.hooks import hooked
from striate.outcome import JUMP, STILL, rate_to_try
from striate.texts import listed, percent
from striate.training.finder import trial
from striate.training.job import Job, seed_step
from striate.training.optimizers import Adam
from striate.training.rows import chance
from striate.training.step import TrainingStep

PICTURES = 32
"""Number of images that the net must be able to overfit."""
SECONDS = 6.0
"""Time limit for overfitting them."""
STEPS = 300
RATE = 1e-3
"""Learning rate of Adam, at which any net that works overfits a few images."""
RATE_STEPS, RISE = 60, 10
"""Steps at the recipe's own rate, and those in which it rises to that where the recipe warms up."""
FAR = 1.5
"""A loss at the start more than so many times ln(classes) is far from it."""
DEAD = 0.5
"""Share of a layer's ReLUs that are zero for every image of a batch, above which a warning is given."""

SHOWN = 3
"""Names that an answer lists."""

Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """A question and its answer. `failed`: the net will not learn; `warning`: it may learn less than it could. `said`: the
    figures, and what to do where the answer is bad.
    """

    name: str
    verdict: Verdict
    said: str

    def as_dict(self) -> dict[str, object]:
        """The check in plain types."""
        return asdict(self)


def preflight(job: Job, seconds: float = SECONDS, usual: float | None = None) -> list[Check]:
    """Checks a job in about `seconds`, on copies of its net; no test image is looked at. `usual`: the rate that the recipe has by
    itself, if another one was asked for.
    """
    with _rng_kept(job.device):
        return [
            *first_step(job),
            Check(f"can overfit {PICTURES} images", *_overfits(job, seconds * 2 / 3)),
            Check("learning rate", *_rate(job, seconds / 3, usual)),
        ]


def first_step(job: Job) -> list[Check]:
    """Loss, gradients and ReLUs of the first batch, before anything is learned; on a copy of the net, for the cost of a step."""
    with _rng_kept(job.device):
        seed_step(job.recipe.seed, 0, job.device)
        net = copied(job.net).train()
        step = TrainingStep(net, job.recipe.label_smoothing, job.step.weights)
        x, targets = job.batches.batch(0, 0)
        with _silent_units(net) as silent:
            logits = net(x).detach()
        labels = targets if targets.ndim == 1 else targets.argmax(1)
        total, _ = step(x, targets)
        total.backward()
    loss = float(F.cross_entropy(logits.float(), labels))
    return [
        Check("initial loss", *_initial_loss(loss, logits, job.batches.classes)),
        Check("gradients", *_gradients(net)),
        Check("dead ReLUs", *_dead(silent)),
    ]


def _initial_loss(loss: float, logits: Tensor, classes: int) -> tuple[Verdict, str]:
    expected = math.log(classes)
    said = f"{loss:.3f}; chance level for {classes} classes is ln({classes}) = {expected:.3f}"
    if not math.isfinite(loss):
        return "failed", f"{loss} before training: look for a division by zero or a log of zero"
    if bool((logits >= 0).all()) and bool((logits.sum(1) - 1).abs().max() < 1e-3):
        return "failed", f"{said}; the net outputs probabilities: remove its softmax, the loss applies one"
    if loss > FAR * expected:
        scaled = "are they scaled to mean 0 and deviation 1?"
        return "warning", f"{said}: the initial weights are too large for these images ({scaled})"
    return "ok", said


def _gradients(net: nn.Module) -> tuple[Verdict, str]:
    named = [(name, p.grad) for name, p in net.named_parameters() if p.requires_grad]
    if bad := [name for name, grad in named if grad is not None and not bool(torch.isfinite(grad).all())]:
        return "failed", f"not finite in {listed(bad, SHOWN)} before the first step, so a lower --lr will not help"
    if unused := [name for name, grad in named if grad is None]:
        return "warning", f"none reaches {listed(unused, SHOWN)}: the loss does not depend on them"
    return "ok", f"finite in all {len(named)} parameter tensors"


def _dead(silent: dict[str, float]) -> tuple[Verdict, str]:
    if worst := [f"{name} ({percent(share, 0)})" for name, share in silent.items() if share > DEAD]:
        return "warning", f"zero for every image of a batch: {listed(worst, SHOWN)}; try --init paper, or a lower --lr"
    most = percent(max(silent.values(), default=0.0), 0)
    return "ok", f"at most {most} of a layer's channels are zero for every image of a batch"


def _overfits(job: Job, seconds: float) -> tuple[Verdict, str]:
    """Whether the net can learn a few images by heart, without augmentation, dropout or schedule."""
    net = copied(job.net).train()
    for module in net.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    chosen = _of_every_class(job)
    x = job.preprocessing.normalise(job.batches.gather(chosen))
    labels = job.batches.labels[chosen]
    step, optimizer = TrainingStep(net), Adam(net.parameters(), lr=RATE)
    begin, done, first, hits, loss = time.perf_counter(), 0, math.nan, 0, math.nan
    while done < STEPS and (done < 2 or time.perf_counter() - begin < seconds):
        value, found = step(x, labels)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        loss, hits, done = float(value.detach()), int(found), done + 1
        first = loss if done == 1 else first
        if hits == len(chosen):
            return "ok", f"all of {len(chosen)} after {done} steps"
    said = f"{hits} of {len(chosen)} after {done} steps, loss {first:.3f} to {loss:.3f}"
    if not loss < 0.9 * first and done >= 20:
        return "failed", f"{said}: the net does not learn; check its activations, and that labels match images"
    if done == STEPS:
        return "warning", f"{said}: it learns slowly; identical images with different labels could be the reason"
    if loss < first:
        return "ok", f"{said}: not enough time to finish, but the loss falls"
    return "warning", f"{said}: not enough time to finish, and the loss does not fall yet"


def _rate(job: Job, seconds: float, usual: float | None) -> tuple[Verdict, str]:
    """Whether the loss explodes within some steps at the recipe's highest rate, to which the rate rises as fast as it can."""
    begin, losses, lr = time.perf_counter(), list[float](), job.recipe.lr
    rates = (lr * (min(1.0, step / RISE) if job.recipe.warmup else 1.0) for step in range(1, RATE_STEPS + 1))
    for loss in trial(job, rates):
        losses.append(loss)
        enough = len(losses) >= 2 * RISE and time.perf_counter() - begin >= seconds
        if enough or not math.isfinite(loss):
            break
    last = sum(losses[-RISE:]) / len(losses[-RISE:])
    said = f"{lr:.4g}: in {len(losses)} steps the loss went from {losses[0]:.3f} to {last:.4g}"
    guessing = chance(job).loss
    far = JUMP * max(losses[0], guessing)
    if not last <= far or (max(losses) > far and last > STILL * guessing):  # NaN too
        return "failed", f"{said}: it diverges, try --lr {rate_to_try(lr, usual):g}"
    return "ok", said


def _of_every_class(job: Job) -> Tensor:
    """int64 (n,): positions of PICTURES training images, as many of each class as can be."""
    labels = job.batches.labels.cpu()
    turn = torch.zeros_like(labels)
    for label in labels.unique().tolist():  # type: ignore[no-untyped-call]
        members = (labels == label).nonzero().flatten()
        turn[members] = torch.arange(len(members))
    return torch.argsort(turn, stable=True)[:PICTURES].to(job.device)


@contextmanager
def _silent_units(net: nn.Module) -> Iterator[dict[str, float]]:
    """ReLU module -> share of its channels that are zero everywhere for every image; filled by the next forward pass."""
    found: dict[str, float] = {}

    def look(name: str, output: Tensor) -> None:
        units = output.detach().flatten(2).amax(2) if output.ndim > 2 else output.detach()
        found[name] = float((units.amax(0) <= 0).float().mean())

    with hooked(((name, part) for name, part in net.named_modules() if isinstance(part, nn.ReLU)), look):
        yield found


def _rng_kept(device: torch.device) -> AbstractContextManager[None]:
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
