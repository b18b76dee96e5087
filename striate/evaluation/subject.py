"""A run's classifier, and the images that it is tested on: the run's own, wherever they lie now, or others with its classes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from striate.classifier import Classifier
from striate.data import GIVEN, DataLike, DataSet, ImageData, Reading, is_name, read_data
from striate.data.splits import recorded
from striate.errors import DataError, UsageError, param
from striate.machine import pick_device, usable_cores
from striate.run import Run

SHOWN = 12
"""Classes that a message names."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A classifier, and the images that it is tested on.

    Attributes:
        whole: the images as they were loaded.
        name, split: what the images are.
        mirrored: whether a mirrored image keeps its class.
        temperature: the run's, or None.
        own: whether they are of the run's own data.
        by_position: what was taken for what, where the images have numbers in place of class names; empty otherwise.
    """

    classifier: Classifier
    whole: ImageData
    name: str
    split: str
    mirrored: bool = True
    temperature: float | None = None
    own: bool = False
    by_position: str = ""

    @cached_property
    def sized(self) -> ImageData:
        """The images at the size that the net takes."""
        return self.classifier.preprocessing.resized(self.whole)

    @property
    def stem(self) -> str:
        """The prefix of its folder names."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.name).strip("-.") or "data"
        return f"{name}-{self.split}"


def subject_of(run: Run, data: DataLike | None, split: str, device: str, data_dir: str | Path | None) -> Subject:
    """The run's net, and the images of a split, with the run's classes.

    Args:
        data: None for the run's own. Images that have the run's fingerprint are its own too, wherever they lie.

    Raises:
        DataError: the data is not there, is damaged, or has classes that the run does not know.
        UsageError: it has no such split.
    """
    pick_device(device)  # one that is not there is said before the data is read
    dataset, own = load_for(run, data, data_dir)
    pictures = _split(run, dataset, split, own=own)
    if not len(pictures):
        raise DataError(f"{dataset.location} has no images in its {split} split")
    pictures, by_position = with_classes(pictures, run.data.classes, dataset)
    return Subject(
        classifier=Classifier.of(run, device=device),
        whole=pictures,
        name=run.config.data.name if own else dataset.name,
        split=split,
        mirrored=dataset.flippable,
        temperature=None if run.calibration is None else run.temperature,
        own=own,
        by_position=by_position,
    )


def load_for(run: Run, data: DataLike | None, data_dir: str | Path | None) -> tuple[DataSet, bool]:
    """(data set, whether it is the run's own), decoded as the run decodes.

    Raises:
        DataError: the run's own data is no longer where it was: the message says how to name the new place.
    """
    own = run.config.data.location

    def load(place: DataLike, reading: Reading) -> DataSet:
        return read_data(place, reading, data_dir=data_dir, workers=usable_cores())

    reading = replace(run.reading, partial=True)
    if isinstance(data, DataSet):
        _require_read_alike(run, data, reading)
        return data, is_own(run, data)
    if data is not None and not isinstance(data, str | Path):
        dataset = load(data, reading.of_all())
        if is_own(run, dataset):
            return dataset, True
        # Images of one split that are not the run's own are all of them tested on.
        return (dataset if isinstance(data, Mapping) else load({"test": data}, reading.of_all())), False
    if data is None or str(data) == own:
        require_place(run, own)
        return load(own, reading), True
    if reading != reading.of_all():  # its own splits come about so only
        try:
            dataset = load(data, reading)
            if is_own(run, dataset):
                return dataset, True
        except (UsageError, DataError):
            pass
    dataset = load(data, reading.of_all())
    if run.config.preprocessing.range is None and not run.config.preprocessing.sixteen:
        dataset.require_range()
    return dataset, dataset.location == own or is_own(run, dataset)


def _require_read_alike(run: Run, dataset: DataSet, reading: Reading) -> None:
    """Raises UsageError for files that were decoded into other pixels than the run decodes."""
    for name in () if dataset.reading is None else ("size", "channels", "fit", "range"):
        had, wanted = getattr(dataset.reading, name), getattr(reading, name)
        if wanted is not None and had != wanted:
            raise UsageError(
                f"{dataset.name} was read with {name}={had!r}, and {run.name} takes {wanted!r}: "
                f"striate.load_data(..., {name}={wanted!r})"
            )


