"""Finds the tensors of a net that have a row for each class: by gradients, with a proof by permuting their rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from striate.errors import UsageError
from striate.nets.copying import copied
from striate.nets.external import inner
from striate.nets.net import Net
from striate.nets.outputs import logits_in

IMAGES = 2
"""Number of images that are looked at: behind a ReLU a class can have no gradient for one of them."""
ASKED = 4
"""Classes whose gradients are looked at."""


def classifier(net: Net, size: tuple[int, int]) -> tuple[str, ...]:
    """The names, in the state of `inner(net)`, of the tensors that have a row for each class, auxiliary heads included.

    Verified: rotating their rows by one rotates the logits by one; otherwise the result is empty. The net is not changed.

    Args:
        size: (H, W) of images.
    """
    try:
        return _proven(copied(net).eval(), size)
    except (RuntimeError, UsageError):  # a scripted module, for example
        return ()


def _proven(net: Net, size: tuple[int, int]) -> tuple[str, ...]:
    images = torch.rand(IMAGES, net.channels, *size, generator=torch.Generator().manual_seed(0))
    try:
        _logits(net, images)
    except RuntimeError:
        _take_statistics(net, images)
    main = _of_logits(net, images)
    if not main:
        return ()
    before, state = _logits(net, images).detach(), inner(net).state_dict()
    with torch.no_grad():
        for name in main:
            state[name].copy_(state[name].roll(1, 0))
        after = _logits(net, images)
    if not torch.allclose(after, before.roll(1, 1), rtol=1e-4, atol=1e-5 * float(before.abs().max() + 1)):
        return ()
    return (*main, *(f"auxiliary_heads.{name}" for name in _last_rows(net.auxiliary_heads, net.classes)))


def _take_statistics(net: Net, images: Tensor) -> None:
    """Gives batch norm the statistics of these images: with its initial ones, the additions of a thousand layers overflow."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net.train()(images)
    net.eval()


def _of_logits(net: Net, images: Tensor) -> list[str]:
    """Names of parameters whose rows each change the logit of their own class only, and of buffers beside them."""
    module = inner(net).requires_grad_(True)
    rows = {name: one for name, one in module.named_parameters() if one.dim() and len(one) == net.classes}
    if not rows:
        return []
    with torch.enable_grad():
        logits = _logits(net, images)
    own, alone = dict.fromkeys(rows, False), dict.fromkeys(rows, True)
    asked = sorted({round(place) for place in torch.linspace(0, net.classes - 1, min(ASKED, net.classes)).tolist()})
    for k in asked:
        gradients = torch.autograd.grad(logits[:, k].sum(), list(rows.values()), retain_graph=True, allow_unused=True)
        for name, gradient in zip(rows, gradients, strict=True):
            if gradient is not None:
                moved = gradient.detach().flatten(1).ne(0).any(1) if gradient.dim() > 1 else gradient.ne(0)
                own[name] |= bool(moved[k])
                moved[k] = False
                alone[name] &= not bool(moved.any())
    found = [name for name in rows if own[name] and alone[name]]
    owners = {name.rpartition(".")[0] for name in found}
    beside = [
        name for name, one in module.named_buffers()
        if name.rpartition(".")[0] in owners and one.dim() and len(one) == net.classes
    ]  # fmt: skip
    return found + beside


def _logits(net: Net, images: Tensor) -> Tensor:
    found = logits_in(net(images))
    if found is None or not found.isfinite().all():
        raise RuntimeError("no logits")
    return found.flatten(1)


def _last_rows(heads: nn.ModuleDict, classes: int) -> list[str]:
    """Names of the tensors, in each auxiliary head, of its last layer that has a row for each class."""
    found = []
    for stage, head in heads.items():
        layers = [
            (name, layer) for name, layer in head.named_modules()
            if any(one.dim() and len(one) == classes for one in layer.parameters(recurse=False))
        ]  # fmt: skip
        if layers:
            name, layer = layers[-1]
            found += [".".join(filter(None, (stage, name, key))) for key, _ in layer.named_parameters(recurse=False)]
    return found
