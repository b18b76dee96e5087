"""What a person sees while a net trains: a bar on a terminal, one plain line an epoch elsewhere. All of it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from striate.terminal import plain
from striate.texts import duration, percent

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

REFRESH_SECONDS = 0.2
READING_SECONDS = 2.0


class Progress:
    """Prints the course of training.

    Args:
        quiet: nothing at all.
        stream: stderr unless given.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self.stream = stream or sys.stderr
        self._bar: Bar | None = None
        self._next = 0.0
        self._reading: tuple[float, int, float] | None = None  # when it began, at which picture, when it was said last

    def __reduce__(self) -> tuple[type[Progress], tuple[bool]]:
        """In another process it prints to the stderr of that."""
        return Progress, (self.quiet,)

    def say(self, text: str) -> None:
        """One line. Where the reader of the stream is gone, nothing is said any more: training goes on."""
        if self.quiet:
            return
        text = plain(text)
        try:
            if self._bar is not None:
                self._bar.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
            else:
                print(text, file=self.stream, flush=True)
        except (OSError, ValueError):  # ValueError: the stream is closed
            self.quiet = True

    def table(self, rows: Mapping[str, str]) -> None:
        """Names of up to six letters and what they are, aligned."""
        for name, value in rows.items():
            self.say(f"{name:<6}  {value}")

    def reading(self, done: int, total: int) -> None:
        """So many of `total` files are decoded. Said only where it takes long."""
        now = time.perf_counter()
        if done == 0 or self._reading is None:
            self._reading = (now, done, now)
        began, before, said = self._reading
        if self.quiet or now - began < READING_SECONDS or (done < total and now - said < READING_SECONDS):
            return
        self._reading = (began, before, now)
        left = (now - began) / max(done - before, 1) * (total - done)
        self.say(f"read    {done:,} of {total:,} pictures" + (f", {duration(left)} left" if left else ""))

    def begin(self, steps: int, done: int) -> None:
        """Training begins at step `done` of `steps`."""
        if self.quiet or not self.stream.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=Console(file=self.stream),
            transient=True,
        )
        self._bar.start()
        self._bar.add_task("", total=steps, completed=done, epoch="", state="")

    def total(self, steps: int) -> None:
        """The run has `steps` in all from now on."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], total=steps)

    def due(self) -> bool:
        """Whether the bar wants a new state now: reading it from an accelerator makes the loop wait."""
        now = time.perf_counter()
        if self._bar is None or now < self._next:
            return False
        self._next = now + REFRESH_SECONDS
        return True

    def step(self, step: int, epoch: str, loss: float, accuracy: float, rate: float) -> None:
        """The state after `step` steps: mean loss, accuracy (0 to 1) and pictures a second of this epoch so far."""
        if self._bar is not None:
            state = f"loss {loss:.3f}  accuracy {percent(accuracy)}  {rate:,.0f} pictures/s"
            self._bar.update(self._bar.task_ids[0], completed=step, epoch=epoch, state=state)

    def epoch(self, row: Mapping[str, Any], epochs: str, left: float) -> None:
        """One line for a finished epoch, a row of metrics.csv; `left`: seconds that the rest of the run should take."""
        validation = "" if row["val_accuracy"] is None else f"  validation {percent(row['val_accuracy'])}"
        self.say(
            f"epoch {row['epoch']:>{len(epochs)}}/{epochs}  loss {row['train_loss']:.3f}  train {percent(row['train_accuracy'])}"
            f"{validation}  {row['pictures_per_second']:,.0f} pictures/s  {duration(left)} left"
        )

    def end(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
