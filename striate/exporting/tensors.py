"""The weights alone, as safetensors or under torchvision's names."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from striate.errors import UsageError, param
from striate.exporting.model import Model
from striate.nets.external import inner
from striate.nets.torchvision import TWINS, save
from striate.strictjson import to_json


def write_safetensors(model: Model, path: Path) -> None:
    """Writes the weights under the names of the net's `state_dict`; what goes along as JSON under `striate` in the metadata."""
    _write(inner(model.classifier.net).state_dict(), model, path)


def write_torchvision(model: Model, path: Path) -> None:
    """Writes the weights for torchvision's net of the same layers: safetensors, or a state dict for a path in `.pth`.

    Raises:
        UsageError: see `torchvision_name`.
    """
    torchvision_name(model)
    catalogue = model.classifier.net.spec.name in TWINS
    tensors = save(model.classifier.net) if catalogue else inner(model.classifier.net).state_dict()
    if path.suffix == ".pth":
        content = io.BytesIO()  # torch's own writer says of a full disk that an assertion failed
        torch.save({name: tensor.clone() for name, tensor in tensors.items()}, content)
        path.write_bytes(content.getvalue())
    else:
        _write(tensors, model, path)


def torchvision_name(model: Model) -> str:
    """The net's name in torchvision.

    Raises:
        UsageError: it has no such net, or has it for images of three channels only.
    """
    name = model.classifier.net.spec.name
    scheme, _, theirs = name.rpartition(":")
    if scheme != "torchvision":
        if name not in TWINS:
            raise UsageError(
                f"torchvision has no {name}: use {param('to', 'safetensors')}, pt2 or onnx. It has these: {', '.join(TWINS)}"
            )
        theirs = TWINS[name]
    if model.classifier.net.channels != 3:
        raise UsageError(
            f"torchvision's {theirs} takes images of 3 channels, but this run's net "
            f"of {model.classifier.net.channels}: "
            f"use {param('to', 'safetensors')}, pt2 or onnx"
        )
    return theirs


def _write(tensors: Mapping[str, Tensor], model: Model, path: Path) -> None:
    from safetensors.torch import save as as_bytes

    # Copies, because a net may use one tensor under two names, and a file holds it twice then.
    copies = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    # One entry: safetensors writes several in varying order, and the same weights are to be the same file.
    path.write_bytes(as_bytes(copies, {"striate": to_json(model.about.as_dict())}))
