"""The config and the data of a run that nobody trained, whole, as a check of a run asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from striate.namedrecipes import FAST_SMALL
from striate.runforms.config import Plan


def config(
    net: str = "lenet5", *, classes: int = 10, channels: int = 1, size: Sequence[int] = (28, 28),
    data: str = "fashion-mnist-sample", location: str | None = None, **changes: Any,
) -> dict[str, Any]:  # fmt: skip
    """config.yaml as plain values; `changes` are laid over its parts, as in `plan={"steps": 3}`."""
    made: dict[str, Any] = {
        "format": 1,
        "striate": "0.1.0",
        "net": {"name": net, "channels": channels, "classes": classes, "init": "default", "origin": {}},
        "data": {"name": data, "location": location or data, "group_by": None, "exclude": []},
        "preprocessing": {"size": list(size), "channels": channels, "mean": [0.4] * channels, "std": [0.3] * channels},
        "recipe": FAST_SMALL.as_dict(),
        "plan": {
            "steps": 12, "steps_per_epoch": 1, "epochs": 12.0, "seconds_per_epoch": 0.1, "device": "cpu", "threads": 1,
            "layout": "nchw", "params": 1, "macs": 1,
        },
    }  # fmt: skip
    for part, values in changes.items():
        made[part] = {**made[part], **values} if isinstance(values, dict) else values
    return made


def plan(steps: int = 12, per_epoch: int = 1, **changes: Any) -> Plan:
    """The plan of a run of so many steps."""
    lengths = {"steps": steps, "steps_per_epoch": per_epoch, "epochs": steps / per_epoch}
    return Plan.from_dict({**config()["plan"], **lengths, **changes})


def data(
    classes: Sequence[str], name: str = "fashion-mnist-sample", shape: Sequence[int] = (28, 28, 1)
) -> dict[str, Any]:
    """data.json as plain values."""
    return {
        "name": name,
        "classes": list(classes),
        "counts": {"train": 90, "test": 20},
        "class_counts": {"train": [9] * len(classes), "test": [2] * len(classes)},
        "shape": list(shape),
        "fingerprint": "sha256:0f2c7b1ad94e55d3c9f6",
    }


def calibration(temperature: float) -> dict[str, Any]:
    """calibration.json as plain values, without a threshold to abstain at."""
    return {
        "split": "validation", "n": 1000, "temperature": temperature, "loss_before": 0.5, "ece_before": 0.1, "loss": 0.4,
        "ece": 0.05,
    }  # fmt: skip
