"""Training: a job, the one loop over it, and what is kept between its steps."""

from striate.training.audience import Audience
from striate.training.job import Job, make_job
from striate.training.length import Length
from striate.training.loop import fit
from striate.training.progress import Progress
from striate.training.signals import Stop
from striate.training.state import State, fresh_state, resumed_state
from striate.training.timing import Execution, Speed, candidates, epoch_seconds, measure, plan_steps

__all__ = [
    "Audience",
    "Execution",
    "Job",
    "Length",
    "Progress",
    "Speed",
    "State",
    "Stop",
    "candidates",
    "epoch_seconds",
    "fit",
    "fresh_state",
    "make_job",
    "measure",
    "plan_steps",
    "resumed_state",
]
