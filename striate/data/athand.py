"""Data given in Python, in its usual forms, taken apart into images, labels and class names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image

from striate.data.dataset import DataSet
from striate.data.images import ImageData
from striate.data.layout import SPLIT_OF
from striate.errors import DataError, UsageError

_COLUMNS = {"image": ("image", "img", "picture"), "label": ("label", "labels", "fine_label", "class", "target")}
ONE_LABEL = (
    "Each image has one label here. For several labels per image, boxes or masks, use a library made for them, such "
    "as torchvision's detection and segmentation references"
)
"""Said where an image has another kind of target."""


@runtime_checkable
class MapStyle(Protocol):
    """Data with access by position: a torch Dataset, a Hugging Face Dataset, a pair of images and labels, a dict of splits."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One split as it was given.

    Attributes:
        images: in turn, or as one array or tensor.
        count: how many they are.
        labels: as they are. Where images and labels come together, those of the images that were taken so far.
        classes: their names, where it has them.
        called: what images and labels are called in errors, where that is not `the images of` the split.
    """

    images: Any
    count: int
    labels: Any = field(default_factory=list)
    classes: tuple[str, ...] | None = None
    called: tuple[str, str] | None = None


def images_in(data: object) -> Iterable[Any] | None:
    """The images of data that holds labels too, for prediction, which needs none; None where `data` is images alone. Raises
    UsageError for data of several splits.
    """
    if isinstance(data, DataSet | Mapping):
        splits = list(data.splits if isinstance(data, DataSet) else data)
        raise UsageError(
            f"predict() takes the images of one split, as in data[{splits[-1]!r}]; there are: {', '.join(splits)}"
        )
    if isinstance(data, ImageData):
        return (image for image, _ in data)
    plain = isinstance(data, list | tuple | str | bytes | Path | np.ndarray | torch.Tensor | Image.Image)
    pairs = isinstance(data, list) and bool(data) and isinstance(data[0], tuple)
    labelled = isinstance(data, tuple) and len(data) == 2 and _is_labels(data[1])
    if labelled or pairs or (not plain and isinstance(data, MapStyle)):
        images: Iterable[Any] = _part(data, "data").images
        return iter(images)
    return None


def _is_labels(value: object) -> bool:
    if isinstance(value, np.ndarray | torch.Tensor):
        return value.ndim == 1
    return isinstance(value, list) and all(isinstance(one, int | np.integer | str) for one in value)


def splits_of(data: object) -> tuple[dict[str, Part], tuple[str, ...] | None]:
    """Split -> what it holds, and the names of the classes where a dict has them."""
    if not isinstance(data, Mapping):
        return {"train": _part(data, "data")}, None
    classes = data.get("classes")
    parts: dict[str, Part] = {}
    for key, part in data.items():
        if key == "classes":
            continue
        split = SPLIT_OF.get(str(key).lower())
        if split is None or split in parts:
            raise UsageError(
                f"{key!r} is not a split, or is given twice: use a dict such as "
                "{'train': (images, labels), 'test': (images, labels)}, and 'validation', and 'classes' for names"
            )
        parts[split] = _part(part, split)
    return parts, None if classes is None else tuple(map(str, classes))


def _part(data: Any, split: str) -> Part:
    if isinstance(data, ImageData):
        return Part(data, len(data), data.labels, data.classes)
    keys: tuple[Any, Any] = (0, 1)
    if hasattr(data, "features") and hasattr(data, "column_names"):
        keys = _column(data, split, "image", "Image"), _column(data, split, "label", "ClassLabel")
        names = getattr(data.features[keys[1]], "names", None)
    elif _is_pair(data):
        images, labels = data
        if len(images) != len(labels):
            raise DataError(f"{split}: {len(images):,} images need as many labels, got {len(labels):,}")
        return Part(images if isinstance(images, np.ndarray | torch.Tensor) else list(images), len(labels), labels)
    elif not isinstance(data, MapStyle) or isinstance(data, str | bytes | np.ndarray | torch.Tensor):
        raise UsageError(
            f"{split}: {type(data).__name__} cannot be used as training data: give (images, labels), a Dataset with "
            "access by position, or a dict of splits. For a DataLoader, give its dataset"
        )
    else:
        names = _class_names(data)
    taken: list[Any] = []

    def in_turn() -> Iterator[Any]:
        """The images, each read once with its label: what is drawn anew each time is drawn once."""
        for position in range(len(data)):
            item = data[position]
            if keys == (0, 1) and (not isinstance(item, tuple | list) or len(item) != 2):
                raise UsageError(
                    f"{split} must be a Dataset of (image, label): its item {position} is {kind_of_thing(item)}. {ONE_LABEL}"
                )
            taken.append(item[keys[1]])
            yield item[keys[0]]

    return Part(in_turn(), len(data), taken, names and tuple(names))


def _is_pair(data: object) -> bool:
    """Whether it is (images, labels), not a list of such pairs, one an image."""
    if not isinstance(data, tuple | list) or len(data) != 2 or isinstance(data[0], tuple | str):
        return False
    return hasattr(data[1], "__len__") and not isinstance(data[1], str | bytes)


def _column(data: Any, split: str, what: str, feature: str) -> str:
    """The column of a Hugging Face Dataset with the images or labels: by its feature, else by its name."""
    of_kind = [name for name in data.features if type(data.features[name]).__name__ == feature]
    named = [name for name in _COLUMNS[what] if name in data.features]
    chosen = [name for name in named if name in of_kind] or of_kind or named
    if not chosen or (len(chosen) > 1 and chosen[0] not in named):
        raise UsageError(
            f"{split}: which column is the {what}? It has {', '.join(data.features)}: keep one of the type {feature}, or give "
            f"(images, labels). {ONE_LABEL}"
        )
    return chosen[0]


def _class_names(data: Any) -> tuple[str, ...] | None:
    """The classes of a torchvision data set, also below Subset and `random_split`."""
    names = getattr(data, "classes", None) or getattr(data, "categories", None)
    if names is None:
        return _class_names(data.dataset) if hasattr(data, "dataset") else None
    return tuple(name[0] if isinstance(name, tuple) else str(name) for name in names)


def kind_of_thing(value: object) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, Sequence) else "")


def name_of(data: object) -> str:
    """The name of the data in names of runs: the class of a Dataset; `arrays` for arrays."""
    if isinstance(data, Mapping):
        data = next((part for key, part in data.items() if key != "classes"), None)
    while hasattr(data, "dataset"):
        data = data.dataset
    kind = "arrays" if isinstance(data, tuple | list) else type(data).__name__
    return re.sub(r"[^a-z0-9]+", "-", kind.lower()).strip("-") or "data"
