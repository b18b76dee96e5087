"""Kinds of files: the marks at their beginnings, the endings of their names, and who reads them."""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

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
