"""The one visible loop."""

from __future__ import annotations

from dataclasses import replace

import torch

from striate.run import Run
from striate.training.audience import Audience
from striate.training.clock import Clock
from striate.training.job import Job, seed_step
from striate.training.signals import catching
from striate.training.state import State
from striate.training.trainer import Trainer


def fit(job: Job, run: Run, state: State, clock: Clock, audience: Audience) -> None:
    """Trains the job's net from where `state` stands to the end of the run's plan. Metrics and checkpoints go into the run,
    events to the audience.

    Raises:
        Interrupted: somebody asked to stop, as SIGINT and SIGTERM do; the step was ended and a checkpoint written.
        StriateError: loss or gradients are not finite; the last checkpoint is from before.
        OSError: the disk does not take the first checkpoint, the last one, or that of an interruption.
    """
    job.net.train()
    shared = replace(job, step=job.ranks.parallel(job.step))  # DistributedDataParallel, where there are several ranks
    with catching(audience.stop):
        trainer = Trainer(job, run, state, clock, audience)
        trainer.begin()
        while not trainer.ended:
            done = trainer.length.progress(state.step)
            for group in job.optimizer.param_groups:
                group["lr"] = job.recipe.rate(done)
            job.freeze_body(done < job.recipe.freeze)
            try:
                sums = gradients(shared, state, clock, job.recipe.side(done))
            except RuntimeError as error:  # no other type means memory on every device
                trainer.use_smaller_parts(error)
                continue
            with clock.charge("optimizer"):
                trainer.look_at(sums)
                job.optimizer.step()
                if state.average is not None:
                    state.average.update(job.net, state.step + 1)
            state.totals += sums
            state.step += 1
            trainer.after_step()
        trainer.end()


def gradients(job: Job, state: State, clock: Clock, side: int | None = None) -> torch.Tensor:
    """Makes the net's gradients those of the mean loss of the next step's batch, computed in `state.parts` parts, of images
    whose shorter side is `side` (None: as the preprocessing leaves them).

    Returns: as `state.totals`, sums over this rank's share of the batch of loss and hits, and its images.
    """
    epoch, batch = divmod(state.step, job.batches.steps_per_epoch)
    seed_step(job.recipe.seed, state.step, job.device, job.ranks.rank)
    job.optimizer.zero_grad(set_to_none=True)
    samples = job.batches.samples(epoch, batch)
    sums = torch.zeros_like(state.totals)
    parts = samples[job.ranks.share(len(samples))].tensor_split(state.parts)
    for number, part in enumerate(parts, start=1):
        with clock.charge("augment"):
            x, targets = job.batches.inputs(epoch, part, side)
        with job.ranks.held_back(job.step, more=number < len(parts)):
            with clock.charge("forward"):
                loss, hits = job.step(x, targets)
            with clock.charge("backward"):
                # Ranks take the mean of what each has: times their number that is the sum over the batch's images again.
                (loss * (len(part) * job.ranks.count / len(samples))).backward()
        sums += torch.stack((loss.detach() * len(part), hits, torch.full_like(hits, len(part))))
    return sums
