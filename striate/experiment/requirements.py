"""What a run needs of its images, seen after they were split and before anything is trained."""

from __future__ import annotations

import numpy as np

from striate.choices import Judge
from striate.data import DataSet, ImageData
from striate.data.splits import together
from striate.errors import DataError, UsageError, param
from striate.recipe import Recipe

SHOWN = 10
"""Classes that a message names."""


def require_pictures(
    dataset: DataSet, training: ImageData, validation: ImageData | None, recipe: Recipe, judge: Judge
) -> list[str]:
    """What is worth a word about the images that training, validation and test have; empty where nothing is.

    Args:
        training, validation: what `split` made of the training split.

    Raises:
        UsageError: it is to be judged by validation images, and none were asked for.
        DataError: there is no image to test or to validate with, or none of a class to learn it from.
    """
    if lacking := _lacking(training):
        raise DataError(
            f"{dataset.location} has no image to learn {_named(lacking)} from: add images to the training split, or leave "
            f"the class out{_excluded(dataset)}"
        )
    test = dataset.splits.get("test")
    if judge == "test" and not len(test or ()):
        raise DataError(
            f"{dataset.location} leaves no image to test with: {_why_none(dataset, dataset.train)}. Add images, or give a "
            "folder test of its own"
        )
    if recipe.validation > 0 and (validation is None or not len(validation)):
        raise DataError(
            f"{dataset.location} leaves no image for validation: {_why_none(dataset, training)}. Add images, give a folder "
            f"val of its own, or train without validation: {param('validation', 0)}"
        )
    if judge == "validation" and not len(validation or ()):
        raise UsageError(
            f"{param('judge', 'validation')} goes by validation images, and there are none: give {param('validation', 0.1)}"
        )
    said = []
    for name, part in (("validation", validation), ("test", test)):
        if part is not None and (lacking := _lacking(part)):
            said.append(
                f"no {name} image is of {_named(lacking)}: nothing will be known there of "
                f"{'this class' if len(lacking) == 1 else 'these classes'}"
            )
    held = 0 if validation is None or "validation" in dataset.splits else len(validation)
    if held > len(training):
        said.append(
            f"validation keeps {held:,} of {held + len(training):,} training images, and {len(training):,} are left to learn "
            f"from: a smaller {param('validation')} leaves more"
        )
    return said


def _lacking(data: ImageData) -> list[str]:
    return [name for name, count in zip(data.classes, data.class_counts(), strict=True) if not count]


def _named(classes: list[str]) -> str:
    more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
    return f"{'class' if len(classes) == 1 else 'classes'} {', '.join(classes[:SHOWN])}{more}"


def _excluded(dataset: DataSet) -> str:
    count = len(dataset.excluded_files())
    return f" ({param('exclude')} leaves {count} file{'s' * (count != 1)} out)" if count else ""


def _why_none(dataset: DataSet, training: ImageData) -> str:
    """Why no image could be taken from the training images for another split."""
    if not len(training):
        return f"there are no images{_excluded(dataset)}"
    counts = np.asarray(training.class_counts())
    if counts.max() == 1:
        return f"each class has a single image, which is needed to learn from{_excluded(dataset)}"
    groups = together(training)
    whole = groups is not None and all(
        len(np.unique(groups[training.labels == label])) == 1 for label in np.flatnonzero(counts > 1)
    )
    if not whole:
        return f"a class has {counts.max()} images at the most{_excluded(dataset)}"
    height, width, _ = training.shape
    equal = f"equal at {height}x{width} pixels"
    of_one = (
        f"of one group of {param('group_by')}" if training.groups is not None and any(training.groups) else equal
    )  # groups tell more than copies
    if of_one != equal and len(set(training.content_hashes())) <= np.count_nonzero(counts):
        of_one = equal
    return f"the images of each class are all {of_one}, and such images are never parted"
