"""ImageData and DataSet: images as one array, and a set of them with its splits and provenance."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

import numpy as np
import numpy.typing as npt

from striate.arguments import check_fields
from striate.data.asked import Reading
from striate.data.decode import FileInfo
from striate.data.ledger import Ledger
from striate.data.ranges import Values, doubt
from striate.data.values import Range
from striate.errors import DataError, UsageError, param
from striate.texts import dimensions

if TYPE_CHECKING:
    import torch

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]
_T = TypeVar("_T")


class Store(Protocol):
    """Images that are not in memory: on disk as pixels, or as the files that they are decoded from."""

    shape: tuple[int, ...]

    def __getitem__(self, rows: Any, /) -> Pixels: ...


class LazyPixels:
    """Some images of a store, uint8 (N, H, W, C), read when they are asked for by index, slice or array of indices.

    What takes an array of pixels takes these too, as long as it asks for a portion at a time.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, store: Store, rows: Indices) -> None:
        self.store, self.rows = store, rows
        self.shape: tuple[int, ...] = (len(rows), *store.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | slice | Indices) -> Pixels:
        # Out of a map of a file they are to come as an array of their own.
        return np.array(self.store[self.rows[key]])

    def __iter__(self) -> Iterator[Pixels]:
        return (self[position] for position in range(len(self)))

    @property
    def nbytes(self) -> int:
        """Bytes that they would take in memory."""
        return int(np.prod(self.shape))


Pictures = Pixels | LazyPixels


