"""Predictions for unlabelled images, and how they are written."""

from striate.predicting.results import UNKNOWN, Prediction, Predictions

__all__ = ["UNKNOWN", "Prediction", "Predictions"]
