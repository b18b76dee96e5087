"""The content of an export: a net, its preprocessing, and what its user must know about both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from striate import __version__
from striate.classifier import Classifier
from striate.data.preprocessing import HEADROOM, constants
from striate.forms import Form
from striate.inference import set_layout
from striate.nets.copying import copied
from striate.nets.sources import source_path
from striate.run import Run
from striate.runforms.calibration import Calibration
from striate.strictjson import to_json


class About(Form):
    """The metadata of an export, in any format; they contain no path of this machine.

    Attributes:
        classes: in the order of the outputs.
        preprocessing: the run's, with the `headroom` down to which a JPEG may be decoded small.
        accuracy: the test on the run's own data, or None.
        licence: the licence of the weights, if the run knows it.
    """

    classes: tuple[str, ...]
    preprocessing: dict[str, object]
    calibration: Calibration | None
    net: dict[str, object]
    accuracy: dict[str, object] | None
    data: dict[str, str]
    licence: str
    run: str
    made_with: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """The content of an export: a classifier on the CPU, and its metadata."""

    classifier: Classifier
    about: About

    def facts(self) -> dict[str, str]:
        """`about` for formats whose metadata are texts: what is no text becomes JSON."""
        return {key: value if isinstance(value, str) else to_json(value) for key, value in self.about.as_dict().items()}


def model_of(run: Run) -> Model:
    """The run's net with the weights that it is used with, on the CPU. Raises as `Classifier.of`."""
    return Model(classifier=Classifier.of(run, device="cpu"), about=about(run))


def about(run: Run) -> About:
    """The metadata for the weights of a run."""
    net, data, own = run.config.net, run.data, run.config.data.name
    test = next((one for one in run.evaluations.values() if one.data == own and one.split == "test"), None)
    of_test = ("data", "split", "views", "n", "accuracy", "low", "high")
    stated = data.licence or "not stated"
    return About(
        classes=data.classes,
        preprocessing={**run.config.preprocessing.as_dict(), "headroom": HEADROOM},
        calibration=run.calibration,
        net={
            "name": net.name if source_path(net.name) is None else Path(net.name).name,
            "channels": net.channels,
            "classes": net.classes,
            "init": net.init,
        },
        accuracy=None if test is None else {key: getattr(test, key) for key in of_test},
        data={"title": data.called, "licence": stated},
        licence=f"The weights were learned from {data.called}; licence of these images: {stated}. Whoever trained the net says "
        "under which licence the weights are given on; Striate claims none. Striate itself, with predict.py, pictures.py and "
        "values.py, is under the Apache License 2.0.",
        run=run.name,
        made_with=f"striate {__version__}",
    )


class Deployed(nn.Module):
    """The exported net: uint8 pixels (N, H, W, C) at the net's size -> (probabilities, logits), both (N, classes).

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
