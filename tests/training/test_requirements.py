"""What a run needs of its images is known before it trains: an error with the reason, exit code 3, and no run."""

import numpy as np
import pytest
from PIL import Image

import striate
from striate import events
from striate.errors import DataError, UsageError
from striate.experiment import Settings, try_out
from striate.training import Progress


def make(folder, counts, side=28, name="{number}.png", equal=False, same_small=False):
    """A folder of classes with so many images each, named after `name`; each unlike all others but where `equal`."""
    generator = np.random.default_rng(0)
    for label, count in counts.items():
        place = folder / label
        place.mkdir(parents=True)
        base = generator.integers(0, 256, (side, side, 3)).astype(np.uint8)
        for number in range(count):
            pixels = base if equal or same_small else generator.integers(0, 256, (side, side, 3)).astype(np.uint8)
            if same_small:  # differs by one value of one pixel, which scaling down rounds away
                pixels = np.full((side, side, 3), 40 + 20 * len(label), np.uint8)
                pixels[number, 0, 0] += 1
            Image.fromarray(pixels).save(place / name.format(number=number, label=label))
    return folder


def refused(tmp_path, data, match, **settings):
    with pytest.raises(DataError, match=match) as caught:
        striate.train(
            "lenet5", data, out=tmp_path / "runs", threads=1, layout="nchw", progress=Progress(quiet=True), **settings
        )
    assert caught.value.exit_code == 3
    assert not (tmp_path / "runs").exists()


def test_one_group_a_class(tmp_path):
    data = make(tmp_path / "photos", {"cat": 8, "dog": 8}, name="{label}-{number}.png")
    refused(tmp_path, data, "no test images.*all in one group of group_by", group_by="cat|dog")


def test_one_picture_a_class(tmp_path):
    refused(tmp_path, make(tmp_path / "photos", {"a": 1, "b": 1, "c": 1}), "each class has a single image")


def test_pictures_that_are_equal(tmp_path):
    refused(tmp_path, make(tmp_path / "photos", {"a": 6, "bb": 6}, equal=True), "all identical at 28x28 pixels")


def test_pictures_that_are_equal_at_the_size_of_the_net_only(tmp_path):
    data = make(tmp_path / "photos", {"a": 6, "bb": 6}, side=224, same_small=True)
    refused(tmp_path, data, "all identical at 28x28 pixels, and such images are never separated")


def test_two_pictures_a_class_leave_none_for_validation(tmp_path):
    data = make(tmp_path / "photos", {"a": 2, "b": 2})
    refused(tmp_path, data, "no validation images: each class has a single image.*validation=0")


def test_one_class_only_and_a_class_that_is_excluded(tmp_path):
    refused(tmp_path, make(tmp_path / "one", {"cat": 9}), "at least two")
    two = make(tmp_path / "two", {"cat": 9, "dog": 9})
    refused(tmp_path, two, "no readable image of class cat.*exclude leaves 9 out", exclude=["cat/*"])


def looked(data, **settings):
    class Said(Progress):
        def __call__(self, event):
            if isinstance(event, events.Said) and event.about == "check":
                lines.append(event.text)

    lines = []
    checks = try_out(Settings("lenet5", data, threads=1, **settings), progress=Said(quiet=True))
    assert checks
    return " ".join(" ".join(lines).split())


def test_a_class_without_test_or_validation_pictures_is_said_and_trains(tmp_path):
    data = make(tmp_path / "photos", {"cat": 12, "dog": 12}, name="{label}-{number}.png")
    for number in range(12):
        (data / "cat" / f"cat-{number}.png").rename(data / "cat" / f"one-{number}.png")
    said = looked(data, group_by="one|dog-[0-9]+")
    assert "No test image is of class cat: there will be no figures for this class." in said
    assert "No validation image is of class cat" in said


def test_a_validation_that_keeps_nearly_all_is_said(tmp_path):
    data = make(tmp_path / "photos", {"cat": 12, "dog": 12})
    assert "Validation keeps 18 of 20 training images, which leaves 2 for training" in looked(data, validation=0.99)
    assert "Validation keeps" not in looked(data)


def test_no_validation_where_none_is_asked_for(tmp_path):
    data = make(tmp_path / "photos", {"a": 2, "b": 2})
    assert looked(data, validation=0) is not None
    with pytest.raises(UsageError, match="needs validation images"):
        looked(data, validation=0, keep="best")
