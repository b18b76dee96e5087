"""Metrics of a classifier: arrays in, numbers out."""

from striate.metrics.calibration import expected_calibration_error
from striate.metrics.classification import confusion_matrix, most_confused, per_class, top_k_hits
from striate.metrics.intervals import wilson

__all__ = [
    "confusion_matrix",
    "expected_calibration_error",
    "most_confused",
    "per_class",
    "top_k_hits",
    "wilson",
]
