"""The accepted inputs of predict: images in any form, folders and standard input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from striate.data.athand import MapStyle, images_in
from striate.data.decode import LARGEST_FILE, decode_with_info, upright
from striate.data.formats import kind_of, other_kind
from striate.data.images import Pixels
from striate.data.ledger import Ledger
from striate.data.preprocessing import Preprocessing
from striate.data.reading import in_portions
from striate.data.tree import FateOf, Folder, account, as_counted, look_through
from striate.data.values import Found, Range, Unclear, eight_bits
from striate.errors import DataError


class Unreadable(NamedTuple):
    """A place from which no image could be read, and why."""

    name: str
    reason: str


class ImageFolder(NamedTuple):
    """The images in a folder and below it: a folder's own before those of its folders, both as people count, 2 before 10."""

    files: list[Path]
    tree: Folder
    ledger: Ledger


Picture = str | Path | bytes | Image.Image | npt.NDArray[Any] | torch.Tensor | Unreadable
"""A file; a folder, for the images in it and below; a file's bytes; a PIL image; an array (H, W), (H, W, C) or (N, H, W, C);
a tensor (H, W), (C, H, W) or (N, C, H, W). The values of arrays and tensors are read as those of files are (docs/data.md)."""


_KINDS = (str, Path, bytes, Image.Image, np.ndarray, torch.Tensor, Unreadable)
_LOADING = Lock()
"""Two threads cannot load one PIL image at once."""


def expanded(
    pictures: Picture | Iterable[Picture] | MapStyle, folders: list[ImageFolder] | None = None
) -> Iterator[Picture]:
    """One image or several, one by one: folders as the files in them, batches as images, and of what holds labels too the images.
    To `folders` is added what each folder holds, for `ledger_of`.
    """
    if not isinstance(pictures, _KINDS):
        found = images_in(pictures)
        pictures = cast(Iterable[Picture], pictures) if found is None else found
    for picture in [pictures] if isinstance(pictures, _KINDS) else pictures:
        if isinstance(picture, str | Path) and os.path.isdir(picture):  # noqa: PTH112 - of many thousands
            folder = image_files(Path(picture))
            if folders is not None:
                folders.append(folder)
            closed = folder.tree.all_closed()
            yield from folder.files
            yield from (Unreadable(name, reason) for name, reason in closed.items())
            if not folder.files and not closed:
                yield Unreadable(str(picture), "no images in this folder or below it")
        elif isinstance(picture, np.ndarray | torch.Tensor) and picture.ndim == 4:
            yield from picture
        else:
            yield picture


def image_files(source: Path) -> ImageFolder:
    """The images in a folder and below it, by ending or content."""
    ledger = Ledger()
    tree = look_through(source, ledger)
    files: list[Path] = []
    left = [tree]
    while left:
        one = left.pop()
        files += sorted(one.pictures, key=as_counted)
        left += sorted(one.folders, key=lambda inner: as_counted(inner.path), reverse=True)
    return ImageFolder(files, tree, ledger)


def ledger_of(folders: Sequence[ImageFolder], unreadable: Mapping[str, str]) -> Ledger | None:
    """The ledger of all entries of the given folders; None if no folder was given. `unreadable`: path -> reason."""
    whole = Ledger()
    for folder in folders:
        fates: list[FateOf] = [(path, "other", other_kind(path)) for path in folder.tree.all_others()]
        fates += [(path, "used", "") for path in folder.files]
        account(folder.tree, folder.ledger, fates, unreadable)
        whole.add(folder.ledger)
    return whole if folders else None


def from_stream(stream: BinaryIO) -> Iterator[Picture]:
    """What standard input holds: the bytes of one image, or paths, one a line. The first 64 bytes of an image begin as its format
    does, or have a zero among them, and those of paths do not.
    """
    first = stream.read(64)
    kind = kind_of(first)
    if b"\0" in first or (kind is not None and kind.picture):
        content = first + stream.read(LARGEST_FILE)
        if len(content) > LARGEST_FILE:
            yield Unreadable("standard input", f"more than {LARGEST_FILE / 1e6:,.0f} MB: store the image smaller")
        else:
            yield content
        return
    for line in chain((first + stream.readline()).split(b"\n"), stream):
        if path := line.rstrip(b"\r\n"):
            yield os.fsdecode(path)


