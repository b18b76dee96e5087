"""PyTorch's optimizers without the wrappers that hide their methods from torch.compile.

The wrappers import the compiler, which takes longer than importing all the rest, and here no compiled code calls an optimizer.
"""

from __future__ import annotations

from inspect import unwrap

import torch


class _Plain(torch.optim.Optimizer):
    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)


class SGD(_Plain, torch.optim.SGD):
    """Stochastic gradient descent."""

    step = torch.no_grad()(unwrap(torch.optim.SGD.step))


class Adam(_Plain, torch.optim.Adam):
    """Adam (Kingma and Ba 2014)."""

    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class AdamW(_Plain, torch.optim.AdamW):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2017)."""

    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
