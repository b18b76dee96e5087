"""The forms in which a picture may be given, folders and standard input among them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image

from striate.data.decode import LARGEST_FILE, upright
from striate.data.formats import kind_of
from striate.data.images import Pixels
from striate.data.ledger import Ledger
from striate.data.listing import PictureFiles, picture_files
from striate.data.preprocessing import Preprocessing
from striate.errors import DataError


class Unreadable(NamedTuple):
    """A place from which no picture could be read, and why."""

    name: str
    reason: str


Picture = str | Path | bytes | Image.Image | Pixels | torch.Tensor | Unreadable
"""A file; a folder, for the pictures in it and below; a file's bytes; a PIL picture; uint8 pixels (H, W), (H, W, C) or
(N, H, W, C); a tensor (C, H, W) or (N, C, H, W), uint8 or, as torchvision's ToTensor makes it, floating from 0 to 1."""


def expanded(pictures: Iterable[Picture], folders: list[PictureFiles] | None = None) -> Iterator[Picture]:
    """The pictures one by one: folders as the files in them (`striate.data.listing.picture_files`), batches as pictures.

    Args:
        folders: to it is added what each folder holds, for `ledger_of`.
    """
    for picture in pictures:
        if isinstance(picture, str | Path) and os.path.isdir(picture):  # noqa: PTH112 - of many thousands
            held = picture_files(Path(picture))
            if folders is not None:
                folders.append(held)
            yield from _of_folder(held)
        elif isinstance(picture, np.ndarray | torch.Tensor) and picture.ndim == 4:
            yield from picture
        else:
            yield picture


def ledger_of(folders: Sequence[PictureFiles], unreadable: Mapping[str, str]) -> Ledger | None:
    """What became of every entry of the folders that were given; None where none was.

    Args:
        unreadable: path -> reason, of the pictures that could not be read.
    """
    if not folders:
        return None
    whole = Ledger()
    for held in folders:
        whole.add(held.ledger_with(unreadable))
    whole.check()
    return whole


def from_stream(stream: BinaryIO) -> Iterator[Picture]:
    """What standard input holds: the bytes of one picture, or paths, one a line.

    Told apart by the first 64 bytes: a picture's begin as its format does, or have a zero among them, and paths do not.
    """
    first = stream.read(64)
    kind = kind_of(first)
    if b"\0" in first or (kind is not None and kind.picture):
        content = first + stream.read(LARGEST_FILE)
        if len(content) > LARGEST_FILE:
            yield Unreadable("standard input", f"more than {LARGEST_FILE / 1e6:,.0f} MB: store the picture smaller")
        else:
            yield content
        return
    for line in chain((first + stream.readline()).split(b"\n"), stream):
        if path := line.rstrip(b"\r\n"):
            yield os.fsdecode(path)


def read(preprocessing: Preprocessing, picture: Picture) -> Pixels:
    """uint8 (H, W, C): the pixels that the net is fed for one picture. Raises DataError if it cannot be read."""
    if isinstance(picture, Unreadable):
        raise DataError(picture.reason)
    if isinstance(picture, str | Path | bytes):
        return preprocessing.read(picture)
    if isinstance(picture, torch.Tensor):
        picture = _of_tensor(picture)
    if isinstance(picture, np.ndarray):
        if (
            picture.dtype != np.uint8
            or picture.ndim not in (2, 3)
            or (picture.ndim == 3 and picture.shape[2] not in (1, 3))
            or not picture.size
        ):
            raise DataError(f"pixels must be uint8 (H, W), (H, W, 1) or (H, W, 3), got {picture.dtype} {picture.shape}")
        picture = Image.fromarray(picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture)
    return preprocessing.pixels(upright(picture))


def name_of(number: int, picture: Picture) -> str:
    """What a picture is called where it is spoken of: its path, or its place among those given."""
    if isinstance(picture, Unreadable):
        return picture.name
    return str(picture) if isinstance(picture, str | Path) else f"picture {number}"


def _of_folder(held: PictureFiles) -> Iterator[Picture]:
    yield from held.files
    yield from (Unreadable(name, reason) for name, reason in held.closed.items())
    if not held.files and not held.closed:
        yield Unreadable(str(held.source), "no pictures in this folder or below it")


def _of_tensor(picture: torch.Tensor) -> Pixels:
    """uint8 (H, W, C) of a tensor (C, H, W)."""
    shape = tuple(picture.shape)
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(f"a tensor must be (C, H, W) or (N, C, H, W) with 1 or 3 channels, got {shape}")
    if picture.is_floating_point() and picture.numel():
        least, most = picture.min().item(), picture.max().item()
        if not 0 <= least <= most <= 1:  # NaN too
            raise DataError(
                f"a floating tensor must hold values from 0 to 1, got {least:.3g} to {most:.3g}: give it before it is "
                "normalised, as this run normalises by itself, or as uint8 from 0 to 255"
            )
        picture = (picture * 255).round().to(torch.uint8)
    if picture.dtype != torch.uint8:
        raise DataError(f"a tensor must be uint8, or floating from 0 to 1, got {picture.dtype}")
    return np.ascontiguousarray(picture.detach().cpu().permute(1, 2, 0).numpy())
