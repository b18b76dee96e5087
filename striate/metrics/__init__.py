"""Metrics of a classifier: arrays in, numbers out."""

from striate.metrics.calibration import (
    accuracy_by_confidence,
    brier_score,
    expected_calibration_error,
    fit_temperature,
    reliability,
    tempered,
    weigh_temperature,
)
from striate.metrics.classification import (
    balanced_accuracy,
    confusion_matrix,
    macro_f1,
    most_confused,
    per_class,
    top_k_hits,
)
from striate.metrics.intervals import macro_f1_interval, wilson

__all__ = [
    "accuracy_by_confidence",
    "balanced_accuracy",
    "brier_score",
    "confusion_matrix",
    "expected_calibration_error",
    "fit_temperature",
    "macro_f1",
    "macro_f1_interval",
    "most_confused",
    "per_class",
    "reliability",
    "tempered",
    "top_k_hits",
    "weigh_temperature",
    "wilson",
]
