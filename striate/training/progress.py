"""The display of a training: a progress bar on a terminal, one plain line per epoch elsewhere. All of it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from striate import events
from striate.terminal import plain
from striate.texts import duration, percent

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

READING_SECONDS = 2.0


class Progress:
    """An observer that prints the course of training; nothing if `quiet`. `stream`: stderr if None."""

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self.stream = stream or sys.stderr
        self._bar: Bar | None = None
        self._about = ""  # what the last line was about
        self._reading: tuple[float, int, float] | None = None  # when it began, at which image, when it was said last

    def __call__(self, event: events.Event) -> None:
        """Shows an event, if it is one for people."""
        match event:
            case events.Said():
                label = "" if event.about == self._about else event.about  # said once for several lines
                self.say(f"{label:<6}  {event.text}" if event.about else event.text)
                self._about = event.about
            case events.Warned():
                self.say(f"warning: {event.text}")
            case events.Reading():
                self.reading(event.done, event.total)
            case events.Started():
                self._begin(event)
            case events.Stepped() if self._bar is not None:
                state = f"loss {event.loss:.3f}  accuracy {percent(event.accuracy)}  {event.images_per_second:,.0f} images/s"
                epoch = f"{event.epoch}/{event.epochs}"
                self._bar.update(self._bar.task_ids[0], completed=event.step, epoch=epoch, state=state)
            case events.EpochEnded():
                self._epoch(event)
            case events.EndMoved():
                self._move(event)
            case events.Trained() | events.Stopped() | events.Failed() if self._bar is not None:
                self._bar.stop()
                self._bar = None

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

    def reading(self, done: int, total: int) -> None:
        """So many of `total` files are decoded. Shown only where it takes long."""
        now = time.perf_counter()
        if done == 0 or self._reading is None:
            self._reading = (now, done, now)
        began, before, said = self._reading
        if self.quiet or now - began < READING_SECONDS or (done < total and now - said < READING_SECONDS):
            return
        self._reading = (began, before, now)
        left = (now - began) / max(done - before, 1) * (total - done)
        self.say(f"read    {done:,} of {total:,} images" + (f", {duration(left)} left" if left else ""))

    def _begin(self, event: events.Started) -> None:
        """Shows the bar, on a terminal."""
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
        self._bar.add_task("", total=event.steps, completed=event.step, epoch="", state="")

    def _epoch(self, event: events.EpochEnded) -> None:
        """One line for a finished epoch."""
        row: Mapping[str, Any] = event.row
        number = f"{row['epoch']:>{len(str(event.epochs))}}/{event.epochs}"
        validation = "" if row["val_accuracy"] is None else f"  validation {percent(row['val_accuracy'])}"
        left = "" if event.last else f"  {duration(event.seconds_left)} left"
        self.say(
            f"epoch {number}  loss {row['train_loss']:.3f}  train {percent(row['train_accuracy'])}{validation}  "
            f"{row['pictures_per_second']:,.0f} images/s{left}"
        )

    def _move(self, event: events.EndMoved) -> None:
        """One line, and the bar is as long as the run is now."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], total=event.steps)
        word = "slower" if event.epochs < event.planned_epochs else "faster"
        epochs = f"{event.epochs:.4g} epochs instead of {event.planned_epochs:.4g}"
        self.say(f"{word} than estimated: {epochs}, to meet the budget")
