"""Logits of pictures, in one way for validation, evaluation and prediction; and the net that a run keeps."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from striate.choices import Keep
from striate.data.images import Pictures
from striate.data.preprocessing import Preprocessing
from striate.errors import DataError, UsageError
from striate.nets import Net, build
from striate.nets.elsewhere import adapt, inner, is_elsewhere, make
from striate.nets.netspec import NetFacts
from striate.nets.sources import source_path, trusted_source
from striate.nets.weightfiles import load_weights
from striate.run import Run, write_atomic

BATCH = 500
"""Pictures at a time where no gradient is needed, at most."""
VALUES, VALUES_ON_DEVICE = 2**22, 2**26
"""Of their pixels, at most: 27 pictures of 224x224 in colour on the CPU, whose caches are small, and 445 on an accelerator."""


def pictures_a_time(size: tuple[int, int], channels: int, device: torch.device) -> int:
    """How many pictures of `size` (H, W) go through a net at a time where no gradient is needed."""
    values = VALUES if device.type == "cpu" else VALUES_ON_DEVICE
    return min(BATCH, max(1, values // (size[0] * size[1] * channels)))


MOST_CHANNELS, MOST_CLASSES = 64, 100_000
"""Of a net that a run names: a config that came from somebody cannot ask for more memory than that takes."""


def logits(
    net: torch.nn.Module,
    preprocessing: Preprocessing,
    pixels: Pictures,
    device: torch.device,
    batch_size: int | None = None,
) -> Tensor:
    """float32 (N, classes) on the CPU, of uint8 (N, H, W, C) at the size of `preprocessing`; the net is left in its mode.

    `batch_size`: pictures at a time; what memory holds easily if None.
    """
    batch_size = batch_size or pictures_a_time(preprocessing.size, preprocessing.channels, device)
    training = net.training
    net.eval()
    try:
        with torch.inference_mode():
            parts = [
                net(preprocessing.tensor(pixels[start : start + batch_size]).to(device)).cpu()
                for start in range(0, len(pixels), batch_size)
            ]
    finally:
        net.train(training)
    return torch.cat(parts)


def set_layout(net: torch.nn.Module, layout: str) -> None:
    """Lays the weights out as `nchw` or `nhwc`; convolutions take the layout of their maps from them."""
    net.to(memory_format=torch.channels_last if layout == "nhwc" else torch.contiguous_format)


def save_weights(net: torch.nn.Module, path: Path, config: dict[str, Any]) -> None:
    """Writes all parameters and buffers as safetensors, with the run's net and preprocessing as metadata.

    Those of a net from elsewhere have the names that they have in the module that its author wrote.
    """
    from safetensors.torch import save

    # Copies, because a net may use one tensor under two names, and a file holds it twice then.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in inner(net).state_dict().items()
    }
    # One entry: safetensors writes several in varying order, and the same weights are to be the same file.
    metadata = {"striate": json.dumps({key: config[key] for key in ("net", "preprocessing")})}
    write_atomic(path, save(tensors, metadata))


def build_net(run: Run) -> Net:
    """The run's net, its weights not yet those of the run.

    One of the catalogue by its name; a torchvision or a timm model by its name there. A net in a file is made by running that
    file, if `trusted_source` lets it. A copy of `run.module` where that was given.

    Raises:
        UsageError: its file is gone, changed or not to be trusted; the module must be given; timm is not installed.
        DataError: the config names a net of absurd size.
    """
    wanted = run.config["net"]
    origin: dict[str, Any] = wanted.get("origin", {})
    channels, classes = wanted["channels"], wanted["classes"]
    if channels not in range(1, MOST_CHANNELS + 1) or classes not in range(1, MOST_CLASSES + 1):
        raise DataError(f"{run.path}/config.yaml is damaged: a net of {channels} channels and {classes} classes")
    if run.module is None and not is_elsewhere(wanted["name"]):
        return build(wanted["name"], channels=channels, classes=classes, init=wanted["init"])
    if run.module is not None:
        module = copy.deepcopy(run.module).cpu()
    elif "target" not in origin:
        raise UsageError(
            f"{run.path} holds the weights of a {wanted['name']} that was given to striate.train(), and not its code.\n"
            f"Give such a net again: striate.load({str(run.path)!r}, module=...), or resume(..., module=...).\n"
            "A net that is trained as FILE.py:OBJECT is found again by every command."
        )
    else:
        # Whether a target is code is decided as `make` decides it, not by what else the run says.
        code = source_path(origin["target"]) is not None
        source = trusted_source(origin, run.path, run.trust_code) if code else None
        module = make(origin["target"], channels=channels, classes=classes, source=source).module
    height, width = run.config["preprocessing"]["size"]
    facts = NetFacts(
        name=wanted["name"],
        title=wanted["name"],
        family="elsewhere",
        input=(channels, height, width),
        min_size=origin.get("min_size", min(height, width)),
        origin=origin,
    )
    return adapt(module, facts, channels, classes)


def load_net(run: Run, device: torch.device) -> Net:
    """The run's net with its last weights, or its best ones where the recipe keeps those, in eval mode.

    Raises:
        DataError: the weights are missing, damaged, or not those of the net that the config names.
        UsageError: the net cannot be made: see `build_net`.
    """
    keep = run.config["recipe"].get("keep", "last")
    if keep not in get_args(Keep):
        raise DataError(f"{run.path}/config.yaml is damaged: its recipe keeps the {keep!r} weights")
    path = run.path / "weights" / f"{keep}.safetensors"
    if not path.is_file():
        raise DataError(f"{run.path} has no finished weights: go on with striate train --resume {run.path}")
    net = build_net(run)
    load_weights(net, path)
    # As it was trained, so that the same pictures give the same bits.
    set_layout(net, run.config["plan"]["layout"])
    return net.to(device).eval()
