"""Channels follow the images: colour stays colour for every net, and grey is read as grey however it is stored."""

import numpy as np
import pytest
import torch
from PIL import Image

import striate
from striate.errors import UsageError
from striate.inference import load_net
from striate.training import Progress

pytestmark = pytest.mark.usefixtures("no_charts")
QUIET = Progress(quiet=True)
GENERATOR = np.random.default_rng(0)


def write(folder, count, colour, mode="RGB", name="{}.png"):
    """`count` images of 32x32 in each of two classes; the classes differ in brightness."""
    for label, bright in (("dark", 60), ("light", 190)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            grey = np.clip(GENERATOR.normal(bright, 20, (32, 32)), 0, 255).astype(np.uint8)
            pixels = np.stack([grey, grey // 2, 255 - grey] if colour else [grey] * 3, axis=2)
            image = Image.fromarray(pixels)
            (image if colour else image.convert("L")).convert(mode).save(folder / label / name.format(number))
    return folder


def channels_of(run):
    """Of the images that its net is fed."""
    return load_net(run, torch.device("cpu")).channels


def channels(folder, **options):
    return striate.load_data(folder, size=(28, 28), **options).train.shape[2]


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "RGBA", "LA", "I;16"])
def test_grey_images_are_read_in_one_channel_however_they_are_stored(tmp_path, mode):
    assert channels(write(tmp_path / "set", 5, colour=False, mode=mode)) == 1


@pytest.mark.parametrize(
    ("mode", "name"), [("RGB", "{}.png"), ("P", "{}.gif"), ("CMYK", "{}.jpg"), ("YCbCr", "{}.jpg")]
)
def test_colour_images_are_read_in_three(tmp_path, mode, name):
    assert channels(write(tmp_path / "set", 5, colour=True, mode=mode, name=name)) == 3


def test_one_colour_image_among_a_hundred_grey_ones_keeps_its_colour_unless_it_is_left_out(tmp_path):
    folder = write(tmp_path / "set", 50, colour=False)
    odd = folder / "light" / "33.png"
    pixels = np.array(Image.open(odd))
    pixels[3, 17] = (200, 90, 90)  # a single pixel
    Image.fromarray(pixels).save(odd)
    whole = striate.load_data(folder, size=(32, 32))
    assert whole.train.shape[2] == 3
    taken = {
        path: picture
        for split in whole.splits.values()
        for path, picture in zip(split.paths, split.pixels, strict=True)
    }
    assert taken[str(odd)][3, 17].tolist() == [200, 90, 90]
    assert channels(folder, exclude=["light/33.png"]) == 1
    assert channels(folder, channels=1) == 1


def test_grey_pixels_are_the_same_with_and_without_being_asked_for(tmp_path):
    folder = write(tmp_path / "set", 12, colour=False)
    found, asked = (striate.load_data(folder, size=(28, 28), **options) for options in ({}, {"channels": 1}))
    assert found.train.fingerprint() == asked.train.fingerprint()
    assert found.reading == asked.reading


def test_a_net_made_for_grey_digits_is_trained_on_colour(tmp_path):
    folder = write(tmp_path / "set", 40, colour=True)
    run = striate.train("lenet5", folder, epochs=2, out=tmp_path / "runs", threads=1, report=False, progress=QUIET)
    assert channels_of(run) == 3
    picture = folder / "light" / "0.png"
    assert run.predict(picture)[0].label in ("dark", "light")
    assert len(striate.evaluate(run).predictions) > 0


def test_grey_is_taken_where_it_is_asked_for_and_other_numbers_are_refused(tmp_path, call):
    folder = write(tmp_path / "set", 20, colour=True)
    code, _, err = call(
        "train", "lenet5", "--data", folder, "--channels", 1, "--epochs", 1, "--name", "grey", "--threads", 1
    )
    assert code == 0, err
    assert channels_of(striate.load(tmp_path / "runs" / "grey")) == 1
    code, _, err = call("train", "lenet5", "--data", folder, "--channels", 2)
    assert code == 2
    assert "1 for grey images or 3 for colour, got 2" in err
    with pytest.raises(UsageError, match="3 for colour, got 4"):
        striate.load_data(folder, channels=4)


def test_archives_are_converted_where_it_is_asked_for(tmp_path):
    images = GENERATOR.integers(0, 255, (60, 28, 28, 3), dtype=np.uint8)
    labels = np.arange(60) % 2
    np.savez(tmp_path / "set.npz", train_images=images[:40], train_labels=labels[:40], test_images=images[40:],
             test_labels=labels[40:])  # fmt: skip
    made = [
        striate.train(
            "lenet5",
            tmp_path / "set.npz",
            epochs=1,
            out=tmp_path / "runs",
            threads=1,
            report=False,
            progress=QUIET,
            **options,
        )
        for options in ({}, {"channels": 1})
    ]
    assert [channels_of(run) for run in made] == [3, 1]
