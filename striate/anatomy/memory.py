"""Memory of inference and of a training step, found by running them on the meta device and watching tensors come and go.

Forward pass, loss and backward pass really run, on shapes alone: what autograd keeps, and until when, is decided by torch itself.
Counted is what torch's allocator hands out, with the copies that convolutions make on the CPU. Left out: Python and torch
themselves (some 300 MiB), cuDNN's workspaces and the caching allocator's rounding on a GPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.func import functional_call
from torch.utils._pytree import tree_map_only

from striate.anatomy.heads import WithHeads
from striate.anatomy.shapes import quick_result, tensors_in
from striate.nets.weightless import LightMode

_aten = torch.ops.aten
Optimizer = Literal["sgd", "momentum", "adam"]
_COPIES: Mapping[Optimizer, tuple[int, int]] = {"sgd": (0, 1), "momentum": (1, 1), "adam": (2, 2)}
"""Values kept for each parameter, and made for the largest one while the optimizer steps (torch's loop, weight decay on)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes. `training` is less than the sum of its parts: gradients come as activations go."""

    batch: int
    optimizer: Optimizer
    weights: int
    """Parameters and buffers."""
    gradients: int
    optimizer_state: int
    activations: int | None
    """Kept from the forward pass for the backward pass, the batch of pictures included; None where `training` is."""
    inference: int
    """At the peak of a forward pass without gradients, weights and pictures included."""
    training: int | None
    """At the peak of a training step: forward, backward, update; None if the net cannot train on this batch (batch
    norm with one value a channel, for one)."""


def estimate_memory(module: nn.Module, picture: Sequence[int], batch: int, optimizer: Optimizer = "momentum") -> Memory:
    """Memory of `module` on batches of `batch` pictures (C, H, W), with the cross-entropy as its loss.

    Auxiliary heads of a `Net` take part in training. The module stays as it is.
    """
    step = WithHeads(module)
    state = _meta_state(step)
    parameters = [tensor for tensor in state.values() if tensor.requires_grad]
    kept, transient = _COPIES[optimizer]
    weights = sum(map(_bytes, state.values()))
    optimizer_state = kept * sum(map(_bytes, parameters))
    inference, _, _ = _run(WithHeads(module, heads=False), state, (batch, *picture), training=False)
    try:
        peak, activations, gradients = _run(step, state, (batch, *picture), training=True)
    except (RuntimeError, ValueError):
        peak, activations, gradients = 0, None, sum(map(_bytes, parameters))
    update = gradients + transient * max(map(_bytes, parameters), default=0)
    return Memory(
        batch=batch, optimizer=optimizer, weights=weights, gradients=gradients, optimizer_state=optimizer_state,
        activations=activations, inference=weights + inference,
        training=None if activations is None else weights + optimizer_state + max(peak, update),
    )  # fmt: skip


def parameters_without_gradient(module: nn.Module, picture: Sequence[int]) -> list[str]:
    """Names of the parameters that a training step leaves without a gradient, auxiliary heads of a `Net` taking part."""
    step = WithHeads(module)
    state = _meta_state(step)
    _run(step, state, (2, *picture), training=True)
    return [name.removeprefix("net.") for name, tensor in state.items() if tensor.requires_grad and tensor.grad is None]


def _meta_state(step: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of the same shapes on the meta device."""
    return {
        name: torch.empty_strided(
            tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta", requires_grad=tensor.requires_grad
        )
        for name, tensor in [*step.named_parameters(), *step.named_buffers()]
    }


class _Loss(torch.autograd.Function):
    """A loss that needs the memory of the cross-entropy: it keeps the logarithms of the probabilities for its gradient."""

    @staticmethod
    def forward(ctx: Any, *outputs: Tensor) -> Tensor:
        ctx.save_for_backward(*(_like(output) for output in outputs))
        return outputs[0].new_empty(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, ...]:
        return tuple(_like(logarithms) for logarithms in ctx.saved_tensors)


def _like(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, device="meta", dtype=tensor.dtype)


def _run(
    step: WithHeads, state: Mapping[str, Tensor], shape: Sequence[int], training: bool
) -> tuple[int, int | None, int]:
    """(bytes at the peak, bytes kept for the backward pass, bytes of gradients), weights left out."""
    picture = torch.empty(tuple(shape), device="meta", dtype=next((t.dtype for t in state.values()), None))
    meter = _Meter()
    meter.count(picture)
    for tensor in state.values():
        meter.known.add(tensor.untyped_storage()._cdata)
    kept = None
    with _modes(step, training), torch.set_grad_enabled(training), meter:
        outputs = functional_call(step, dict(state), (picture,))
        if training:
            loss = _Loss.apply(*[output for output in outputs if output.requires_grad])
            del outputs
            kept = meter.live
            loss.backward()
    gradients = sum(_bytes(tensor.grad) for tensor in state.values() if tensor.grad is not None)
    return meter.peak, kept, gradients


@contextmanager
def _modes(module: nn.Module, training: bool) -> Any:
    """Every module in training or eval mode for a while."""
    before = {part: part.training for part in module.modules()}
    try:
        module.train(training)
        yield
    finally:
        for part, mode in before.items():
            part.training = mode


class _Meter(LightMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that live, and remembers the most there were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known: set[int] = set()
        self.live = self.peak = 0

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not all(tensor.is_meta for tensor in tensors_in(*args, kwargs)):
            args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (tuple(args), kwargs))
        output = quick_result(func, args, kwargs)
        output = func(*args, **kwargs) if output is None else output
        for tensor in tensors_in(output):
            self.count(tensor)
        if func in (_aten.convolution.default, _aten.convolution_backward.default):
            self.peak = max(self.peak, self.live + _scratch(func, args, output))
        return output

    def count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.known:
            return
        self.known.add(key)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size


def _scratch(func: OpOverload, args: Sequence[Any], output: Any) -> int:
    """Bytes of the copies that oneDNN makes for a convolution on the CPU: channels in blocks of 16, few ones filled up."""

    def blocked(tensor: Tensor) -> int:
        channels = tensor.shape[1]
        return _bytes(tensor) // channels * (-(-channels // 16) * 16)

    if func is _aten.convolution.default:
        picture, weight = args[:2]
        return _bytes(weight) + blocked(output) + (blocked(picture) if picture.shape[1] >= 16 else 0)
    gradient, picture, weight = args[:3]
    other = blocked(picture) if picture.shape[1] > 3 or output[0] is not None else 0
    return _bytes(weight) + blocked(gradient) + other


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
