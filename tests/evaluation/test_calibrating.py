"""calibration.json: against the formulas, and on out-of-distribution images that a net must refuse."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from scipy.special import log_softmax
from torch import nn

import striate
from striate.classifier import Classifier
from striate.data import Preprocessing, load_data
from striate.data.images import ImageData
from striate.errors import DataError, UsageError
from striate.evaluation.calibration import calibrate
from striate.metrics.calibration import weigh_temperature
from striate.metrics.ood import OF_LOGITS
from striate.nets import Net
from striate.outofdistribution import FILE, LONGEST, OutOfDistribution, scores
from striate.report.card import render


@pytest.fixture(scope="module")
def validation(trained):
    return load_data("fashion-mnist-sample").train.select(trained.validation_indices())


@pytest.fixture
def run(trained, tmp_path):
    return striate.load(shutil.copytree(trained.path, tmp_path / "copy"))


def test_the_file_holds_what_the_formulas_give(run, validation):
    classifier = Classifier.of(run, device="cpu")
    written = calibrate(run, classifier, validation)
    assert run.calibration == written
    assert written.as_dict() == json.loads((run.path / "calibration.json").read_text())
    outputs = classifier.logits(validation.pixels).numpy().astype(np.float64)
    labels = np.arange(len(validation)), validation.labels

    def loss(temperature):
        return -log_softmax(outputs / temperature, axis=1)[labels].mean()

    best = written.temperature
    assert written.n == 1000
    assert written.loss == pytest.approx(loss(best), rel=1e-9)
    assert written.loss_before == pytest.approx(loss(1), rel=1e-9)
    assert written.temperature == pytest.approx(weigh_temperature(outputs, validation.labels).temperature, rel=1e-6)
    likeliest = written.likeliest
    assert loss(likeliest) < min(loss(1), loss(likeliest * 1.1), loss(likeliest / 1.1))
    assert min(1, likeliest) <= best <= max(1, likeliest)
    assert written.how == ("left out" if best == 1 else "fitted")
    assert written.abstain.keep == 0.95


def test_features_are_what_enters_the_head_at_length_one(run, validation):
    classifier = Classifier.of(run, device="cpu")
    outputs, features = classifier.observe(validation.pixels[:7], batch_size=3)
    net = classifier.net
    with torch.inference_mode():
        maps = classifier.preprocessing.tensor(validation.pixels[:7])
        for stage in net.stages.values():
            maps = stage(maps)
        plain = net.head(maps).numpy()
    vectors = maps.flatten(1).numpy()
    np.testing.assert_allclose(features, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(outputs, plain, rtol=1e-4, atol=1e-4)
    assert not net.head._forward_pre_hooks


def test_large_maps_are_averaged_over_a_grid_and_a_net_of_one_stage_gives_its_logits():
    channels = LONGEST // 9  # a grid of 3x3 fits
    preprocessing = Preprocessing(size=(6, 6), channels=1, mean=(0.0,), std=(1.0,))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 1), dtype=np.uint8)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 2))
    wide = Net({"wide": nn.Conv2d(1, channels, 1)}, head)
    _, features = Classifier(net=wide, preprocessing=preprocessing).observe(pixels)
    assert features.shape == (2, channels * 9)
    assert features.shape[1] <= LONGEST
    whole = Net({"net": nn.Sequential(nn.Flatten(), nn.Linear(36, 5))}, nn.Identity())
    outputs, features = Classifier(net=whole, preprocessing=preprocessing).observe(pixels)
    np.testing.assert_allclose(features, outputs / np.linalg.norm(outputs, axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("score", ["nearest", "energy", "max_logit", "max_softmax"])
def test_the_share_is_kept_and_noise_is_refused(run, validation, score):
    classifier = Classifier.of(run, device="cpu")
    calibrate(run, classifier, validation, score)
    judge = OutOfDistribution(run)
    test = load_data("fashion-mnist-sample").splits["test"].pixels
    assert 0.93 <= judge.known(*classifier.observe(test)).mean() <= 0.97
    noise = np.random.default_rng(0).integers(0, 256, (300, 28, 28, 1), dtype=np.uint8)
    refused = 1 - judge.known(*classifier.observe(noise)).mean()
    if score == "nearest":
        assert refused > 0.95


def test_no_picture_is_its_own_reference(run, validation):
    """Each of 40 images is a reference, and yet about 5 % are refused, as of others."""
    few = validation.select(np.arange(40))
    classifier = Classifier.of(run, device="cpu")
    threshold = calibrate(run, classifier, few).abstain.threshold
    features = classifier.observe(few.pixels)[1]
    cosines = features @ features.T
    np.fill_diagonal(cosines, -1)
    assert threshold == pytest.approx(np.sort(np.sort(cosines, axis=1)[:, -5])[2], abs=1e-3)  # 38 of 40 are kept


@pytest.mark.parametrize("count", [1, 10, 18])
def test_few_pictures_change_no_confidence_and_refuse_nothing(run, validation, count):
    classifier = Classifier.of(run, device="cpu")
    written = calibrate(run, classifier, validation.select(np.arange(count)))
    assert math.isfinite(written.loss)
    assert (written.temperature, written.how) == (1, "left out")
    assert written.loss == written.loss_before
    assert written.abstain is None
    assert not (run.path / FILE).exists()
    with pytest.raises(
        UsageError, match=f"validated with {count} images, too few for a threshold to abstain: it needs 19"
    ):
        OutOfDistribution(run)
    assert "No temperature scaling" in render(run)
    calibrate(run, classifier, validation.select(np.arange(19)))
    assert OutOfDistribution(run).threshold


def test_pictures_without_finite_logits_are_left_out_and_counted(run, validation):
    preprocessing = run.preprocessing

    class Broken(nn.Module):
        def forward(self, x):
            out = nn.functional.adaptive_avg_pool2d(x, (2, 5)).flatten(1)
            return torch.where(out.mean(1, keepdim=True) > 0.3, torch.nan, out)

    broken = Net({"net": Broken()}, nn.Identity())
    whole = calibrate(run, Classifier(net=broken, preprocessing=preprocessing), validation)
    assert 0 < whole.not_finite < 900
    assert whole.n + whole.not_finite == 1000
    assert math.isfinite(whole.temperature + whole.loss + whole.abstain.threshold)
    constant = Net({"net": nn.Sequential(nn.Flatten(), nn.Linear(784, 10))}, nn.Identity())
    nn.init.constant_(constant.stages["net"][1].weight, torch.nan)
    odd = Classifier(net=constant, preprocessing=preprocessing)
    with pytest.raises(DataError, match="not finite"):
        calibrate(run, odd, validation)


def test_pictures_of_another_size_are_brought_to_the_nets(run, validation):
    classifier = Classifier.of(run, device="cpu")
    larger = ImageData(
        np.kron(validation.pixels[:9], np.ones((1, 2, 2, 1), np.uint8)), validation.labels[:9], validation.classes
    )
    assert calibrate(run, classifier, larger).n == 9


def test_a_run_without_calibration_says_how_to_get_one(run):
    (run.path / "calibration.json").unlink(missing_ok=True)
    with pytest.raises(UsageError, match=r"striate evaluate .*copy --split validation"):
        OutOfDistribution(run)


def test_a_run_handed_on_without_references_goes_by_energy(run, validation):
    classifier = Classifier.of(run, device="cpu")
    calibrate(run, classifier, validation, "energy")
    by_energy = OutOfDistribution(run)
    seen = classifier.observe(validation.pixels)
    calibrate(run, classifier, validation)
    assert OutOfDistribution(run).score == "nearest"
    (run.path / FILE).unlink()
    assert OutOfDistribution(run).threshold == by_energy.threshold
    assert np.array_equal(OutOfDistribution(run).known(*seen), by_energy.known(*seen))
    assert by_energy.known(*seen).mean() == 0.95


def test_what_is_damaged_is_named(run, validation):
    classifier = Classifier.of(run, device="cpu")
    calibrate(run, classifier, validation)
    seen = classifier.observe(validation.pixels[:2])
    references = load_file(run.path / FILE)["references"]
    save_file({"references": references[:, :99].copy()}, run.path / FILE)
    with pytest.raises(DataError, match="is of another net"):
        OutOfDistribution(run).known(*seen)
    save_file({"references": references[0]}, run.path / FILE)
    with pytest.raises(DataError, match=r"safetensors is damaged"):
        OutOfDistribution(run)
    (run.path / FILE).write_bytes(b"x")
    with pytest.raises(DataError, match=r"safetensors cannot be read"):
        OutOfDistribution(run)
    for abstain in ({"score": "taste", "threshold": 1}, {"score": "energy"}, {"score": "energy", "threshold": None}, 3):
        (run.path / "calibration.json").write_text(json.dumps({"abstain": abstain}))
        with pytest.raises(DataError, match=r"calibration\.json: abstain"):
            OutOfDistribution(run)


@pytest.mark.parametrize("temperature", [0, -1, "2", None, math.inf])
def test_a_temperature_is_a_number_above_zero(run, temperature):
    (run.path / "calibration.json").write_text(json.dumps({"temperature": temperature}))
    with pytest.raises(DataError, match=r"calibration\.json: temperature must be a number"):
        run.predict(np.zeros((28, 28), np.uint8))


def test_the_scores_of_logits_need_no_features(validation):
    outputs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    for name, score in OF_LOGITS.items():
        assert np.array_equal(scores(name, outputs, np.empty((5, 0), np.float32), None), score(outputs))
