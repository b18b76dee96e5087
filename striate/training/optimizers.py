"""The optimizer of a recipe."""

from __future__ import annotations

import torch
from torch import nn

from striate.recipe import Recipe


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over the net's trainable parameters; its rate is set before every step.

    Weights of one dimension, which are biases and the scales of norms, do not decay unless `recipe.decay_all`: decay would
    pull a norm's scale to zero and gives a bias nothing. A body that is frozen at first is in groups of its own: torch's fused
    SGD begins the momentum of a whole group at once.
    """
    trainable = [(name, parameter) for name, parameter in net.named_parameters() if parameter.requires_grad]
    grouped: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in trainable:
        decay = recipe.weight_decay if recipe.decay_all or parameter.ndim > 1 else 0.0
        frozen = bool(recipe.freeze) and name.startswith("stages.")
        grouped.setdefault((decay, frozen), []).append(parameter)
    groups = [{"params": parameters, "weight_decay": decay} for (decay, _), parameters in grouped.items()]
    # Fused kernels update all weights in one pass over memory; MPS has none for every optimizer.
    fused = all(parameter.device.type in ("cpu", "cuda") for _, parameter in trainable)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, fused=fused)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.lr, fused=fused)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused)
