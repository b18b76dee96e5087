"""Values and transparency of every kind of image, against files of hand-made bytes and sums."""

import io
import itertools
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from striate.data import Preprocessing, load_data
from striate.data.decode import decode, decode_with_info
from striate.data.inputs import read
from striate.data.values import Found
from striate.errors import DataError, UsageError

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(samples, colour, depth, *chunks):
    """A PNG of the standard, of whole-number samples (H, W, channels) below 2**depth."""
    height, width = samples.shape[:2]
    rows = samples.reshape(height, -1)
    bits = (rows[..., None] >> np.arange(depth)[::-1]) & 1
    packed = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    content = b"".join(b"\0" + row.tobytes() for row in packed)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *(chunk(*one) for one in chunks), chunk(b"IDAT", zlib.compress(content))]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IEND", b"")])


def tiff(values, order="<", **tags):
    """A TIFF of one strip: grey values (H, W), with more tags by number, as in t262=0."""
    height, width = values.shape
    content = values.astype(values.dtype.newbyteorder(order)).tobytes()
    form = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    entries = {256: width, 257: height, 258: values.itemsize * 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: height}
    entries |= {279: len(content), 339: form} | {int(name[1:]): value for name, value in tags.items()}
    if isinstance(entries.pop("content", None), bytes):
        raise AssertionError
    entries[273] = 8 + 2 + 12 * len(entries) + 4
    listed = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return start + struct.pack(f"{order}H", len(entries)) + listed + bytes(4) + content


def over_white(value, alpha):
    """What a value of 0 to 1 is over white, of 0 to 255."""
    return 255 * (alpha * value + (1 - alpha))


def near(found, expected, levels=1):
    return np.abs(np.asarray(found).astype(float) - expected).max() <= levels


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("keyed", [False, True])
def test_grey_png_of_every_depth_with_and_without_a_transparent_value(depth, keyed):
    most = 2**depth - 1
    samples = np.random.default_rng(depth).integers(0, most + 1, (5, 9, 1))
    samples[0, :2, 0] = 0, most
    for key in {0, most, int(samples[2, 2, 0])} if keyed else {None}:
        content = png(samples, GREY, depth, *([(b"tRNS", struct.pack(">H", key))] if keyed else []))
        expected = over_white(samples[..., 0] / most, samples[..., 0] != key)
        found = decode(content)
        assert found.mode == "L"
        assert near(found, expected, 0.51), key


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colour", [RGB, GREY_ALPHA, RGBA])
def test_colour_and_alpha_png_of_every_depth(colour, depth):
    most = 2**depth - 1
    samples = np.random.default_rng(depth).integers(0, most + 1, (5, 9, CHANNELS[colour]))
    if colour == RGB:
        key = samples[1, 1]
        content = png(samples, RGB, depth, (b"tRNS", struct.pack(">3H", *key.tolist())))
        alpha = (samples != key).any(-1)
        expected = over_white(samples / most, alpha[..., None])
    else:
        content = png(samples, colour, depth)
        expected = over_white(samples[..., :-1] / most, samples[..., -1:] / most)
    found = np.asarray(decode(content).convert("RGB"))
    # Of 16 bits Pillow keeps the upper eight, of alpha as well.
    assert near(found, expected, 1 if depth == 8 else 2)
    if colour == RGB:
        assert near(decode(png(samples, RGB, depth)), samples / most * 255)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes_with_alpha_of_every_depth(depth):
    generator = np.random.default_rng(depth)
    samples = generator.integers(0, 2**depth, (5, 9, 1))
    palette = generator.integers(0, 256, (2**depth, 3))
    for alphas in (generator.integers(0, 256, 2**depth), np.r_[255, 0], np.r_[0]):
        whole = np.r_[alphas, np.full(2**depth - len(alphas), 255)]
        content = png(
            samples,
            PALETTE,
            depth,
            (b"PLTE", palette.astype(np.uint8).tobytes()),
            (b"tRNS", alphas.astype(np.uint8).tobytes()),
        )
        expected = over_white(palette[samples[..., 0]] / 255, whole[samples] / 255)
        assert near(decode(content), expected)


