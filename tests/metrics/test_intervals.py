"""Intervals against SciPy, a bootstrap that draws images, and the truth of simulated nets."""

import numpy as np
import pytest
from scipy.stats import binomtest

from striate.metrics.classification import confusion_matrix, macro_f1, macro_f1_interval, per_class, wilson


def population(generator):
    """A net and a world: int n images, and the probabilities (classes, classes) of each truth and answer."""
    classes, accuracy = int(generator.integers(2, 21)), generator.uniform(0.05, 0.95)
    # Classes as frequent each, unequal, or very unequal.
    shares = generator.dirichlet(np.full(classes, (1e6, 5.0, 1.0)[generator.integers(3)]))
    cells = np.zeros((classes, classes))
    for k in range(classes):
        right = 1 / (1 + np.exp(-np.log(accuracy / (1 - accuracy)) - generator.normal(0, 0.7)))
        cells[k] = np.insert((1 - right) * generator.dirichlet(np.ones(classes - 1)), k, right)
    return int(generator.integers(200, 2001)), shares[:, None] * cells


def true_macro_f1(cells):
    return float((2 * cells.diagonal() / (cells.sum(0) + cells.sum(1))).mean())


@pytest.fixture(scope="module")
def simulated():
    """2,000 worlds, each with the confusion matrix of the images that were seen of it."""
    generator = np.random.default_rng(0)
    worlds = [population(generator) for _ in range(2000)]
    return [(cells, generator.multinomial(n, cells.ravel()).reshape(cells.shape)) for n, cells in worlds]


@pytest.mark.parametrize(("correct", "total"), [(0, 1), (1, 1), (5, 10), (0, 200), (890, 1000), (9999, 10000)])
def test_wilson_equals_scipy(correct, total):
    expected = binomtest(correct, total).proportion_ci(method="wilson")
    assert wilson(correct, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_holds_what_was_seen():
    for total in range(1, 300):
        for correct in (0, 1, total // 2, total):
            low, high = wilson(correct, total)
            assert 0 <= low <= correct / total <= high <= 1


def test_wilson_refuses_what_is_no_proportion():
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson(3, 2)


def test_wilson_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        truth, total = generator.uniform(0.05, 0.95), int(generator.integers(200, 2000))
        low, high = wilson(int(generator.binomial(total, truth)), total)
        covered += low <= truth <= high
    assert 0.93 <= covered / 2000 <= 0.97


def test_the_interval_of_a_recall_covers_the_truth_as_often_as_it_says(simulated):
    covered = []
    for cells, confusion in simulated:
        truth = cells.diagonal() / cells.sum(1)
        rows = per_class(confusion, [str(k) for k in range(len(cells))])
        covered += [row["low"] <= truth[k] <= row["high"] for k, row in enumerate(rows) if row["support"]]
    assert 0.93 <= np.mean(covered) <= 0.97
    assert len(covered) > 20_000


def test_the_interval_of_macro_f1_covers_the_truth_as_often_as_it_says(simulated):
    covered = 0
    for cells, confusion in simulated:
        low, high = macro_f1_interval(confusion)
        covered += low <= true_macro_f1(cells) <= high
    assert 0.93 <= covered / 2000 <= 0.97


def test_the_interval_of_macro_f1_covers_the_truth_where_each_class_has_ten_pictures():
    """The bootstrap's percentiles cover the truth of 60 % of such nets: F1 of few images is biased."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        right = 1 / (1 + np.exp(-np.log(7 / 3) - generator.normal(0, 0.7, 100)))
        cells = (1 - right)[:, None] * generator.dirichlet(np.ones(99), 100)
        cells = np.stack([np.insert(row, k, right[k]) for k, row in enumerate(cells)]) / 100
        low, high = macro_f1_interval(generator.multinomial(1000, cells.ravel()).reshape(100, 100))
        covered += low <= true_macro_f1(cells) <= high
    assert 0.9 <= covered / 300 <= 0.99


def test_the_interval_of_macro_f1_has_the_delta_methods_variance():
    """Against derivatives taken numerically, on counts so large that Wilson's form is the normal one."""
    generator = np.random.default_rng(5)
    for _ in range(20):
        shares = generator.dirichlet(np.full(25, 0.5)).reshape(5, 5) + 0.2 * np.diag(generator.random(5))
        counts = (shares * 1e9).round().astype(np.int64)
        total = counts.sum()
        slopes = np.zeros((5, 5))
        for cell in np.ndindex(5, 5):
            step = np.zeros((5, 5))
            step[cell] = 1e-5 * total
            slopes[cell] = (true_macro_f1(counts + step) - true_macro_f1(counts - step)) / 2e-5
        share = counts / total
        error = np.sqrt(((share * slopes**2).sum() - (share * slopes).sum() ** 2) / total)
        low, high = macro_f1_interval(counts)
        assert high - low == pytest.approx(2 * 1.959964 * error, rel=1e-4)


def test_the_interval_of_macro_f1_agrees_with_a_bootstrap_of_pictures():
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 5, 1500)
    predicted = np.where(generator.random(1500) < 0.8, truth, generator.integers(0, 5, 1500))
    scores = []
    for _ in range(2000):
        drawn = generator.integers(0, 1500, 1500)
        scores.append(macro_f1(confusion_matrix(truth[drawn], predicted[drawn], 5)))
    low, high = macro_f1_interval(confusion_matrix(truth, predicted, 5))
    assert (low, high) == pytest.approx(np.quantile(scores, (0.025, 0.975)), abs=0.1 * (high - low))


@pytest.mark.parametrize(
    ("confusion", "low", "high"),
    [
        (np.diag([50, 50]), wilson(100, 100)[0], 1.0),
        (np.array([[0, 50], [50, 0]]), 0.0, wilson(0, 100)[1]),
        (np.diag([50, 50, 0]), wilson(100, 100)[0], 1.0),  # a class without images tells nothing
        (np.diag([1]), wilson(1, 1)[0], 1.0),
    ],
)
def test_all_right_or_all_wrong_is_no_certainty(confusion, low, high):
    assert macro_f1_interval(confusion) == pytest.approx((low, high), abs=1e-12)


def test_the_interval_of_macro_f1_holds_the_macro_f1_whatever_the_counts():
    generator = np.random.default_rng(4)
    for _ in range(1000):
        classes = int(generator.integers(1, 30))
        confusion = generator.poisson(generator.exponential(2, (classes, classes))) * (
            generator.random((classes, classes)) < 0.5
        )
        confusion[0, 0] += not confusion.sum()
        low, high = macro_f1_interval(confusion)
        assert 0 <= low <= macro_f1(confusion) <= high <= 1
        assert low < high
