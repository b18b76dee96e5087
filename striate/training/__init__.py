"""Training: a job, the one loop over it, and what is kept between its steps."""

from striate.training.audience import Audience
from striate.training.job import Job, Manner, Speed, epoch_seconds, make_job, measure, plan_steps
from striate.training.length import Length
from striate.training.loop import fit
from striate.training.progress import Progress
from striate.training.signals import Stop
from striate.training.state import State, fresh_state, resumed_state

__all__ = [
    "Audience",
    "Job",
    "Length",
    "Manner",
    "Progress",
    "Speed",
    "State",
    "Stop",
    "epoch_seconds",
    "fit",
    "fresh_state",
    "make_job",
    "measure",
    "plan_steps",
    "resumed_state",
]
