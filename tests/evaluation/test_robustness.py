"""Worse images against Pillow, SciPy and the standard library; the accuracy against a plain loop."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from striate.classifier import Classifier
from striate.data import ImageData, Preprocessing, load_data
from striate.data.draws import Draws
from striate.evaluation.robustness import (
    CIFAR_C,
    IMAGENET_C,
    blur,
    brightness,
    contrast,
    levels_for,
    noise,
    robustness,
    rotation,
    shift,
)
from striate.metrics.classification import wilson


@pytest.fixture
def photos():
    """float32 (6, 3, 40, 56) of whole numbers: waves and noise; first black, white and grey pixels."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[0:40, 0:56]
    waves = [128 + 100 * np.sin(x / generator.uniform(3, 9) + y / generator.uniform(3, 9)) for _ in range(18)]
    pixels = np.stack(waves).reshape(6, 3, 40, 56) + generator.normal(0, 8, (6, 3, 40, 56))
    pixels[:, :, 0, :3] = (0, 255, 77)
    return torch.from_numpy(pixels.clip(0, 255).round()).float()


def draws(count, first=0):
    return Draws(seed=0, epoch=0, samples=torch.arange(first, first + count))


@pytest.mark.parametrize(
    ("change", "none"), [(noise, 0.0), (blur, 0.0), (rotation, 0.0), (shift, 0.0), (brightness, 0.0), (contrast, 1.0)]
)
def test_no_strength_changes_no_pixel(photos, change, none):
    assert torch.equal(change(photos, draws(6), none).round(), photos)


@pytest.mark.parametrize("deviation", [0.35, 1.0, 6.0])
def test_blur_is_scipys(photos, deviation):
    expected = ndimage.gaussian_filter(photos.numpy(), deviation, axes=(2, 3), mode="nearest", truncate=4.0)
    assert np.abs(blur(photos, draws(6), deviation).numpy() - expected).max() < 1e-3


@pytest.mark.parametrize("degrees", [6.0, 30.0, 90.0])
def test_rotation_is_pillows(photos, degrees):
    turned = rotation(photos, draws(6), degrees)
    sides = set()
    for before, after in zip(photos.numpy(), turned.numpy(), strict=True):
        differences = []
        for sign in (1, -1):  # Pillow's values are rounded, and it leaves black what it does not know
            expected = [
                np.asarray(Image.fromarray(channel).rotate(sign * degrees, Image.Resampling.BILINEAR))
                for channel in before
            ]
            inside = np.asarray(Image.new("F", (56, 40), 1.0).rotate(sign * degrees, Image.Resampling.BILINEAR)) > 0.999
            assert inside.sum() > 1000
            differences.append(np.abs(np.stack(expected) - after)[:, inside].max())
        assert min(differences) < 0.1
        sides.add(int(np.argmin(differences)))
    assert sides == {0, 1}


def test_shift_moves_by_whole_pixels_to_all_four_sides(photos):
    many = photos[:1].expand(40, -1, -1, -1)
    moved = shift(many, draws(40), 0.1).round()  # 4 of 40 pixels
    mirrored = np.pad(photos[0].numpy(), ((0, 0), (4, 4), (4, 4)), mode="symmetric")
    expected = {(y, x): mirrored[:, y : y + 40, x : x + 56] for y, x in ((0, 4), (8, 4), (4, 0), (4, 8))}
    found = [place for picture in moved for place, wanted in expected.items() if np.array_equal(picture, wanted)]
    assert len(found) == 40
    assert set(found) == set(expected)


def test_brightness_adds_to_the_value_of_hsv(photos):
    lighter = brightness(photos, draws(6), 0.2).permute(0, 2, 3, 1).numpy() / 255
    for before, after in zip(
        photos.permute(0, 2, 3, 1).reshape(-1, 3).numpy()[::23] / 255, lighter.reshape(-1, 3)[::23], strict=True
    ):
        hue, saturation, value = colorsys.rgb_to_hsv(*before.tolist())
        assert after == pytest.approx(colorsys.hsv_to_rgb(hue, saturation, min(1.0, value + 0.2)), abs=1e-5)
    grey = photos[:, :1]
    assert torch.allclose(brightness(grey, draws(6), 0.2), (grey + 51).clamp(max=255), atol=1e-4)
    assert brightness(torch.zeros(1, 3, 2, 2), draws(1), 0.2) == pytest.approx(51)


def test_contrast_keeps_the_mean_of_each_channel(photos):
    flatter = contrast(photos, draws(6), 0.15)
    before, after = photos.double().numpy(), flatter.double().numpy()
    assert after.mean((2, 3)) == pytest.approx(before.mean((2, 3)), abs=1e-3)
    assert after.std((2, 3)) == pytest.approx(0.15 * before.std((2, 3)), rel=1e-4)


def test_noise_is_normal_and_its_own_for_each_picture_wherever_it_is_in_a_batch(photos):
    many = torch.full((40, 3, 32, 32), 100.0)
    added = noise(many, draws(40), 0.1) - 100
    assert float(added.mean()) == pytest.approx(0, abs=0.3)
    assert float(added.std()) == pytest.approx(25.5, rel=0.01)
    assert float((added.abs() < 25.5).double().mean()) == pytest.approx(0.6827, abs=0.005)
    assert len(torch.unique(added[:, 0, 0, 0])) == 40
    assert torch.equal(added[30:35], noise(many[:5], draws(5, first=30), 0.1) - 100)
    # A level is the one before, made stronger.
    assert torch.allclose(2 * added, noise(many, draws(40), 0.2) - 100, atol=1e-4)


