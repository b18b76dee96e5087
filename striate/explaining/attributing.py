"""Attribution: how much each place of an image supports a class, by five published methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import Node

from striate.drawing.heat import Heat
from striate.errors import UsageError, param, unknown_name
from striate.explaining.layers import Layer, find_layer, placed
from striate.nets.hooks import capture, evaluating
from striate.nets.net import Net

PORTION = 32
"""Images at a time."""
STEPS = 32
"""Number of steps on the path of integrated gradients."""
WINDOWS = 8
"""Windows of occlusion side by side; they overlap by half."""


@dataclass(frozen=True, slots=True)
class Method:
    """A way to a map.

    Attributes:
        title: as it is written in words.
        paper: where it is published.
        compute: (net, inputs, targets, layer or None) -> (N, H, W); of gradients (N, C, H, W).
        layered: whether it looks at the maps of a layer.
    """

    title: str
    paper: str
    compute: Callable[[Net, Tensor, Tensor, Layer | None], Tensor]
    layered: bool = False


def attribution(
    net: Net, inputs: Tensor, target: int | Sequence[int] | Tensor, method: str = "grad-cam", layer: str | None = None
) -> Heat:
    """How much each place of each image supports a class.

    Args:
        net: is left in its mode, and its weights get no gradients.
        inputs: float32 (N, C, H, W), as `Preprocessing.tensor` gives them.
        target: the class, or one an image.
        method: one of `METHODS`.
        layer: for Grad-CAM; by default the last stage whose maps are at least 4x4: see `find_layer`.

    Returns:
        float32 (N, H, W), 0 where nothing supports the class. Scales of different images cannot be compared.

    Raises:
        UsageError: there is no such method, layer or class, or the method is not defined for this net.
    """
    chosen = find_method(method)
    if layer is not None and not chosen.layered:
        raise UsageError(f"{param('layer')} is for grad-cam; {method} works on the pixels")
    with torch.inference_mode(False), torch.enable_grad(), evaluating(net):
        inputs = inputs.detach().clone()
        targets = torch.as_tensor(target, device=inputs.device).clone().expand(len(inputs))
        if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < net.classes:
            raise UsageError(f"{net.spec.name} has classes 0 to {net.classes - 1}, got {targets.tolist()}")
        found = find_layer(net, inputs, layer) if chosen.layered and len(inputs) else None
        parts = [inputs.new_zeros(0, *inputs.shape[2:])]
        for start in range(0, len(inputs), PORTION):
            part = slice(start, start + PORTION)
            parts.append(chosen.compute(net, inputs[part].detach(), targets[part], found).detach())
    return torch.cat(parts).float().cpu().numpy()


def find_method(name: str) -> Method:
    """The method of that name. Raises UsageError if there is none."""
    if name not in METHODS:
        raise unknown_name("method", name, METHODS, ", ".join(METHODS))
    return METHODS[name]


def _score(net: Net, inputs: Tensor, targets: Tensor) -> Tensor:
    """The sum over images of their targets' logits: its gradient by one image is that of the image's own logit."""
    logits: Tensor = net(inputs)
    return logits.gather(1, targets[:, None]).sum()


def _grad_cam(net: Net, inputs: Tensor, targets: Tensor, layer: Layer | None) -> Tensor:
    """Eq. 1 and 2: the layer's maps, each weighted by the mean of the logit's gradient over it, summed, what is negative cut
    off. Enlarged to the image bilinearly as the paper does, but with each position where the pixels are that it reads:
    stretched over the image, maps of strided or unpadded convolutions would lie beside what they saw.
    """
    assert layer is not None
    with capture(layer.module) as kept:
        score = _score(net, inputs.requires_grad_(), targets)  # a gradient also where the weights are frozen
    (gradient,) = torch.autograd.grad(score, kept[-1])
    weights = gradient.mean((2, 3), keepdim=True)
    maps = (weights * kept[-1]).sum(1, keepdim=True).relu()
    return placed(maps, layer.place, (inputs.shape[2], inputs.shape[3]))


def _saliency(net: Net, inputs: Tensor, targets: Tensor, layer: Layer | None) -> Tensor:
    """Section 3.1: the logit's gradient by the pixels, its largest size among the channels."""
    (gradient,) = torch.autograd.grad(_score(net, inputs.requires_grad_(), targets), inputs)
    return gradient.abs().amax(1)


def _integrated_gradients(net: Net, inputs: Tensor, targets: Tensor, layer: Layer | None) -> Tensor:
    """Eq. 1, from the mean colour of the training images (0 after normalising), summed over channels, negative values cut off."""
    from captum.attr import IntegratedGradients

    attributions: Tensor = IntegratedGradients(net).attribute(
        inputs, baselines=0.0, target=targets, n_steps=STEPS, internal_batch_size=PORTION
    )
    return attributions.sum(1).relu()


def _occlusion(net: Net, inputs: Tensor, targets: Tensor, layer: Layer | None) -> Tensor:
    """Section 4.2: the fall of the logit when a window is painted in the mean colour, averaged over windows; rises cut off."""
    from captum.attr import Occlusion

    channels, height, width = inputs.shape[1:]
    window = (channels, math.ceil(height / WINDOWS), math.ceil(width / WINDOWS))
    steps = (channels, math.ceil(window[1] / 2), math.ceil(window[2] / 2))
    with torch.no_grad():
        attributions: Tensor = Occlusion(net).attribute(
            inputs, sliding_window_shapes=window, strides=steps, baselines=0.0, target=targets,
            perturbations_per_eval=max(1, PORTION // len(inputs)),
        )  # fmt: skip
    return attributions.sum(1).relu()


def _guided_backprop(net: Net, inputs: Tensor, targets: Tensor, layer: Layer | None) -> Tensor:
    """Section 3.4: the gradient, with each ReLU passing back positive values only; its largest size among the channels.

    Raises:
        UsageError: the net has no ReLU.
    """
    inputs = inputs.requires_grad_()
    score = _score(net, inputs, targets)
    # At the nodes of the graph, not on modules as captum's hooks are: those miss `F.relu`, and fail where a ReLU works in
    # place or is used twice.
    relus = [node for node in _nodes(score) if node.name() in _RELUS]
    for node in relus:
        node.register_prehook(lambda gradients: (gradients[0].clamp(min=0),))
    if not relus:
        raise UsageError(
            f"guided-backprop modifies the gradients of ReLUs, but {net.spec.name} has none: use saliency or "
            f"integrated-gradients"
        )
    (gradient,) = torch.autograd.grad(score, inputs)
    return gradient.abs().amax(1)


_RELUS = ("ReluBackward0", "HardtanhBackward0")
"""ReLU and ReLU6."""


def _nodes(output: Tensor) -> set[Node]:
    """Every node of the graph that a tensor was computed by."""
    waiting, seen = [output.grad_fn], set[Node]()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
    return seen


METHODS: dict[str, Method] = {
    "grad-cam": Method("Grad-CAM", "Selvaraju et al. 2017, arXiv:1610.02391", _grad_cam, layered=True),
    "saliency": Method("Saliency", "Simonyan et al. 2014, arXiv:1312.6034", _saliency),
    "integrated-gradients": Method(
        "Integrated gradients", "Sundararajan et al. 2017, arXiv:1703.01365", _integrated_gradients
    ),
    "occlusion": Method("Occlusion", "Zeiler and Fergus 2014, arXiv:1311.2901", _occlusion),
    "guided-backprop": Method("Guided backprop", "Springenberg et al. 2015, arXiv:1412.6806", _guided_backprop),
}
