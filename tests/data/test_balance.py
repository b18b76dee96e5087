"""Class imbalances: weights of the loss, and a sampler that shows each class as often."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

import striate
from striate.data.augmentation import Augmentation
from striate.data.batches import Batches, Order
from striate.data.draws import balanced_order
from striate.data.images import ImageData
from striate.data.preprocessing import Preprocessing
from striate.errors import UsageError
from striate.nets import build
from striate.training import Progress
from striate.training.step import TrainingStep, class_weights

COUNTS = (70, 20, 9, 1)


@pytest.fixture
def data():
    labels = np.repeat(np.arange(4), COUNTS)
    pixels = np.random.default_rng(0).integers(0, 256, (100, 28, 28, 1)).astype(np.uint8)
    return ImageData(pixels, labels, tuple("abcd"))


def test_weights_equal_scikit_learns(data):
    expected = compute_class_weight("balanced", classes=np.arange(4), y=data.labels)
    assert class_weights(data).numpy() == pytest.approx(expected)
    lacking = ImageData(data.pixels, data.labels, tuple("abcde"))
    assert class_weights(lacking).tolist() == [*class_weights(data).tolist(), 0.0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_weighted_loss_is_the_mean_of_weight_times_loss(data, smoothing):
    net, weights = build("lenet5", channels=1, classes=4), class_weights(data)
    x, labels = torch.randn(6, 1, 28, 28), torch.tensor([0, 1, 2, 3, 0, 1])
    loss, _ = TrainingStep(net, smoothing, weights)(x, labels)
    logs = net(x).log_softmax(1)
    shares = torch.nn.functional.one_hot(labels, 4) * (1 - smoothing) + smoothing / 4
    assert loss.item() == pytest.approx(-(shares * weights * logs).sum(1).mean().item(), rel=1e-5)


def test_the_sampler_shows_every_class_as_often_and_no_picture_more_often_than_it_must(data):
    labels = torch.from_numpy(data.labels)
    for epoch in range(5):
        order = balanced_order(3, epoch, labels)
        assert len(order) == 100
        assert len(order.unique()) == 100
        shown = torch.bincount(order % 100, minlength=100)
        for label, count in enumerate(COUNTS):
            times = shown[labels == label]
            assert times.sum() == 25
            assert set(times.tolist()) <= {25 // count, -(-25 // count)}
    seen = {int(i) % 100 for epoch in range(30) for i in balanced_order(3, epoch, labels)}
    assert len(seen) == 100, "over some epochs all images of a large class come"


def test_a_picture_that_comes_again_is_augmented_anew_and_batch_sizes_change_nothing(data):
    preprocessing = Preprocessing(size=(28, 28), channels=1, mean=(0.5,), std=(0.2,))

    def epoch(batch_size):
        augmentation = Augmentation(shift=4)
        batches = Batches(data, preprocessing, augmentation, Order(batch_size, 0, balanced=True), torch.device("cpu"))
        parts = [batches.batch(2, step) for step in range(batches.steps_per_epoch)]
        return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])

    x, y = epoch(100)
    assert torch.equal(epoch(7)[0], x)
    rare = x[y == 3]
    assert len(rare) == 25
    assert len(rare.flatten(1).unique(dim=0)) > 15


def test_it_is_kept_with_the_run_and_repeated(pictures, tmp_path):
    for number in range(8):
        (pictures / "light" / f"{number:02d}.png").unlink()
    run = striate.train(
        "lenet5",
        pictures,
        epochs=1,
        balance="sampler",
        threads=1,
        report=False,
        out=tmp_path,
        progress=Progress(quiet=True),
    )
    assert run.config.recipe.values["balance"] == "sampler"
    assert "--balance sampler" in run.summary.command
    with pytest.raises(UsageError, match="balance must be none, weights or sampler, got 'focal'"):
        striate.train("lenet5", pictures, balance="focal")
