"""Order and augmentation draws are arithmetic: the same in any batch, thread or process, and well spread."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from striate.data.augmentation import Augmentation
from striate.data.batches import Batches, Order
from striate.data.draws import FLIP, SHIFT_X, SHIFT_Y, Draws, hashes, permutation
from striate.data.images import ImageData
from striate.data.preprocessing import Preprocessing

MASK = (1 << 64) - 1


def splitmix(x: int) -> int:
    """The finaliser of SplitMix64 on Python's unbounded integers, written apart from the one under test."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def test_hash_equals_splitmix64_in_integers():
    golden = 0x9E3779B97F4A7C15
    for seed, epoch, stream in ((0, 0, 0), (7, 3, 2), (2**63 - 1, 1000, 5)):
        key = 0
        for part in (seed, epoch, stream):
            key = splitmix((key + part + golden) & MASK)
        expected = [splitmix((sample * golden + key) & MASK) for sample in range(50)]
        found = hashes(seed, epoch, torch.arange(50), stream)
        assert [value & MASK for value in found.tolist()] == expected


def test_splitmix64_is_the_published_one():
    # The first output of the reference implementation (Vigna, splitmix64.c) for the state 0.
    assert splitmix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF


def test_permutation_holds_every_sample_once_and_differs_by_epoch_and_seed():
    orders = [permutation(seed, epoch, 1000) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for order in orders:
        assert sorted(order.tolist()) == list(range(1000))
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


def test_draws_are_uniform_and_independent_of_each_other():
    draws = Draws(3, 1, torch.arange(20_000))
    assert stats.kstest(draws.uniform(FLIP).numpy(), "uniform").pvalue > 0.01
    assert stats.chisquare(np.bincount(draws.integers(SHIFT_X, 9).numpy(), minlength=9)).pvalue > 0.01
    correlation = np.corrcoef(draws.uniform(FLIP).numpy(), draws.uniform(SHIFT_X).numpy())[0, 1]
    assert abs(correlation) < 0.03


@pytest.fixture
def batches():
    def make(batch_size, count=103, seed=5):
        generator = np.random.default_rng(0)
        data = ImageData(
            generator.integers(0, 256, (count, 8, 8, 1)).astype(np.uint8),
            np.arange(count) % 2,
            ("even", "odd"),
        )
        preprocessing = Preprocessing(size=(8, 8), channels=1, mean=(0.5,), std=(0.25,))
        augmentation = Augmentation(flip=True, shift=2)
        return Batches(data, preprocessing, augmentation, Order(batch_size, seed), torch.device("cpu"))

    return make


def test_each_sample_is_seen_once_an_epoch_whatever_the_batch_size(batches):
    for batch_size in (1, 7, 64, 103, 500):
        made = batches(batch_size)
        seen = torch.cat([made.samples(2, step) for step in range(made.steps_per_epoch)])
        assert torch.equal(seen, permutation(5, 2, 103))
        sizes = [len(made.samples(2, step)) for step in range(made.steps_per_epoch)]
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1


def test_a_sample_is_augmented_alike_in_batches_of_any_size(batches):
    whole = batches(103)
    samples = whole.samples(1, 0)
    inputs = dict(zip(samples.tolist(), whole.batch(1, 0)[0], strict=True))
    small = batches(10)
    for step in range(small.steps_per_epoch):
        x, labels = small.batch(1, step)
        for sample, picture, label in zip(small.samples(1, step).tolist(), x, labels, strict=True):
            assert torch.equal(picture, inputs[sample])
            assert label == sample % 2


def test_flip_and_shift_equal_a_plain_loop():
    pixels = torch.arange(6 * 3 * 5 * 7, dtype=torch.int32).remainder(251).to(torch.uint8).reshape(6, 3, 5, 7)
    draws = Draws(9, 4, torch.arange(6))
    found = Augmentation(flip=True, shift=2)(pixels, draws)
    flips = draws.uniform(FLIP) < 0.5
    assert flips.any()
    assert not flips.all()
    for sample in range(6):
        picture = pixels[sample].numpy()
        if flips[sample]:
            picture = picture[:, :, ::-1]
        top, left = int(draws.integers(SHIFT_Y, 5)[sample]), int(draws.integers(SHIFT_X, 5)[sample])
        expected = np.zeros((3, 5, 7), np.uint8)
        for y in range(5):
            for x in range(7):
                source_y, source_x = y + top - 2, x + left - 2
                if 0 <= source_y < 5 and 0 <= source_x < 7:
                    expected[:, y, x] = picture[:, source_y, source_x]
        assert np.array_equal(found[sample].numpy(), expected)


@pytest.mark.full
def test_threads_and_processes_change_no_order_and_no_draw():
    program = (
        "import json, torch\n"
        "from striate.data.draws import *\n"
        "for threads in (1, 2):\n"
        "    torch.set_num_threads(threads)\n"
        "    d = Draws(1, 2, torch.arange(5000))\n"
        "    drawn = [permutation(1, 2, 5000).tolist(), d.uniform(FLIP).tolist(), d.integers(SHIFT_X, 5).tolist()]\n"
        "    print(json.dumps(drawn))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    outputs = done.stdout.splitlines()
    draws = Draws(1, 2, torch.arange(5000))
    here = [permutation(1, 2, 5000).tolist(), draws.uniform(FLIP).tolist(), draws.integers(SHIFT_X, 5).tolist()]
    assert json.loads(outputs[0]) == json.loads(outputs[1]) == here
