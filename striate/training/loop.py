"""The one visible loop."""

from __future__ import annotations

import torch

from striate.run import Run
from striate.training.clock import Clock
from striate.training.job import Job, seed_step
from striate.training.journal import Journal, State
from striate.training.progress import Progress
from striate.training.signals import catch_stop


def fit(job: Job, run: Run, steps: int, state: State, clock: Clock, progress: Progress) -> None:
    """Trains the job's net from where `state` stands to step `steps`; metrics and checkpoints go into the run.

    Raises:
        Interrupted: SIGINT or SIGTERM came; the step was ended and a checkpoint written.
        StriateError: the loss is no longer a number.
    """
    job.net.train()
    with catch_stop() as stop, Journal(job, run, steps, state, clock, progress, stop) as journal:
        while state.step < steps:
            epoch, batch = divmod(state.step, job.batches.steps_per_epoch)
            for group in job.optimizer.param_groups:
                group["lr"] = job.recipe.rate((state.step + 0.5) / steps)
            seed_step(job.recipe.seed, state.step, job.device)
            with clock.charge("augment"):
                x, labels = job.batches.batch(epoch, batch)
            with clock.charge("forward"):
                loss, hits = job.step(x, labels)
            with clock.charge("backward"):
                job.optimizer.zero_grad(set_to_none=True)
                loss.backward()
            with clock.charge("optimizer"):
                job.optimizer.step()
            state.totals += torch.stack((loss.detach() * len(labels), hits, torch.full_like(hits, len(labels))))
            state.step += 1
            journal.after_step()
