"""Runs that were never trained: their files are written as a training leaves them, with weights of our own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import striate
from striate.data import Preprocessing, load_data
from striate.files import write_yaml
from striate.inference import save_weights
from striate.nets import Net
from striate.run import Run
from striate.runforms.config import RunConfig
from tests import run_config


def make_run(
    folder: Path,
    net: Any,
    *,
    size: tuple[int, int],
    channels: int,
    classes: Sequence[str],
    location: str = "fashion-mnist-sample",
    target: str | None = None,
) -> Run:
    """A finished run of `net`: a Net, or a module that `target` names or that is given again when the run is opened."""
    given = not isinstance(net, Net) and target is None
    preprocessing = Preprocessing(size=size, channels=channels, mean=(0.4,) * channels, std=(0.3,) * channels)
    config = run_config.config(
        target or (type(net).__name__ if given else net.spec.name),
        channels=channels,
        classes=len(classes),
        data=location.rstrip("/").rpartition("/")[2],
        location=location,
        preprocessing=preprocessing.as_dict(),
    )
    config["net"]["origin"] = {"given": True} if given else {"target": target} if target else {}
    folder.mkdir(parents=True)
    write_yaml(folder / "config.yaml", config)
    (folder / "data.json").write_text(json.dumps(run_config.data(classes, config["data"]["name"], (*size, channels))))
    save_weights(net, folder / "weights" / "last.safetensors", RunConfig.from_dict(config))
    return Run.open(folder, module=net if given else None)


def sharp(net: Any) -> Any:
    """With a last layer whose logits differ between images, as after a training."""
    with torch.no_grad():
        net.head.classifier.weight.normal_(std=0.3)
    return net


def clothes() -> tuple[str, ...]:
    return load_data("fashion-mnist-sample").train.classes


def quick(folder: Path, row: str, epochs: float = 1.0, **options: Any) -> Run:
    """A run that was trained for a moment."""
    from striate.training import Progress

    return striate.train(row, epochs=epochs, threads=1, report=False, layout="nchw", name=row, out=folder,
                         progress=Progress(quiet=True), **options)  # fmt: skip
