"""One decoder, one preprocessing: what a net is trained on is what it is evaluated on and predicts from, to the last bit."""

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from striate.data import Preprocessing, load_data
from striate.data.augmentation import Augmentation
from striate.data.batches import Batches, Order
from striate.data.inputs import read


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    """1,000 files in two classes: every kind, orientation and shape, JPEG files that are decoded small among them."""
    folder = tmp_path_factory.mktemp("thousand")
    generator = np.random.default_rng(0)
    sides = (9, 32, 47, 64, 100, 131, 260)
    kinds = (
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
    )
    modes = ("RGB", "L", "P", "CMYK", "RGBA", "I;16")
    taken = {"GIF": ("L", "P"), "BMP": ("RGB", "L", "P"), "WEBP": ("RGB", "RGBA"), "JPEG": ("RGB", "L", "CMYK")}
    combined = itertools.cycle(itertools.product(kinds, modes, range(1, 9)))
    for number in range(1000):
        while True:
            (kind, options), mode, orientation = next(combined)
            if mode in taken.get(kind, ("RGB", "L", "P", "RGBA", "I;16")):
                break
        height, width = generator.choice(sides, 2)
        pixels = generator.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
        image = Image.fromarray(pixels).resize((int(width), int(height)))
        image = (
            Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
            if mode == "I;16"
            else image.convert(mode)
        )
        exif = Image.Exif()
        exif[0x0112] = orientation
        place = folder / ("a" if number % 2 else "b") / f"{number:04d}.jpg"
        place.parent.mkdir(exist_ok=True)
        image.save(place, format=kind, **options, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}))
    return folder


@pytest.mark.full
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("channels", [1, 3])
def test_train_evaluate_and_predict_see_the_same_pixels_of_1000_files(thousand, fit, channels):
    preprocessing = Preprocessing(
        size=(32, 32), channels=channels, mean=(0.4,) * channels, std=(0.2,) * channels, fit=fit
    )
    data = load_data(thousand, size=(32, 32), channels=channels, fit=fit)  # as evaluation loads it
    assert not data.unreadable
    assert sum(len(part) for part in data.splits.values()) == 1000
    for part in data.splits.values():
        trained = Batches(part, preprocessing, Augmentation(), Order(64, 0), torch.device("cpu"))
        for position, path in enumerate(part.paths):
            predicted = read(preprocessing, path)
            assert np.array_equal(predicted, part.pixels[position]), path
            if position % 10 == 0:
                alone = preprocessing.normalise(trained.gather(torch.tensor([position])))
                assert torch.equal(alone, preprocessing.tensor(predicted[None])), path


def test_a_file_and_its_bytes_are_the_same(thousand):
    preprocessing = Preprocessing(size=(32, 32), channels=3, mean=(0.4,) * 3, std=(0.2,) * 3)
    for path in sorted(thousand.rglob("*.jpg"))[:50]:
        assert np.array_equal(read(preprocessing, path), read(preprocessing, path.read_bytes()))


def test_scaled_decoding_keeps_quality():
    """Of a large JPEG: as near to the exact scaling as an image that went through an 8-bit file once more."""
    generator = np.random.default_rng(1)
    photo = Image.fromarray(generator.integers(0, 256, (24, 32, 3)).astype(np.uint8)).resize(
        (2048, 1536), Image.Resampling.BICUBIC
    )
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=90)
    preprocessing = Preprocessing(size=(224, 224), channels=3, mean=(), std=())
    whole = preprocessing.pixels(Image.open(io.BytesIO(buffer.getvalue()))).astype(int)
    small = preprocessing.read(buffer.getvalue()).astype(int)
    assert np.abs(whole - small).mean() < 0.6
    assert np.abs(whole - small).max() <= 6
