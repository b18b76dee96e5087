"""What is handed over: a net, the preprocessing that belongs to it, and what somebody else has to know of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from striate import __version__
from striate.classifier import Classifier
from striate.data.preprocessing import HEADROOM, constants
from striate.inference import set_layout
from striate.nets.copying import copied
from striate.nets.sources import source_path
from striate.run import Run
from striate.strictjson import to_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """What is handed over: a classifier on the CPU, and what goes along with it, plain values for JSON (see `about`)."""

    classifier: Classifier
    about: dict[str, Any]

    def facts(self) -> dict[str, str]:
        """`about` as texts, for formats whose metadata are texts: what is no text is JSON."""
        return {key: value if isinstance(value, str) else to_json(value) for key, value in self.about.items()}


def model_of(run: Run) -> Model:
    """The run's net with the weights that it is used with, on the CPU. Raises as `Classifier.of`."""
    return Model(classifier=Classifier.of(run, device="cpu"), about=about(run))


def about(run: Run) -> dict[str, Any]:
    """What goes along with the weights, whatever the format: no path of this machine is in it.

    `classes` in the order of the outputs; `preprocessing`, with the `headroom` down to which a JPEG may be decoded small;
    `calibration` (`temperature`, `abstain`); `net`; `accuracy`, the test on the run's own data, or null; `data`; `licence`.
    """
    net, data = run.config["net"], run.data
    tests = (e for e in run.evaluations.values() if e["data"] == run.config["data"]["name"] and e["split"] == "test")
    test = next(tests, None)
    return {
        "classes": list(data["classes"]),
        "preprocessing": {**run.config["preprocessing"], "headroom": HEADROOM},
        "calibration": run.calibration,
        "net": {
            "name": net["name"] if source_path(net["name"]) is None else Path(net["name"]).name,
            **{key: net[key] for key in ("channels", "classes", "init") if key in net},
        },
        "accuracy": test and {key: test[key] for key in ("data", "split", "views", "n", "accuracy", "low", "high")},
        "data": {"title": data.get("title") or data["name"], "licence": data.get("licence", "not stated")},
        "licence": licence(data),
        "run": run.name,
        "made_with": f"striate {__version__}",
    }


def licence(data: dict[str, Any]) -> str:
    """What may be done with the weights, as far as the run knows."""
    return (
        f"The weights were learned from {data.get('title') or data['name']}; licence of these pictures: "
        f"{data.get('licence', 'not stated')}. Whoever trained the net says under which licence the weights are given on; "
        "Striate claims none. Striate itself, with predict.py, pictures.py and values.py, is under the Apache License 2.0."
    )


class Deployed(nn.Module):
    """The net as it is handed over: uint8 pixels (N, H, W, C) at the net's size -> (probabilities, logits), both (N, classes).

    A copy: the classifier of `model` stays as it is.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.net = copied(model.classifier.net)
        self.net.auxiliary_heads = nn.ModuleDict()  # they are for training, and their weights would go along
        set_layout(self.net, "nchw")
        preprocessing = model.classifier.preprocessing
        scale, shift = constants(preprocessing.mean, preprocessing.std, torch.device("cpu"))
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self.temperature = model.classifier.temperature
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.net(pixels.permute(0, 3, 1, 2) * self.scale - self.shift)
        return (logits / self.temperature).softmax(1), logits
