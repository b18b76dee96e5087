"""Checkpoints: the whole state of training between two steps, atomic, with a checksum, the two newest kept."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from striate.errors import DataError
from striate.run import Run, write_atomic

KEPT = 2


def save_checkpoint(run: Run, state: dict[str, Any]) -> Path:
    """Writes `state`, which has its `step`, and removes all but the `KEPT` newest checkpoints.

    `state` holds tensors, numbers, strings and containers of them, so that it loads with `weights_only`.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    path = run.path / "checkpoints" / f"step-{state['step']:09d}.pt"
    # The checksum first: a checkpoint is there when its own file is, and then its checksum is too.
    write_atomic(_checksum_path(path), hashlib.sha256(content).hexdigest() + "\n")
    write_atomic(path, content)
    for old in _newest_first(run)[KEPT:]:
        old.unlink()
        _checksum_path(old).unlink(missing_ok=True)
    return path


def load_checkpoint(run: Run) -> tuple[dict[str, Any], list[str]]:
    """(state, reasons): the newest whole checkpoint, and why each newer one was passed over.

    Raises:
        DataError: there is none, or none that is whole.
    """
    reasons: list[str] = []
    for path in _newest_first(run):
        content = path.read_bytes()
        checksum = _checksum_path(path)
        expected = checksum.read_text().strip() if checksum.is_file() else "none on disk"
        if hashlib.sha256(content).hexdigest() != expected:
            reasons.append(f"{path} is damaged: its SHA-256 is not {expected}")
            continue
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return state, reasons
    raise DataError("\n".join([f"{run.path} has no checkpoint to go on from", *reasons]))


def _newest_first(run: Run) -> list[Path]:
    return sorted((run.path / "checkpoints").glob("step-*.pt"), reverse=True)


def _checksum_path(path: Path) -> Path:
    return path.with_suffix(".sha256")