@pytest.mark.parametrize(
    ("side", "published"), [(28, CIFAR_C), (32, CIFAR_C), (64, CIFAR_C), (96, IMAGENET_C), (224, IMAGENET_C)]
)
def test_levels_are_the_published_ones_of_the_nearer_size_and_rise(side, published):
    found, levels = levels_for(side, side + 10)
    assert found is published
    by_name = {name: values for name, _, values in levels}
    assert list(by_name) == ["gaussian-noise", "blur", "rotation", "shift", "brightness", "contrast"]
    assert by_name["gaussian-noise"] == published.noise
    if side == published.side:
        assert by_name["blur"] == published.blur
    for name, values in by_name.items():
        assert list(values) == sorted(set(values), reverse=name == "contrast")
        assert len(values) == 5
    assert all(round(value * side) == pytest.approx(value * side, abs=0.02) for value in by_name["shift"])


@pytest.fixture(scope="module")
def lenet(trained):
    return Classifier.of(trained, device="cpu")


def test_robustness_of_a_net(trained, lenet, monkeypatch):
    data = load_data("fashion-mnist-sample").splits["test"]
    told = []
    found = robustness(lenet, data, limit=300, on_progress=lambda done, total: told.append((done, total)))
    assert found.n == 300
    assert found.source.startswith("CIFAR-10-C")
    assert [(row.name, row.level) for row in found.corruptions] == [
        (name, level)
        for name in ("gaussian-noise", "blur", "rotation", "shift", "brightness", "contrast")
        for level in range(1, 6)
    ]
    assert found.mean == pytest.approx(np.mean([row.accuracy for row in found.corruptions]))
    for row in found.corruptions:
        assert (row.low, row.high) == wilson(round(row.accuracy * 300), 300)
    # Worse images are harder: the strongest turn and shift cost this net more than chance can.
    at = {(row.name, row.level): row for row in found.corruptions}
    assert at["rotation", 5].high < found.clean_low
    assert at["shift", 5].high < found.clean_low
    assert at["rotation", 1].accuracy > at["rotation", 5].accuracy
    assert told[-1] == (31 * 300, 31 * 300)
    # Whatever the portions, the images are the same.
    monkeypatch.setattr("striate.evaluation.robustness.PORTION", 70 * 28 * 28)
    assert robustness(lenet, data, 300) == found


def test_clean_accuracy_is_that_of_the_evaluation(trained, lenet):
    data = load_data("fashion-mnist-sample").splits["test"]
    some = data.select(np.arange(0, len(data), 9))
    hits = int((lenet.logits(some.pixels).argmax(1).numpy() == some.labels).sum())
    found = robustness(lenet, some)
    assert found.n == len(some)
    assert found.clean == hits / len(some)


def test_a_level_of_no_strength_is_the_clean_accuracy(lenet, monkeypatch):
    _, levels = levels_for(28, 28)
    nothing = [(name, change, (1.0,) if name == "contrast" else (0.0,)) for name, change, _ in levels]
    monkeypatch.setattr("striate.evaluation.robustness.levels_for", lambda height, width: (CIFAR_C, nothing))
    data = load_data("fashion-mnist-sample").splits["test"]
    found = robustness(lenet, data, 100)
    assert {row.accuracy for row in found.corruptions} == {found.clean}


def test_pictures_come_at_any_size_and_are_drawn_from_all_of_them():
    """A net that says whether an image is light: on sorted classes the first ones would be of one class only."""
    pixels = np.repeat(np.array([40, 200], dtype=np.uint8), 50)[:, None, None, None] * np.ones(
        (1, 20, 24, 3), dtype=np.uint8
    )
    data = ImageData(pixels, np.repeat(np.array([0, 1]), 50), ("dark", "light"))
    preprocessing = Preprocessing(size=(16, 12), channels=3, mean=(0.5,) * 3, std=(1.0,) * 3)

    class Light(torch.nn.Module):
        def forward(self, x):
            mean = x.mean((1, 2, 3))
            return torch.stack((-mean, mean), 1)

    found = robustness(Classifier(net=Light(), preprocessing=preprocessing), data, 40)
    assert found.clean == 1.0
    rows = {(row.name, row.level): row.accuracy for row in found.corruptions}
    assert rows["blur", 5] == rows["rotation", 5] == rows["contrast", 5] == 1.0
    one = replace(preprocessing, mean=(0.25,) * 3)  # a border that 0.3 of brightness passes
    dark = robustness(Classifier(net=Light(), preprocessing=one), data, 40).corruptions
    share = next(row.accuracy for row in dark if (row.name, row.level) == ("brightness", 5))
    assert 0.2 < share < 0.8


def test_the_net_sees_whole_levels_from_0_to_255_which_never_wrap():
    seen = []

    class Recorder(torch.nn.Module):
        def forward(self, x):
            seen.append(x)
            return x[:, 0, 0, :2]

    pixels = np.repeat(np.array([0, 255], dtype=np.uint8), 8)[:, None, None, None] * np.ones(
        (1, 32, 32, 3), dtype=np.uint8
    )
    data = ImageData(pixels, np.zeros(16, dtype=np.int64), ("a", "b"))
    preprocessing = Preprocessing(size=(32, 32), channels=3, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    robustness(Classifier(net=Recorder(), preprocessing=preprocessing), data)
    assert len(seen) == 31
    for row, x in enumerate(seen):
        assert float((x - x.round()).abs().max()) < 1e-3
        assert 0 <= float(x.min()) <= float(x.max()) <= 255.001
        if row in range(1, 6):  # noise
            black, white = x[:8], x[8:]
            assert float(black.max()) < 0.6 * 255
            assert float(white.min()) > 0.4 * 255
            assert 0 < float(black.mean()) < 12
            assert float(black[black > 0].numel() / black.numel()) == pytest.approx(0.48, abs=0.02)
