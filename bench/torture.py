"""Runs that are killed outright, SIGKILL, and resumed, against the same runs left alone: everything must be equal to the bit.

Augmentation is on; the nets have batch norm, dropout or both. A third of the kills come while a checkpoint is being written, a
third while the net is validated, the others at any time from the first step to the report; each moment is drawn with a seed.
What is compared: weights, buffers, the optimizer's state, and all metrics but times.

A killed process is a child that says on its standard output when it begins and ends to write a checkpoint or to validate; both
are slowed down in it, so that the moment of the kill can be drawn within them. It counts as inside if the end was not said.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from bench.record import append, conditions

KILLS, CHAIN = 50, 10
SLEEP = 0.02
"""Seconds by which each call to the disk takes longer in the child."""


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        net: of the catalogue.
        data: `sample`, or `files` for a folder of PNG files.
        threads: that decode while it trains; 0 if the pixels are kept.
        epochs: passes over it.
        size: pixels each way, of files.
    """

    net: str
    data: str
    threads: int
    epochs: int = 4
    size: int = 16

    def settings(self, folder: Path) -> dict[str, Any]:
        """The arguments of `striate.train`."""
        common = {"epochs": self.epochs, "augment": "flip,shift=2,rotate=10,colour=0.2,erase=0.3,cutmix=1", "seed": 1}
        exact = {"threads": 1, "layout": "nchw", "lr": 0.02, "validation": 0.2}
        own = {"batch_size": 600} if self.data == "sample" else {"batch_size": 8, "size": self.size}
        data = "fashion-mnist-sample" if self.data == "sample" else str(folder / "pictures")
        return {"net": self.net, "data": data, **common, **exact, **own}


CASES = (
    Case("lenet5-bn", "sample", 0),
    Case("resnet20-dropout-shortcut", "files", 0),
    Case("resnet20-dropout-shortcut", "files", 2),
    Case("nin-cifar10", "files", 0),
    Case("nin-cifar10", "files", 2),
)


def write_pictures(folder: Path, each: int = 25) -> None:
    """Three classes of small PNG files of noise, one brighter than the other."""
    generator = np.random.default_rng(0)
    for label in range(3):
        place = folder / "pictures" / f"class-{label}"
        place.mkdir(parents=True)
        for number in range(each):
            pixels = generator.integers(0, 120, (20, 20, 3)) + 60 * label
            Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")


@contextmanager
def decoding(case: Case, folder: Path) -> Iterator[None]:
    """Pixels kept in a cache; or, for threads that decode at every batch, neither in a cache nor in memory."""
    place = folder / "cache"
    with ExitStack() as stack:
        if case.threads:
            place = folder / "no-cache"
            place.touch()  # a file: no cache can be made in it
            stack.enter_context(patch("striate.data.cache.fits_memory", lambda size: False))
            stack.enter_context(patch("striate.experiment.resumed.usable_cores", lambda: case.threads))
        stack.enter_context(patch.dict(os.environ, {"STRIATE_CACHE": str(place)}))
        yield


def train(case: Case, folder: Path, name: str) -> Any:
    """The run, or what is left of it, trained to its end."""
    import striate
    from striate.training import Progress

    quiet = Progress(quiet=True)
    with decoding(case, folder):
        if (folder / name / "config.yaml").is_file():
            return striate.resume(folder / name, progress=quiet)
        return striate.train(**case.settings(folder), name=name, out=folder, progress=quiet)


