"""Sets known by name: found on this machine first, downloaded through torchvision only when they are nowhere."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.error import URLError

import numpy as np

from striate.data.idx import parse_idx, unpack
from striate.data.images import DataSet, ImageData, Pixels
from striate.errors import DataError, param
from striate.terminal import plain

_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedSet:
    """Where a named set comes from and how its files are known to be the official ones."""

    name: str
    title: str
    source: str
    licence: str
    form: Literal["idx", "cifar"]
    torchvision: str
    """Its class in torchvision.datasets, and so its folder there."""
    classes: tuple[str, ...] = ()
    """Empty: the set's own files name them."""
    sha256: Mapping[str, str]
    """File -> SHA-256 of its unpacked content, which is the same however it was gzipped. CIFAR's are torchvision's to check."""
    flippable: bool


_FASHION = "Xiao, Rasul, Vollgraf: Fashion-MNIST, arXiv:1708.07747, Zalando Research"
_CIFAR = "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009"

NAMED: dict[str, NamedSet] = {
    row.name: row
    for row in (
        NamedSet(
            name="fashion-mnist-sample",
            title="Fashion-MNIST, the first 10,000 and 2,000",
            source=_FASHION,
            licence="MIT",
            form="idx",
            torchvision="",
            classes=_CLOTHES,
            sha256={},
            flippable=True,
        ),
        NamedSet(
            name="fashion-mnist",
            title="Fashion-MNIST",
            source=_FASHION,
            licence="MIT",
            form="idx",
            torchvision="FashionMNIST",
            classes=_CLOTHES,
            sha256={
                TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            },
            flippable=True,
        ),
        NamedSet(
            name="mnist",
            title="MNIST",
            source="LeCun, Cortes, Burges: The MNIST database of handwritten digits, 1998",
            licence="not stated",
            form="idx",
            torchvision="MNIST",
            classes=_DIGITS,
            sha256={
                TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            },
            flippable=False,
        ),
        NamedSet(
            name="cifar10",
            title="CIFAR-10",
            source=_CIFAR,
            licence="not stated",
            form="cifar",
            torchvision="CIFAR10",
            sha256={},
            flippable=True,
        ),
        NamedSet(
            name="cifar100",
            title="CIFAR-100",
            source=_CIFAR,
            licence="not stated",
            form="cifar",
            torchvision="CIFAR100",
            sha256={},
            flippable=True,
        ),
    )
}

_CIFAR_FOLDERS = {"CIFAR10": "cifar-10-batches-py", "CIFAR100": "cifar-100-python"}


def cache_folder() -> Path:
    """Where downloaded sets are kept for this user."""
    from platformdirs import user_cache_path

    return user_cache_path("striate") / "data"


def places(data_dir: str | Path | None) -> list[Path]:
    """Folders to look in, in order: `data_dir` or $STRIATE_DATA, the user's cache, Debian's /usr/share/datasets."""
    given = data_dir or os.environ.get("STRIATE_DATA")
    return [*([Path(given)] if given else []), cache_folder(), Path("/usr/share/datasets")]


def find(row: NamedSet, data_dir: str | Path | None = None) -> Path | None:
    """The folder that holds the set's files, or None. For CIFAR it is the one above `cifar-10-batches-py`."""
    if row.name == "fashion-mnist-sample":
        return Path(__file__).parent / "sample"
    for place in places(data_dir):
        for folder in (place / row.name, place / row.torchvision / "raw", place):
            if row.form == "idx":
                # In `place` itself only where a checksum proves which of the sets these files are.
                if all(_idx_file(folder, name) for name in row.sha256) and (
                    folder != place or _is_official(folder, row)
                ):
                    return folder
            elif (folder / _CIFAR_FOLDERS[row.torchvision]).is_dir():
                return folder
    return None


def load_named(row: NamedSet, data_dir: str | Path | None = None, tested: bool = True) -> DataSet:
    """The set, read from where `find` finds it, downloaded into the user's cache if it is nowhere. Unless `tested`, no file of
    its test split is opened.

    Raises:
        DataError: damaged files, or no files and no network: says where it looked and how to get it.
    """
    folder = find(row, data_dir) or _download(row, data_dir)
    read = _read_idx_set if row.form == "idx" else _read_cifar
    return DataSet(
        name=row.name,
        location=row.name,
        title=row.title,
        source=row.source,
        licence=row.licence,
        splits={split: read(row, folder, split) for split in ("train", *(["test"] * tested))},
        flippable=row.flippable,
        unreadable={},
    )


def _idx_file(folder: Path, name: str) -> Path | None:
    # Unpacked first: torchvision leaves both forms, and the unpacked one is read sooner.
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _is_official(folder: Path, row: NamedSet) -> bool:
    path = _idx_file(folder, TRAIN_LABELS)
    return path is not None and hashlib.sha256(unpack(path)).hexdigest() == row.sha256[TRAIN_LABELS]


def _read_idx_set(row: NamedSet, folder: Path, split: str) -> ImageData:
    def read(name: str) -> Pixels:
        path = _idx_file(folder, name)
        assert path is not None, f"find() saw {name} in {folder}"
        content = unpack(path)
        if name in row.sha256 and (found := hashlib.sha256(content).hexdigest()) != row.sha256[name]:
            raise DataError(
                f"{path} is not the official file: the SHA-256 of its content is {found}, it should be "
                f"{row.sha256[name]}. Remove it and get it again"
            )
        return parse_idx(content, path)

    images, labels = (TRAIN_IMAGES, TRAIN_LABELS) if split == "train" else (TEST_IMAGES, TEST_LABELS)
    return ImageData(read(images)[..., None], read(labels).astype(np.int64), row.classes)


def _read_cifar(row: NamedSet, folder: Path, split: str) -> ImageData:
    # The official files are pickles. torchvision compares each one's MD5 with the published one before it opens it,
    # so that nothing but those very files is ever unpickled.
    import torchvision.datasets

    official = getattr(torchvision.datasets, row.torchvision)
    other = "test_list" if split == "train" else "train_list"  # whose checksums it would compare too
    try:
        data = type(official.__name__, (official,), {other: []})(folder, train=split == "train", download=False)
    except RuntimeError:
        raise DataError(
            f"the {row.title} files in {folder / _CIFAR_FOLDERS[row.torchvision]} are not the official ones "
            "(a checksum differs, or a file is missing): remove that folder and get them again"
        ) from None
    return ImageData(data.data, np.asarray(data.targets, dtype=np.int64), tuple(data.classes))


def _download(row: NamedSet, data_dir: str | Path | None) -> Path:
    import torchvision.datasets

    root = cache_folder()
    print(f"{row.title} is not on this machine yet: downloading it to {plain(root)} (once)", file=sys.stderr)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with redirect_stdout(sys.stderr):  # stdout is for results
            getattr(torchvision.datasets, row.torchvision)(root, download=True)
    except (URLError, OSError, RuntimeError) as error:
        looked = ", ".join(str(place) for place in places(data_dir))
        debian = " On Debian and Ubuntu: apt install dataset-fashion-mnist." if row.name == "fashion-mnist" else ""
        raise DataError(
            f"{row.title} was not found in {looked}, and it could not be downloaded ({str(error).strip().splitlines()[-1]}). "
            f"Put its official files into a folder named {row.name} and name the folder above it with {param('data_dir')} or "
            f"STRIATE_DATA.{debian} Without any download: {param('data', 'fashion-mnist-sample')}"
        ) from error
    folder = find(row, data_dir)
    if folder is None:
        raise DataError(f"{row.title} was downloaded to {root}, but its files are not there: is the disk full?")
    return folder
