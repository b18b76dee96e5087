"""The one preprocessing, and which images are held out."""

import numpy as np
import pytest
import torch
from PIL import Image

import striate.experiment
from striate.data.images import ImageData
from striate.data.preprocessing import Preprocessing, preprocessing_for, statistics
from striate.data.splits import hold_out
from striate.errors import UsageError
from striate.training import Progress


@pytest.fixture
def random_data():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 9, 7, 3)).astype(np.uint8)
    return ImageData(pixels, np.arange(50) % 5, tuple("abcde"))


def test_statistics_equal_numpy_in_float64(random_data):
    mean, std = statistics(random_data.pixels)
    values = random_data.pixels.astype(np.float64) / 255
    assert mean == pytest.approx(values.mean((0, 1, 2)), abs=1e-6)
    assert std == pytest.approx(values.std((0, 1, 2)), abs=1e-6)


def test_normalised_pixels_have_mean_zero_and_deviation_one(random_data):
    preprocessing = preprocessing_for(random_data, None, None)
    x = preprocessing.tensor(random_data.pixels)
    assert x.shape == (50, 3, 9, 7)
    assert x.dtype == torch.float32
    assert x.mean((0, 2, 3)).abs().max() < 1e-4
    assert (x.std((0, 2, 3)) - 1).abs().max() < 1e-3


def test_a_picture_of_the_right_size_is_left_as_it_is_and_others_are_covered():
    preprocessing = Preprocessing(size=(4, 4), channels=1, mean=(0.0,), std=(1.0,))
    exact = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert np.array_equal(preprocessing.pixels(Image.fromarray(exact))[..., 0], exact)
    # Wider than high: as scaling the whole image to the height and cutting out the middle.
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 24)).astype(np.uint8))
    scaled = np.asarray(wide.resize((12, 4), Image.Resampling.BILINEAR))
    assert np.array_equal(preprocessing.pixels(wide)[..., 0], scaled[:, 4:8])


def test_the_whole_picture_is_padded_or_squashed_where_that_is_asked():
    wide = Image.fromarray(np.random.default_rng(0).integers(1, 256, (8, 24)).astype(np.uint8))
    padded = Preprocessing(size=(12, 12), channels=1, mean=(0.0,), std=(1.0,), fit="pad").pixels(wide)[..., 0]
    assert np.array_equal(padded[4:8], np.asarray(wide.resize((12, 4), Image.Resampling.BILINEAR)))
    assert not padded[:4].any()
    assert not padded[8:].any()
    squashed = Preprocessing(size=(12, 12), channels=1, mean=(0.0,), std=(1.0,), fit="squash").pixels(wide)[..., 0]
    assert np.array_equal(squashed, np.asarray(wide.resize((12, 12), Image.Resampling.BILINEAR)))


@pytest.mark.full
def test_a_run_keeps_how_its_pictures_were_fitted_and_reads_others_so(pictures, tmp_path):
    run = striate.train(
        "lenet5", pictures, epochs=1, fit="squash", threads=1, out=tmp_path, progress=Progress(quiet=True)
    )
    assert run.config.preprocessing.fit == "squash"
    assert "--fit squash" in run.summary.command
    (evaluation,) = run.evaluations.values()
    again = striate.experiment.evaluate(run)
    assert again.summary.fingerprint == evaluation.fingerprint
    with pytest.raises(UsageError, match="fit must be crop, pad or squash, got 'stretch'"):
        striate.train("lenet5", pictures, fit="stretch")


def test_it_survives_the_config(random_data):
    preprocessing = preprocessing_for(random_data, (12, 10), 1)
    assert Preprocessing.from_dict(preprocessing.as_dict()) == preprocessing
    assert preprocessing.resized(random_data).pixels.shape == (50, 12, 10, 1)


def test_constant_pictures_do_not_divide_by_zero():
    assert statistics(np.full((3, 2, 2, 1), 9, np.uint8))[1] == (pytest.approx(1 / 255, abs=1e-6),)


def test_held_out_pictures_are_stratified_and_depend_on_the_seed_alone():
    labels = np.repeat(np.arange(4), [100, 50, 10, 2])
    kept, held = hold_out(labels, 0.1, seed=0)
    assert np.bincount(labels[held]).tolist() == [10, 5, 1, 1]
    assert sorted([*kept, *held]) == list(range(162))
    assert np.array_equal(hold_out(labels, 0.1, seed=0)[1], held)
    assert not np.array_equal(hold_out(labels, 0.1, seed=1)[1], held)
    assert not len(hold_out(labels, 0, seed=0)[1])
    assert hold_out(np.array([0, 1]), 0.5, seed=0)[1].tolist() == []
    with pytest.raises(UsageError, match="below 1"):
        hold_out(labels, 1.0, seed=0)


def test_pictures_of_every_size_are_covered():
    preprocessing = Preprocessing(size=(96, 96), channels=1, mean=(0.0,), std=(1.0,))
    for side in range(1, 700, 3):
        assert preprocessing.pixels(Image.new("L", (side, 500), 7)).min() == 7
        assert preprocessing.pixels(Image.new("L", (500, side), 7)).min() == 7
