"""Whether a net is a function of one image: asked before step 1, and again of the weights that were saved."""

from __future__ import annotations

from collections.abc import Callable

import torch

from striate.anatomy.asking import Asked, answers, ask, images_as_fed, lost_by_loading, reproduces
from striate.anatomy.findings import BOUNDED, HEADS
from striate.anatomy.soundness import NAMES
from striate.errors import StriateError, UsageError
from striate.experiment.setup import Setup
from striate.inference import HEAVY, keep_answer, kept_images, load_net
from striate.nets import Net
from striate.nets.external import ExternalFacts, adapt
from striate.nets.sources import source_path
from striate.run import Run
from striate.training import Job
from striate.training.preflight import Check, Verdict

NAME = "one image"
"""Name of the check of `striate train --try`."""


def asked_of(setup: Setup) -> Asked:
    """The answers of an untrained job's net to the fixed images."""
    job = setup.job
    images = images_as_fed(job.preprocessing, job.device)
    return ask(job.net, images, heavy=(setup.totals.macs or HEAVY + 1) > HEAVY, again=_builder(setup))


def require_sound(setup: Setup) -> None:
    """Raises UsageError if the net of a job is no function of one image, or bounds its logits; with the cause and its place."""
    if (fault := asked_of(setup).fault) is not None:
        raise UsageError(f"{setup.row.name} is not a function of one image. {fault}")
    if bounded := [finding for finding in setup.mistakes if finding.name in BOUNDED]:
        raise UsageError(f"{setup.row.name} cannot be trained with this output. {bounded[0]}")


def soundness(setup: Setup) -> list[Check]:
    """The answers of `--try`: whether the net is a function of one image, and what its operations show to be mistakes."""
    fault = asked_of(setup).fault
    if fault is not None:
        checks = [Check(NAME, "failed", str(fault))]
    else:
        checks = [
            Check(NAME, "ok", "finite, the same when repeated, and the same alone and in a batch, on 4 fixed images")
        ]
    for finding in setup.mistakes:
        if fault is None or finding.name != fault.name:
            verdict: Verdict = "failed" if finding.name in BOUNDED else "warning"
            checks.append(Check(finding.name, verdict, str(finding).removeprefix(f"{finding.name} ")))
    return checks


def worries(setup: Setup) -> dict[str, str]:
    """Mistakes in the net that training cannot mend, in words, for the announcement."""
    told = [str(finding) for finding in setup.mistakes if finding.name in (*NAMES, *HEADS)]
    return {"mistake": "\n        ".join(told)} if told else {}


def require_saved(run: Run, job: Job, net: Net) -> None:
    """Asks the net that a run keeps once more, from its file, and keeps the answer in the run.

    Raises StriateError if the weights, loaded into a net that is built anew, give other answers.
    """
    images = kept_images(job.preprocessing, job.device)
    keep_answer(run, net, images)
    if net.spec.origin.get("given"):  # its code is not in the run; who loads it brings it, and is asked then
        return
    try:
        again = load_net(run, job.device, asked=False)
    except UsageError:  # its file has changed since training began, and is not run
        return
    if not reproduces(answers(net, images), answers(again, images)):
        raise StriateError(f"{net.spec.name} is not a function of one image. {lost_by_loading(net)}")


def _builder(setup: Setup) -> Callable[[], torch.nn.Module] | None:
    """A function that builds the net of a file again; None for other nets, which are tested when they are saved."""
    row, origin = setup.row, setup.row.origin
    if not isinstance(row, ExternalFacts) or "given" in origin or source_path(origin.get("target", "")) is None:
        return None
    channels, classes = setup.job.net.channels, setup.job.net.classes
    return lambda: adapt(row.make(channels, classes, False).module, row, channels, classes)
