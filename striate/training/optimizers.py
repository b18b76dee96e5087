"""The optimizer of a recipe."""

from __future__ import annotations

import torch
from torch import nn

from striate.recipe import Recipe


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over the net's trainable parameters; its rate is set before every step.

    Weights of one dimension, which are biases and the scales of norms, do not decay unless `recipe.decay_all`: decay would
    pull a norm's scale to zero and gives a bias nothing.
    """
    trainable = [parameter for parameter in net.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trainable if recipe.decay_all or parameter.ndim > 1]
    spared = [parameter for parameter in trainable if not (recipe.decay_all or parameter.ndim > 1)]
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((decayed, recipe.weight_decay), (spared, 0.0))
        if parameters
    ]
    # Fused kernels update all weights in one pass over memory; MPS has none for every optimizer.
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in trainable)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, fused=fused)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.lr, fused=fused)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused)
