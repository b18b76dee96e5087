"""The images of a run: loaded, split, and checked for what a run needs of them, before anything is trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from striate.choices import Judge
from striate.data import DataSet, ImageData, Reading, read_data
from striate.data.dataset import CHANNELS, OF_FILES
from striate.data.splits import hold_out, together
from striate.errors import DataError, UsageError, param
from striate.machine import usable_cores
from striate.nets.external import ExternalFacts
from striate.nets.netspec import NetFacts
from striate.recipe import Recipe
from striate.settings import Settings
from striate.texts import listed
from striate.training import Audience

SHOWN = 10
"""Classes that a message names."""

Indices = npt.NDArray[np.int64]


def load(settings: Settings, row: NetFacts, audience: Audience) -> tuple[DataSet, Settings]:
    """The data, loaded if necessary, and the settings that lead to the same images again. Raises UsageError if
    it was loaded otherwise than is asked for, and for a wrong pattern or range; DataError if it is missing or damaged.
    """
    size, channels = settings.size, settings.channels
    if channels is None and isinstance(row, ExternalFacts) and row.input[0] in CHANNELS:
        channels = row.input[0]  # of other numbers `build_initial_net` says why they cannot be
    asked = Reading(
        size=(size, size) if size else (row.input[1], row.input[2]),
        channels=channels,
        tested=settings.judge == "test",
        **{name: getattr(settings, name) for name in (*OF_FILES, "fit", "range", "on_bad")},
    )
    if isinstance(settings.data, DataSet):
        dataset = settings.data if asked.tested else settings.data.untested()
        _require_read_so(dataset, asked, settings)
        if dataset.reading is not None:
            settings = replace(settings, fit=dataset.reading.fit)
    else:
        told, cores = audience.reading, usable_cores()
        dataset = read_data(settings.data, asked, data_dir=settings.data_dir, workers=cores, on_progress=told)
    dataset.require_excluded()
    dataset.require_range()
    return dataset, settings


def _require_read_so(dataset: DataSet, asked: Reading, settings: Settings) -> None:
    """Raises UsageError if a DataSet was loaded otherwise than is asked for."""
    read, usual = dataset.reading or Reading(range=dataset.range), Reading()
    decided = [*OF_FILES, "range"]
    if dataset.reading is not None:
        decided += ["fit", "on_bad", *(name for name in ("size", "channels") if getattr(settings, name))]
    for name in decided:
        value = getattr(asked, name)
        if value not in (None if name == "size" else getattr(usual, name), getattr(read, name)):
            raise UsageError(
                f"{name} is for reading files, but {dataset.name} has already been loaded: use "
                f"striate.load_data(..., {name}={value!r})"
            )


def split(dataset: DataSet, recipe: Recipe) -> tuple[ImageData, ImageData | None, Indices | None]:
    """(training images, validation images or None, positions held out of the training split or None)."""
    if "validation" in dataset.splits:
        return dataset.train, dataset.splits["validation"], None
    # The same images for every seed, so that runs can be compared on them.
    groups = together(dataset.train) if recipe.validation else None
    kept, held = hold_out(dataset.train.labels, recipe.validation, seed=0, groups=groups)
    if not len(held):
        return dataset.train, None, held
    return dataset.train.select(kept), dataset.train.select(held), held


def require_images(
    dataset: DataSet, training: ImageData, validation: ImageData | None, recipe: Recipe, judge: Judge
) -> list[str]:
    """Remarks on the images that training, validation (as `split` made them) and test have; none where all is well.

    Raises:
        UsageError: the best epoch, patience or the judge goes by validation images, and none were asked for.
        DataError: there is no image to test or to validate with, or none of a class to learn it from.
    """
    if lacking := _lacking(training):
        raise DataError(
            f"{dataset.location} has no training images of {_named(lacking)}: add some, or leave the class "
            f"out{_excluded(dataset)}"
        )
    test = dataset.splits.get("test")
    if judge == "test" and not len(test or ()):
        raise DataError(
            f"{dataset.location} leaves no test images: {_why_none(dataset, dataset.train)}. Add images, or provide a "
            "separate test folder"
        )
    if recipe.validation > 0 and (validation is None or not len(validation)):
        raise DataError(
            f"{dataset.location} leaves no validation "
            f"images: {_why_none(dataset, training)}. Add images, provide a separate val folder, or train without "
            f"validation: {param('validation', 0)}"
        )
    asked = [
        *([param("keep", "best")] if recipe.keep == "best" else []),
        *([param("patience")] if recipe.patience is not None else []),
        *([param("judge", "validation")] if judge == "validation" else []),
    ]
    if asked and not len(validation or ()):
        raise UsageError(f"{asked[0]} needs validation images, but there are none: use {param('validation', 0.1)}")
    said = []
    for name, part in (("validation", validation), ("test", test)):
        if part is not None and (lacking := _lacking(part)):
            said.append(
                f"no {name} image is of {_named(lacking)}: there will be no figures for "
                f"{'this class' if len(lacking) == 1 else 'these classes'}"
            )
    held = 0 if validation is None or "validation" in dataset.splits else len(validation)
    if held > len(training):
        said.append(
            f"validation keeps {held:,} of {held + len(training):,} training images, which leaves {len(training):,} "
            f"for training: a smaller {param('validation')} keeps more"
        )
    return said


def _lacking(data: ImageData) -> list[str]:
    return [name for name, count in zip(data.classes, data.class_counts(), strict=True) if not count]


def _named(classes: list[str]) -> str:
    return f"{'class' if len(classes) == 1 else 'classes'} {listed(classes, SHOWN)}"


def _excluded(dataset: DataSet) -> str:
    count = len(dataset.excluded_files())
    return f" ({param('exclude')} leaves {count} file{'s' * (count != 1)} out)" if count else ""


def _why_none(dataset: DataSet, training: ImageData) -> str:
    """Why no image could be taken from the training images for another split."""
    if not len(training):
        return f"there are no images{_excluded(dataset)}"
    counts = np.asarray(training.class_counts())
    if counts.max() == 1:
        return f"each class has a single image, which is needed for training{_excluded(dataset)}"
    groups = together(training)
    whole = groups is not None and all(
        len(np.unique(groups[training.labels == label])) == 1 for label in np.flatnonzero(counts > 1)
    )
    if not whole:
        return f"a class has {counts.max()} images at most{_excluded(dataset)}"
    height, width, _ = training.shape
    equal = f"identical at {height}x{width} pixels"
    of_one = (
        f"in one group of {param('group_by')}" if training.groups is not None and any(training.groups) else equal
    )  # groups tell more than copies
    if of_one != equal and len(set(training.content_hashes())) <= np.count_nonzero(counts):
        of_one = equal
    return f"the images of each class are all {of_one}, and such images are never separated"
