"""Augmentation: each kind against a plain loop over images, and the same in batches of any size."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage, stats

import striate
from striate.data import draws as streams
from striate.data.augmentation import USUAL, Augmentation
from striate.data.batches import Batches, Order
from striate.data.draws import Draws
from striate.data.images import ImageData
from striate.data.preprocessing import Preprocessing
from striate.data.transforms import beta_quantile, colour_statistics
from striate.errors import UsageError
from striate.nets import build
from striate.training.progress import Progress
from striate.training.step import TrainingStep

KINDS = [kind for kind in USUAL if kind not in ("flip", "shift")]
COUNT, HEIGHT, WIDTH = 24, 14, 18


@pytest.fixture(scope="module")
def data():
    """Smooth images: nothing here is decided by a rounding of a position."""
    noise = np.random.default_rng(3).uniform(0, 255, (COUNT, HEIGHT, WIDTH, 3))
    pixels = ndimage.gaussian_filter(noise, (0, 2, 2, 0)) * 3 - 255
    return ImageData(pixels.clip(0, 255).astype(np.uint8), np.arange(COUNT) % 3, ("a", "b", "c"))


def batches(data, augmentation, batch_size=COUNT, seed=11):
    channels = data.shape[2]
    preprocessing = Preprocessing(size=data.shape[:2], channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels)
    return Batches(data, preprocessing, augmentation, Order(batch_size, seed), torch.device("cpu"))


def only(kind, strength=None):
    return Augmentation.parse(kind if strength is None else f"{kind}={strength}")


@pytest.fixture(scope="module")
def drawn():
    """The draws of sample i of seed 11 and epoch 2, one at a time."""

    def draw(stream, sample):
        return float(Draws(11, 2, torch.tensor([sample])).uniform(stream))

    return draw


def augmented(data, augmentation):
    pixels, targets = batches(data, augmentation).augmented(2, torch.arange(COUNT))
    return pixels.numpy(), targets.numpy()


def bilinear(picture, y, x):
    """The value at (y, x) of an image (C, H, W) that is mirrored at its edges."""
    padded = np.pad(picture, ((0, 0), (40, 40), (40, 40)), mode="symmetric")
    y, x = y + 40, x + 40
    top, left = math.floor(y), math.floor(x)
    down, right = y - top, x - left
    corners = [[padded[:, top + i, left + j] for j in (0, 1)] for i in (0, 1)]
    upper = corners[0][0] * (1 - right) + corners[0][1] * right
    lower = corners[1][0] * (1 - right) + corners[1][1] * right
    return upper * (1 - down) + lower * down


def test_affine_kinds_equal_matrices_in_a_plain_loop(data, drawn):
    found, _ = augmented(data, Augmentation(crop=0.3, rotate=25, zoom=0.2, shear=12))
    assert found.dtype == np.float32
    for sample in range(0, COUNT, 5):
        picture = data.pixels[sample].transpose(2, 0, 1).astype(float)
        angle = math.radians(50 * drawn(streams.ROTATE, sample) - 25)
        lean = math.radians(24 * drawn(streams.SHEAR, sample) - 12)
        zoom = 0.8 + 0.4 * drawn(streams.ZOOM, sample)
        area = 0.3 + 0.7 * drawn(streams.CROP_AREA, sample)
        ratio = 0.75 * (16 / 9) ** drawn(streams.CROP_RATIO, sample)
        area_pixels = area * HEIGHT * WIDTH
        box = min(math.sqrt(area_pixels / ratio), HEIGHT), min(math.sqrt(area_pixels * ratio), WIDTH)
        top = (HEIGHT - box[0]) * drawn(streams.CROP_Y, sample)
        left = (WIDTH - box[1]) * drawn(streams.CROP_X, sample)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        matrix = turn @ np.array([[1, math.tan(lean)], [0, 1]]) @ np.diag([box[1] / WIDTH, box[0] / HEIGHT]) / zoom
        for y in range(HEIGHT):
            for x in range(WIDTH):
                dx, dy = matrix @ (x + 0.5 - WIDTH / 2, y + 0.5 - HEIGHT / 2)
                place = top + box[0] / 2 + dy - 0.5, left + box[1] / 2 + dx - 0.5
                assert np.allclose(found[sample, :, y, x], bilinear(picture, *place), atol=0.05)


def test_colour_equals_a_plain_loop(data, drawn):
    found, _ = augmented(data, only("colour", 0.5))
    weights = np.array([0.299, 0.587, 0.114])
    for sample in range(COUNT):
        brightness, contrast, saturation = (
            0.5 + drawn(stream, sample) for stream in (streams.BRIGHTNESS, streams.CONTRAST, streams.SATURATION)
        )
        picture = np.clip(data.pixels[sample] * brightness, 0, 255)
        mean = np.rint(picture @ weights).mean()
        picture = np.clip(mean + (picture - mean) * contrast, 0, 255)
        grey = (picture @ weights)[..., None]
        picture = np.clip(grey + (picture - grey) * saturation, 0, 255)
        assert np.allclose(found[sample].transpose(1, 2, 0), picture, atol=0.02)


def test_lighting_adds_principal_components_of_the_training_colours(data, drawn):
    found, _ = augmented(data, only("lighting", 2))
    colours = data.pixels.reshape(-1, 3) / 255
    eigenvalues, vectors = np.linalg.eigh(np.cov(colours.T, bias=True))
    mean, steps = colour_statistics(data.pixels)
    assert np.allclose(mean, colours.mean(0) * 255, atol=1e-3)
    for component in range(3):
        expected = vectors[:, component] * eigenvalues[component] * 255
        assert np.allclose(steps[component], expected * np.sign(expected[np.abs(expected).argmax()]), atol=1e-3)
    for sample in range(COUNT):
        added = np.zeros(3)
        for component in range(3):
            u, v = (drawn(streams.LIGHTING + 2 * component + place, sample) for place in (0, 1))
            added += 2 * math.sqrt(-2 * math.log(1 - u)) * math.cos(2 * math.pi * v) * steps[component].numpy()
        expected = np.clip(data.pixels[sample] + added, 0, 255)
        assert np.allclose(found[sample].transpose(1, 2, 0), expected, atol=0.01)


def test_erasing_takes_a_rectangle_of_the_stated_area_from_the_stated_share(data):
    found, _ = augmented(data, only("erase", 0.5))
    mean = colour_statistics(data.pixels)[0].numpy()
    erased = 0
    for sample in range(COUNT):
        changed = np.abs(found[sample].transpose(1, 2, 0) - data.pixels[sample]).max(2) > 0
        if not changed.any():
            continue
        erased += 1
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        box = found[sample][:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert np.allclose(box, mean[:, None, None])
        assert box[0].size <= 0.45 * HEIGHT * WIDTH
    assert 5 <= erased <= 19
    assert augmented(data, only("erase", 0))[0].dtype == np.uint8


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_takes_a_partner_of_the_whole_set_by_each_samples_own_share(data, kind):
    augmentation = Augmentation.parse(f"flip,{kind}=1")
    found, targets = augmented(data, augmentation)
    plain, _ = augmented(data, Augmentation(flip=True))
    partners = Draws(11, 2, torch.arange(COUNT)).integers(streams.PARTNER, COUNT)
    assert np.allclose(targets.sum(1), 1)
    shares = []
    for sample, partner in enumerate(partners.tolist()):
        own, other = plain[sample].astype(float), plain[partner].astype(float)
        share = float(Draws(11, 2, torch.tensor([sample])).uniform(streams.MIX_SHARE))  # Beta(1, 1) is uniform
        if kind == "mixup":
            expected = share * own + (1 - share) * other
        else:
            expected, side = own.copy(), math.sqrt(1 - share)
            bounds = []
            for stream, length in ((streams.BOX_Y, HEIGHT), (streams.BOX_X, WIDTH)):
                middle = float(Draws(11, 2, torch.tensor([sample])).uniform(stream)) * length
                ends = (middle - side * length / 2, middle + side * length / 2)
                bounds.append(tuple(int(min(max(round(end), 0), length)) for end in ends))
            (top, bottom), (left, right) = bounds
            expected[:, top:bottom, left:right] = other[:, top:bottom, left:right]
            share = 1 - (bottom - top) * (right - left) / (HEIGHT * WIDTH)
        assert np.allclose(found[sample], expected, atol=0.15)
        target = np.zeros(3)
        target[data.labels[sample]] += share
        target[data.labels[partner]] += 1 - share
        assert np.allclose(targets[sample], target, atol=1e-3)
        shares.append(round(share, 4))
    assert len(set(shares)) > COUNT // 2


def test_mixup_and_cutmix_together_take_half_each(data):
    many = ImageData(np.tile(data.pixels, (40, 1, 1, 1)), np.tile(data.labels, 40), data.classes)
    both, mixup, cutmix = (
        batches(many, Augmentation.parse(text)).augmented(0, torch.arange(960))[0]
        for text in ("mixup=0.5,cutmix=0.5", "mixup=0.5", "cutmix=0.5")
    )
    as_mixup, as_cutmix = ((both == other).all(dim=(1, 2, 3)) for other in (mixup, cutmix))
    assert (as_mixup | as_cutmix).all()
    assert 400 < as_mixup.sum() < 560


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5, 1.0, 2.0, 8.0])
def test_shares_are_drawn_from_the_beta_distribution(alpha):
    uniform = torch.linspace(0, 1, 2001, dtype=torch.float64)[1:-1]
    found = beta_quantile(uniform, alpha).numpy()
    low, high = np.split(found, [1000])  # close to 1 a float is too coarse for its distribution function
    assert np.abs(stats.beta.cdf(low, alpha, alpha) - uniform.numpy()[:1000]).max() < 2e-4
    assert np.allclose(high, 1 - found[998::-1])


@pytest.mark.parametrize("text", [*KINDS, "flip,shift=2,crop,rotate,zoom,shear,colour,lighting,erase,mixup,cutmix"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_sample_becomes_the_same_to_the_bit_in_batches_of_any_size_and_order(data, text, channels):
    data = ImageData(np.ascontiguousarray(data.pixels[..., :channels]), data.labels, data.classes)
    whole = batches(data, Augmentation.parse(text))
    inputs, targets = whole.augmented(2, torch.arange(COUNT))
    for chosen in (torch.tensor([5]), torch.arange(COUNT - 1, 2, -1), torch.tensor([0, 7, 7, 3, 22, 1, 9])):
        found, labels = whole.augmented(2, chosen)
        assert torch.equal(found, inputs[chosen])
        assert torch.equal(labels, targets[chosen])
    small = batches(data, Augmentation.parse(text), batch_size=5)
    for step in range(small.steps_per_epoch):
        x, _ = small.batch(2, step)
        assert torch.equal(x, small.preprocessing.normalise(inputs[small.samples(2, step)]))
    assert not torch.equal(whole.augmented(3, torch.arange(COUNT))[0], inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_values_stay_colours_and_strength_nothing_changes_nothing(data, kind):
    found, _ = augmented(data, only(kind))
    assert found.min() >= 0
    assert found.max() <= 255
    still = {"crop": 1}.get(kind, 0)
    pixels, targets = augmented(data, only(kind, still))
    assert np.array_equal(pixels, data.pixels.transpose(0, 3, 1, 2))
    assert np.array_equal(targets, data.labels)


def test_what_is_asked_for_is_read_and_written_alike():
    for text in ("none", "flip", "flip,shift=4,crop=0.35", "colour=0.4,lighting=0.1,mixup=0.2,cutmix=1"):
        assert str(Augmentation.parse(text)) == text
    assert Augmentation.parse("flip, shift") == Augmentation(flip=True, shift=4)
    for text, message in (
        ("flipp", "Did you mean flip"),
        ("shift=1.5", "whole pixels"),
        ("flip=2", "0 or 1"),
        ("crop=0", "above 0"),
        ("colour=x", "needs a number"),
        ("rotate=nan", "needs a number"),
        ("erase=0.1,erase=0.2", "given twice"),
        ("", "no augmentation"),
        ("none,flip", "no augmentation named"),
    ):
        with pytest.raises(UsageError, match=message):
            Augmentation.parse(text)


def test_the_loss_of_shares_is_the_mean_of_the_losses_by_those_shares():
    torch.manual_seed(0)
    net = build("lenet5", classes=3)
    x, own, other = torch.randn(6, 1, 28, 28), torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([1, 1, 0, 2, 0, 2])
    share = torch.tensor([0.9, 0.2, 0.6, 0.8, 0.3, 0.5])
    targets = F.one_hot(own, 3) * share[:, None] + F.one_hot(other, 3) * (1 - share)[:, None]
    loss, hits = TrainingStep(net)(x, targets)
    losses = [F.cross_entropy(net(x), labels, reduction="none") for labels in (own, other)]
    assert torch.allclose(loss, (share * losses[0] + (1 - share) * losses[1]).mean())
    assert hits == (net(x).argmax(1) == targets.argmax(1)).sum()
    hard, _ = TrainingStep(net, 0.1)(x, own)
    soft, _ = TrainingStep(net, 0.1)(x, F.one_hot(own, 3).float())
    assert torch.allclose(hard, soft)


def test_a_run_is_trained_with_what_was_asked_for_and_says_and_repeats_it(tmp_path, capsys):
    run = striate.train(epochs=0.1, augment="flip,colour=0.2,mixup", threads=1, report=False, out=tmp_path)
    assert "augment flip,colour=0.2,mixup=0.2, seed 0" in capsys.readouterr().err
    assert run.config.recipe.values["augmentation"] == "flip,colour=0.2,mixup=0.2"
    assert "--augment flip,colour=0.2,mixup=0.2" in run.summary.command
    with pytest.raises(UsageError, match="no augmentation named"):
        striate.train(augment="blur", out=tmp_path, progress=Progress(quiet=True))
