"""Files as images: which of them are some, and who opens them.

Content decides. An ending only says that a file is *meant* to be an image, so that a damaged one is named and not passed over.
Formats that Pillow reads with the help of other programs, or by code that was not made for files of strangers (EPS, WMF,
FITS and the like), are never opened.
"""

from __future__ import annotations

import functools
import io
import stat
import struct
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from striate.data.kinds import FORMATS, HEAD, HEIC, ICO, RAW, READ, READERS, TIFF, kind_of, named

_ODD_TIFF = (
    "damaged, or an unsupported kind of TIFF (such as half or double floats, or several channels of more than 16 "
    "bits): store it with 8 or 16 bits, or as one channel of 32-bit floats"
)
_ICON = 1024
"""Largest side of an image in an icon; Pillow decodes icons when it opens them, before their size can be judged."""


def is_picture(path: Path) -> bool:
    """Whether a file is an image, or is meant to be one: by its ending, else by its content."""
    if named(path.name) is not None:
        return True
    kind = kind_of(_head(path))
    return kind is not None and kind.picture


def other_kind(path: Path) -> str:
    """The name of a file that is not an image: by its extension, or by its content if it has none."""
    if path.suffix and len(path.suffix) <= 8:
        return path.suffix.lower()
    try:
        mode = path.stat().st_mode
    except OSError:
        return "a broken link" if path.is_symlink() else "not accessible"
    if not stat.S_ISREG(mode):
        return "a pipe, socket or device"
    kind = kind_of(_head(path))
    return "an unknown kind" if kind is None else kind.title


def open_picture(content: bytes) -> Image.Image:
    """The file opened by Pillow, not decoded yet. Raises UnidentifiedImageError for what is no image, or of a kind that is not
    read: the message is the reason and the way out. A damaged file makes Pillow raise many types.
    """
    kind = kind_of(content)
    if kind is None:
        raise UnidentifiedImageError(f"not an image ({READ} are read)")
    if kind is ICO and not _small_icon(content):
        raise ValueError(f"an icon with a side of more than {_ICON} pixels")
    if kind.reader not in FORMATS and not (kind is HEIC and has_heif()):
        reason = f"{kind.title} is not read: {kind.advice}" if kind.advice else f"not an image but {kind.title}"
        raise UnidentifiedImageError(reason)
    try:
        image = Image.open(io.BytesIO(content), formats=(kind.reader,))
    except UnidentifiedImageError:
        damaged = f"not an image, although it begins like {kind.title}: damaged"
        raise UnidentifiedImageError(_ODD_TIFF if kind is TIFF else damaged) from None
    tags = getattr(image, "tag_v2", None)
    if image.format == "TIFF" and tags is not None and (50706 in tags or int(tags.get(254, 0)) & 1):
        raise UnidentifiedImageError(f"{RAW.title}, of which only a small preview could be read: {RAW.advice}")
    return image


def weight_of(image: Image.Image) -> float:
    """`Kind.weight` of an opened image."""
    tile = getattr(image, "tile", None)
    if tile and tile[0][0] == "ppm_plain":  # read number by number
        return 8.0
    return next((kind.weight for kind in (*READERS, HEIC) if kind.reader == image.format), 1.0)


@functools.cache
def has_heif() -> bool:
    """Whether HEIC can be read: pillow-heif is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False)
    return True


def _head(path: Path) -> bytes:
    """The first bytes of a file; empty where there is none or it cannot be read. Pipes and devices are not opened."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with path.open("rb", buffering=0) as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _small_icon(content: bytes) -> bool:
    """Whether every image of an icon is as small as icons are."""
    for place in range(6, 6 + 16 * int.from_bytes(content[4:6], "little"), 16):
        offset = int.from_bytes(content[place + 12 : place + 16], "little")
        part = content[offset : offset + 24]
        if part.startswith(b"\x89PNG"):
            sides = struct.unpack(">II", part[16:]) if len(part) == 24 else (0, 0)
        else:
            sides = struct.unpack("<ii", part[4:12]) if len(part) >= 12 else (0, 0)
        if max(map(abs, sides)) > 2 * _ICON:
            return False
    return True
