"""500 files as they should not be: 25 kinds, 20 of each, a function of the seed."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FORMS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF"}
EACH = 20


def picture(generator: np.random.Generator, form: str, side: int = 48, **options: Any) -> bytes:
    """The bytes of an image that can be read."""
    pixels = generator.integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, FORMS[form], **options)
    return content.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, colour: int = 2, depth: int = 8, rows: bytes = b"", before: bytes = b"") -> bytes:
    """A PNG that says it is of this size."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + before
        + chunk(b"IDAT", zlib.compress(rows, 1))
        + chunk(b"IEND", b"")
    )


def billion(number: int) -> bytes:
    """A small file whose header says 1e9 pixels or more, in one of five formats."""
    side = 31_700 + number
    gif = b"GIF89a" + struct.pack("<HHBBB", 65_500, 65_500, 0x80, 0, 0) + b"\0" * 6
    gif += b"\x2c" + struct.pack("<HHHHB", 0, 0, 65_500, 65_500, 0) + b"\x02\x02\x4c\x01\x00\x3b"
    bmp = (
        b"BM"
        + struct.pack("<IHHI", 70, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 1, 1, 0, 0)
    )
    generator = np.random.default_rng(number)
    jpeg = bytearray(picture(generator, "jpg"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    tiff = io.BytesIO()
    Image.new("L", (8, 8)).save(tiff, "TIFF")
    wide = tiff.getvalue().replace(struct.pack("<HHII", 256, 4, 1, 8), struct.pack("<HHII", 256, 4, 1, side))
    wide = wide.replace(struct.pack("<HHII", 257, 4, 1, 8), struct.pack("<HHII", 257, 4, 1, side))
    return (png(side, side), gif, bmp + b"\0" * 16, bytes(jpeg), wide)[number % 5]


def flipped(content: bytes, generator: np.random.Generator, bits: int = 24) -> bytes:
    """The bytes with some bits turned, anywhere."""
    damaged = bytearray(content)
    for place in generator.integers(0, len(damaged), bits):
        damaged[place] ^= 1 << int(generator.integers(8))
    return bytes(damaged)


def name_of(number: int, ending: str) -> str:
    """A name that is hard to print or to store: a line break, emoji, right-to-left, 250 characters, a terminal's command."""
    names = (
        "a\nb",
        "🐜🐝\U0001f3f4",
        "\u202egpj.exe",
        "n" * 245,
        "\x1b[2J",
        "it's; rm -rf $(x) &",
        "%s%n{0}",
        "dots..~",
    )
    return f"{names[number % len(names)][: 250 - len(ending) - 4]}{number:02d}.{ending}"


def write_all(folder: Path, seed: int = 0) -> dict[Path, bool | None]:
    """Writes the files into `folder` and returns {path: whether it can be read, None where that is as the damage falls}."""
    generator = np.random.default_rng(seed)
    expected = {}

    def put(name: str, content: bytes, readable: bool | None) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        assert path not in expected
        expected[path] = readable

    for number in range(EACH):
        for form in FORMS:
            whole = picture(generator, form)
            cut = int(generator.uniform(0.05, 0.9) * len(whole))
            put(f"cut-{number}.{form}", whole[:cut], None if form in ("gif", "tiff") else False)
            put(f"flipped-{number}.{form}", flipped(whole, generator), None)
        forms = list(FORMS)
        put(f"png-called-{number}.jpg", picture(generator, forms[1 + number % 5]), True)
        put(f"page-{number}.jpg", b"<!doctype html><title>404</title>" + b" " * number, False)
        put(f"empty-{number}.{forms[number % 6]}", b"", False)
        put(f"zeros-{number}.{forms[number % 6]}", bytes(1 + 500 * number), False)
        put(f"billion-{number}.{forms[number % 6]}", billion(number), False)
        put(f"magic-{number}.jpg", b"\xff\xd8\xff\xe0" + generator.bytes(2000), False)
        put(f"chunks-{number}.png", b"\x89PNG\r\n\x1a\n" + generator.bytes(2000), False)
        put(name_of(number, "png"), picture(generator, "png"), True)
        put(f"folder-{number}.jpg/inside.png", picture(generator, "png"), True)
        put(f"forbidden-{number}.png", picture(generator, "png"), False)
        put(name_of(number, "jpg"), b"broken all the same", False)
        put(f"text-bomb-{number}.png", png(4, 4, rows=b"\0" * 52, before=text_bomb()), None)
        broken_link(folder / f"link-{number}.jpg", number)
        expected[folder / f"link-{number}.jpg"] = False
    return expected


def text_bomb() -> bytes:
    """A compressed comment of 30 MB in 30 kB."""
    return chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(30_000_000), 1))


def broken_link(path: Path, number: int) -> None:
    """A link to nothing, or to itself."""
    path.symlink_to(path.name if number % 2 else "nowhere.jpg")


LARGE = {
    "palette": lambda: png(10_900, 10_900, colour=3, rows=bytes(10_901 * 10_900), before=chunk(b"PLTE", bytes(6))),
    "palette-alpha": lambda: png(
        10_900,
        10_900,
        colour=3,
        rows=bytes(10_901 * 10_900),
        before=chunk(b"PLTE", bytes(6)) + chunk(b"tRNS", b"\0\xff"),
    ),
    "grey": lambda: png(10_900, 10_900, colour=0, rows=bytes(10_901 * 10_900)),
    "grey-key": lambda: png(10_900, 10_900, colour=0, rows=bytes(10_901 * 10_900), before=chunk(b"tRNS", b"\0\0")),
    "one-bit": lambda: png(30_000, 3_900, colour=0, depth=1, rows=bytes(3_751 * 3_900)),
    "grey-alpha": lambda: png(7_700, 7_700, colour=4, rows=bytes(15_401 * 7_700)),
    "sixteen": lambda: png(7_700, 7_700, colour=0, depth=16, rows=bytes(15_401 * 7_700)),
    "colour": lambda: png(6_300, 6_300, rows=bytes(18_901 * 6_300)),
    "colour-alpha": lambda: png(5_400, 5_400, colour=6, rows=bytes(21_601 * 5_400)),
    "jpeg": lambda: jpeg((6_300, 6_300), "RGB"),
    "jpeg-progressive": lambda: jpeg((6_300, 6_300), "RGB", progressive=True),
    "jpeg-cmyk": lambda: jpeg((5_400, 5_400), "CMYK", progressive=True),
    "turned": lambda: turned(),
    "tiff-lzw": lambda: other((6_300, 6_300), "TIFF", compression="tiff_lzw"),
    "webp": lambda: other((6_300, 6_300), "WEBP"),
    "gif": lambda: other((10_900, 10_900), "GIF", mode="P"),
}
"""The largest images that are read, each in another form of pixels; and a few that are a little too large."""


def jpeg(size: tuple[int, int], mode: str, **options: Any) -> bytes:
    content = io.BytesIO()
    Image.new(mode, size).save(content, "JPEG", **options)
    return content.getvalue()


def turned() -> bytes:
    content = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6_300, 6_300)).save(content, "JPEG", exif=exif)
    return content.getvalue()


def other(size: tuple[int, int], form: str, mode: str = "RGB", **options: Any) -> bytes:
    content = io.BytesIO()
    Image.new(mode, size).save(content, form, **options)
    return content.getvalue()
