"""Observers that keep what epochs come to in the run's folder, and watch whether the net learns."""

from __future__ import annotations

from striate.events import EpochEnded, Event, Observer, Warned
from striate.files import write_csv
from striate.inference import save_weights
from striate.run import Run
from striate.training.job import Job
from striate.training.learning import best_epoch, learning
from striate.training.state import State

COLUMNS = (
    "epoch", "step", "seconds", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "pictures_per_second",
    "highest_loss",
)  # fmt: skip


class MetricsFile:
    """Writes metrics.csv anew after each epoch. One that the disk does not take is warned of, but for the last."""

    def __init__(self, run: Run, state: State, tell: Observer) -> None:
        self.run, self.state, self.tell = run, state, tell

    def __call__(self, event: Event) -> None:
        """Raises OSError where the disk does not take the last one."""
        if not isinstance(event, EpochEnded):
            return
        try:
            write_csv(self.run.path / "metrics.csv", self.state.rows, COLUMNS)
        except OSError as error:
            if event.last:
                raise
            said = f"metrics.csv could not be written ({error.strerror}); the next epoch tries again"
            self.tell(Warned(text=said))


class BestWeights:
    """Writes weights/best.safetensors after an epoch that is the best so far, where the recipe keeps those."""

    def __init__(self, job: Job, run: Run, state: State) -> None:
        self.job, self.run, self.state = job, run, state

    def __call__(self, event: Event) -> None:
        """Raises OSError where the disk does not take them."""
        rows = self.state.rows
        if isinstance(event, EpochEnded) and self.job.recipe.keep == "best" and best_epoch(rows) == len(rows) - 1:
            path, classes = self.run.path / "weights" / "best.safetensors", self.run.data.classes
            save_weights(self.state.meant(self.job), path, self.run.config, classes)


class LearningWatch:
    """Warns, once for each reason, when the rows of a run say that its net does not learn."""

    def __init__(self, job: Job, run: Run, state: State, tell: Observer) -> None:
        self.job, self.plan, self.state, self.tell = job, run.config.plan, state, tell
        self.learned = learning(job, self.plan, state)

    def __call__(self, event: Event) -> None:
        """Looks after each epoch."""
        if isinstance(event, EpochEnded):
            before, self.learned = self.learned, learning(self.job, self.plan, self.state)
            if not self.learned and self.learned.verdict != before.verdict:
                self.tell(Warned(text=self.learned.said))
