"""A run under torchrun --max-restarts: when a rank dies all are started again, with the same command, and find their run."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from striate.errors import UsageError, param
from striate.run import Run


def check_restarts() -> None:
    """Raises UsageError if torchrun could not start ranks of several nodes again: its agents then share a store that keeps the
    addresses of those that are gone, and count restarts each by itself.
    """
    said = os.environ
    restarts, nodes = (int(said.get(name, 0)) for name in ("TORCHELASTIC_MAX_RESTARTS", "GROUP_WORLD_SIZE"))
    if restarts > 0 and nodes > 1 and said.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise UsageError(
            "ranks of several nodes cannot be restarted in the store that torchrun's agents share: start torchrun with "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment and --rdzv-backend=c10d, or without --max-restarts"
        )


def previous_attempt(out: Path, name: str | None) -> Path | None:
    """The run that this launch of torchrun began before a rank died; None the first time, and without torchrun --max-restarts.

    How often it was restarted does not tell: where there are several nodes, each agent counts by itself.

    Raises:
        UsageError: ranks may be restarted, and without a name could not find the run again.
    """
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) == 0:
        return None
    if name is None:
        raise UsageError(
            "with torchrun --max-restarts a run needs a name, by which restarted ranks find it: add "
            f"{param('name', 'NAME')}"
        )
    path = out / name
    if not path.is_dir():
        return None
    import psutil

    started = Run(path).summary.started
    began = datetime.fromisoformat(started).timestamp() if started else path.stat().st_mtime
    launched = psutil.Process(os.getppid()).create_time() // 1  # a summary has whole seconds
    return path if began >= launched else None