def test_pictures_of_pillows_other_modes_with_alpha_are_laid_over_white():
    colour = np.array([[[200, 100, 50, 128], [10, 20, 30, 0], [10, 20, 30, 255]]], np.uint8)
    expected = over_white(colour[..., :3] / 255, colour[..., 3:] / 255)
    preprocessing = Preprocessing(size=(1, 3), channels=3, mean=(), std=())
    rgba = Image.fromarray(colour)
    assert near(read(preprocessing, rgba), expected)
    assert near(read(preprocessing, rgba.convert("RGBa")), expected, 2)
    assert near(read(preprocessing, rgba.convert("PA")), expected)
    grey = Image.merge("LA", [Image.fromarray(colour[..., 0]), Image.fromarray(colour[..., 3])])
    expected = over_white(colour[..., 0] / 255, colour[..., 3] / 255)[..., None]
    assert near(read(preprocessing, grey), expected)
    assert near(read(preprocessing, grey.convert("La")), expected, 2)


def test_alpha_of_other_formats_is_laid_over_white():
    colour = np.zeros((8, 8, 4), np.uint8)
    colour[:4] = 200, 100, 50, 128
    colour[4:] = 10, 20, 30, 0
    expected = over_white(colour[..., :3] / 255, colour[..., 3:] / 255)
    assert near(decode(encoded(Image.fromarray(colour), "WEBP", lossless=True, exact=True)), expected)
    unassociated = encoded(Image.fromarray(colour), "TIFF", tiffinfo={338: 2})
    assert near(decode(unassociated), expected)
    premultiplied = np.rint(colour[..., :3] * (colour[..., 3:] / 255)).astype(np.uint8)
    associated = encoded(Image.fromarray(np.dstack([premultiplied, colour[..., 3]])), "TIFF")
    tag = struct.pack("<HHI", 338, 3, 1)
    associated = associated.replace(tag + b"\2", tag + b"\1")
    assert Image.open(io.BytesIO(associated)).tag_v2[338] == (1,)
    assert near(decode(associated), expected, 2)
    second = Image.new("RGBA", (8, 8), "red")
    moving = encoded(Image.fromarray(colour), "WEBP", lossless=True, exact=True, save_all=True, append_images=[second])
    assert near(decode(moving), expected)
    moving = encoded(Image.fromarray(colour), "PNG", save_all=True, append_images=[second])
    assert near(decode(moving), expected)
    indexed = Image.new("P", (2, 1))
    indexed.putpalette([10, 20, 30, 40, 50, 60])
    indexed.putpixel((1, 0), 1)
    assert np.asarray(decode(encoded(indexed, "GIF", transparency=1))).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_sixteen_bits_by_both_orders_of_bytes_and_white_as_zero():
    values = np.array([[0, 257 * 100, 65535]], np.uint16)
    for order in "<>":
        assert np.asarray(decode(tiff(values, order))).tolist() == [[0, 100, 255]]
    assert np.asarray(decode(tiff(values, t262=0))).tolist() == [[255, 155, 0]]
    floats = np.array([[0, 0.2, 1]], np.float32)
    for order in "<>":
        assert np.asarray(decode(tiff(floats, order))).tolist() == [[0, 51, 255]]
        assert np.asarray(decode(tiff(floats, order, t262=0))).tolist() == [[255, 204, 0]]


def test_a_file_that_says_its_range_is_read_by_it():
    values = np.array([[0, 1024, 2730, 4095]], np.uint16)
    expected = [[0, 64, 170, 255]]
    packed = np.packbits(((values[..., None] >> np.arange(12)[::-1]) & 1).astype(np.uint8).ravel())
    twelve = tiff(values, t258=12, t279=len(packed))[: -values.nbytes] + packed.tobytes()
    assert np.asarray(decode(twelve)).tolist() == expected
    assert np.asarray(decode(tiff(values, t280=0, t281=4095))).tolist() == expected
    image, facts = decode_with_info(png(values[..., None].astype(int), GREY, 16, (b"sBIT", b"\x0c")))
    assert np.asarray(image).tolist() == expected
    assert facts.found == Found("16-bit", 0, 4095, 0, 4095)
    # A writer that keeps to the standard scales 12 bits to 16: a dark image of those, and what is not the end of any bits.
    for content in (
        png(values[..., None].astype(int) & 0xFF0, GREY, 16, (b"sBIT", b"\x0c")),
        tiff(values, t280=0, t281=4000),
    ):
        assert decode_with_info(content)[1].found.high == 65535


