"""The diagnosis of a run: twelve situations that go wrong in twelve ways, and what following the first advice does."""

import numpy as np
import pytest
from PIL import Image
from torch import nn

import striate
from striate.advice import diagnose
from striate.errors import StriateError
from striate.training import Progress


@pytest.fixture(scope="module")
def images():
    """(training images, labels, test images, labels) of the sample."""
    data = striate.load_data("fashion-mnist-sample")
    return tuple(
        np.array(one) for split in ("train", "test") for one in (data.splits[split].pixels, data.splits[split].labels)
    )


@pytest.fixture
def train(tmp_path):
    """Trains LeNet-5 for a short while: `train(name, data, epochs, ...)`."""

    def run(name, data, epochs, *, net="lenet5", **settings):
        quiet = {"progress": Progress(quiet=True), "threads": 1, "layout": "nchw", "report": False}
        return striate.train(net, data, epochs=epochs, name=name, out=tmp_path, **quiet, **settings)

    return run


def few(images, count=2000, tested=1000):
    """The first of the training and the test images, to be changed at will."""
    x, y, t, u = images
    return {"train": (x[:count].copy(), y[:count].copy()), "test": (t[:tested].copy(), u[:tested].copy())}


def first(run):
    """The first advice."""
    return diagnose(run).advice[0]


def validation(run):
    """Validation accuracy at the end, or of the weights that were kept."""
    kept = [row["val_accuracy"] for row in run.metrics]
    return max(kept) if run.recipe.keep == "best" else kept[-1]


def better(train, run, data, epochs, **settings):
    """Follows the first advice, and says whether validation improves."""
    change = dict(first(run).change)
    epochs = change.pop("epochs", epochs)
    return validation(train(f"{run.path.name}-again", data, epochs, **(settings | change))) > validation(run)


def test_a_rate_at_which_the_loss_explodes(images, train):
    data = few(images, 600, 200)
    run = train("rate", data, 3, lr=3.0)
    found = diagnose(run)
    assert (found.state, found.advice[0].cause) == ("exploded", "learning rate")
    assert better(train, run, data, 3)


def test_a_softmax_in_the_net_is_named_before_training(images, train):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Softmax(1))
    with pytest.raises(StriateError, match="Remove the softmax"):
        train("softmax", few(images, 200, 100), 1, net=net)


@pytest.mark.full
def test_a_class_whose_labels_are_shuffled(images, train):
    data = few(images, 4000)
    generator = np.random.default_rng(0)
    for _, labels in data.values():  # which are then those of any image
        wrong = np.flatnonzero(labels == 5)
        other = generator.permutation(np.flatnonzero(labels != 5))[: len(wrong)]
        labels[wrong], labels[other] = labels[other].copy(), 5
    run = train("labels", data, 8)
    assert first(run).cause == "labels"
    assert "class 5" in first(run).said
    mended = few(images, 4000)
    assert validation(train("mended", mended, 8)) > validation(run)


def test_a_class_that_resembles_others_has_no_doubtful_labels(images, train):
    assert all(one.cause != "labels" for one in diagnose(train("shirts", few(images), 4)).advice)


def test_five_images_of_each_class(images, train):
    x, y, t, u = images
    few_of_each = np.concatenate([np.flatnonzero(y == label)[:5] for label in range(10)])
    run = train("few", {"train": (x[few_of_each], y[few_of_each]), "test": (t[:500], u[:500])}, 20, validation=0)
    assert first(run).cause == "few images"
    assert first(run).change["pretrained"]


def test_classes_of_colours_that_are_seen_in_grey(tmp_path, train):
    generator = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 20)):
        for name, colour in (("red", (200, 60, 60)), ("green", (60, 131, 60)), ("blue", (80, 80, 233))):
            folder = tmp_path / "colours" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.array(colour) + generator.normal(0, 40, (28, 28, 1))
                Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    run = train("grey", tmp_path / "colours", 4, channels=1)
    assert first(run).cause == "colour"
    assert better(train, run, tmp_path / "colours", 4)


def test_values_that_use_little_of_the_range_that_was_stated(images, train):
    data = {split: (x.astype(np.uint16), y) for split, (x, y) in few(images, 1000, 300).items()}
    run = train("range", data, 4, range=(0, 65535))
    assert first(run).cause == "pixel values"
    assert first(run).change == {"range": "0,255"}
    assert better(train, run, data, 4)


def test_test_images_that_were_trained_on(images, train):
    data = few(images, 600, 200)
    data["test"] = tuple(
        np.concatenate(pair) for pair in zip(data["test"], (one[:100] for one in data["train"]), strict=True)
    )
    assert first(train("leak", data, 2)).cause == "leakage"


def test_too_few_epochs(images, train):
    data = few(images)
    run = train("short", data, 0.5)
    assert (diagnose(run).state, first(run).cause) == ("underfitting", "too few epochs")
    assert better(train, run, data, 0.5)


@pytest.mark.full
def test_too_many_epochs(images, train):
    x, y, t, u = images
    x, y = x[:300], y[:300].copy()
    generator = np.random.default_rng(0)
    y[generator.permutation(300)[:90]] = generator.integers(0, 10, 90)  # which only learning by heart can fit
    data = {"train": (x, y), "validation": (t[500:1000], u[500:1000]), "test": (t[:500], u[:500])}
    run = train("long", data, 80, recipe="tutorial")
    assert (diagnose(run).state, first(run).cause) == ("overfitting", "too many epochs")
    assert better(train, run, data, 80, recipe="tutorial")


def test_a_class_with_a_hundredth_of_the_images(images, train):
    x, y, t, u = images
    chosen = np.concatenate([np.flatnonzero(y == 0)[:800], np.flatnonzero(y == 6)[:8]])
    tested = np.flatnonzero(np.isin(u, (0, 6)))
    data = {
        split: (pixels[places], (labels[places] == 6).astype(int))
        for split, pixels, labels, places in (
            ("train", x, y, chosen), ("validation", t, u, tested[::2]), ("test", t, u, tested[1::2]),
        )
    }  # fmt: skip
    run = train("imbalance", data, 6)
    found = diagnose(run)
    assert (found.state, found.advice[0].cause) == ("one answer", "imbalance")
    assert better(train, run, data, 6)


def test_all_images_of_one_class_are_refused(images, train):
    data = {split: (x, np.zeros(len(x), int)) for split, (x, _) in few(images, 100, 50).items()}
    with pytest.raises(StriateError, match="one class"):
        train("one", data, 1)


def test_blank_images(images, train):
    data = few(images, 1000, 300)
    data["train"][0][::2] = 0
    run = train("blank", data, 4)
    assert first(run).cause == "pixel values"
    assert validation(train("whole", few(images, 1000, 300), 4)) > validation(run)


def test_nothing_is_advised_where_all_is_well(tmp_path, train):
    generator = np.random.default_rng(0)
    labels = np.arange(600) % 2
    pixels = np.clip(80 + 90 * labels[:, None, None] + generator.normal(0, 10, (600, 28, 28)), 0, 255).astype(np.uint8)
    found = diagnose(train("well", (pixels, labels), 4))
    assert (found.state, found.advice) == ("fits", ())
    assert found.baseline == pytest.approx(0.5, abs=0.05)
