"""Counts and ratios against scikit-learn, on 1,000 random cases: empty classes, one class, ties, tiny sets."""

import numpy as np
import pytest
from sklearn import metrics as sklearn

from striate.metrics.classification import (
    balanced_accuracy,
    confusion_matrix,
    macro_f1,
    most_confused,
    per_class,
    top_k_hits,
)

# scikit-learn warns of labels of one class only, and of classes that are predicted and have no images.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def cases(count):
    """(classes, truth, predicted, logits) of all kinds; a third of the logits are full of ties."""
    for seed in range(count):
        generator = np.random.default_rng(seed)
        classes, pictures = (
            int(generator.integers(1, 13)),
            int(generator.integers(1, 300) if seed % 4 else 1 + seed % 7),
        )
        # Some classes have no images, some are never predicted; now and then there is only one.
        possible = generator.permutation(classes)[: generator.integers(1, classes + 1)]
        truth = generator.choice(possible, pictures)
        wrong = generator.choice(generator.permutation(classes)[: generator.integers(1, classes + 1)], pictures)
        predicted = np.where(generator.random(pictures) < generator.random(), truth, wrong)
        logits = generator.normal(size=(pictures, classes))
        yield classes, truth, predicted, logits.round() if seed % 3 == 0 else logits


@pytest.mark.full
def test_counts_are_exactly_those_of_scikit_learn_and_ratios_equal_them():
    for classes, truth, predicted, _ in cases(1000):
        labels = np.arange(classes)
        confusion = confusion_matrix(truth, predicted, classes)
        assert np.array_equal(confusion, sklearn.confusion_matrix(truth, predicted, labels=labels))
        expected = sklearn.precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
        rows = per_class(confusion, [str(label) for label in labels])
        assert [row["support"] for row in rows] == expected[3].tolist()
        for key, values in zip(("precision", "recall", "f1"), expected[:3], strict=True):
            assert [row[key] for row in rows] == pytest.approx(values.tolist(), abs=1e-12)
        seen = np.union1d(truth, predicted)  # as scikit-learn does where it is given no labels
        assert macro_f1(confusion) == pytest.approx(expected[2][seen].mean(), abs=1e-12)


def test_macro_f1_and_balanced_accuracy_are_those_of_scikit_learn():
    for classes, truth, predicted, _ in cases(100):
        confusion = confusion_matrix(truth, predicted, classes)
        expected = sklearn.balanced_accuracy_score(truth, predicted)
        assert balanced_accuracy(confusion) == pytest.approx(expected, abs=1e-12)
        expected = sklearn.f1_score(truth, predicted, average="macro", zero_division=0)
        assert macro_f1(confusion) == pytest.approx(expected, abs=1e-12)


def test_top_k_hits_are_exactly_those_of_scikit_learn_with_ties_for_the_lower_class():
    compared = 0
    for classes, truth, _, logits in cases(1000):
        if classes < 3:
            continue  # scikit-learn takes two classes for another kind of scores
        for k in {2, classes - 1}:
            # It gives ties to the higher class, so classes are counted from behind.
            expected = sklearn.top_k_accuracy_score(
                classes - 1 - truth, logits[:, ::-1], k=k, labels=np.arange(classes), normalize=False
            )
            assert top_k_hits(logits, truth, k) == expected
            compared += 1
        assert top_k_hits(logits, truth, 1) == (logits.argmax(1) == truth).sum()
        assert top_k_hits(logits, truth, classes) == len(truth)
    assert compared > 1000


def test_what_is_no_number_is_never_a_hit():
    logits = np.array([[np.nan, np.nan, np.nan], [np.nan, 2.0, 1.0], [0.0, 2.0, np.nan]])
    assert top_k_hits(logits, np.array([0, 0, 1]), 1) == 0
    assert top_k_hits(logits, np.array([0, 0, 1]), 2) == 1


def test_most_confused_lists_mistakes_only_largest_first():
    confusion = np.array([[9, 2, 0], [5, 9, 1], [0, 0, 9]])
    assert most_confused(confusion, "abc", 2) == [
        {"truth": "b", "predicted": "a", "count": 5},
        {"truth": "a", "predicted": "b", "count": 2},
    ]
    assert most_confused(np.diag([3, 3]), "ab") == []
