"""Calibration against plain loops, scikit-learn and SciPy."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp
from sklearn.metrics import brier_score_loss

from striate.metrics.calibration import (
    accuracy_by_confidence,
    brier_score,
    expected_calibration_error,
    reliability,
    tempered,
    weigh_temperature,
)


@pytest.fixture
def answers():
    """(confidence, correct) of 500 images, the ends of bins among them."""
    generator = np.random.default_rng(1)
    confidence = generator.uniform(0, 1, 500)
    confidence[:3] = (0.0, 1.0, 2 / 15)
    return confidence, generator.random(500) < confidence


def overconfident(pictures, classes, spread=2.0, factor=1.0, seed=0):
    """(logits, labels): classes as likely each and normal logits, for which the posterior is the softmax; then times `factor`."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, pictures)
    logits = generator.normal(0, spread, (pictures, classes))
    logits[np.arange(pictures), labels] += spread**2
    return logits * factor, labels


def test_calibration_error_equals_a_plain_loop_over_bins(answers):
    confidence, correct = answers
    expected = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15) | ((i == 0) & (confidence == 0))
        if inside.any():
            expected += inside.sum() / 500 * abs(correct[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected, abs=1e-12)


def test_reliability_counts_every_picture_once_and_leaves_empty_bins_out(answers):
    confidence, correct = answers
    confidence = np.where(confidence > 0.8, 0.5, confidence)
    rows = reliability(confidence, correct, 10)
    assert [row["high"] for row in rows] == pytest.approx(np.arange(1, 9) / 10)
    assert sum(row["n"] for row in rows) == 500
    for row in rows:
        inside = (confidence > row["low"]) & (confidence <= row["high"]) | ((row["low"] == 0) & (confidence == 0))
        assert row["n"] == inside.sum()
        assert row["accuracy"] == pytest.approx(correct[inside].mean())
        assert row["confidence"] == pytest.approx(confidence[inside].mean())


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_brier_score_equals_scikit_learn(classes):
    logits, labels = overconfident(200, classes, 1.0)
    probabilities = np.exp(log_softmax(logits, axis=1))
    expected = brier_score_loss(labels, probabilities, labels=np.arange(classes), scale_by_half=False)
    assert brier_score(probabilities, labels) == pytest.approx(expected, abs=1e-12)


def test_accuracy_by_confidence_is_that_of_the_most_confident(answers):
    confidence, correct = answers
    rows = accuracy_by_confidence(confidence, correct)
    assert [row["kept"] for row in rows] == pytest.approx(np.arange(1, 21) / 20)
    order = np.argsort(-confidence)
    for row, number in zip(rows, range(25, 501, 25), strict=True):
        assert row["accuracy"] == pytest.approx(correct[order[:number]].mean())
        assert row["threshold"] == confidence[order[number - 1]]
        assert (confidence >= row["threshold"]).sum() == number


def test_accuracy_by_confidence_depends_on_no_order_where_confidence_is_equal():
    confidence, correct = np.array([1.0, 1.0, 1.0, 0.5]), np.array([False, True, True, True])
    rows = accuracy_by_confidence(confidence, correct, 4)
    assert [row["accuracy"] for row in rows] == pytest.approx([2 / 3, 2 / 3, 2 / 3, 3 / 4])
    assert [row["threshold"] for row in rows] == [1.0, 1.0, 1.0, 0.5]
    assert rows == accuracy_by_confidence(confidence[::-1], correct[::-1], 4)
    # Fewer images than steps: at least one is kept.
    assert [row["accuracy"] for row in accuracy_by_confidence(np.array([0.9]), np.array([True]))] == [1.0] * 20


def test_tempered_equals_scipy_and_takes_log_probabilities_for_logits():
    logits, _ = overconfident(50, 7, 30.0)
    expected = log_softmax(logits / 2.5, axis=1)
    assert tempered(logits, 2.5) == pytest.approx(expected, abs=1e-10)
    assert tempered(tempered(logits, 1.0), 2.5) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("pictures", [3, 40, 2000])
@pytest.mark.parametrize("factor", [0.2, 1.0, 3.0])
def test_the_likeliest_temperature_is_scipys_minimum_and_is_weighed_by_its_evidence(pictures, classes, factor):
    logits, labels = overconfident(pictures, classes, 2.0, factor)

    def loss(inverse):
        scaled = logits * inverse
        return (logsumexp(scaled, axis=1) - scaled[np.arange(pictures), labels]).sum()

    def with_prior(logarithm):
        return loss(np.exp(-logarithm)) + logarithm**2 / (2 * 0.5**2)

    best = minimize_scalar(with_prior, bounds=(-np.log(20), np.log(20)), method="bounded", options={"xatol": 1e-12})
    found = weigh_temperature(logits, labels)
    assert np.log(found.likeliest) == pytest.approx(best.x, rel=1e-5, abs=1e-6)
    evidence = 2 * (loss(1.0) - loss(np.exp(-best.x)))
    assert found.evidence == pytest.approx(evidence, rel=1e-4, abs=1e-6)
    share = 1 - (8 / evidence) ** 2 if evidence > 8 else 0
    assert np.log(found.temperature) == pytest.approx(share * best.x, rel=1e-4, abs=1e-6)
    assert found.how == ("left out" if share == 0 else "fitted" if share >= 0.95 else "shrunk")
    for same in (logits + 1000, tempered(logits, 1.0)):
        assert weigh_temperature(same, labels).temperature == pytest.approx(found.temperature, rel=1e-9)


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0, 2.0, 8.0])
def test_the_temperature_takes_back_a_factor(factor):
    logits, labels = overconfident(20_000, 10, 2.5, factor)
    temperature = weigh_temperature(logits.astype(np.float32), labels).temperature
    assert temperature == pytest.approx(factor, rel=0.03)
    own, other = overconfident(20_000, 10, 2.5, factor, seed=1)

    def error(outputs):
        return expected_calibration_error(np.exp(outputs.max(1)), outputs.argmax(1) == other)

    assert error(tempered(own, temperature)) < 0.01
    assert factor == 1 or error(tempered(own, temperature)) < error(tempered(own, 1.0))


