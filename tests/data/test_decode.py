"""The decoder: every kind of image to the same upright pixels, and every bad file to an error that names it."""

import io
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from striate.data.decode import FileInfo, decode, decode_with_info
from striate.errors import DataError


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.fixture
def photo():
    """RGB, 6 wide and 4 high, each corner its own colour."""
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0, 0], pixels[0, -1], pixels[-1, 0], pixels[-1, -1] = (250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_same_upright_picture(photo, orientation):
    # How a camera stores an image that should be shown as `photo`: the inverse of what the tag tells a viewer to do.
    inverse = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = photo if inverse is None else photo.transpose(inverse)
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(encoded(stored, "PNG", exif=exif))
    assert np.array_equal(np.asarray(found), np.asarray(photo))


def test_kinds_of_pictures_become_grey_or_rgb_by_the_documented_rule(photo):
    grey = Image.fromarray(np.array([[0, 128, 255]], np.uint8))
    assert decode(encoded(grey, "PNG")).mode == "L"
    bits = Image.fromarray(np.array([[False, True, True]]))
    assert np.asarray(decode(encoded(bits, "PNG"))).tolist() == [[0, 255, 255]]
    sixteen = Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16))
    assert np.asarray(decode(encoded(sixteen, "PNG"))).tolist() == [[0, 100, 255]]
    assert np.asarray(decode(encoded(sixteen, "TIFF"))).tolist() == [[0, 100, 255]]
    palette = photo.quantize(8)
    assert np.array_equal(np.asarray(decode(encoded(palette, "PNG"))), np.asarray(palette.convert("RGB")))
    cmyk = photo.convert("CMYK")
    assert decode(encoded(cmyk, "TIFF")).mode == "RGB"
    assert np.abs(np.asarray(decode(encoded(cmyk, "TIFF"))).astype(int) - np.asarray(photo)).max() <= 3


def test_transparency_is_laid_over_white():
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    found = np.asarray(decode(encoded(Image.fromarray(pixels), "PNG")))
    assert found[0, :2].tolist() == [[10, 20, 30], [255, 255, 255]]
    assert abs(int(found[0, 2, 0]) - 127) <= 1
    grey = Image.fromarray(np.array([[[0, 0], [0, 255]]], np.uint8))
    assert np.asarray(decode(encoded(grey, "PNG"))).tolist() == [[255, 0]]


def test_the_first_frame_is_taken_and_the_extension_means_nothing(photo, tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    found = decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert np.asarray(found)[0, 0].tolist() == [255, 0, 0]
    (tmp_path / "photo.jpg").write_bytes(encoded(photo, "PNG"))
    assert np.array_equal(np.asarray(decode(tmp_path / "photo.jpg")), np.asarray(photo))


def test_bad_files_are_named_with_the_reason(tmp_path, photo):
    whole = encoded(photo.resize((64, 64)), "JPEG")
    cases = {
        "empty.jpg": (b"", "empty file"),
        "page.jpg": (b"<html>not found</html>", "not an image"),
        "cut.jpg": (whole[: len(whole) // 2], "damaged"),
        "bomb.png": (bomb(), "possible decompression bomb"),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: .*{reason}"):
            decode(tmp_path / name)
    with pytest.raises(DataError, match=r"missing\.png: no such file"):
        decode(tmp_path / "missing.png")
    with pytest.raises(DataError, match="a folder, not an image"):
        decode(tmp_path)


def bomb() -> bytes:
    """A PNG whose header claims 40,000 x 40,000 pixels."""
    content = bytearray(encoded(Image.new("L", (1, 1)), "PNG"))
    content[16:24] = (40_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def test_a_large_jpeg_is_decoded_small_in_every_orientation_and_looks_the_same():
    y, x = np.mgrid[:768, :1024]
    waves = np.stack([127 + 120 * np.sin(x / 40), 127 + 120 * np.sin(y / 30), 127 + 120 * np.sin((x + y) / 50)], -1)
    photo = Image.fromarray(waves.astype(np.uint8))
    stored = photo.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = decode(encoded(stored, "JPEG", quality=95, exif=exif))
    small = decode(encoded(stored, "JPEG", quality=95, exif=exif), at_least=150)
    assert whole.size == (1024, 768)
    assert small.size == (256, 192)
    scaled = np.asarray(whole.resize((256, 192), Image.Resampling.BOX)).astype(int)
    assert np.abs(np.asarray(small).astype(int) - scaled).max() <= 4


@pytest.mark.full
def test_what_would_need_too_much_memory_is_refused_before_it_is_decoded():
    vast = encoded(Image.new("L", (12000, 12000)), "PNG")
    with pytest.raises(DataError, match=r"12000x12000 pixels are 144 MB once decoded, but at most 120 MB"):
        decode(vast)
    jpeg = encoded(Image.new("L", (12000, 12000)), "JPEG", quality=10)
    assert decode(jpeg, at_least=300).size == (1500, 1500)
    with pytest.raises(DataError, match="once decoded"):
        decode(encoded(Image.new("L", (12000, 12000)), "JPEG", quality=10, progressive=True), at_least=300)


def test_a_colour_that_stands_for_transparency_is_laid_over_white():
    pixels = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)
    found = decode(encoded(Image.fromarray(pixels), "PNG", transparency=(10, 20, 30)))
    assert np.asarray(found).tolist() == [[[255, 255, 255], [40, 50, 60]]]
    grey = decode(encoded(Image.fromarray(np.array([[7, 9]], np.uint8)), "PNG", transparency=7))
    assert np.asarray(grey).tolist() == [[255, 9]]


def test_the_facts_are_those_of_the_file(photo):
    image, info = decode_with_info(encoded(photo.quantize(8), "GIF"))
    assert image.mode == "RGB"
    assert info == FileInfo("GIF", "P", 6, 4)


def test_many_threads_read_odd_and_damaged_files_as_one_does_and_nobody_hears_pillow(photo):
    odd = encoded(photo, "JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x09\x00\x12\x01")  # entries are missing
    with pytest.raises(UserWarning, match="Corrupt EXIF"):
        Image.open(io.BytesIO(odd)).getexif()
    whole = encoded(photo, "PNG")
    files = [odd, whole, odd[: len(odd) // 2], whole[:50], b"", b"text"]

    def outcome(content):
        try:
            return np.asarray(decode(content)).tobytes()
        except DataError as error:
            return str(error)

    alone = [outcome(content) for content in files]
    assert [isinstance(found, bytes) for found in alone] == [True, True, False, False, False, False]
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome, files * 100)) == alone * 100
    assert warnings.filters == before
