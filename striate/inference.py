"""Logits of pictures, in one way for validation, evaluation and prediction; and the net that a run keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from striate.data.images import Pixels
from striate.data.preprocessing import Preprocessing
from striate.errors import DataError
from striate.nets import Net, build
from striate.run import Run, write_atomic

BATCH = 500
"""Pictures at a time where no gradient is needed."""


def logits(
    net: torch.nn.Module, preprocessing: Preprocessing, pixels: Pixels, device: torch.device, batch_size: int = BATCH
) -> Tensor:
    """float32 (N, classes) on the CPU, of uint8 (N, H, W, C) at the size of `preprocessing`; the net is left in its mode."""
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
    """Writes all parameters and buffers as safetensors, with the run's net and preprocessing as metadata."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    # One entry: safetensors writes several in varying order, and the same weights are to be the same file.
    metadata = {"striate": json.dumps({key: config[key] for key in ("net", "preprocessing")})}
    write_atomic(path, save(tensors, metadata))


def load_net(run: Run, device: torch.device) -> Net:
    """The run's net with its last weights, in eval mode.

    Raises:
        DataError: the weights are missing, damaged, or not those of the net that the config names.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = run.path / "weights" / "last.safetensors"
    if not path.is_file():
        raise DataError(f"{run.path} has no finished weights: go on with striate train --resume {run.path}")
    wanted = run.config["net"]
    net = build(wanted["name"], channels=wanted["channels"], classes=wanted["classes"])
    try:
        net.load_state_dict(load_file(path))
    except SafetensorError as error:
        raise DataError(f"{path} is damaged ({error})") from error
    except RuntimeError as error:
        raise DataError(f"{path} does not hold the weights of {wanted['name']}: {error}") from error
    # As it was trained, so that the same pictures give the same bits.
    set_layout(net, run.config["plan"]["layout"])
    return net.to(device).eval()
