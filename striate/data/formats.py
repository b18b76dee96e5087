"""Files as images: their kinds, by the marks at their beginnings and the endings of their names, and who opens them.

Content decides. An ending only says that a file is *meant* to be an image, so that a damaged one is named and not passed over.
Formats that Pillow reads with the help of other programs, or by code that was not made for files of strangers (EPS, WMF,
FITS and the like), are never opened.
"""

from __future__ import annotations

import functools
import io
import os
import stat
import struct
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

HEAD = 512
"""Bytes at the beginning of a file that tell its kind."""


class Kind(NamedTuple):
    """A kind of files.

    Attributes:
        title: as a person calls it.
        endings: of names, in small letters.
        reader: Pillow's name of the format, or empty where images of this kind are not read.
        weight: bytes that decoding takes for each byte of the image, against a format that decodes row by row.
        advice: the way out where it is not read; empty for what is no image at all.
        marks: what stands at the byte `at` of every such file.
    """

    title: str
    endings: tuple[str, ...] = ()
    reader: str = ""
    weight: float = 1
    advice: str = ""
    marks: tuple[bytes, ...] = ()
    at: int = 0

    @property
    def picture(self) -> bool:
        """Whether files of this kind are images, read or not."""
        return bool(self.reader or self.advice)


_CONVERT = "convert it to PNG or JPEG"
_DEVELOP = "develop it into JPEG or PNG"
JPEG = Kind("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "JPEG", marks=(b"\xff\xd8\xff",))
PNG = Kind("PNG", (".png", ".apng"), "PNG", marks=(b"\x89PNG\r\n\x1a\n",))
WEBP = Kind("WebP", (".webp",), "WEBP")
GIF = Kind("GIF", (".gif",), "GIF", marks=(b"GIF87a", b"GIF89a"))
BMP = Kind("BMP", (".bmp", ".dib"), "BMP", marks=(b"BM",))
TIFF = Kind("TIFF", (".tif", ".tiff"), "TIFF", marks=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))
AVIF = Kind("AVIF", (".avif", ".avifs"), "AVIF", 1.5)
JPEG2000 = Kind(
    "JPEG 2000", (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"), "JPEG2000", 4,
    marks=(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
)  # fmt: skip
PPM = Kind("PPM", (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"), "PPM")
ICO = Kind("ICO", (".ico",), "ICO", marks=(b"\0\0\1\0",))
QOI = Kind("QOI", (".qoi",), "QOI", 8, marks=(b"qoif",))
DDS = Kind("DDS", (".dds",), "DDS", marks=(b"DDS ",))
SGI = Kind("SGI", (".sgi", ".rgb", ".rgba", ".bw"), "SGI", marks=(b"\x01\xda",))
PCX = Kind("PCX", (".pcx",), "PCX")
TGA = Kind("TGA", (".tga", ".icb", ".vda", ".vst"), "TGA")
HEIC = Kind("HEIC", (".heic", ".heif", ".hif"), "HEIF", 1.5, "pip install 'striate[heic]'")
READERS = (JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, JPEG2000, PPM, ICO, QOI, DDS, SGI, PCX, TGA)
RAW = Kind(
    "a camera raw file",
    (".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"),
    advice=_DEVELOP, marks=(b"IIRO", b"IIU\0", b"FUJIFILMCCD-RAW"),
)  # fmt: skip
SVG = Kind("SVG, a vector drawing", (".svg", ".svgz"), advice=_CONVERT)
_UNREAD = (
    RAW,
    SVG,
    Kind("a camera raw file", advice=_DEVELOP, marks=(b"CR\x02",), at=8),
    Kind("PAM", (".pam",), advice=_CONVERT, marks=(b"P7\n",)),
    Kind("Photoshop", (".psd", ".psb"), advice=_CONVERT, marks=(b"8BPS",)),
    Kind("JPEG XL", (".jxl",), advice=_CONVERT, marks=(b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")),
    Kind("PostScript", (".eps", ".ps"), advice=_CONVERT, marks=(b"%!PS", b"\xc5\xd0\xd3\xc6")),
    Kind("a Windows metafile", (".wmf", ".emf"), advice=_CONVERT, marks=(b"\xd7\xcd\xc6\x9a",)),
    Kind("OpenEXR", (".exr",), advice=_CONVERT, marks=(b"\x76\x2f\x31\x01",)),
    Kind("Radiance HDR", (".hdr",), advice=_CONVERT, marks=(b"#?RADIANCE",)),
    Kind("DICOM", (".dcm", ".dicom"), advice=_CONVERT, marks=(b"DICM",), at=128),
    Kind("FITS", (".fits", ".fit", ".fts"), advice=_CONVERT, marks=(b"SIMPLE  =",)),
    Kind("NIfTI", (".nii",), advice=_CONVERT, marks=(b"n+1\0",), at=344),
    Kind("an Apple icon", (".icns",), advice=_CONVERT, marks=(b"icns",)),
    Kind("GIMP", (".xcf",), advice=_CONVERT, marks=(b"gimp xcf",)),
    Kind("DjVu", (".djvu",), advice=_CONVERT, marks=(b"AT&TFORM",)),
)
_NO_IMAGES = (
    Kind("a PDF", marks=(b"%PDF",)),
    Kind("a zip archive", marks=(b"PK\x03\x04",)),
    Kind("a gzip archive", marks=(b"\x1f\x8b",)),
    Kind("a 7z archive", marks=(b"7z\xbc\xaf\x27\x1c",)),
    Kind("a rar archive", marks=(b"Rar!",)),
    Kind("a tar archive", marks=(b"ustar",), at=257),
    Kind("an xz archive", marks=(b"\xfd7zXZ\0",)),
    Kind("a bzip2 archive", marks=(b"BZh",)),
    Kind("HDF5", marks=(b"\x89HDF\r\n\x1a\n",)),
    Kind("a NumPy array", marks=(b"\x93NUMPY",)),
    Kind("a database", marks=(b"SQLite format 3",)),
    Kind("a video", marks=(b"\x1aE\xdf\xa3",)),
    Kind("a sound", marks=(b"ID3", b"OggS", b"fLaC")),
    Kind("an Office file", marks=(b"\xd0\xcf\x11\xe0",)),
)
# A camera's raw file may begin as a TIFF does.
_MARKED = [kind for kind in (*(one for one in READERS if one is not TIFF), *_UNREAD, TIFF, *_NO_IMAGES) if kind.marks]
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz", ".bz2")
"""Endings of files that have others in them."""
FORMATS = tuple(kind.reader for kind in READERS)
"""Pillow's names of the formats that are always read. TGA, which has no mark of its own, is last."""
READ = ", ".join(kind.title for kind in READERS)
"""The formats that are read, in words."""
_ENDINGS = {ending: kind for kind in (*READERS, HEIC, *_UNREAD) for ending in kind.endings}
SUFFIXES = tuple(_ENDINGS)
"""Endings of files that are meant to be images, whether or not they can be read."""
_ODD_TIFF = (
    "damaged, or an unsupported kind of TIFF (such as half or double floats, or several channels of more than 16 "
    "bits): store it with 8 or 16 bits, or as one channel of 32-bit floats"
)
_ICON = 1024
"""Largest side of an image in an icon; Pillow decodes icons when it opens them, before their size can be judged."""


def kind_of(content: bytes) -> Kind | None:
    """The kind of a file by its first `HEAD` bytes, or all of them; None where they tell nothing."""
    head = content[:HEAD]
    if (brand := _brand(head)) is not None:
        return brand
    for kind in _MARKED:
        if head.startswith(kind.marks, kind.at) and (kind is not BMP or _is_bmp(head)):
            return kind
    if head.startswith(b"RIFF"):
        return {b"WEBP": WEBP, b"AVI ": Kind("a video"), b"WAVE": Kind("a sound")}.get(head[8:12])
    if head[:1] == b"P" and head[1:2] in b"123456fF" and head[2:3] in b"\n\r \t" and len(head) > 6:
        return PPM
    if head[:1] == b"\x0a" and head[1:2] in (b"\0", b"\2", b"\3", b"\5") and head[2:3] == b"\1" and len(head) >= 128:
        return PCX
    if _is_tga(head):
        return TGA
    return _text_kind(head)


def named(name: str) -> Kind | None:
    """The kind of images that a file's ending names, if it names one."""
    return _ENDINGS.get(os.path.splitext(name)[1].lower())  # noqa: PTH122 - of many thousands


def _brand(head: bytes) -> Kind | None:
    """The kind of a file in ISO's base media format, whose brands stand at its beginning."""
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[place : place + 4] for place in range(16, end - 3, 4))]
    if any(brand in (b"avif", b"avis") for brand in brands):
        return AVIF
    heif = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2")
    if any(brand in heif for brand in brands):
        return HEIC
    return RAW if brands[0] == b"crx " else Kind("a video")


def _is_bmp(head: bytes) -> bool:
    """Whether one of the sizes that its second header may have stands where it must: two letters alone may begin a text."""
    return int.from_bytes(head[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124)


def _is_tga(head: bytes) -> bool:
    """Whether these 18 bytes can only be the header of a TGA: it has no mark."""
    if len(head) < 18:
        return False
    mapped, kind = head[1], head[2]
    width, height, depth, bits = struct.unpack_from("<HHBB", head, 12)
    if not width or not height or bits & 0xC0 or bits & 0x0F not in (0, 1, 8):
        return False
    if kind in (1, 9):
        return mapped == 1 and depth == 8 and head[7] in (15, 16, 24, 32)
    depths = {2: (15, 16, 24, 32), 10: (15, 16, 24, 32), 3: (8, 16), 11: (8, 16)}
    return mapped == 0 and depth in depths.get(kind, ()) and not any(head[3:8])


def _text_kind(head: bytes) -> Kind | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return Kind("an HTML page")
    if b"<svg" in start and start.startswith((b"<svg", b"<?xml", b"<!doctype svg", b"<!--")):
        return SVG
    if start.startswith(b"<?xml"):
        return Kind("XML")
    if len(start) > 3 and all(byte >= 32 or byte in b"\t\n\r\f" for byte in start):
        try:
            start[:-3].decode()  # the last letter may be cut
        except UnicodeDecodeError:
            return None
        return Kind("text")
    return None


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
