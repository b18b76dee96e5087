"""Scores and their figures, against scipy and plain counting."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from striate.metrics.ood import (
    OF_LOGITS,
    energy,
    max_softmax,
    nearest_cosine,
    threshold_keeping,
)


def test_scores_are_those_of_scipy_also_for_large_logits():
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=20, size=(200, 7)).astype(np.float32)
    logits[0] += 2000
    np.testing.assert_allclose(energy(logits), logsumexp(logits.astype(np.float64), axis=1), rtol=1e-12)
    np.testing.assert_allclose(max_softmax(logits), softmax(logits.astype(np.float64), axis=1).max(1), rtol=1e-9)
    for score in OF_LOGITS.values():
        assert score(logits).dtype == np.float64


def test_the_threshold_keeps_the_share_and_not_one_more_than_it_must():
    generator = np.random.default_rng(2)
    for count in (1, 2, 19, 20, 21, 100, 1000):
        own = generator.normal(size=count)
        threshold = threshold_keeping(own)
        assert (own >= threshold).mean() >= 0.95
        assert threshold in own
        higher = own[own > threshold]
        if len(higher):
            assert (own >= higher.min()).mean() < 0.95
    assert (generator.permutation(20) >= threshold_keeping(np.arange(20.0))).sum() == 19
    assert threshold_keeping(np.arange(100.0), keep=1) == 0
    assert threshold_keeping(np.ones(10)) == 1  # all tie: all are kept


def test_the_nearest_reference_counts():
    references = np.eye(3, dtype=np.float32)
    features = np.array([[1, 0, 0], [0.6, 0.8, 0], [-1, 0, 0], [0, 0, 0]], dtype=np.float32)
    np.testing.assert_allclose(nearest_cosine(features, references), [1, 0.8, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(nearest_cosine(features, references, k=2), [0, 0.6, 0, 0], atol=1e-6)
    np.testing.assert_allclose(nearest_cosine(features, references, k=9), [0, 0, -1, 0], atol=1e-6)


@pytest.mark.parametrize("scores", [np.array([]), np.array([np.nan]), np.zeros((2, 2))])
def test_what_is_no_score_is_refused(scores):
    with pytest.raises(ValueError, match="scores must be numbers"):
        threshold_keeping(scores)


def test_a_share_beyond_one_is_refused():
    with pytest.raises(ValueError, match="share to keep"):
        threshold_keeping(np.ones(3), keep=95)
