"""Our loop against a plain PyTorch loop with the same settings: the seconds of a step, and whether the weights are the same bits.

Both train LeNet-5 on all of Fashion-MNIST, an epoch in turn, on the same batches, gathered from one tensor. Ours has besides
what a run needs: the clock, the count of hits, a look at every gradient, the seed of dropout, checkpoints, a row of metrics.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.record import append, conditions
from striate import __version__
from striate.choices import Layout
from striate.data import load_data
from striate.data.batches import Batches
from striate.data.preprocessing import preprocessing_for
from striate.events import EpochEnded, Event, Started
from striate.inference import set_layout
from striate.machine import use_cores
from striate.namedrecipes import FAST_SMALL
from striate.nets import build
from striate.recipe import Recipe
from striate.run import Run
from striate.runforms.config import DataConfig, NetConfig, Plan, PreprocessingConfig, RecipeConfig, RunConfig
from striate.training import Audience, fit, fresh_state, make_job
from striate.training.clock import Clock
from striate.training.guard import Guard
from striate.training.job import Job
from striate.training.length import Length

EPOCHS, ROUNDS = 3, 5
LAYOUT: Layout = "nhwc"


def plain_loop(net: nn.Module, batches: Batches, recipe: Recipe) -> Iterator[float]:
    """The loop as everybody writes it; gives the seconds of each epoch."""
    net.train()
    decayed = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in net.parameters() if parameter.ndim == 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, fused=True)
    steps = EPOCHS * batches.steps_per_epoch
    step = 0
    for epoch in range(EPOCHS):
        begin = time.perf_counter()
        loss_sum, hits = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for place in range(batches.steps_per_epoch):
            progress = (step + 0.5) / steps
            for group in optimizer.param_groups:
                rise, fall = progress / recipe.warmup, (1 - progress) / (1 - recipe.warmup)
                group["lr"] = recipe.lr * (rise if progress < recipe.warmup else fall)
            x, y = batches.batch(epoch, place)
            logits = net(x)
            loss = F.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss_sum += loss.detach() * len(y)
            hits += (logits.argmax(1) == y).sum()
            step += 1
        yield time.perf_counter() - begin


class EndOfEpoch:
    """Notes how long each epoch of our loop takes, checkpoints apart, and lets the other loop take its turn in between."""

    def __init__(self, other: Iterator[float], clock: Clock) -> None:
        self.other, self.clock = other, clock
        self.ours: list[float] = []
        self.plain: list[float] = []
        self.began = 0.0

    def now(self) -> float:
        return time.perf_counter() - self.clock.seconds.get("checkpoint", 0.0)

    def __call__(self, event: Event) -> None:
        if isinstance(event, EpochEnded):
            self.ours.append(self.now() - self.began)
            self.plain.append(next(self.other))
        if isinstance(event, EpochEnded | Started):
            self.began = self.now()


def job(recipe: Recipe) -> Job:
    """LeNet-5, from the seed, on all training images."""
    data = load_data("fashion-mnist").train
    preprocessing = preprocessing_for(data, (28, 28), None)
    torch.manual_seed(recipe.seed)
    net = build("lenet5")
    set_layout(net, LAYOUT)
    return make_job(recipe, preprocessing, (data, None), torch.device("cpu"), net)


def config(made: Job, steps: int) -> RunConfig:
    """What a run keeps of so many steps of a job."""
    per_epoch = made.batches.steps_per_epoch
    return RunConfig(
        striate=__version__,
        net=NetConfig(name="lenet5", channels=1, classes=10),
        data=DataConfig(name="fashion-mnist", location="fashion-mnist"),
        preprocessing=PreprocessingConfig.from_dict(made.preprocessing.as_dict()),
        recipe=RecipeConfig.from_dict(made.recipe.as_dict()),
        plan=Plan(
            params=0, macs=None, steps=steps, steps_per_epoch=per_epoch, epochs=steps / per_epoch, device="cpu", threads=1,
            layout=LAYOUT,
        ),
    )  # fmt: skip


def guard_seconds(made: Job, repeats: int = 2000) -> float:
    """Seconds of one look at the loss and all gradients."""
    guard, loss = Guard(made, Length(((0, 1),)), 0), torch.ones(())
    begin = time.perf_counter()
    for _ in range(repeats):
        guard.before_update(loss, 0)
    return (time.perf_counter() - begin) / repeats


def main() -> None:
    """Interleaved, an epoch in turn; the first of each round, which warms up, is not counted."""
    threads = use_cores()
    recipe = FAST_SMALL
    ours: list[float] = []
    plain: list[float] = []
    spent = dict.fromkeys(("checkpoint", "training"), 0.0)
    same = True
    for _ in range(ROUNDS):
        made = job(recipe)
        torch.manual_seed(recipe.seed)
        net = build("lenet5")
        set_layout(net, LAYOUT)
        steps = made.batches.steps_per_epoch
        clock = Clock(time.perf_counter())
        turns = EndOfEpoch(plain_loop(net, made.batches, recipe), clock)
        with tempfile.TemporaryDirectory() as folder:
            run = Run(Path(folder))
            run.keep(config(made, EPOCHS * steps))
            fit(made, run, fresh_state(made), clock, Audience([turns]))
        ours += [seconds / steps for seconds in turns.ours[1:]]
        plain += [seconds / steps for seconds in turns.plain[1:]]
        spent["checkpoint"] += clock.seconds["checkpoint"]
        spent["training"] += sum(turns.ours)
        kept: dict[str, Tensor] = net.state_dict()
        same &= all(torch.equal(tensor, kept[name]) for name, tensor in made.net.state_dict().items())
    our_step, plain_step = statistics.median(ours), statistics.median(plain)
    append(
        "loop",
        {
            **conditions(),
            "threads": threads,
            "layout": LAYOUT,
            "epochs_of_each": len(ours),
            "plain_step_ms": round(1000 * plain_step, 4),
            "our_step_ms": round(1000 * our_step, 4),
            "ratio": round(our_step / plain_step, 4),
            "ratio_of_pairs_median": round(statistics.median(a / b for a, b in zip(ours, plain, strict=True)), 4),
            "guard_share": round(guard_seconds(made) / our_step, 4),
            "checkpoint_share": round(spent["checkpoint"] / (spent["checkpoint"] + spent["training"]), 4),
            "same_bits": same,
        },
    )


if __name__ == "__main__":
    main()