@pytest.mark.parametrize("pictures", [5, 10, 20])
@pytest.mark.parametrize(("classes", "spread"), [(2, 2.0), (10, 2.0), (10, 3.3), (100, 3.0)])
def test_of_few_pictures_the_loss_on_new_ones_is_not_more_than_before(pictures, classes, spread):
    """Over nets that are too sure, just right and too unsure; of those that are right nothing is made worse but by chance."""

    def loss(logits, labels, temperature):
        return -log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean()

    changes = {}
    for factor in (0.5, 1.0, 1.4, 2.0, 4.0):
        new = overconfident(30_000 // classes + 300, classes, spread, factor, seed=10_000)
        changes[factor] = np.mean([
            loss(*new, weigh_temperature(*overconfident(pictures, classes, spread, factor, seed)).temperature) - loss(*new, 1.0)
            for seed in range(20)
        ])  # fmt: skip
    assert np.mean(list(changes.values())) < 0
    assert max(changes.values()) < 0.01


def test_pictures_that_are_all_right_or_all_of_one_class_make_nothing_certain():
    for pictures in (1, 5, 10, 20):
        logits = np.zeros((pictures, 4))
        logits[:, 2] = 3.0
        found = weigh_temperature(logits, np.full(pictures, 2))
        assert 0.4 < found.temperature <= 1
        sure = np.zeros((pictures, 4))
        sure[:, 2] = 30.0
        assert weigh_temperature(sure, np.full(pictures, 2)).how == "left out"


@pytest.mark.parametrize(
    ("logits", "labels", "expected"),
    [
        (np.array([[9.0, 0.0]] * 5), np.ones(5, dtype=np.int64), (2, 8)),  # always wrong, and of few images
        (
            np.array([[9.0, 0.0]] * 5000),
            np.ones(5000, dtype=np.int64),
            (19.9, 20),
        ),  # always wrong: as unsure as it may be
        (np.array([[0.001, 0.0]] * 500), np.zeros(500, dtype=np.int64), (1, 1)),  # always right by a hair: no evidence
        (np.array([[0.2, 0.0]] * 5000), np.zeros(5000, dtype=np.int64), (0.05, 0.1)),
        (np.zeros((5, 3)), np.arange(5) % 3, (1, 1)),  # no temperature makes a difference
        (np.array([[1e30, 0.0], [0.0, 1e30]]), np.array([0, 0]), (20, 20)),
    ],
)
def test_the_temperature_keeps_within_its_bounds(logits, labels, expected):
    low, high = expected
    assert low * (1 - 1e-6) <= weigh_temperature(logits, labels).temperature <= high * (1 + 1e-6)


def test_a_temperature_needs_numbers():
    with pytest.raises(ValueError, match="at least one image"):
        weigh_temperature(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    with pytest.raises(ValueError, match="finite"):
        weigh_temperature(np.array([[np.nan, 1.0]]), np.array([0]))
