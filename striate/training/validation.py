"""Validation within a training: on this rank's share of the images, and left when somebody asks to stop."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from striate.inference import BATCH, logits, predicted_of
from striate.nets import Net
from striate.training.job import Job
from striate.training.signals import Stop


def validate(job: Job, stop: Stop, net: Net) -> tuple[float, float]:
    """(mean cross-entropy, accuracy) of `net` on the job's validation images, without augmentation or smoothing.

    Each rank takes its share of them, in batches of about the size that training has, so that it needs no more memory, and that a
    signal is heard between two of them; the result is of the images until then.
    """
    assert job.validation is not None
    size = min(BATCH, max(32, job.recipe.batch_size))
    job.ranks.same_buffers(net)
    share = job.ranks.share(len(job.validation))
    sums = torch.zeros(3, dtype=torch.float64)  # of loss, hits and images
    for start in range(share.start, share.stop, size):
        chosen = slice(start, min(start + size, share.stop))
        outputs = logits(net, job.preprocessing, job.validation.pixels[chosen], job.device, size)
        labels = torch.from_numpy(job.validation.labels[chosen])
        loss = F.cross_entropy(outputs.double(), labels, reduction="sum")
        sums += torch.stack((loss, (predicted_of(outputs) == labels).sum(), torch.tensor(len(labels))))
        if stop.heard():
            break
    loss, hits, seen = job.ranks.gathered(sums).sum(0).tolist()
    return loss / seen, hits / seen
