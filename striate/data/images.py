"""ImageData: labelled images of one size, as one array or read when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
import numpy.typing as npt

from striate.arguments import check_fields
from striate.texts import dimensions

if TYPE_CHECKING:
    import torch

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]


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
        # A copy: part of a memory-mapped file would keep the whole map.
        return np.array(self.store[self.rows[key]])

    def __iter__(self) -> Iterator[Pixels]:
        return (self[position] for position in range(len(self)))

    def select(self, indices: Indices) -> LazyPixels:
        """The images at these positions, not read yet."""
        return LazyPixels(self.store, self.rows[indices])

    @property
    def nbytes(self) -> int:
        """Bytes that they would take in memory."""
        return int(np.prod(self.shape))


Pictures = Pixels | LazyPixels


def portions(pixels: Pictures) -> Iterator[Pixels]:
    """The images in order, about 16 MB at a time."""
    step = max(1, 2**24 // int(np.prod(pixels.shape[1:])))
    return (pixels[start : start + step] for start in range(0, len(pixels), step))


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class ImageData:
    """Labelled images of one size, as they are trained on.

    Attributes:
        pixels: uint8 (N, H, W, C); an array, or `LazyPixels` of a set that memory cannot hold.
        labels: int64 (N,), indices into `classes`.
        classes: the class names, in the order of the labels.
        paths: where each image came from, if it was a file.
        groups: the group of each image (a patient, a burst), if given; None for an image without one.
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
        position = range(len(self))[key]  # from 0 on; IndexError for one that is not there
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

    def select(self, indices: Indices) -> ImageData:
        """The images at these positions, in this order."""
        known = {"paths": self.paths, "groups": self.groups, "hashes": self.hashes}
        kept: dict[str, Any] = {
            name: tuple(values[i] for i in indices) for name, values in known.items() if values is not None
        }
        pixels = self.pixels.select(indices) if isinstance(self.pixels, LazyPixels) else self.pixels[indices]
        return replace(self, pixels=pixels, labels=self.labels[indices], **kept)

    def content_hashes(self) -> tuple[str, ...]:
        """128 bits of each image's pixels in hex: equal for equal images, whatever their files are called."""
        return self.hashes if self.hashes is not None else tuple(map(content_hash, self.pixels))

    def fingerprint(self) -> str:
        """SHA-256 over shape, class names, labels and content hashes: the same images in the same order have the same one,
        wherever they came from.
        """
        facts = (self.pixels.shape, self.classes, self.labels.tolist(), self.content_hashes())
        return f"sha256:{hashlib.sha256(repr(facts).encode()).hexdigest()}"


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
        raise ValueError("only images from one store can be joined")
    return LazyPixels(rows[0].store, np.concatenate([part.rows for part in rows]))