def portions(pixels: Pictures) -> Iterator[Pixels]:
    """The images in turn, as many at a time as make about 16 MB."""
    step = max(1, 2**24 // int(np.prod(pixels.shape[1:])))
    return (pixels[start : start + step] for start in range(0, len(pixels), step))


def _position(number: int, count: int) -> int:
    """A position from 0 on; negative numbers count from the end. Raises IndexError for one that is not there."""
    position = operator.index(number)
    if not -count <= position < count:
        raise IndexError(f"there are {count} images, and no number {position}")
    return position % count


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class ImageData:
    """Labelled images of one size, as they are trained on.

    Attributes:
        pixels: uint8 (N, H, W, C); an array, or `LazyPixels` of a set that memory cannot hold.
        labels: int64 (N,), indices into `classes`.
        classes: the class names, in the order of the labels.
        paths: where each image came from, if it was a file.
        groups: what each belongs together with (a patient, a burst), where that was given; None for one that is alone.
        hashes: what `content_hashes` gives, where it is known already.
    """

    pixels: Pictures
    labels: Labels
    classes: tuple[str, ...]
    paths: tuple[str, ...] | None = None
    groups: tuple[str | None, ...] | None = None
    hashes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4:
            raise ValueError(f"pixels must be uint8 (N, H, W, C), got {self.pixels.dtype} {self.pixels.shape}")
        if self.labels.shape != (len(self.pixels),):
            raise ValueError(f"{len(self.pixels)} images need as many labels, got labels of shape {self.labels.shape}")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(
                f"labels run from {self.labels.min()} to {self.labels.max()}, but there are {len(self.classes)} classes"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of one image."""
        height, width, channels = self.pixels.shape[1:]
        return height, width, channels

    @overload
    def __getitem__(self, key: slice) -> ImageData: ...

    @overload
    def __getitem__(self, key: int) -> tuple[torch.Tensor, int]: ...

    def __getitem__(self, key: int | slice) -> tuple[torch.Tensor, int] | ImageData:
        """(uint8 tensor (C, H, W), label) of one image, as `torch.utils.data.DataLoader` takes it; of a slice, an ImageData."""
        import torch

        if isinstance(key, slice):
            return self.select(np.arange(len(self))[key])
        position = _position(key, len(self))
        return torch.from_numpy(np.array(self.pixels[position]).transpose(2, 0, 1).copy()), int(self.labels[position])

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        """(uint8 tensor (C, H, W), label) of each image in turn."""
        return (self[position] for position in range(len(self)))

    def __repr__(self) -> str:
        return f"<ImageData: {len(self):,} images of {dimensions(self.shape)}, {len(self.classes)} classes>"

    def class_counts(self) -> list[int]:
        """Images of each class, in the order of `classes`."""
        counts: list[int] = np.bincount(self.labels, minlength=len(self.classes)).tolist()
        return counts

    def select(self, indices: npt.NDArray[np.int64]) -> ImageData:
        """The images at these positions, in this order."""
        pixels = self.pixels
        return ImageData(
            LazyPixels(pixels.store, pixels.rows[indices]) if isinstance(pixels, LazyPixels) else pixels[indices],
            self.labels[indices],
            self.classes,
            _at(indices, self.paths),
            _at(indices, self.groups),
            _at(indices, self.hashes),
        )

    def content_hashes(self) -> tuple[str, ...]:
        """128 bits of each image's pixels in hex: equal for equal images, whatever their files are called."""
        return self.hashes if self.hashes is not None else tuple(map(content_hash, self.pixels))

    def fingerprint(self) -> str:
        """SHA-256 over shape, class names, labels and content hashes: the same images in the same order have the same one,
        wherever they came from.
        """
        facts = (self.pixels.shape, self.classes, self.labels.tolist(), self.content_hashes())
        return f"sha256:{hashlib.sha256(repr(facts).encode()).hexdigest()}"


def _at(indices: Indices, values: tuple[_T, ...] | None) -> tuple[_T, ...] | None:
    return None if values is None else tuple(values[i] for i in indices)


def content_hash(picture: Pixels) -> str:
    """128 bits of an image's pixels in hex."""
    return hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16).hexdigest()


def concatenate(parts: Sequence[ImageData]) -> ImageData:
    """The images of all parts, which have the same size and classes, one part after the other."""
    with_paths = all(part.paths is not None for part in parts)
    return ImageData(
        _joined([part.pixels for part in parts]),
        np.concatenate([part.labels for part in parts]),
        parts[0].classes,
        tuple(path for part in parts for path in part.paths or ()) if with_paths else None,
        tuple(group for part in parts for group in part.groups or (None,) * len(part)),
        tuple(content for part in parts for content in part.content_hashes()),
    )


def _joined(parts: Sequence[Pictures]) -> Pictures:
    rows = [part for part in parts if isinstance(part, LazyPixels)]
    if not rows:
        return np.concatenate([part for part in parts if isinstance(part, np.ndarray)])
    if len(rows) < len(parts) or len({id(part.store) for part in rows}) > 1:
        raise ValueError("only images of one store can be joined")
    return LazyPixels(rows[0].store, np.concatenate([part.rows for part in rows]))


@dataclass(frozen=True, eq=False, kw_only=True, slots=True, repr=False)
class DataSet:
    """A set of images under one name: its splits, where it came from, and what may be done to it.

    Attributes:
        name: `fashion-mnist`, or the folder's name.
        location: what `load_data` takes to load it again: the name, or the folder's absolute path.
        title: how a person would write it.
        source: who made it, with a reference.
        licence: its terms as the makers state them; `not stated` where unknown.
        splits: `train`, and `validation` and `test` where the set gives them. All have the same classes.
        flippable: whether a mirrored image keeps its class (it does not for digits).
        unreadable: file -> reason, for those that were left out.
        excluded: pattern -> the files that were left out because it names them.
        made: the splits that were made of the training images, for want of given ones.
        ledger: what became of every file and folder, row, or array; None for a set by name.
        files: path -> what its file is, for those that could be read; empty where images are no files.
        place: of files, the folder of their pixel cache, or why there is none.
        numbered: whether classes have numbers only, for want of names.
        reading: of files, how they were read; None for what is no files.
        values: of images that are wider than 8 bits.
        range: their black and white, where it was stated.
        set_aside: content hashes of a test split that was made and then left out, see `untested`.
    """

    name: str
    location: str
    title: str
    source: str
    licence: str
    splits: Mapping[str, ImageData]
    flippable: bool
    unreadable: Mapping[str, str]
    excluded: Mapping[str, Sequence[str]] = field(default_factory=dict)
    made: tuple[str, ...] = ()
    ledger: Ledger | None = None
    files: Mapping[str, FileInfo] = field(default_factory=dict)
    place: str = ""
    numbered: bool = False
    reading: Reading | None = None
    values: tuple[Values, ...] = ()
    range: Range | None = None
    set_aside: tuple[str, ...] = ()

    def untested(self) -> DataSet:
        """The set without its test split. Of one that was made of the training images the content hashes stay, `set_aside`."""
        aside = (
            self.splits["test"].content_hashes() if "test" in self.made and "test" in self.splits else self.set_aside
        )
        kept = {split: part for split, part in self.splits.items() if split != "test"}
        return replace(self, splits=kept, set_aside=tuple(aside))

    def __len__(self) -> int:
        """Images of all splits."""
        return sum(map(len, self.splits.values()))

    @overload
    def __getitem__(self, key: str) -> ImageData: ...

    @overload
    def __getitem__(self, key: int) -> tuple[torch.Tensor, int]: ...

    def __getitem__(self, key: int | str) -> tuple[torch.Tensor, int] | ImageData:
        """A split by its name; by number (uint8 tensor (C, H, W), label) of one image, counted over all splits in turn."""
        if isinstance(key, str):
            if key not in self.splits:
                raise UsageError(f"{self.name} has no split {key!r}; it has: {', '.join(self.splits)}")
            return self.splits[key]
        position = _position(key, len(self))
        for part in self.splits.values():
            if position < len(part):
                break
            position -= len(part)
        return part[position]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        return (picture for part in self.splits.values() for picture in part)

    @property
    def train(self) -> ImageData:
        """The training split. Raises DataError where there is none."""
        if "train" not in self.splits:
            raise DataError(f"{self.location} has no training images, only: {', '.join(self.splits)}")
        return self.splits["train"]

    @property
    def first(self) -> ImageData:
        """The training split, or what there is instead."""
        return next(iter(self.splits.values()))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.first.classes

    @property
    def junk(self) -> int:
        """How many hidden files, leftovers of systems, and links that lead back were left out unseen."""
        return 0 if self.ledger is None else self.ledger.count("junk")

    def __repr__(self) -> str:
        """A line for the set, one for its classes, one a split."""
        names = [name if len(name) <= 24 else f"{name[:23]}…" for name in self.classes[:8]]
        more = f" and {len(self.classes) - 8} more" if len(self.classes) > 8 else ""
        left = {
            "not readable": len(self.unreadable),
            "excluded": len(self.excluded_files()),
            "leftovers of systems": self.junk,
        }
        lines = [f"<DataSet {self.name[:80]}", f"  {len(self.classes)} classes: {', '.join(names)}{more}"]
        lines += [f"  {split}: {len(data):,} images of {dimensions(data.shape)}" for split, data in self.splits.items()]
        if any(left.values()):
            lines.append(f"  left out: {', '.join(f'{count} {what}' for what, count in left.items() if count)}")
        return "\n".join(lines) + ">"

    def excluded_files(self) -> list[str]:
        """The files that some pattern names, each once."""
        return sorted({path for paths in self.excluded.values() for path in paths})

    def require_excluded(self) -> None:
        """Raises UsageError if a pattern that was to exclude files names none: it is misspelt then."""
        if unused := [pattern for pattern, paths in self.excluded.items() if not paths]:
            raise UsageError(f"{param('exclude')} {unused[0]!r} names no file of {self.location}")

    def require_range(self) -> None:
        """Raises an error if training would have to guess at black and white.

        Raises:
            UsageError: a range was stated, and all images are of 8 bits.
            DataError: none was stated, and values are not known, or 16 bits are filled so little that they may be fewer.
        """
        if self.range is not None and not self.values:
            raise UsageError(
                f"{param('range')} is for images of more than 8 bits, and {self.location} has none that can be read so"
            )
        if self.range is None and (asked := doubt(self.values, self.unreadable.values())):
            raise DataError(f"{self.location}: {asked}")

    def as_dict(self) -> dict[str, Any]:
        """What the set holds, in plain types."""
        return {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "licence": self.licence,
            "location": self.location,
            "classes": list(self.classes),
            "shape": list(self.first.shape),
            "pictures": {split: len(data) for split, data in self.splits.items()},
            "class_counts": {split: data.class_counts() for split, data in self.splits.items()},
            "unreadable": dict(self.unreadable),
            "excluded": self.excluded_files(),
            "junk": self.junk,
            "ledger": None if self.ledger is None else self.ledger.as_dict(),
            "values": [row.as_dict() for row in self.values],
        }
