"""Checkpoints: the whole state of training between two steps, atomic, with a checksum, the two newest kept."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from striate.errors import DataError
from striate.files import sync_folder, write_atomic
from striate.nets.savedfiles import read_saved
from striate.run import Run
from striate.runfiles import place

KEPT = 2
LARGEST = 2**34
"""Bytes of a checkpoint where nothing else is known of it."""
RATIO = 50.0
"""The next checkpoint comes no sooner than so many times what the last one cost: 2 % of the time at the most."""
SECONDS = 60.0
"""Within an epoch a checkpoint is written when the last one is older than this, and after a failed one the next."""


def save_checkpoint(run: Run, state: dict[str, object]) -> Path:
    """Writes `state`, which has its `step` and loads with `weights_only`; then removes all but the `KEPT` newest up to this step,
    and any of later steps: those were damaged, or training would have gone on from them.

    Raises OSError if the disk did not take it; the checkpoints that were there still are.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    path = run.path / "checkpoints" / f"step-{state['step']:09d}.pt"
    # The checksum first: a checkpoint is there when its own file is, and then its checksum is too.
    write_atomic(_checksum_path(path), hashlib.sha256(content).hexdigest() + "\n")
    try:
        write_atomic(path, content)
        sync_folder(path.parent)  # or a power cut could undo the renaming, and not the removals below
    except OSError:
        if not path.exists():
            _checksum_path(path).unlink(missing_ok=True)
        raise
    kept = [other for other in _newest_first(run) if other.name <= path.name][:KEPT]
    for old in set(_newest_first(run)) - set(kept):
        old.unlink()
        _checksum_path(old).unlink(missing_ok=True)
    return path


def load_checkpoint(
    run: Run, fits: Callable[[Any], None] | None = None, most: int | None = None
) -> tuple[dict[str, Any], list[str]]:
    """(state, reasons): the newest whole checkpoint, and why each newer one was passed over. Raises DataError if none is whole.

    Args:
        fits: raises DataError if the state is not one of this run; its checkpoint is passed over then.
        most: bytes that a checkpoint may have.
    """
    reasons: list[str] = []
    for path in _newest_first(run):
        try:
            state = _read(run, path, most)
            if fits is not None:
                fits(state)
        except DataError as error:
            said = str(error)
            reasons.append(said if said.startswith(str(path)) else f"{path} is damaged: {said}")
        else:
            return state, reasons
    raise DataError(f"{run.path} has no checkpoint to resume from: train it again", *reasons)


def _read(run: Run, path: Path, most: int | None) -> dict[str, Any]:
    """The content of a checkpoint. Raises DataError if it is no file, too large, damaged, or refused."""
    checksum = _checksum_path(path)
    try:
        for file, limit in ((path, most or LARGEST), (checksum, 1024)):
            if place(run.path, f"checkpoints/{file.name}", limit) is None:
                raise DataError(f"{file} is not there")
        content, expected = path.read_bytes(), checksum.read_bytes().strip()
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest().encode() != expected:
        raise DataError(f"its SHA-256 differs from the one in {checksum.name}")
    # It may have come with somebody's run, its checksum too.
    state: dict[str, Any] = read_saved(io.BytesIO(content), path)
    return state


class Checkpoints:
    """The checkpoints of a run while it trains: when one is due, and what is done when the disk does not take it.

    Each is followed by `RATIO` times its cost without another, so that all of them but the last cost 1 / `RATIO` of the
    time. The disk may be full for a while: that costs a warning and no training as long as a whole checkpoint is there.
    `saved`: step of the newest whole one, None where there is none yet.
    """

    def __init__(
        self, run: Run, saved: int | None, warn: Callable[[str], None], now: Callable[[], float] = time.perf_counter
    ) -> None:
        self.run, self.saved, self.warn, self.now = run, saved, warn, now
        self.tried = now()
        self.wait = 0.0
        for part in (run.path / "checkpoints").glob(".step-*"):  # of a process that was killed while it wrote
            with suppress(OSError):
                part.unlink()

    def due(self, age: float = 0.0) -> bool:
        """Whether one may be written now that is wanted when the last one is older than `age` seconds."""
        return self.now() - self.tried >= max(age, self.wait)

    def save(self, state: dict[str, Any], *, must: bool) -> bool:
        """Writes one, unless the newest is of this very step; gives whether it did. Raises OSError if it could not, and it `must`
        or there is no other.
        """
        if state["step"] == self.saved:
            return False
        begin, least = self.now(), 0.0
        try:
            save_checkpoint(self.run, state)
            self.saved = int(state["step"])
        except OSError as error:
            if must or self.saved is None:
                raise
            least = SECONDS
            self.warn(
                f"the checkpoint of step {state['step']} could not be written ({error.strerror}): free some space on "
                f"the disk "
                f"of {self.run.path}. Training continues; the checkpoint of step {self.saved} is complete"
            )
        self.tried = self.now()
        self.wait = max(least, RATIO * (self.tried - begin))
        return bool(self.saved == state["step"])


def has_checkpoint(run: Path) -> bool:
    """Whether the run in a folder can be resumed; it may have died before its first step."""
    return any((run / "checkpoints").glob("step-*.pt"))


def _newest_first(run: Run) -> list[Path]:
    return sorted((run.path / "checkpoints").glob("step-*.pt"), reverse=True)


def _checksum_path(path: Path) -> Path:
    return path.with_suffix(".sha256")
