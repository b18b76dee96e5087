"""Logits of images, in one way for validation, evaluation and prediction; and the net that a run keeps."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from striate.anatomy.asking import LIGHT, answers, images_as_fed, lost_by_loading, reproduces
from striate.data.images import Pictures
from striate.data.preprocessing import Preprocessing
from striate.errors import DataError, UsageError, param
from striate.files import write_atomic, write_json
from striate.nets import Net, build
from striate.nets.copying import copied, plain
from striate.nets.external import adapt, inner, is_external, make
from striate.nets.hooks import evaluating
from striate.nets.metadevice import on_meta_device
from striate.nets.netspec import NetFacts
from striate.nets.sources import source_path
from striate.nets.weightfiles import load_weights
from striate.run import Run
from striate.runfiles import place
from striate.runforms.config import RunConfig
from striate.strictjson import to_json
from striate.trust import trusted_source

BATCH = 500
"""Images at a time where no gradient is needed, at most."""
VALUES, VALUES_ON_DEVICE = 2**22, 2**26
"""Most values in a batch: 27 images of 224x224 in colour on the CPU, 445 on an accelerator."""


def pictures_a_time(size: tuple[int, int], channels: int, device: torch.device) -> int:
    """Number of images of `size` (H, W) per forward pass without gradients."""
    values = VALUES if device.type == "cpu" else VALUES_ON_DEVICE
    return min(BATCH, max(1, values // (size[0] * size[1] * channels)))


ANSWER = "answer.json"
"""The answers of a run's net to the fixed images when it was saved."""
KEPT_IMAGES = "noise, gradient"
"""Which those are."""
HEAVY = LIGHT
"""MACs an image from which a net is asked for fewer images."""
MOST_BYTES = 4 * 2**30
"""Limit on the size of a run's weights. VGG-19: 0.55 GB."""


def logits(
    net: torch.nn.Module,
    preprocessing: Preprocessing,
    pixels: Pictures,
    device: torch.device,
    batch_size: int | None = None,
) -> Tensor:
    """float32 (N, classes) on the CPU, of uint8 (N, H, W, C) at the size of `preprocessing`; the net is left in its mode.

    `batch_size`: images at a time; what memory holds easily if None.
    """
    batch_size = batch_size or pictures_a_time(preprocessing.size, preprocessing.channels, device)
    # Not inference mode: what a net keeps from its first call must serve in training too.
    with evaluating(net), torch.no_grad():
        parts = [
            net(preprocessing.tensor(pixels[start : start + batch_size]).to(device)).cpu()
            for start in range(0, len(pixels), batch_size)
        ]
    return torch.cat(parts)


def predicted_of(outputs: Tensor) -> Tensor:
    """int64 (N,): the likeliest class of each row of logits, -1 where one is NaN or infinite, which is no answer."""
    return torch.where(outputs.isfinite().all(1), outputs.argmax(1), -1)


def set_layout(net: torch.nn.Module, layout: str) -> None:
    """Lays the weights out as `nchw` or `nhwc`; convolutions take the layout of their maps from them."""
    net.to(memory_format=torch.channels_last if layout == "nhwc" else torch.contiguous_format)


def weights_notes(config: RunConfig, classes: Sequence[str]) -> dict[str, str]:
    """The metadata of a run's weights file: the net, its preprocessing, the class names.

    One entry: safetensors writes several in varying order, and the same weights are to be the same file.
    """
    return {
        "striate": to_json(
            {"net": config.net.as_dict(), "preprocessing": config.preprocessing.as_dict(), "classes": list(classes)},
            ascii=True,
        )
    }


def save_weights(net: torch.nn.Module, path: Path, config: RunConfig, classes: Sequence[str] = ()) -> None:
    """Writes all parameters and buffers as safetensors, with the run's net, preprocessing and class names as metadata.

    Those of an external net have the names that they have in the module that its author wrote.
    """
    from safetensors.torch import save

    # Copies, because a net may use one tensor under two names, and a file holds it twice then.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in inner(net).state_dict().items()
    }
    write_atomic(path, save(tensors, weights_notes(config, classes)))


def build_net(run: Run, most: int | None = None) -> Net:
    """The run's net, its weights not yet those of the run.

    One of the catalogue by its name; a torchvision or a timm model by its name there. A net in a file is made by running that
    file, if `trusted_source` lets it. A copy of `run.module` where that was given.

    Args:
        most: bytes of its file of weights: a net that has more values than that is refused before it takes memory.

    Raises:
        UsageError: its file is gone, changed or not to be trusted; the module must be given; timm is not installed.
        DataError: the config is damaged, or names a net that there is not or that takes no images of its size.
    """
    wanted, size = run.config.net, run.config.preprocessing.size
    if run.module is None and not is_external(wanted.name):
        _check_named(run, most)
        return build(wanted.name, channels=wanted.channels, classes=wanted.classes, init=wanted.init)
    if run.module is not None:
        module = copied(plain(run.module), "cpu")
    elif wanted.origin.target is None:
        raise UsageError(
            f"{run.path} holds the weights of a {wanted.name} that was given to striate.train(), but not its code.",
            f"Give the net again: striate.load({str(run.path)!r}, module=...), or resume(..., module=...).",
            "Every command finds a net that was trained as FILE.py:OBJECT.",
        )
    else:
        module = _made_again(run, wanted.origin.target, most)
    facts = NetFacts(
        name=wanted.name,
        title=wanted.name,
        family="external",
        input=(wanted.channels, *size),
        min_size=wanted.origin.min_size or min(size),
        origin=wanted.origin.as_dict(),
    )
    return adapt(module, facts, wanted.channels, wanted.classes)


