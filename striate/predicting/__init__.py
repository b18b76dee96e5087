"""Predictions: what a classifier says of images that nobody has labelled, and how that is written."""

from striate.predicting.results import UNKNOWN, Prediction, Predictions

__all__ = ["UNKNOWN", "Prediction", "Predictions"]
