"""pictures.py, which goes along in a ZIP, reads the very pixels that the run reads."""

import itertools

import numpy as np
import pytest
from PIL import Image

from striate.data import Preprocessing
from striate.data.formats import FORMATS
from striate.data.preprocessing import HEADROOM
from striate.exporting.folder import HANDED

SIZES = ((24, 24), (20, 33))
READ = {}
exec(compile((HANDED / "pictures.py").read_text(), "pictures.py", "exec"), READ)


def picture(generator, width, height):
    """Smooth, so that JPEG files of it are like photos."""
    coarse = generator.integers(0, 256, (height // 12 + 2, width // 12 + 2, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def forms(image, folder):
    """Files of a picture in every format, mode and orientation, some with transparency."""
    grey = np.asarray(image.convert("L"))
    alpha = Image.fromarray(np.roll(grey, 3, axis=0))
    with_alpha, grey_alpha = image.convert("RGBA"), image.convert("LA")
    with_alpha.putalpha(alpha)
    grey_alpha.putalpha(alpha)
    paletted = image.convert("P")
    modes = {
        "png": [
            image, image.convert("L"), image.convert("1"), paletted, with_alpha, grey_alpha,
            Image.fromarray(grey.astype(np.uint16) * 257),
        ],
        "jpg": [image, image.convert("L"), image.convert("CMYK")],
        "webp": [image, with_alpha],
        "gif": [paletted, image.convert("L")],
        "bmp": [image, image.convert("L"), paletted],
        "tiff": [
            image, image.convert("CMYK"), Image.fromarray(grey.astype(np.int32) * 200),
            Image.fromarray(grey.astype(np.float32) / 255),
        ],
    }  # fmt: skip
    number = 0
    for ending, images in modes.items():
        for each in images:
            number += 1
            each.save(folder / f"{number}.{ending}")
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
def test_the_same_pixels(files, fit, channels):
    assert len(files) == 40
    for size in SIZES:
        preprocessing = Preprocessing(size=size, channels=channels, mean=(), std=(), fit=fit)
        how = {**preprocessing.as_dict(), "headroom": HEADROOM}
        for file in files:
            assert np.array_equal(READ["read"](file, how), preprocessing.read(file)), (file.name, size)


def test_the_same_formats_are_read_and_none_else(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.jpg", format="SPIDER")
    with pytest.raises(OSError, match="cannot identify"):
        READ["read"](tmp_path / "picture.jpg", {"headroom": HEADROOM, "size": [8, 8], "channels": 3, "fit": "crop"})
    assert READ["FORMATS"] == FORMATS


def test_the_scripts_are_short_and_need_three_packages():
    for name, longest in (("predict.py", 15), ("pictures.py", 50)):
        source = (HANDED / name).read_text()
        code = [line for line in source.splitlines() if line.strip() and not line.strip().startswith(('"', "#"))]
        assert len(code) <= longest, name
        packages = {line.split()[1].split(".")[0] for line in code if line.startswith(("import ", "from "))}
        assert packages <= {"json", "sys", "math", "pathlib", "typing", "numpy", "onnxruntime", "PIL", "pictures"}