def is_own(run: Run, dataset: DataSet) -> bool:
    """Whether a data set has the training images of the run, in the same order and with the same classes."""
    return "train" in dataset.splits and dataset.train.fingerprint() == run.data.fingerprint


def is_moved(run: Run, dataset: DataSet, data_dir: str | Path | None) -> bool:
    """Whether a data set, loaded in whatever way, is the run's own at another place than where the run was trained."""
    if is_name(dataset.location) or GIVEN in (dataset.location, run.config.data.location):
        return False
    if dataset.location == run.config.data.location:
        return False
    return load_for(run, dataset.location, data_dir)[1]


def require_place(run: Run, location: str) -> None:
    """Raises DataError if a run's own folder, table or archive is no longer there."""
    if location == GIVEN:
        raise DataError(
            f"the data that {run.path} was trained on was given in Python, not as a file: give it again, as in "
            f"striate.evaluate(run, data=...) or striate.resume({str(run.path)!r}, data=...); it is recognised by its "
            f"fingerprint"
        )
    if not is_name(location) and not Path(location).exists():
        raise DataError(
            f"{location}, the data that {run.path} was trained on, is no longer there. If it was moved, give its new "
            f"location: {param('data', 'NEWPLACE')}; it is recognised by its content"
        )


def with_classes(data: ImageData, classes: tuple[str, ...], dataset: DataSet) -> tuple[ImageData, str]:
    """(the images with the labels that their class names have in `classes`, what was taken for what by its position).

    Classes are matched by name, in whatever order, and may be some of them only. Images that have numbers and no names at all
    are matched by position where there are as many.

    Raises:
        DataError: images of a class that is not in `classes`; both lists are named.
    """
    if data.classes == classes:
        return data, ""
    place = {name: position for position, name in enumerate(classes)}
    present = [name for name, count in zip(data.classes, data.class_counts(), strict=True) if count]
    unknown = [name for name in present if name not in place]
    if unknown and dataset.numbered and len(data.classes) == len(classes):
        pairs = [f"{number} is {name}" for number, name in zip(data.classes, classes, strict=True)]
        return replace(data, classes=classes), _listed(pairs)
    if unknown:
        raise DataError(_unknown(unknown, data.classes, classes, dataset))
    labels = np.asarray([place.get(name, 0) for name in data.classes], dtype=np.int64)
    return replace(data, labels=labels[data.labels], classes=classes), ""


def _unknown(unknown: Sequence[str], given: Sequence[str], classes: Sequence[str], dataset: DataSet) -> str:
    alike = {_plain(name): name for name in classes}
    near = [f"{name!r} differs from {alike[_plain(name)]!r}" for name in unknown if _plain(name) in alike]
    if dataset.numbered:
        way = "it has numbers instead of names: add an array named classes, with the names in the order of its labels"
    elif near:
        way = f"{_listed(near)} only in case, spaces or letter forms: rename it"
    else:
        way = "rename its classes"
    return (
        f"{dataset.name} has classes that the run does not know: {_listed(unknown)}. It has {_listed(given)}; the run knows "
        f"{_listed(classes)}. To evaluate it, {way}"
    )


def _plain(name: str) -> str:
    """A name without what people overlook: case, spaces, marks between words, the form of letters."""
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name).casefold())


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _split(run: Run, dataset: DataSet, split: str, own: bool) -> ImageData:
    """The images of a split. `own`: of the run's own data, whose validation images the run chose."""
    content = run.split.content if own else None
    if content is not None and split in content:
        return recorded(dataset, content, split)
    held = run.validation_indices() if own else None
    if split == "validation" and held is not None and not len(held):
        raise UsageError(f"{run.name} has no validation images")
    if held is not None and split in ("train", "validation"):
        kept = np.setdiff1d(np.arange(len(dataset.train), dtype=np.int64), held)
        return dataset.train.select(held if split == "validation" else kept)
    if split not in dataset.splits:
        raise UsageError(f"{dataset.name} has no split {split!r}; it has: {', '.join(dataset.splits)}")
    return dataset.splits[split]
