"""`--net auto`: what is chosen for which images, time and machine."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import striate
from striate.cli import main
from striate.experiment.auto import Survey, best, chosen, survey
from striate.settings import Settings

CIFAR = Survey(images=50_000, classes=10, side=32, channels=3, files=True)
PHOTOS = Survey(images=3_000, classes=5, side=240, channels=3, files=True)
LAPTOP = {"lenet5": 10_000, "resnet12-native": 800, "resnet18-native-light": 170, "resnet18-native": 60, "resnet18": 50}


def laptop(net, side):
    """Images a second of a laptop: as measured at 28 pixels, and at 128 for the net of ImageNet."""
    usual = 128 if net == "resnet18" else 28
    return LAPTOP[net] * (usual / side) ** 2


def choice(found, **settings):
    """(net, size, augmentation)"""
    made = best(found, Settings(**settings), laptop)
    return made.net, made.size, made.augment


def test_the_time_decides_how_heavy_a_net_is():
    assert choice(CIFAR, budget=20) == ("lenet5", 32, None)
    assert choice(CIFAR, budget=120)[0] == "resnet12-native"
    assert choice(CIFAR, budget=600) == ("resnet12-native", 32, "flip,shift=4")
    assert choice(CIFAR, budget=3600 * 2)[0] == "resnet18-native-light"
    assert choice(CIFAR, budget=3600 * 12)[0] == "resnet18-native"


def test_photos_are_scaled_as_far_as_the_time_allows():
    assert choice(PHOTOS, budget=30)[:2] == ("resnet12-native", 32)
    assert choice(PHOTOS, budget=180)[:2] == ("resnet12-native", 64)
    assert choice(PHOTOS, budget=3600)[:2] == ("resnet18", 128)
    assert choice(replace(PHOTOS, side=100), budget=3600)[:2] == ("resnet18", 100), "nothing is enlarged"


def test_what_is_asked_for_stays():
    assert choice(CIFAR, budget=600, size=40)[1] == 40
    assert choice(CIFAR, budget=600, augment="none")[2] == "none"
    assert choice(CIFAR, budget=600, recipe="tutorial")[2] is None


def test_without_a_budget_training_takes_minutes():
    assert choice(replace(CIFAR, images=5_000))[0] == "resnet12-native"
    assert choice(CIFAR)[0] == "lenet5"
    assert choice(replace(CIFAR, images=500))[0] == "lenet5", "a residual net needs more images"
    assert choice(CIFAR, epochs=1)[0] == "resnet12-native"


def test_digits_are_not_mirrored():
    assert choice(replace(CIFAR, flippable=False), budget=600)[2] == "shift=4"


def test_the_bundled_sample_is_for_a_first_look():
    made = chosen(Settings())
    assert made is not None
    assert (made.net, made.size, made.augment) == ("lenet5", None, None)
    assert chosen(Settings("resnet18")) is None


@pytest.fixture
def photos(tmp_path):
    """Two classes of colour photos of several sizes, the shorter side 60 pixels in the middle."""
    generator = np.random.default_rng(0)
    for label, colour in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        for number, side in enumerate([50] * 10 + [60] * 9 + [70] * 10):
            folder = tmp_path / "photos" / label
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(np.array(colour) + generator.normal(0, 40, (side, side + 20, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02d}.png")
    return tmp_path / "photos"


def test_a_survey_looks_at_the_files(photos):
    assert survey(Settings(data=photos)) == Survey(images=58, classes=2, side=60, channels=3, files=True)
    assert survey(Settings(data=photos, channels=1)).channels == 1
    arrays = np.random.default_rng(0).integers(0, 256, (40, 20, 24), np.uint8), np.arange(40) % 2
    assert survey(Settings(data=arrays)) == Survey(images=34, classes=2, side=20, channels=1, files=False)


def test_a_folder_of_photos_by_the_obvious_command(photos, tmp_path, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--data", str(photos), "--epochs", "2", "--out", str(tmp_path), "--no-report", "--json"])
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert "auto" in said.err
    run = striate.load(result["run"])
    assert run.config.preprocessing.channels == 3
    assert (run.config.net.name, run.config.preprocessing.size) == ("lenet5", (28, 28)), "few images, seen twice"
    assert run.config.settings["net"] == "lenet5", "the command that repeats the run names the net"


def test_lines_of_an_announcement_are_lines(photos, tmp_path, capsys):
    """A line break that a file's name holds is escaped; those between lines are not."""
    with pytest.raises(SystemExit, match="0"):
        main(["train", "lenet5", "--data", str(photos), "--epochs", "1", "--out", str(tmp_path), "--no-report"])
    said = capsys.readouterr().err
    assert "check   Classes with too few images" in said
    assert "\\n" not in said
