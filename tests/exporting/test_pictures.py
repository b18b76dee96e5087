"""pictures.py, which goes along in a ZIP, reads the very pixels that the run reads."""

import itertools
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from striate.data import Preprocessing
from striate.data.formats import FORMATS
from striate.data.preprocessing import HEADROOM
from striate.errors import DataError
from striate.exporting.folder import BUNDLE, write_scripts

SIZES = ((24, 24), (20, 33))


@pytest.fixture(scope="module")
def handed(tmp_path_factory):
    """The module pictures.py, as it lies in the folder that is handed over."""
    folder = tmp_path_factory.mktemp("handed")
    write_scripts(folder)
    sys.path.insert(0, str(folder))
    try:
        import pictures
    finally:
        sys.path.remove(str(folder))
    yield pictures
    del sys.modules["pictures"], sys.modules["values"]


def picture(generator, width, height):
    """Smooth, so that JPEG files of it are like photos."""
    coarse = generator.integers(0, 256, (height // 12 + 2, width // 12 + 2, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def forms(image, folder):
    """Files of an image in every format, mode and orientation, some with transparency."""
    grey = np.asarray(image.convert("L"))
    alpha = Image.fromarray(np.roll(grey, 3, axis=0))
    with_alpha, grey_alpha = image.convert("RGBA"), image.convert("LA")
    with_alpha.putalpha(alpha)
    grey_alpha.putalpha(alpha)
    paletted = image.convert("P")
    modes = {
        "png": [
            image, image.convert("L"), image.convert("1"), paletted, with_alpha, grey_alpha,
            Image.fromarray(grey.astype(np.uint16) * 257), Image.fromarray(grey.astype(np.uint16) * 200),
        ],
        "jpg": [image, image.convert("L"), image.convert("CMYK")],
        "webp": [image, with_alpha],
        "gif": [paletted, image.convert("L")],
        "bmp": [image, image.convert("L"), paletted],
        "tiff": [
            image, image.convert("CMYK"), Image.fromarray(grey.astype(np.uint16) * 150),
            Image.fromarray(grey.astype(np.float32) / 255),
        ],
    }  # fmt: skip
    number = 0
    for ending, images in modes.items():
        for each in images:
            number += 1
            each.save(folder / f"{number}.{ending}")
    sixteen = Image.fromarray(grey.astype(np.uint16) * 257)
    sixteen.save(folder / "see-through-16.png", transparency=int(grey[0, 0]) * 257)
    image.convert("1").save(folder / "see-through-1.png", transparency=0)
    paletted.save(folder / "see-through.gif", transparency=7)
    image.save(folder / "see-through.png", transparency=image.getpixel((0, 0)))
    image.save(folder / "progressive.jpg", progressive=True)
    for orientation, ending in itertools.product(range(1, 9), ("jpg", "png")):
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(folder / f"turned{orientation}.{ending}", exif=exif)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module", params=[(24, 24), (25, 60), (31, 17), (150, 90), (500, 421)], ids=str)
def files(request, tmp_path_factory):
    width, height = request.param
    return forms(picture(np.random.default_rng(width), width, height), tmp_path_factory.mktemp("forms"))


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_pixels(handed, files, fit, channels):
    assert len(files) == 43
    for size in SIZES:
        preprocessing = Preprocessing(size=size, channels=channels, mean=(), std=(), fit=fit)
        how = {**preprocessing.as_dict(), "headroom": HEADROOM}
        for file in files:
            assert np.array_equal(handed.read(file, how), preprocessing.read(file)), (file.name, size)


def test_a_stated_range_goes_along_and_what_is_in_doubt_is_refused_in_both(handed, tmp_path):
    generator = np.random.default_rng(0)
    kinds = {"uint16": 4095, "int32": 4095, "float32": 4095.0}
    for name, most in kinds.items():
        values = (generator.random((24, 24)) * most).astype(name)
        Image.fromarray(values).save(tmp_path / f"{name}.tif")
    plain = Preprocessing(size=(24, 24), channels=1, mean=(), std=())
    for preprocessing in (plain, replace(plain, range=(0, 4095)), replace(plain, range=(1000, 3000))):
        how = {**preprocessing.as_dict(), "headroom": HEADROOM}
        for name in kinds:
            path = tmp_path / f"{name}.tif"
            if preprocessing.range is None:
                with pytest.raises(DataError, match="--range 0,4095"):
                    preprocessing.read(path)
                with pytest.raises(ValueError, match="--range 0,4095"):
                    handed.read(path, how)
            else:
                low, high = preprocessing.range
                expected = np.asarray(Image.open(path)).astype(np.float64)
                expected = np.rint(np.clip((expected - low) / (high - low), 0, 1) * 255)
                assert np.abs(handed.read(path, how)[..., 0] - expected).max() <= 1
                assert np.array_equal(handed.read(path, how), preprocessing.read(path))
    dark = replace(plain, sixteen=True)
    how = {**dark.as_dict(), "headroom": HEADROOM}
    assert np.array_equal(handed.read(tmp_path / "uint16.tif", how), dark.read(tmp_path / "uint16.tif"))


def test_the_same_formats_are_read_and_none_else(handed, tmp_path):
    Image.new("RGB", (8, 8)).save(
        tmp_path / "picture.spider", format="SPIDER"
    )  # Pillow takes whatever ending for its own from then on
    (tmp_path / "picture.spider").rename(tmp_path / "picture.jpg")
    with pytest.raises(OSError, match="cannot identify"):
        handed.read(tmp_path / "picture.jpg", {"headroom": HEADROOM, "size": [8, 8], "channels": 3, "fit": "crop"})
    assert handed.FORMATS == FORMATS


def test_the_scripts_are_short_and_need_three_packages():
    for name, longest in (("predict.py", 15), ("pictures.py", 50)):
        source = (BUNDLE / name).read_text()
        code = [line for line in source.splitlines() if line.strip() and not line.strip().startswith(('"', "#"))]
        assert len(code) <= longest, name
        packages = {line.split()[1].split(".")[0] for line in code if line.startswith(("import ", "from "))}
        assert packages <= {
            "json",
            "sys",
            "math",
            "pathlib",
            "typing",
            "numpy",
            "onnxruntime",
            "PIL",
            "pictures",
            "values",
        }
