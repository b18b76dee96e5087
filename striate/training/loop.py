"""The one visible loop."""

from __future__ import annotations

import torch

from striate.run import Run
from striate.training.clock import Clock
from striate.training.job import Job, seed_step
from striate.training.journal import Journal, State
from striate.training.length import Length
from striate.training.progress import Progress
from striate.training.signals import catch_stop


def fit(job: Job, run: Run, length: Length, state: State, clock: Clock, progress: Progress) -> None:
    """Trains the job's net from where `state` stands to the end of `length`; metrics and checkpoints go into the run.

    Raises:
        Interrupted: SIGINT or SIGTERM came; the step was ended and a checkpoint written.
        StriateError: loss or gradients are not finite; the last checkpoint is from before.
        OSError: the disk does not take the first checkpoint, the last one, or that of an interruption.
    """
    job.net.train()
    with catch_stop() as stop, Journal(job, run, length, state, clock, progress, stop) as journal:
        while state.step < length.steps:
            epoch, batch = divmod(state.step, job.batches.steps_per_epoch)
            for group in job.optimizer.param_groups:
                group["lr"] = job.recipe.rate(length.progress(state.step))
            seed_step(job.recipe.seed, state.step, job.device)
            with clock.charge("augment"):
                x, labels = job.batches.batch(epoch, batch)
            with clock.charge("forward"):
                loss, hits = job.step(x, labels)
            with clock.charge("backward"):
                job.optimizer.zero_grad(set_to_none=True)
                loss.backward()
            with clock.charge("optimizer"):
                journal.before_update(loss)
                job.optimizer.step()
            state.totals += torch.stack((loss.detach() * len(labels), hits, torch.full_like(hits, len(labels))))
            state.step += 1
            journal.after_step()
