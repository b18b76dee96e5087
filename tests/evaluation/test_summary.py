"""The figures of an evaluation, against scikit-learn and against the rows of predictions.csv."""

import json

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn import metrics as sklearn

from striate.data import ImageData
from striate.errors import DataError
from striate.evaluation.summary import PER_CLASS_COLUMNS, PREDICTION_COLUMNS, prediction_rows, summarise
from striate.metrics.calibration import expected_calibration_error
from striate.metrics.classification import wilson

CLASSES = tuple("abcdefgh")


@pytest.fixture
def outcome():
    """(log-probabilities, labels) of 400 images in 8 classes; none is of class h."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 7, 400)
    logits = generator.normal(0, 2, (400, 8))
    logits[np.arange(400), labels] += 3
    return log_softmax(logits, axis=1), labels


def data_of(labels, classes=CLASSES, paths=None):
    return ImageData(np.zeros((len(labels), 1, 1, 1), dtype=np.uint8), labels, classes, paths)


def test_the_figures_are_scikit_learns(outcome):
    outputs, labels = outcome
    predicted = outputs.argmax(1)
    found = summarise(outputs, labels, CLASSES).as_dict()
    assert found["n"] == 400
    assert found["correct"] == (predicted == labels).sum()
    assert found["accuracy"] == sklearn.accuracy_score(labels, predicted)
    assert (found["low"], found["high"]) == wilson(found["correct"], 400)
    assert found["loss"] == pytest.approx(sklearn.log_loss(labels, np.exp(outputs), labels=np.arange(8)))
    assert found["brier"] == pytest.approx(
        sklearn.brier_score_loss(labels, np.exp(outputs), labels=np.arange(8), scale_by_half=False)
    )
    expected = sklearn.f1_score(labels, predicted, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(expected)
    assert 0 < found["macro_f1_low"] < expected < found["macro_f1_high"] < 1
    assert found["balanced_accuracy"] == pytest.approx(
        sklearn.recall_score(labels, predicted, labels=np.arange(7), average="macro")
    )
    assert found["top5"] == sklearn.top_k_accuracy_score(labels, outputs, k=5, labels=np.arange(8))
    assert found["confusion"] == sklearn.confusion_matrix(labels, predicted, labels=np.arange(8)).tolist()
    for row, right, support in zip(
        found["per_class"], np.diag(found["confusion"]), np.sum(found["confusion"], 1), strict=True
    ):
        assert tuple(row) == PER_CLASS_COLUMNS
        assert (row["low"], row["high"]) == (wilson(int(right), int(support)) if support else (0, 1))
    assert not {"temperature", "ece_calibrated", "reliability_calibrated", "loss_calibrated"} & set(found)


def test_a_temperature_changes_what_is_said_of_confidence_and_nothing_else(outcome):
    outputs, labels = outcome
    plain, found = (summarise(outputs, labels, CLASSES, temperature=value).as_dict() for value in (None, 2.5))
    added = {"temperature", "loss_calibrated", "ece_calibrated", "reliability_calibrated"}
    assert {key for key in found if found[key] != plain.get(key)} == added | {"by_confidence"}
    calibrated = log_softmax(outputs / 2.5, axis=1)
    hits = outputs.argmax(1) == labels
    assert found["loss_calibrated"] == pytest.approx(sklearn.log_loss(labels, np.exp(calibrated), labels=np.arange(8)))
    assert found["ece_calibrated"] == pytest.approx(expected_calibration_error(np.exp(calibrated.max(1)), hits))
    assert found["by_confidence"][-1]["accuracy"] == pytest.approx(found["accuracy"])
    assert found["by_confidence"][-1]["threshold"] == pytest.approx(np.exp(calibrated.max(1)).min())
    for key in ("reliability", "reliability_calibrated"):
        assert sum(row["n"] for row in found[key]) == 400


@pytest.mark.parametrize("temperature", [None, 0.5, 3.0])
def test_the_rows_of_predictions_say_what_the_figures_count(outcome, temperature):
    outputs, labels = outcome
    found = summarise(outputs, labels, CLASSES, temperature=temperature).as_dict()
    rows = prediction_rows(outputs, data_of(labels), temperature=temperature)
    assert all(tuple(row) == PREDICTION_COLUMNS for row in rows)
    assert [row["index"] for row in rows] == list(range(400))
    assert sum(row["truth"] == row["predicted"] for row in rows) == found["correct"]
    assert np.mean([row["loss"] for row in rows]) == pytest.approx(found["loss"], abs=1e-5)
    either = sum(row["truth"] in (row["predicted"], row["second"]) for row in rows)
    assert either / 400 == sklearn.top_k_accuracy_score(labels, outputs, k=2, labels=np.arange(8))
    assert all(row["confidence"] >= row["second_confidence"] > 0 for row in rows)
    assert all(row["second"] != row["predicted"] for row in rows)
    confidence = np.array([row["confidence"] for row in rows])
    hits = np.array([row["truth"] == row["predicted"] for row in rows])
    said = found["ece" if temperature is None else "ece_calibrated"]
    assert expected_calibration_error(confidence, hits) == pytest.approx(said, abs=1e-4)
    for share in found["by_confidence"]:
        assert sum(confidence >= share["threshold"] - 1e-6) == round(share["kept"] * 400)


def test_of_equal_probabilities_the_lower_class_is_first():
    rows = prediction_rows(np.log(np.full((2, 4), 0.25)), data_of(np.array([3, 0]), tuple("abcd"), ("x.png", "y.png")))
    assert [(row["predicted"], row["second"], row["confidence"], row["path"]) for row in rows] == [
        ("a", "b", 0.25, "x.png"),
        ("a", "b", 0.25, "y.png"),
    ]


@pytest.mark.parametrize(
    ("outputs", "labels", "classes"),
    [
        (np.zeros((1, 1)), [0], ("one",)),
        (np.log([[0.9, 0.1]]), [1], ("a", "b")),
        (np.log([[0.9, 0.1]] * 30), [0] * 30, ("a", "b")),
        (np.array([[0.0, -800.0, -900.0]] * 3), [0, 1, 2], tuple("abc")),  # probabilities too small for a float
    ],
)
@pytest.mark.parametrize("temperature", [None, 2.0])
def test_every_figure_is_a_number_that_json_knows(outputs, labels, classes, temperature):
    labels = np.array(labels, dtype=np.int64)
    found = summarise(outputs, labels, classes, temperature=temperature).as_dict()
    rows = prediction_rows(outputs, data_of(labels, classes), temperature=temperature)
    assert json.loads(json.dumps([found, rows], allow_nan=False)) == [found, rows]
    assert 0 <= found["macro_f1_low"] <= found["macro_f1"] <= found["macro_f1_high"] <= 1


def test_what_gets_no_number_counts_as_wrong_and_is_named(outcome):
    outputs, labels = outcome
    hits = outputs.argmax(1) == labels
    gone = [*np.flatnonzero(hits)[:2], np.flatnonzero(~hits)[0]]
    rest = np.delete(np.arange(len(labels)), gone)
    before, without = (
        summarise(outputs, labels, CLASSES).as_dict(),
        summarise(outputs[rest], labels[rest], CLASSES).as_dict(),
    )
    outputs[gone, [0, 1, 2]] = [np.nan, np.inf, -np.inf]
    found = summarise(outputs, labels, CLASSES, temperature=2.0).as_dict()
    assert (found["n"], found["unanswered"], found["correct"]) == (400, 3, before["correct"] - 2)
    assert found["accuracy"] == (before["correct"] - 2) / 400
    # No answer is a prediction of no class: as a class more that has no images.
    predicted = outputs.argmax(1)
    predicted[gone] = len(CLASSES)
    assert found["balanced_accuracy"] == pytest.approx(
        sklearn.recall_score(labels, predicted, labels=range(7), average="macro")
    )
    everyone = range(len(CLASSES))
    assert found["macro_f1"] == pytest.approx(sklearn.f1_score(labels, predicted, labels=everyone, average="macro"))
    assert found["macro_f1_low"] <= found["macro_f1"] <= found["macro_f1_high"]
    assert sum(row["support"] for row in found["per_class"]) == 400
    assert np.array(found["confusion"]).sum() == 397
    assert found["loss"] == pytest.approx(without["loss"])
    assert found["brier"] == pytest.approx(without["brier"])
    json.dumps(found, allow_nan=False)


def test_a_net_that_gives_no_number_at_all_is_not_scored(outcome):
    outputs, labels = outcome
    with pytest.raises(DataError, match="for all 400 images"):
        summarise(outputs * np.nan, labels, CLASSES)
