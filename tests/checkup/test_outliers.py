"""Images that look unlike their class."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from striate.checkup import check
from striate.checkup.outliers import descriptors, outlying
from tests.checkup.made import data_set, photo, pixels


def notice(side=96):
    """A light page with a line of text, as servers send for an image that is gone."""
    image = Image.new("RGB", (side, side), (246, 246, 246))
    ImageDraw.Draw(image).text((14, 42), "image not found", fill=(60, 60, 60))
    return image


def test_a_notice_among_photos_is_named_first():
    photos = [photo(number) for number in range(120)]
    photos[40] = notice()
    found = {f.kind: f for f in check(data_set(train=(pixels(photos), [0, 1] * 60))).findings}
    assert found["outliers"].pictures[0].index == 40
    assert len(found["outliers"].pictures) <= 6
    assert found["outliers"].severity == "hint"


def test_a_usual_class_has_hardly_any():
    generator = np.random.default_rng(0)
    assert sum(len(outlying(generator.normal(size=(400, 17)))) for _ in range(20)) <= 10
    assert outlying(np.zeros((50, 17))) == []
    assert outlying(generator.normal(size=(19, 17))) == [], "too few images to have a usual look"


def test_outliers_are_ranked_and_few():
    generator = np.random.default_rng(1)
    described = generator.normal(size=(300, 17))
    described[:9] += np.arange(9, 0, -1)[:, None] * 0.8
    found = outlying(described)
    assert [place for place, _ in found] == [0, 1, 2, 3, 4]
    assert [beyond for _, beyond in found] == sorted((beyond for _, beyond in found), reverse=True)


def test_the_numbers_are_those_of_a_plain_loop():
    picture = np.asarray(photo(9).resize((32, 32)))
    numbers = descriptors(picture[None])[0]
    values = picture.astype(float) / 255
    light = values.mean(2)
    red, green, blue = values.transpose(2, 0, 1)
    planes = [light, red - green, (red + green) / 2 - blue]
    steep = [
        abs(light[r, c + 1] - light[r, c]) + abs(light[r + 1, c] - light[r, c]) for r in range(31) for c in range(31)
    ]
    levels = np.bincount((light * 15.999).astype(int).ravel(), minlength=16) / 1024
    blocks = light.reshape(8, 4, 8, 4).mean((1, 3))
    wanted = [
        *(plane.mean() for plane in planes),
        *(plane.std(ddof=1) for plane in planes),
        *(plane[8:24, 8:24].mean() - plane.mean() for plane in planes),
        (values.max(2) - values.min(2)).mean(),
        np.log(abs(np.diff(light, axis=1)).mean() + 1e-3),
        np.log(abs(np.diff(light, axis=0)).mean() + 1e-3),
        np.mean([value < 0.02 for value in steep]),
        np.mean([value > 0.2 for value in steep]),
        np.log(blocks.std(ddof=1) + 0.01) - np.log(light.std(ddof=1) + 0.01),
        levels.max(),
        -sum(level * np.log(level + 1e-6) for level in levels),
    ]
    np.testing.assert_allclose(numbers, wanted, atol=2e-3)
    assert descriptors(picture[None, :, :, :1]).shape == (1, 10)


@pytest.mark.parametrize("side", [28, 32])
def test_grey_sets_are_described(side):
    grey = np.random.default_rng(0).integers(0, 256, (25, side, side, 1), dtype=np.uint8)
    assert np.isfinite(descriptors(grey)).all()


def test_a_blank_picture_is_not_told_twice():
    images = pixels([photo(number) for number in range(60)])
    images[7] = 250
    kinds = [finding.kind for finding in check(data_set(train=(images, [0] * 30 + [1] * 30))).findings]
    assert kinds == ["blank"]