def child(case: Case, folder: Path, name: str) -> None:
    """`train`, with checkpoints at every end of an epoch and often within, slowed down, and saying where it is."""
    from striate.training import checkpoint, loop, trainer

    def said(what: str, real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            print("begin", what, flush=True)
            time.sleep(SLEEP)
            result = real(*arguments)
            time.sleep(SLEEP)
            print("end", what, flush=True)
            return result

        return call

    def slowed(real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            time.sleep(SLEEP)
            result = real(*arguments, **options)
            time.sleep(SLEEP)
            return result

        return call

    def first_step(*arguments: Any) -> None:
        vars(loop)["seed_step"] = seed_step
        print("begin training", flush=True)
        seed_step(*arguments)

    seed_step = vars(loop)["seed_step"]
    vars(loop)["seed_step"] = first_step
    vars(checkpoint)["RATIO"], vars(trainer)["SECONDS"] = 0.0, 0.5
    slow = ((os, "fsync"), (Path, "replace"), (checkpoint, "sync_folder"), (checkpoint, "write_atomic"))
    for owner, name_ in slow:
        setattr(owner, name_, slowed(getattr(owner, name_)))
    for module, function, what in ((checkpoint, "save_checkpoint", "checkpoint"), (trainer, "validate", "validation")):
        setattr(module, function, said(what, getattr(module, function)))
    train(case, folder, name)


def kill(case: Case, folder: Path, name: str, moment: str, generator: random.Random, longest: float) -> str | None:
    """Starts or resumes the run in a child and kills it: where it was, or None if it ended before.

    Args:
        moment: `checkpoint` (not the one before the first step: nothing is trained then), `validation` or `training`.
        longest: seconds from the first step to the end, for `training`.
    """
    fresh = not list((folder / name / "checkpoints").glob("*.pt"))
    nth = 1 if moment == "training" else generator.randint(1, 3) + (fresh and moment == "checkpoint")
    wait = generator.uniform(0, longest if moment == "training" else 8 * SLEEP if moment == "checkpoint" else 2 * SLEEP)
    command = [sys.executable, "-m", "bench.torture", json.dumps([asdict(case), str(folder), name])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line.strip())
        if said.count(f"begin {moment}") == nth:
            break
    time.sleep(wait)
    process.kill()
    rest, errors = process.communicate()
    if process.returncode != -9:
        if process.returncode:
            raise SystemExit(f"the child failed by itself:\n{errors}")
        return None
    said += rest.split("\n")
    return next(
        (what for what in ("checkpoint", "validation") if said.count(f"begin {what}") > said.count(f"end {what}")),
        "elsewhere",
    )


def kept(run: Any) -> dict[str, Any]:
    """All of a run that must be equal to the bit."""
    from striate.training.checkpoint import load_checkpoint

    state, damaged = load_checkpoint(run)
    if damaged:
        raise SystemExit("\n".join(damaged))
    timed = ("seconds", "pictures_per_second")
    state["rows"] = [{key: value for key, value in row.items() if key not in timed} for row in state["rows"]]
    del state["seconds"]
    state["weights"] = (run.path / "weights" / "last.safetensors").read_bytes()
    state["metrics"] = [{key: value for key, value in row.items() if key not in timed} for row in run.metrics]
    state["evaluations"] = {key: found.confusion for key, found in run.evaluations.items()}
    return state


def same(a: Any, b: Any) -> bool:
    """Whether two things are equal to the bit, tensors inside them too."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(one, other) for one, other in zip(a, b, strict=True))
    return bool(a == b)


def torture(folder: Path, case: Case, moments: Sequence[str], seed: int, chain: bool = False) -> dict[str, Any]:
    """Kills one run at each of the moments, or in a `chain` one run at all of them; counts where, and what came out equal."""
    generator = random.Random(seed)
    name = f"{case.net}-{case.threads}-{seed}"
    whole = train(case, folder, f"{name}-whole")
    wanted, longest = kept(whole), 2.0 if chain else whole.metrics[-1]["seconds"] + 2
    counts = {"checkpoint": 0, "validation": 0, "elsewhere": 0}
    runs: set[str] = set()
    for number, moment in enumerate(moments):
        broken = f"{name}-chain" if chain else f"{name}-{number}"
        # At any time: what ended before is tried again, sooner.
        while (where := kill(case, folder, broken, moment, generator, longest)) is None:
            broken, longest = f"{broken}-again", longest / 2
        counts[where] += 1
        runs.add(broken)
    identical = sum(same(wanted, kept(train(case, folder, broken))) for broken in sorted(runs))
    return {
        "net": case.net,
        "data": case.data,
        "decoding_threads": case.threads,
        "chain": chain,
        "kills": sum(counts.values()),
        **{f"in_{where}": count for where, count in counts.items()},
        "resumed_runs": len(runs),
        "identical": identical,
    }


def main() -> None:
    """A row for each net and way of decoding, then one for the chain; an error if anything differed."""
    with tempfile.TemporaryDirectory() as out:
        folder = Path(out)
        write_pictures(folder)
        moments = [("checkpoint", "validation", "training")[number % 3] for number in range(KILLS)]
        rows = [torture(folder, case, moments[number :: len(CASES)], seed=number) for number, case in enumerate(CASES)]
        rows.append(torture(folder, replace(CASES[1], epochs=60), moments[:CHAIN], seed=100, chain=True))
        for row in rows:
            append("torture", {**conditions(), **row})
    if wrong := [row for row in rows if row["identical"] != row["resumed_runs"]]:
        raise SystemExit(f"not identical: {wrong}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        of, where_to, called = json.loads(sys.argv[1])
        child(Case(**of), Path(where_to), called)
    else:
        main()
