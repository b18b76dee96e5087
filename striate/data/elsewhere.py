"""Sets of other collections by name: `torchvision:NAME`, `hf:USER/NAME`, `medmnist:NAME`. Files that are here are used."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from striate.data.arrays import load_npz
from striate.data.dataset import DataSet, Reading
from striate.data.given import load_given
from striate.data.named import DIGITS, NAMED, places
from striate.errors import DataError, UsageError, unknown_name

PREFIXES = ("torchvision:", "hf:", "medmnist:")


def is_name(location: object) -> bool:
    """Whether a location is a name, which means the same everywhere, and no path."""
    return isinstance(location, str) and (location in NAMED or location.startswith(PREFIXES))


@dataclass(frozen=True, slots=True)
class _Set:
    """A set of torchvision.

    Attributes:
        files: what has to lie below the root that torchvision reads it from.
        splits: our split -> theirs; empty where it has none.
        classes: their names, where the set's own object has none.
    """

    files: str
    splits: Mapping[str, object]
    classes: tuple[str, ...] = ()
    flippable: bool = True


_FLAGS: Mapping[str, object] = {"train": True, "test": False}
_TWO: Mapping[str, object] = {"train": "train", "test": "test"}
_THREE: Mapping[str, object] = {"train": "train", "validation": "val", "test": "test"}
TORCHVISION: Mapping[str, _Set] = {
    "CIFAR10": _Set("cifar-10-batches-py", _FLAGS),
    "CIFAR100": _Set("cifar-100-python", _FLAGS),
    "Caltech101": _Set("caltech101/101_ObjectCategories", {}),
    "Caltech256": _Set("caltech256/256_ObjectCategories", {}),
    "Country211": _Set("country211", {"train": "train", "validation": "valid", "test": "test"}),
    "DTD": _Set("dtd/dtd", _THREE),
    "EMNIST": _Set("EMNIST/raw", _FLAGS, flippable=False),
    "EuroSAT": _Set("eurosat/2750", {}),
    "FER2013": _Set("fer2013", {"train": "train"}, ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")),
    "FGVCAircraft": _Set("fgvc-aircraft-2013b/data", _THREE),
    "FashionMNIST": _Set("FashionMNIST/raw", _FLAGS),
    "Flowers102": _Set("flowers-102/jpg", _THREE),
    "Food101": _Set("food-101/images", _TWO),
    "GTSRB": _Set("gtsrb/GTSRB", _TWO, flippable=False),
    "Imagenette": _Set("imagenette2", {"train": "train", "test": "val"}),
    "KMNIST": _Set("KMNIST/raw", _FLAGS, flippable=False),
    "MNIST": _Set("MNIST/raw", _FLAGS, DIGITS, flippable=False),
    "OxfordIIITPet": _Set("oxford-iiit-pet/images", {"train": "trainval", "test": "test"}),
    "PCAM": _Set("pcam", _THREE, ("normal", "tumor")),
    "QMNIST": _Set("QMNIST/raw", _FLAGS, DIGITS, flippable=False),
    "RenderedSST2": _Set("rendered-sst2", _THREE, flippable=False),
    "SEMEION": _Set("semeion.data", {}, DIGITS, flippable=False),
    "STL10": _Set("stl10_binary", _TWO),
    "SUN397": _Set("SUN397", {}),
    "SVHN": _Set("train_32x32.mat", _TWO, DIGITS, flippable=False),
    "StanfordCars": _Set("stanford_cars", _TWO),
    "USPS": _Set("usps.bz2", _FLAGS, DIGITS, flippable=False),
}
"""The sets of torchvision whose images have one class each."""


def load_elsewhere(location: str, reading: Reading, data_dir: str | Path | None = None) -> DataSet:
    """The set of a name with a prefix. Raises UsageError if there is none of that name, or the package that it needs is not
    installed, and DataError if its files are not here, with where they are looked for and how to get them, or are damaged.
    """
    prefix, _, name = location.partition(":")
    load = {"torchvision": _torchvision, "hf": _hugging_face, "medmnist": _medmnist}[prefix]
    return replace(load(name, reading, data_dir), location=location, title=f"{name} ({prefix})")


def _torchvision(name: str, reading: Reading, data_dir: str | Path | None) -> DataSet:
    import torchvision.datasets

    wanted = name.lower().replace("-", "")
    if wanted not in (known := {one.lower(): one for one in TORCHVISION}):
        raise unknown_name("torchvision data set with one class per image", name, TORCHVISION, ", ".join(TORCHVISION))
    name = known[wanted]
    row, make = TORCHVISION[name], getattr(torchvision.datasets, name)
    roots = [root for place in places(data_dir) for root in (place, place / name, place / name.lower())]
    root = next((root for root in roots if (root / row.files).exists()), None)
    if root is None:
        place = places(data_dir)[0]
        raise DataError(
            f"torchvision:{name} is not on this machine: {row.files} was not found "
            f"in {', '.join(map(str, places(data_dir)))}. "
            f"{_how_to_get(name, row, make, place)} --data-dir or STRIATE_DATA names another folder"
        )
    try:
        parts: dict[str, Any] = {
            split: make(root, **_arguments(name, theirs)) if split != "test" or reading.tested else ()
            for split, theirs in (row.splits or {"train": None}).items()
        }
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(f"torchvision cannot read {name} in {root}: {str(error).strip().splitlines()[0]}") from error
    except ImportError as error:
        raise UsageError(f"torchvision reads {name} with a package that is not installed: {error}") from None
    parts |= {"classes": row.classes} if row.classes else {}
    dataset = load_given(parts, reading, name.lower())
    return replace(dataset, source=f"torchvision.datasets.{name}", flippable=row.flippable)


def _arguments(name: str, theirs: object) -> dict[str, object]:
    """The arguments of a torchvision data set for a split."""
    extra = {"split": "balanced"} if name == "EMNIST" else {}
    return {} if theirs is None else {**extra, "train" if isinstance(theirs, bool) else "split": theirs}


def _how_to_get(name: str, row: _Set, make: Any, place: Path) -> str:
    if name not in ("EMNIST", "QMNIST") and "download" not in inspect.signature(make.__init__).parameters:
        return f"torchvision cannot download it: {(make.__doc__ or '').strip().splitlines()[0]} Put its files into {place}."
    calls = []
    for theirs in row.splits.values() or [None]:
        asked = "".join(f", {key}={value!r}" for key, value in _arguments(name, theirs).items())
        calls.append(f"d.{name}({str(place)!r}, download=True{asked})")
    return f'To download it: python -c "import torchvision.datasets as d; {"; ".join(calls)}".'


def _hugging_face(name: str, reading: Reading, data_dir: str | Path | None) -> DataSet:
    if find_spec("datasets") is None:
        raise UsageError("Hugging Face data sets need the package datasets: pip install 'striate[datasets]'")
    datasets: Any = import_module("datasets")
    try:
        found = datasets.load_dataset(name)
    except Exception as error:  # of the network, the hub, or a script: many types
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise DataError(
            f"hf:{name} cannot be loaded: {reason}. It must be in the cache of the package datasets (HF_HOME sets "
            f"another folder), or be downloaded from huggingface.co/datasets/{name}"
        ) from error
    dataset = load_given(found, reading, name.rpartition("/")[2].lower())
    return replace(dataset, source=f"huggingface.co/datasets/{name}")


def _medmnist(name: str, reading: Reading, data_dir: str | Path | None) -> DataSet:
    file = f"{name.lower()}.npz"
    looked = [*places(data_dir), Path.home() / ".medmnist"]
    path = next((place / file for place in looked if (place / file).is_file()), None)
    if path is None:
        raise DataError(
            f"medmnist:{name} is not on this machine: {file} was not found in {', '.join(map(str, looked))}. To download it: "
            f"pip install 'striate[medmnist]', then python -m medmnist save --flag={name.lower()}; or get {file} from "
            "zenodo.org/records/10519652"
        )
    dataset = load_npz(path, reading)
    if find_spec("medmnist") is not None:
        labels = import_module("medmnist").INFO.get(name.lower().partition("_")[0], {}).get("label", {})
        names = tuple(labels[str(number)] for number in range(len(labels)))
        if len(names) == len(dataset.classes):
            splits = {split: replace(part, classes=names) for split, part in dataset.splits.items()}
            dataset = replace(dataset, splits=splits, numbered=False)
    return replace(dataset, source="medmnist.com")
