"""The run directory: it explains itself, and every later command needs nothing else."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from striate import notebook
from striate.arguments import checked
from striate.errors import DataError, StriateError, UsageError, param
from striate.files import numbered, write_yaml
from striate.outcome import Ending, Learning, Row
from striate.runfiles import check_folders, place, read_csv, read_json, read_yaml
from striate.runforms.calibration import Answer, Calibration
from striate.runforms.config import RunConfig
from striate.runforms.data import Data, Split
from striate.runforms.evaluation import EvaluationFigures, leading
from striate.runforms.summary import Environment, Epoch, Overview, Summary
from striate.texts import duration, interval, share

if TYPE_CHECKING:
    from torch import nn

    from striate.data import Preprocessing, Reading
    from striate.data.inputs import Picture
    from striate.predicting import Prediction, Predictions
    from striate.recipe import Recipe

LARGEST_FILE = 2**36
"""Bytes of any file of a run. Those that are read have lower limits of their own."""
MOST_EVALUATIONS = 1_000
"""Number of evaluations of a run that are read."""
_LIST = "List runs with: striate runs"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Run:
    """One training run on disk, in the directory `path`. Attributes are read from its files when they are first used.

    Attributes:
        module: the net that was given to `striate.train`, where it was no name; the run holds its weights and not its code.
        trust_code: whether a net's file is run that no training on this machine has run as it is.
    """

    def __init__(self, path: Path, module: nn.Module | None = None, trust_code: bool = False) -> None:
        self.path, self.module, self.trust_code = path, module, trust_code

    @classmethod
    def create(cls, out: Path, name: str | None, fallback: str) -> Run:
        """Makes a new, empty run directory in `out`, which is made if it is not there.

        Args:
            name: what the user asked for; None for `fallback`, to which -2, -3, ... is added while it is taken.

        Raises:
            UsageError: the name is taken or cannot be a folder's name.
            StriateError: `out` cannot be written.
        """
        if name is not None and not _NAME.fullmatch(name):
            raise UsageError(f"a run's name is letters, digits, '.', '_' and '-', at most 100 characters; got {name!r}")
        fallback = re.sub(r"[^A-Za-z0-9._-]+", "-", fallback).strip("-.")[:90] or "run"
        try:
            out.mkdir(parents=True, exist_ok=True)
            for free in [name] if name else numbered(fallback):
                with suppress(FileExistsError):
                    (out / free).mkdir()
                    return cls(out / free)
            raise UsageError(f"{out / str(name)} already exists: choose another {param('name')}, or leave it out")
        except OSError as error:
            raise StriateError(
                f"{out} cannot be written ({error.strerror}): choose another folder with {param('out')}"
            ) from error

    @classmethod
    def open(cls, path: str | Path, *, module: nn.Module | None = None, trust_code: bool = False) -> Run:
        """The run in that directory.

        Args:
            module: a net like the one that was given to `striate.train`; needed where the run was trained so, and then only for
                what uses the net. It is copied, not changed.
            trust_code: run the file that holds the run's net, which no training on this machine has run as it is, and trust it
                from then on. To load such a net is to run that file: read it first. See `striate.trust`.

        Raises:
            DataError: it is not a run, of a later format than this version reads, or one of its files is damaged; it names the
                file and the field.
        """
        run = cls(Path(path), module, trust_code)
        if not run.path.is_dir():
            raise DataError(f"{path} {'is a file' if run.path.exists() else 'does not exist'}. {_LIST}")
        if not os.path.lexists(run.path / "config.yaml"):
            raise DataError(f"{path} is not a run: it has no config.yaml. {_LIST}")
        run.check()
        return run

    def check(self) -> None:
        """Reads the run's files that describe it, except the split, which can be long and is checked when it is used. Raises
        DataError if one is damaged, too large or no file; it names the file and the field.
        """
        check_folders(self.path)
        for name in ("split.json", "calibration.safetensors", "weights/last.safetensors", "weights/best.safetensors"):
            place(self.path, name, most=LARGEST_FILE)  # what it holds is looked at when it is used
        _ = self.config, self.summary, self.calibration, self.environment, self.metrics, self.evaluations
        found, wanted, file = len(self.data.classes), self.config.net.classes, self.path / "data.json"
        if found != wanted:
            raise DataError(f"{file}: classes must be {wanted:,} as net.classes in config.yaml, got {found:,}")

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @cached_property
    def config(self) -> RunConfig:
        """Net, data, preprocessing, recipe and plan, resolved: enough to repeat the run."""
        return read_yaml(self.path, "config.yaml", RunConfig)

    def keep(self, config: RunConfig) -> None:
        """Writes another config in the place of the one that the run has."""
        self.config = config
        write_yaml(self.path / "config.yaml", config.as_dict())

    @cached_property
    def recipe(self) -> Recipe:
        """How it was trained. Raises DataError, which names the field of config.yaml."""
        from striate.recipe import Recipe

        try:
            return Recipe.from_dict(self.config.recipe.values, newer=True)
        except (DataError, UsageError) as error:
            raise DataError(f"{self.path / 'config.yaml'}: {error}") from error

    @property
    def preprocessing(self) -> Preprocessing:
        """From an image to what the net is fed."""
        from striate.data import Preprocessing

        return Preprocessing.from_dict(self.config.preprocessing.as_dict())

    @property
    def reading(self) -> Reading:
        """How its files were read."""
        from striate.data import Reading

        data, images = self.config.data, self.config.preprocessing
        return Reading(
            size=images.size, channels=images.channels, fit=images.fit, range=images.range, group_by=data.group_by,
            exclude=data.exclude, splits=data.splits,
        )  # fmt: skip

    @cached_property
    def environment(self) -> Environment:
        """Versions and machine."""
        return read_json(self.path, "environment.json", Environment) or Environment()

    @cached_property
    def data(self) -> Data:
        """The training data: name, classes, counts, fingerprint. Raises DataError where there is none."""
        if (found := read_json(self.path, "data.json", Data)) is None:
            raise DataError(f"{self.path / 'data.json'} is not there")
        return found

    @property
    def calibration(self) -> Calibration | None:
        """The values fitted on the validation images: temperature, and threshold to abstain; None if there were
        none."""
        return read_json(self.path, "calibration.json", Calibration)

    @property
    def temperature(self) -> float:
        """The temperature that divides the net's logits before the softmax; 1 without calibration."""
        return 1.0 if (known := self.calibration) is None else float(known.temperature)

    @property
    def answer(self) -> list[list[float]] | None:
        """The net's answers to two fixed images when it was saved: logits, possibly NaN; None if not recorded."""
        if (found := read_json(self.path, "answer.json", Answer)) is None:
            return None
        return [[math.nan if value is None else float(value) for value in row] for row in found.logits]

    def validation_indices(self) -> npt.NDArray[np.int64] | None:
        """Positions in the data's training split that the run kept for validation; None where the data has its own."""
        indices = self.split.validation
        return None if indices is None else np.asarray(indices, dtype=np.int64)

    @property
    def split(self) -> Split:
        """Which images were held out for validation, and the content of its splits."""
        return read_json(self.path, "split.json", Split) or Split()

    @property
    def summary(self) -> Summary:
        """Status, times and where they went."""
        return read_json(self.path, "summary.json", Summary) or Summary()

    @property
    def ending(self) -> Ending:
        """How training ended, and how much of what was planned is done."""
        return self.summary.ended(self.config, self.metrics)

    @property
    def learning(self) -> Learning:
        """Whether the net learned; unknown for older runs."""
        found = self.summary.learning
        return Learning(verdict="unknown") if found is None else found

    @property
    def metrics(self) -> list[Row]:
        """One row an epoch; numbers as numbers, an empty field as None."""
        return read_csv(self.path, "metrics.csv", Epoch.row)

    @property
    def evaluations(self) -> dict[str, EvaluationFigures]:
        """Folder name -> evaluation.json, in the order in which they were made."""
        folder, dated = self.path / "evaluations", []
        try:
            names = [entry.name for entry in os.scandir(folder) if entry.is_dir()] if folder.is_dir() else []
            if len(names) > MOST_EVALUATIONS:
                raise DataError(f"{folder} has {len(names):,} folders, and at most {MOST_EVALUATIONS:,} are read")
            for name in names:
                if (
                    found := read_json(self.path, f"evaluations/{name}/evaluation.json", EvaluationFigures)
                ) is not None:
                    dated.append(((folder / name / "evaluation.json").stat().st_mtime_ns, name, found))
        except OSError as error:
            raise DataError(f"{folder} cannot be read ({error.strerror})") from error
        return {name: found for _, name, found in sorted(dated, key=lambda one: one[:2])}

    def predict(self, *pictures: Any, top: int = 3, abstain: bool = False) -> Predictions:
        """What the net sees in images, or in one list or Dataset of them: see `striate.classifier.Classifier.predict`."""
        from striate.classifier import loaded

        return loaded(self).predict(pictures[0] if len(pictures) == 1 else pictures, top=top, abstain=abstain)

    def predict_many(self, pictures: Iterable[Picture], top: int = 3, abstain: bool = False) -> Iterator[Prediction]:
        """One prediction after the other, in constant memory: see `striate.classifier.Classifier.predict_many`."""
        from striate.classifier import loaded

        return loaded(self).predict_many(pictures, top=top, abstain=abstain)

    def overview(self) -> Overview:
        """The run in one row, for lists."""
        evaluations, summary, ending = self.evaluations, self.summary, self.ending
        led = evaluations.get(leading(self.config, evaluations) or "")
        return Overview(
            run=str(self.path), status=summary.status, ended=ending.how, learned=self.learning.verdict,
            net=self.config.net.name, data=self.config.data.name, epochs=ending.planned_epochs,
            epochs_done=ending.epochs, seconds=summary.seconds.get("total", 0.0), started=summary.started,
            **{name: getattr(led, name, None) for name in ("split", "n", "accuracy", "low", "high")},
        )  # fmt: skip

    def __repr__(self) -> str:
        try:
            results = [f"{e.split} accuracy {share(e, 'accuracy')}" for e in self.evaluations.values()]
            said = ", ".join([f"{self.config.net.name} on {self.config.data.name}", *results[:1]])
        except DataError as error:
            said = str(error)
        return f"<Run {self.path}: {said}>"

    def _repr_html_(self) -> str:
        found = self.overview()
        fields = {"net": found.net, "data": found.data, "classes": ", ".join(self.data.classes)}
        fields["training"] = f"{self.ending}; {duration(found.seconds)}"
        if not self.learning:
            fields["warning"] = self.learning.said
        for name, evaluation in self.evaluations.items():
            fields[name] = (
                f"accuracy {share(evaluation, 'accuracy')} of {evaluation.n:,} images "
                f"(95 % interval {interval(evaluation)})"
            )
        return notebook.card(f"Run {self.path}", fields, f"The whole report: {self.path / 'report.html'}")


@checked
def load(path: str | Path, *, module: nn.Module | None = None, trust_code: bool = False) -> Run:
    """The run in that directory: `striate.load("runs/lenet5").predict("boot.png")`. See `Run.open`."""
    return Run.open(path, module=module, trust_code=trust_code)
