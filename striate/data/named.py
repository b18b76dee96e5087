"""Sets known by name: found on this machine first, downloaded through torchvision only when they are nowhere."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import sys
import zlib
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

import numpy as np

from striate.data.dataset import DataSet
from striate.data.images import ImageData, Pixels
from striate.errors import DataError, param
from striate.terminal import plain

DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_UINT8 = 0x08
TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@dataclass(frozen=True, slots=True)
class NamedSet:
    """The source of a known data set, and how its official files are verified.

    Attributes:
        torchvision: its class in torchvision.datasets, and so its folder there.
        sha256: IDX file -> SHA-256 of its unpacked content, which is the same however it was gzipped.
        pickles: the folder of CIFAR's files, which torchvision checks and reads; empty for IDX files.
        classes: empty where the set's own files name them.
    """

    name: str
    title: str
    source: str
    licence: str
    torchvision: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)
    pickles: str = ""
    classes: tuple[str, ...] = ()
    flippable: bool = True


_FASHION = "Xiao, Rasul, Vollgraf: Fashion-MNIST, arXiv:1708.07747, Zalando Research"
_MNIST = "LeCun, Cortes, Burges: The MNIST database of handwritten digits, 1998"
_CIFAR = "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009"
_FASHION_FILES = {
    TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
_MNIST_FILES = {
    TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_SETS = (
    NamedSet("fashion-mnist-sample", "Fashion-MNIST (sample of 12,000 images)", _FASHION, "MIT", classes=_CLOTHES),
    NamedSet("fashion-mnist", "Fashion-MNIST", _FASHION, "MIT", "FashionMNIST", _FASHION_FILES, classes=_CLOTHES),
    NamedSet("mnist", "MNIST", _MNIST, "not stated", "MNIST", _MNIST_FILES, classes=DIGITS, flippable=False),
    NamedSet("cifar10", "CIFAR-10", _CIFAR, "not stated", "CIFAR10", pickles="cifar-10-batches-py"),
    NamedSet("cifar100", "CIFAR-100", _CIFAR, "not stated", "CIFAR100", pickles="cifar-100-python"),
)
NAMED: dict[str, NamedSet] = {row.name: row for row in _SETS}


def cache_folder() -> Path:
    """The user's folder for downloaded data sets."""
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
            if row.pickles:
                if (folder / row.pickles).is_dir():
                    return folder
            # In `place` itself only where a checksum proves which of the sets these files are.
            elif all(_idx_file(folder, name) for name in row.sha256) and (folder != place or _is_official(folder, row)):
                return folder
    return None


def load_named(row: NamedSet, data_dir: str | Path | None = None, tested: bool = True) -> DataSet:
    """The set, read from where `find` finds it, downloaded into the user's cache if it is nowhere. Unless `tested`, no file of
    its test split is opened. Raises DataError for damaged files, or without files and network: where it looked, how to get it.
    """
    folder = find(row, data_dir) or _download(row, data_dir)
    read = _read_cifar if row.pickles else _read_idx_set
    return DataSet(
        name=row.name, location=row.name, title=row.title, source=row.source, licence=row.licence, flippable=row.flippable,
        splits={split: read(row, folder, split) for split in ("train", *(["test"] * tested))},
    )  # fmt: skip


def read_idx(path: Path, sha256: str | None = None) -> Pixels:
    """The uint8 array in an IDX file (LeCun, yann.lecun.com/exdb/mnist), gzipped (`.gz`) or not: 0 0 type rank, big-endian sizes,
    then the values.

    Raises DataError if it is damaged, of another type, or, where that is given, of another SHA-256 once unpacked.
    """
    content = unpack(path)
    if sha256 and (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise DataError(
            f"{path} is not the official file: the SHA-256 of its content is {found}, expected {sha256}. Remove it "
            "and download it again"
        )
    rank = content[3] if len(content) >= 4 else 0
    if content[:3] != bytes((0, 0, _UINT8)) or len(content) < 4 + 4 * rank:
        raise DataError(f"{path} is not an IDX file of bytes: it begins with {content[:4].hex(' ') or 'nothing'}")
    sizes = tuple(np.frombuffer(content, dtype=">u4", count=rank, offset=4).tolist())
    start = 4 + 4 * rank
    if len(content) - start != math.prod(sizes):
        raise DataError(
            f"{path} should hold {' x '.join(map(str, sizes))} bytes and holds {len(content) - start}: "
            "remove it and download it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(sizes).copy()  # writable: torch wants it so


def unpack(path: Path) -> bytes:
    """The bytes of a file, gunzipped where its name ends in `.gz`. Raises DataError if they are damaged."""
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}): remove it and download it again") from error


def write_idx(path: Path, values: Pixels) -> None:
    """Writes a uint8 array as gzipped IDX; the same array always gives the same bytes."""
    header = bytes((0, 0, _UINT8, values.ndim)) + np.array(values.shape, dtype=">u4").tobytes()
    path.write_bytes(gzip.compress(header + values.tobytes(), compresslevel=9, mtime=0))


def _idx_file(folder: Path, name: str) -> Path | None:
    # Unpacked first: torchvision leaves both forms, and the unpacked one is read sooner.
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _is_official(folder: Path, row: NamedSet) -> bool:
    path = _idx_file(folder, TRAIN_LABELS)
    return path is not None and hashlib.sha256(unpack(path)).hexdigest() == row.sha256[TRAIN_LABELS]


def _read_idx_set(row: NamedSet, folder: Path, split: str) -> ImageData:
    images, labels = (
        read_idx(_idx_file(folder, name) or folder / name, row.sha256.get(name))
        for name in ((TRAIN_IMAGES, TRAIN_LABELS) if split == "train" else (TEST_IMAGES, TEST_LABELS))
    )
    return ImageData(images[..., None], labels.astype(np.int64), row.classes)


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
            f"the {row.title} files in {folder / row.pickles} are not the official ones "
            "(a checksum differs, or a file is missing): remove that folder and download them again"
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
            f"STRIATE_DATA.{debian} Without a download, use {param('data', 'fashion-mnist-sample')}"
        ) from error
    folder = find(row, data_dir)
    if folder is None:
        raise DataError(f"{row.title} was downloaded to {root}, but its files are not there: is the disk full?")
    return folder