def read(preprocessing: Preprocessing, picture: Picture) -> Pixels:
    """uint8 (H, W, C): the pixels that the net is fed for one image. Raises DataError if it cannot be read."""
    if isinstance(picture, Unreadable):
        raise DataError(picture.reason)
    if isinstance(picture, str | Path | bytes):
        return preprocessing.read(picture)
    image, found = opened(picture, preprocessing.range)
    preprocessing.require_clear(found)
    return preprocessing.pixels(image)


def opened(
    picture: str | Path | bytes | Image.Image | npt.NDArray[Any] | torch.Tensor, wanted: Range | None
) -> tuple[Image.Image, Found | None]:
    """An image of mode L or RGB at its own size, and its values where they are wider than 8 bits. Raises DataError."""
    if isinstance(picture, str | Path | bytes):
        image, info = decode_with_info(picture, wanted=wanted)
        return image, info.found
    if isinstance(picture, Image.Image):
        with _LOADING:
            return upright(picture, wanted)
    try:
        eight, found = eight_bits(_values(picture), wanted)
    except Unclear as error:
        raise DataError(str(error)) from None
    return Image.fromarray(eight), found


def read_in_batches(
    pool: Executor, pictures: Iterable[Picture], preprocessing: Preprocessing, size: int, ahead: int
) -> Iterator[list[tuple[str, Pixels | str]]]:
    """(name, pixels or why there are none) of each image, `size` at a time, decoded by a pool of threads; `ahead` batches
    are decoded while one is worked on.
    """

    def one(numbered: tuple[int, Picture]) -> tuple[str, Pixels | str]:
        name = name_of(*numbered)
        try:
            return name, read(preprocessing, numbered[1])
        except DataError as error:
            return name, str(error).removeprefix(f"{name}: ").removeprefix("the image: ")

    return in_portions(pool, one, enumerate(pictures, start=1), size, ahead)


def name_of(number: int, picture: Picture) -> str:
    """The name of an image in messages: its path, or its position among those given."""
    if isinstance(picture, Unreadable):
        return picture.name
    return str(picture) if isinstance(picture, str | Path) else f"image {number}"


def _values(picture: npt.NDArray[Any] | torch.Tensor) -> npt.NDArray[Any]:
    """(H, W) or (H, W, 3) of an array (H, W), (H, W, 1) or (H, W, 3), or of a tensor (H, W), (1, H, W) or (3, H, W)."""
    if isinstance(picture, torch.Tensor):
        wanted = "a tensor must be (H, W), (C, H, W) or (N, C, H, W) with 1 or 3 channels"
        what, rule, order, place = "a tensor", "(C, H, W)", "first in a tensor, permute(2, 0, 1)", 0
    else:
        wanted = "pixels must be (H, W), (H, W, 1) or (H, W, 3)"
        what, rule, order, place = "an array", "(H, W, C)", "last in an array, transpose(1, 2, 0)", 2
    shape = tuple(picture.shape)
    either_end = len(shape) == 3 and shape[2 - place] in (1, 3)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[place] not in (1, 3)) or 0 in shape:
        hint = f": channels come {order}" if either_end else ""
        raise DataError(f"{wanted}, got {shape}{hint}")
    if either_end and shape != (1, 1, 1):
        raise DataError(
            f"{what} of shape {shape} could have its channels first or last (the rule is {rule}): give a PIL image, "
            "or sides other than 1 or 3 pixels"
        )
    if isinstance(picture, torch.Tensor):
        if picture.is_complex() or picture.is_quantized:
            raise DataError(f"a tensor of {picture.dtype} is neither grey nor colour")
        picture = picture.float() if picture.dtype == torch.bfloat16 else picture  # which NumPy does not have
        picture = picture.detach().cpu().resolve_neg().numpy()
        picture = picture if len(shape) == 2 else np.ascontiguousarray(picture.transpose(1, 2, 0))
    return picture[..., 0] if len(shape) == 3 and shape[place] == 1 else picture
