"""Who watches a training: the observers in the process that called, and the run's file of events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from striate.errors import Interrupted, Signalled, StriateError
from striate.events import Event, EventFile, Failed, Finished, Observer, Reading, Said, Stopped, Warned
from striate.live import EVENTS
from striate.run import Run
from striate.training.signals import Stop


class Audience:
    """The observers that are called with each event of a training, one after the other, in the thread that trains.

    One that raises is called no more and stops the training as Ctrl-C does; `answered` then says which it was. `observers` is
    None for a rank other than 0, which tells nothing. `stop` ends the training when it is asked to.
    """

    def __init__(self, observers: Sequence[Observer] | None = (), stop: Stop | None = None) -> None:
        self.tells = observers is not None
        self.observers = list(observers or ())
        self.stop = stop or Stop()
        self.failed: tuple[Observer, Event, Exception] | None = None
        self._file: EventFile | None = None
        self._before: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Tells all of them."""
        if not self.tells:
            return
        if self._file is not None:
            self._file(event)
        elif not isinstance(event, Reading):
            self._before.append(event)
        for observer in [*self.observers]:
            try:
                observer(event)
            except Exception as error:
                self.observers.remove(observer)
                self.failed = self.failed or (observer, event, error)
                self.stop.ask()

    def say(self, text: str, about: str = "") -> None:
        """Tells a line for people."""
        self(Said(text=text, about=about))

    def table(self, rows: Mapping[str, str | Sequence[str]]) -> None:
        """Tells lines: what they are about, and what they say, in one line or several."""
        for about, text in rows.items():
            for line in [text] if isinstance(text, str) else text:
                self.say(line, about)

    def warn(self, text: str) -> None:
        """Tells a warning."""
        self(Warned(text=text))

    def reading(self, done: int, total: int) -> None:
        """Tells how many image files are decoded."""
        self(Reading(done=done, total=total))

    @contextmanager
    def recorded(self, run: Run) -> Iterator[None]:
        """Inside, events go into the run's `events.jsonl` too, after those that were told before; how it ends is told last. A
        disk that does not take the file costs a warning.
        """
        if not self.tells:
            yield
            return
        try:
            self._file = EventFile(run.path / EVENTS)
            for event in self._before:
                self._file(event)
        except OSError as error:
            self.warn(f"{run.path / EVENTS} cannot be written ({error.strerror}): nobody can follow this run")
        try:
            yield
            self(Finished())
        except BaseException as error:
            stopped = isinstance(error, Interrupted | Signalled | KeyboardInterrupt)
            self((Stopped if stopped else Failed)(text=str(error) or type(error).__name__))
            raise
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None

    @contextmanager
    def answered(self) -> Iterator[None]:
        """Raises StriateError at the end, or in place of Interrupted, if an observer failed inside."""
        said = "The training had ended by then"
        try:
            yield
        except Interrupted as error:
            if self.failed is None:
                raise
            said = str(error)
        if self.failed is not None:
            observer, event, raised = self.failed
            name = getattr(observer, "__qualname__", type(observer).__qualname__)
            raise StriateError(
                f"the observer {name} failed at the event {event.kind()}: {type(raised).__name__}: {raised}. {said}"
            ) from raised
