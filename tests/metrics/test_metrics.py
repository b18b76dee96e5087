"""Metrics against scikit-learn, SciPy and a plain loop."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sklearn

from striate.metrics import (
    confusion_matrix,
    expected_calibration_error,
    most_confused,
    per_class,
    top_k_hits,
    wilson,
)


@pytest.mark.parametrize("case", range(60))
def test_counts_and_ratios_equal_scikit_learn(case):
    generator = np.random.default_rng(case)
    classes, count = int(generator.integers(2, 12)), int(generator.integers(1, 300))
    truth = generator.integers(0, classes, count)
    predicted = np.where(generator.random(count) < 0.6, truth, generator.integers(0, classes, count))
    confusion = confusion_matrix(truth, predicted, classes)
    labels = np.arange(classes)
    assert np.array_equal(confusion, sklearn.confusion_matrix(truth, predicted, labels=labels))
    precision, recall, f1, support = sklearn.precision_recall_fscore_support(
        truth, predicted, labels=labels, zero_division=0
    )
    rows = per_class(confusion, [str(label) for label in labels])
    assert [row["support"] for row in rows] == support.tolist()
    for key, expected in (("precision", precision), ("recall", recall), ("f1", f1)):
        assert [row[key] for row in rows] == pytest.approx(expected.tolist(), abs=1e-12)
    logits = generator.normal(size=(count, classes))
    for k in range(1, classes):
        hits = sklearn.top_k_accuracy_score(truth, logits, k=k, labels=labels, normalize=False) if classes > 2 else None
        if hits is not None:
            assert top_k_hits(logits, truth, k) == hits


def test_most_confused_lists_mistakes_only_largest_first():
    confusion = np.array([[9, 2, 0], [5, 9, 1], [0, 0, 9]])
    assert most_confused(confusion, "abc", 2) == [
        {"truth": "b", "predicted": "a", "count": 5},
        {"truth": "a", "predicted": "b", "count": 2},
    ]
    assert most_confused(np.diag([3, 3]), "ab") == []


@pytest.mark.parametrize(("correct", "total"), [(0, 1), (1, 1), (5, 10), (0, 200), (890, 1000), (9999, 10000)])
def test_wilson_equals_scipy(correct, total):
    expected = binomtest(correct, total).proportion_ci(method="wilson")
    assert wilson(correct, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        truth, total = generator.uniform(0.05, 0.95), int(generator.integers(200, 2000))
        low, high = wilson(int(generator.binomial(total, truth)), total)
        covered += low <= truth <= high
    assert 0.93 <= covered / 2000 <= 0.97


def test_wilson_refuses_what_is_no_proportion():
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson(3, 2)


def test_calibration_error_equals_a_plain_loop_over_bins():
    generator = np.random.default_rng(1)
    confidence = generator.uniform(0, 1, 500)
    confidence[:3] = (0.0, 1.0, 2 / 15)
    correct = generator.random(500) < confidence
    expected = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15) | ((i == 0) & (confidence == 0))
        if inside.any():
            expected += inside.sum() / 500 * abs(correct[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected, abs=1e-12)