SINGLE = Preprocessing(size=(2, 4), channels=1, mean=(), std=())


def forms(values):
    """The same grey values, each row twice, as a file, as an array and as tensors, where there are such."""
    values = np.repeat(values, 2, axis=0)
    yield "array", values
    yield "array with an axis", values[..., None]
    if values.dtype in (np.float32, np.uint16, np.int32, np.uint32, np.int8):
        yield "file", tiff(values)
    if values.dtype in (np.float32, np.uint16, np.int32):
        yield "PIL", Image.fromarray(values)
    yield "tensor", torch.from_numpy(values)
    yield "tensor with an axis", torch.from_numpy(values)[None]


KINDS = (np.int8, np.uint16, np.int16, np.int32, np.uint32, np.int64, np.float16, np.float32, np.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_known_is_asked_back_in_every_form(kind):
    values = np.array([[0, 20, 100, 120]]).astype(kind)
    for name, form in forms(values):
        with pytest.raises(DataError, match=r"--range 0,255") as caught:
            read(SINGLE, form)
        assert "120" in str(caught.value), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_stated_range_holds_in_every_form_alike(kind):
    values = np.array([[0, 20, 100, 120]]).astype(kind)
    for low, high in ((0, 127), (10, 110)):
        expected = np.clip(np.rint((values.astype(float) - low) * 255 / (high - low)), 0, 255)
        for name, form in forms(values):
            found = read(Preprocessing(size=(2, 4), channels=1, mean=(), std=(), range=(low, high)), form)
            assert np.array_equal(found[..., 0], np.repeat(expected, 2, axis=0)), name


def test_negative_and_very_large_values_are_read_by_the_range_and_not_wrapped():
    signed = np.array([[-1000, -200, 0, 400]])
    scan = Preprocessing(size=(2, 4), channels=1, mean=(), std=(), range=(-1000, 400))
    for kind in (np.int16, np.int32, np.float32):
        for name, form in forms(signed.astype(kind)):
            assert read(scan, form)[0, :, 0].tolist() == [0, 146, 182, 255], name
    for _, form in forms(signed.astype(np.int16)):
        with pytest.raises(DataError, match="-1,000 to 400"):
            read(SINGLE, form)
    large = np.array([[0, 2**31, 2**32 - 1, 2**31]], np.uint32)
    wide = Preprocessing(size=(2, 4), channels=1, mean=(), std=(), range=(0, 2**32 - 1))
    for name, form in forms(large):
        assert read(wide, form)[0, :, 0].tolist() == [0, 128, 255, 128], name


def test_the_kinds_that_are_known_give_the_same_pixels_in_every_form():
    grey = np.array([[0, 51, 100, 255]], np.uint8)
    for kind in (np.uint16, np.float16, np.float32, np.float64):
        values = (grey.astype(np.uint16) * 257) if kind == np.uint16 else (grey / 255).astype(kind)
        for name, form in forms(values):
            assert np.array_equal(read(SINGLE, form)[..., 0], np.repeat(grey, 2, axis=0)), name
    grey = np.repeat(grey, 2, axis=0)
    for form in (grey > 0, torch.from_numpy(grey > 0)):
        assert read(SINGLE, form)[0, :, 0].tolist() == [0, 255, 255, 255]
    brief = torch.from_numpy(grey / 255).bfloat16()
    assert np.array_equal(read(SINGLE, brief)[..., 0], (brief.double() * 255).round().numpy())


def test_one_valued_and_black_pictures_are_no_doubt():
    for kind, value, expected in ((np.uint16, 0, 0), (np.uint16, 65535, 255), (np.float32, 0, 0), (np.float32, 1, 255)):
        for name, form in forms(np.full((1, 4), value, kind)):
            assert (read(SINGLE, form) == expected).all(), name


def test_values_that_are_no_numbers_are_named_without_a_warning():
    for bad, word in ((np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")):
        values = np.array([[0, 0.5, bad, 1]], np.float32)
        for name, form in forms(values):
            for preprocessing in (SINGLE, Preprocessing(size=(2, 4), channels=1, mean=(), std=(), range=(0, 1))):
                with pytest.raises(DataError, match=f"2 of its 8 values are {word}"):
                    read(preprocessing, form)
                assert name


def test_values_of_another_scale_than_the_stated_one_are_asked_back():
    stated = Preprocessing(size=(2, 4), channels=1, mean=(), std=(), range=(0, 4095))
    with pytest.raises(DataError, match="from 0 to 1, but the range is 0 to 4,095"):
        read(stated, np.array([[0, 0.2, 0.5, 1]], np.float32))
    unit = Preprocessing(size=(2, 4), channels=1, mean=(), std=(), range=(0, 1))
    with pytest.raises(DataError, match="all outside the range 0 to 1"):
        read(unit, np.array([[20, 30, 40, 50]], np.uint16))
    assert read(stated, np.array([[0, 1, 128, 255]] * 2, np.uint8))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_colour_of_sixteen_bits_that_holds_twelve_is_asked_back():
    samples = np.random.default_rng(0).integers(0, 4096, (4, 4, 3))
    single = Preprocessing(size=(4, 4), channels=3, mean=(), std=())
    with pytest.raises(DataError, match="upper eight reach only 15 of 255"):
        read(single, png(samples, RGB, 16))
    with pytest.raises(DataError, match="store 8 bits per channel"):
        read(Preprocessing(size=(4, 4), channels=3, mean=(), std=(), range=(0, 4095)), png(samples, RGB, 16))
    assert near(read(single, png(samples * 16, RGB, 16)), samples * 16 / 65535 * 255)


@pytest.mark.parametrize("shape", [(3, 20, 3), (3, 20, 1), (1, 20, 3), (1, 20, 1), (3, 3, 3)])
def test_axes_that_can_be_read_in_two_ways_are_asked_back(shape):
    for form in (np.zeros(shape, np.uint8), torch.zeros(shape)):
        with pytest.raises(DataError, match="channels first or last"):
            read(SINGLE, form)


def test_the_wrong_order_of_axes_is_named_with_the_way_out():
    with pytest.raises(DataError, match=r"transpose\(1, 2, 0\)"):
        read(SINGLE, np.zeros((3, 20, 20), np.uint8))
    with pytest.raises(DataError, match=r"permute\(2, 0, 1\)"):
        read(SINGLE, torch.zeros(20, 20, 3))
    for bad in (
        np.zeros((2, 2), np.complex64),
        np.array([["a"]]),
        np.zeros((4, 4, 4), np.uint8),
        torch.zeros(4, 4).cfloat(),
    ):
        with pytest.raises(DataError):
            read(SINGLE, bad)


def write_set(folder, make, count=12):
    """Two classes of `count` images, `make(number)` each: a name's ending and its bytes."""
    for number, label in itertools.product(range(count), "ab"):
        ending, content = make(2 * number + (label == "b"))
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{number}.{ending}").write_bytes(content)
    return folder


def grey_set(folder, most, kind=np.uint16, count=12):
    generator = np.random.default_rng(0)

    def make(number):
        values = (generator.random((8, 8)) * most).astype(kind)
        values[0, 0] = most
        return "tif", tiff(values)

    return write_set(folder, make, count)


def loaded(folder, **options):
    return load_data(folder, size=(8, 8), channels=1, **options)


def test_a_set_of_twelve_bits_is_asked_for_its_range(tmp_path):
    folder = grey_set(tmp_path / "set", 4095)
    with pytest.raises(
        DataError, match=r"24 of its images hold 16-bit values that reach only 4,095 of 65,535.*--range 0,4095"
    ):
        loaded(folder).require_range()
    stated = loaded(folder, range="0,4095")
    stated.require_range()
    assert stated.first.pixels.max() == 255
    (row,) = stated.values
    assert (row.count, row.most, row.low, row.high, row.outside) == (24, 4095, 0, 4095, 0)
    # The same again, from the cache.
    assert loaded(folder, range=(0, 4095)).values == stated.values


def test_a_dark_picture_of_a_set_that_fills_its_range_is_dark(tmp_path):
    folder = grey_set(tmp_path / "set", 65535)
    (folder / "a" / "dark.tif").write_bytes(tiff(np.full((8, 8), 3000, np.uint16)))
    dataset = loaded(folder)
    dataset.require_range()
    assert not dataset.unreadable


def test_floats_are_judged_by_the_whole_set(tmp_path):
    strangers = grey_set(tmp_path / "most", 200, np.float32)
    (strangers / "a" / "unit.tif").write_bytes(tiff(np.full((8, 8), 0.5, np.float32)))
    with pytest.raises(DataError, match=r"no readable image of class b in the train split.*--range 0,255"):
        loaded(strangers)
    (strangers / "b" / "unit.tif").write_bytes(tiff(np.full((8, 8), 0.25, np.float32)))
    for path in ("a", "b"):  # one of each for a test, too
        (strangers / path / "other.tif").write_bytes(tiff(np.full((8, 8), 0.75, np.float32)))
    with pytest.raises(DataError, match="24 of its images have values of unknown range"):
        loaded(strangers).require_range()
    stated = loaded(strangers, range=(0, 255))
    assert len(stated.unreadable) == 4
    assert all("the range is 0 to 255" in reason for reason in stated.unreadable.values())
    # One stray among many is left out and named, as other files that cannot be read.
    few = grey_set(tmp_path / "few", 1, np.float32)
    (few / "a" / "stray.tif").write_bytes(tiff(np.full((8, 8), 99, np.float32)))
    dataset = loaded(few)
    dataset.require_range()
    assert list(dataset.unreadable) == [str(few / "a" / "stray.tif")]


def test_a_range_that_does_nothing_or_is_none_is_an_error(tmp_path):
    folder = grey_set(tmp_path / "set", 255, np.uint8)
    with pytest.raises(UsageError, match="range is for images with more than 8 bits"):
        loaded(folder, range=(0, 255)).require_range()
    for bad in ("0", "5,5", "9,1", "a,b", "0,nan", "0,inf", "1,2,3", 7, (1,), ("a", 2)):
        with pytest.raises(UsageError, match=r"values of black and white|must be a text or a list, each item a number"):
            loaded(folder, range=bad)


@pytest.mark.parametrize(("kind", "most"), [(np.uint16, 4095), (np.float32, 255), (np.int64, 255), (np.uint16, 65535)])
def test_an_archive_is_read_by_the_same_rule_as_files(tmp_path, kind, most):
    generator = np.random.default_rng(0)
    images = (generator.random((24, 8, 8)) * most).astype(kind)
    images[:, 0, 0] = most
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(24) % 2)
    stated = load_data(tmp_path / "set.npz", range=(0, most))
    whole = np.concatenate([part.pixels for part in stated.splits.values()])
    preprocessing = Preprocessing(size=(8, 8), channels=1, mean=(), std=(), range=(0, most))
    alone = {read(preprocessing, image).tobytes() for image in images}
    assert {picture.tobytes() for picture in whole} == alone
    assert stated.values[0].count == 24
    if most == 65535:
        load_data(tmp_path / "set.npz").require_range()
    else:
        with pytest.raises(DataError, match=r"--range 0,"):
            load_data(tmp_path / "set.npz").require_range()


def test_archives_with_channels_in_the_wrong_place_are_named(tmp_path):
    for shape, words in (((4, 3, 8, 8), r"transpose\(0, 2, 3, 1\)"), ((4, 3, 8, 3), "second or last")):
        np.savez(tmp_path / "set.npz", images=np.zeros(shape, np.uint8), labels=np.arange(4) % 2)
        with pytest.raises(DataError, match=words):
            load_data(tmp_path / "set.npz")


@pytest.mark.full
def test_damaged_tiffs_have_a_reason_and_libtiff_says_nothing_itself(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    for number, compression in enumerate(("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")):
        content = bytearray(encoded(Image.fromarray(pixels), "TIFF", compression=compression))
        content[100:600] = bytes(500)
        (tmp_path / f"{number}.tif").write_bytes(content)
    (tmp_path / "half.tif").write_bytes(tiff(np.zeros((4, 4), np.float16)))
    script = (
        "import sys; from pathlib import Path; from striate.data.decode import decode; from striate.errors import DataError\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try: decode(path)\n"
        "    except DataError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stderr == ""
    assert "0.tif: damaged (its compressed data cannot be decoded)" in done.stdout
    assert "half.tif: damaged, or an unsupported kind of TIFF" in done.stdout
    assert "Error" not in done.stdout