def _made_again(run: Run, target: str, most: int | None) -> torch.nn.Module:
    """The module of a target that a run names."""
    wanted = run.config.net
    # Whether a target is code is decided as `make` decides it, not by what else the run says.
    if source_path(target) is not None:
        source = trusted_source(wanted.origin, run.path, run.trust_code)
        return make(target, channels=wanted.channels, classes=wanted.classes, source=source).module
    given: dict[str, Any] = {"channels": wanted.channels, "classes": wanted.classes}
    try:
        if most is not None:
            twin = make(target, without_weights=True, **given).module
            _check_values(run, target, sum(tensor.numel() for tensor in twin.state_dict().values()), most)
        return make(target, **given).module
    except UsageError as error:
        if target.startswith("timm:") and find_spec("timm") is None:
            raise
        raise DataError(f"{run.path}/config.yaml: net.origin.target: {error}") from error


def _check_values(run: Run, name: str, values: int, most: int) -> None:
    """Raises DataError if a net has more values than the run's file of weights has bytes."""
    if values > most:
        raise DataError(
            f"{run.path / 'config.yaml'}: net: a {name} of {run.config.net.classes:,} classes has {values:,} values, or "
            f"weights/{run.recipe.keep}.safetensors is damaged: it has {most:,} bytes"
        )


def _check_named(run: Run, most: int | None) -> None:
    """Raises DataError, which names the field, if a net of the catalogue is not as the run's config says; it takes no memory."""
    wanted, file = run.config.net, run.path / "config.yaml"
    height, width = run.config.preprocessing.size
    with on_meta_device():
        try:
            twin = build(wanted.name, channels=wanted.channels, classes=wanted.classes)
        except UsageError as error:
            raise DataError(f"{file}: net.name: {error}") from error
        values = sum(tensor.numel() for tensor in twin.state_dict().values())
        if most is not None:
            _check_values(run, wanted.name, values, most)
    if min(height, width) < twin.spec.min_size:
        raise DataError(f"{file}: preprocessing.size: {wanted.name} takes no images of {height}x{width} pixels")


def load_net(
    run: Run, device: torch.device, *, which: Literal["last", "best"] | None = None, asked: bool = True
) -> Net:
    """The run's net with its last weights, or its best ones where the recipe keeps those, in eval mode.

    Args:
        which: those weights instead.
        asked: whether an external net must give the answer that the run keeps: its code or the libraries that make it may
            be others by now.

    Raises:
        DataError: the weights are missing, damaged, or not those of the net that the config names; the net answers otherwise than
            when it was saved.
        UsageError: the net cannot be made: see `build_net`.
    """
    if which not in (None, "last", "best"):
        raise UsageError(f"which must be last or best, got {which!r}")
    path = place(run.path, f"weights/{run.recipe.keep}.safetensors", most=MOST_BYTES)
    if path is None:
        raise DataError(f"{run.path} has no finished weights: resume it with striate train --resume {run.path}")
    net = build_net(run, most=path.stat().st_size)
    load_weights(net, path)
    # As it was trained, so that the same images give the same bits.
    set_layout(net, run.config.plan.layout)
    net = net.to(device).eval()
    if asked and is_external_net(net):
        _require_answer(run, net, device)
    if which not in (None, run.recipe.keep):  # the answer was kept of the others
        path = place(run.path, f"weights/{which}.safetensors", most=MOST_BYTES)
        if path is None:
            raise DataError(f"{run.path} has no {which} weights: {param('keep', 'best')} keeps those of the best epoch")
        load_weights(net, path)
    return net


def is_external_net(net: Net) -> bool:
    """Whether a net is none of the catalogue's, which are tested."""
    return inner(net) is not net


def kept_images(preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """float32 (2, C, H, W): the fixed images that answers are kept for, noise and a gradient, as a net is fed."""
    return images_as_fed(preprocessing, device)[1:3]


def keep_answer(run: Run, net: Net, images: Tensor) -> None:
    """Writes answer.json: `logits`, a row for each of the `kept_images`, null for a value that is no number."""
    write_json(run.path / ANSWER, {"images": KEPT_IMAGES, "logits": answers(net, images).tolist()})


def _require_answer(run: Run, net: Net, device: torch.device) -> None:
    """Raises DataError if the net answers otherwise than the run says; runs of before have no answer, and pass."""
    if (kept := run.answer) is None:
        return
    images = kept_images(run.preprocessing, device)
    if not reproduces(torch.tensor(kept, dtype=torch.float32), answers(net, images)):
        fault = lost_by_loading(net)
        raise DataError(
            f"the net of {run.path} gives different answers than when it was saved "
            f"({run.path / ANSWER}): its code, or a library it depends on, has changed; "
            f"or {fault.why[0].lower()}{fault.why[1:]} {fault.remedy}"
        )
