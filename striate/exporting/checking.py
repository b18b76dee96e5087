"""The check of an export: reopened in a process of its own, it must answer as the run does, on real images."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.data import GIVEN, NAMED, Preprocessing, is_name, load_data, read_data
from striate.data.images import ImageData, Pixels
from striate.data.listing import list_files
from striate.data.named import find
from striate.drawing.images import to_image
from striate.errors import CheckError, DataError, StriateError
from striate.exporting import reopen
from striate.exporting.model import Model
from striate.run import Run
from striate.strictjson import to_json

COUNT = 64
"""Images of a check: nine batches of seven and one of one."""
LIMIT = 1e-4
"""Largest allowed error of a logit, relative to the largest logit; and of a probability."""
SAMPLE = "fashion-mnist-sample"
Answers = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class CheckPictures:
    """The images that an export is checked on.

    Attributes:
        pixels: as the net is fed.
        files: the images' own files, where they have any.
        source: what they are, in words.
    """

    pixels: Pixels
    files: tuple[Path, ...]
    source: str

    def as_files(self, folder: Path) -> tuple[Path, ...]:
        """Their files, or files that are written for them into `folder`."""
        if self.files:
            return self.files
        files = tuple(folder / f"{number:04d}.png" for number in range(len(self.pixels)))
        for file, picture in zip(files, self.pixels, strict=True):
            to_image(picture).save(file)
        return files


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The differences between answers and the run's own.

    Attributes:
        pictures: how many were compared.
        difference: the largest of a logit, as a part of the largest logit; for a form without logits, of a probability.
        decided: images whose likeliest class leads by more than twice the limit.
        agreed: how many of those have the same likeliest class.
        same: how many of all have it.
    """

    pictures: int
    difference: float
    decided: int
    agreed: int
    same: int

    @property
    def passed(self) -> bool:
        """Whether the difference is within `LIMIT`, and every decided image has its class."""
        return self.difference <= LIMIT and self.agreed == self.decided


def pictures_of(run: Run, preprocessing: Preprocessing, count: int = COUNT) -> CheckPictures:
    """Images of the run's data, of its test split where it has one, evenly from first to last; nothing is downloaded.

    The shipped sample's where that data is not on this machine, or not readable any more.
    """
    location = run.config.data.location
    name = run.config.data.name
    try:
        if location == GIVEN:
            raise DataError(f"{name} was given in Python")
        if is_name(location) or location.endswith(".npz"):
            if location in NAMED and find(NAMED[location]) is None:
                raise DataError(f"{location} is not on this machine")
            return _of_set(read_data(location, run.reading).splits, preprocessing, count, f"images of {name}")
        return _of_files(run, preprocessing, count)
    except StriateError:
        sample = load_data(SAMPLE).splits
        return _of_set(sample, preprocessing, count, f"images of the bundled sample ({name} is not on this machine)")


def _of_set(splits: Mapping[str, ImageData], preprocessing: Preprocessing, count: int, source: str) -> CheckPictures:
    split = next(name for name in ("test", "validation", "train") if name in splits)
    data = splits[split]
    data = preprocessing.resized(data.select(_evenly(len(data), count)))
    return CheckPictures(pixels=data.pixels[:], files=(), source=f"{split} {source}")


def _of_files(run: Run, preprocessing: Preprocessing, count: int) -> CheckPictures:
    source, name = Path(run.config.data.location), run.config.data.name
    listing = list_files(source, run.reading)
    excluded = listing.excluded_paths()
    files = tuple(file for file in listing.files if str(file.path) not in excluded)
    tests = [file for file in files if file.split == "test"]
    files = tuple(tests) or files
    pixels, paths = [], []
    for position in _evenly(len(files), count):
        try:
            pixels.append(preprocessing.read(files[position].path))
            paths.append(files[position].path.resolve())
        except DataError:  # those that training left out
            continue
    if not pixels:
        raise DataError(f"{source} no longer has a readable image")
    return CheckPictures(pixels=np.stack(pixels), files=tuple(paths), source=f"{'test ' * bool(tests)}images of {name}")


def _evenly(length: int, count: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, length - 1, min(length, count)).round().astype(np.int64))


def reference(model: Model, pixels: Pixels) -> Answers:
    """`probabilities` and `logits`, float64 (N, classes), as the run itself has them."""
    outputs = model.classifier.logits(pixels).double()
    probabilities = (outputs / model.classifier.temperature).softmax(1)
    return {"probabilities": probabilities.numpy(), "logits": outputs.numpy()}


def compare(expected: Answers, answers: Answers) -> Comparison:
    """Compares an export's answers, `probabilities` and perhaps `logits`, with what `reference` gives."""
    outputs = expected["logits"]
    largest = float(np.abs(outputs).max()) or 1.0
    scales = {"probabilities": 1.0, "logits": largest}
    differences = [np.abs(answers[key] - expected[key]).max() / scales[key] for key in scales.keys() & answers.keys()]
    if outputs.shape[1] > 1:
        second, first = np.sort(outputs, 1)[:, -2:].T
        decided = first - second > 2 * LIMIT * largest
    else:
        decided = np.ones(len(outputs), bool)
    same = answers.get("logits", answers["probabilities"]).argmax(1) == outputs.argmax(1)
    return Comparison(
        pictures=len(outputs),
        difference=float(np.max(differences)),  # NaN if one of them is
        decided=int(decided.sum()),
        agreed=int((same & decided).sum()),
        same=int(same.sum()),
    )


def opened(jobs: Sequence[Mapping[str, Any]]) -> list[Answers]:
    """The answers of exports that are opened in a fresh process without Striate.

    Args:
        jobs: each with `form`, `file` and `pictures`, as `striate.exporting.reopen` takes them.

    Raises:
        CheckError: one could not be opened.
        StriateError: the system refused memory or room on the disk for that.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        whole = []
        for number, job in enumerate(jobs):
            pictures = job["pictures"]
            if isinstance(pictures, np.ndarray):
                np.save(folder / f"{number}.npy", pictures)
                pictures = str(folder / f"{number}.npy")
            whole.append({**job, "pictures": pictures, "answers": str(folder / f"{number}.npz")})
        (folder / "jobs.json").write_text(to_json(whole))
        command = [sys.executable, "-I", "-B", reopen.__file__, str(folder / "jobs.json")]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            reason = (ended.stderr.strip().splitlines() or [f"the process ended with {ended.returncode}"])[-1]
            kind = StriateError if reason.startswith(("OSError", "MemoryError", "PermissionError")) else CheckError
            raise kind(f"it could not be reopened: {reason}")
        answers: list[Answers] = []
        for job in whole:
            with np.load(job["answers"], allow_pickle=False) as found:
                answers.append(dict(found))
        return answers
