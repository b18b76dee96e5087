"""Memory of inference and of a training step, found by running them on the meta device and watching tensors come and go.

Forward pass, loss and backward pass really run, on shapes alone: what autograd keeps, and until when, is decided by torch itself.
Counted is what torch's allocator hands out, with the copies that convolutions make on the CPU. Left out: Python and torch
themselves (some 300 MiB), cuDNN's workspaces and the caching allocator's rounding on a GPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._ops import OpOverload

from striate.anatomy.recording import picture_type
from striate.anatomy.tensors import META, Given, MetaMode
from striate.anatomy.tracing import WithHeads, wants_values
from striate.nets.copying import Copies
from striate.nets.hooks import set_mode
from striate.nets.undisturbed import undisturbed

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
    """Kept from the forward pass for the backward pass, the batch of images included; None where `training` is."""
    inference: int
    """At the peak of a forward pass without gradients, weights and images included."""
    training: int | None
    """At the peak of a training step: forward, backward, update; None if the net cannot train on this batch (batch
    norm with one value a channel, for one)."""


def estimate_memory(module: nn.Module, picture: Sequence[int], batch: int, optimizer: Optimizer = "momentum") -> Memory:
    """Memory of `module` on batches of `batch` images (C, H, W), with the cross-entropy as its loss.

    Auxiliary heads of a `Net` take part in training. The module stays as it is.
    """
    shape = (batch, *picture)
    with undisturbed(module):
        copies = Copies(WithHeads(module))
        inference = _inference(copies, shape)
        step = copies.make(META)
        weights = sum(tensor.nbytes for tensor in (*step.parameters(), *step.buffers()))
        learned = [tensor.nbytes for tensor in step.parameters() if tensor.requires_grad]
        activations: int | None
        try:
            peak, activations, gradients = _run(step, shape, training=True)
        except Exception:  # whatever its author raises: it does not train on such a batch, or not without values
            peak, activations, gradients = 0, None, sum(learned)
    kept, transient = _COPIES[optimizer]
    optimizer_state = kept * sum(learned)
    update = gradients + transient * max(learned, default=0)
    return Memory(
        batch=batch, optimizer=optimizer, weights=weights, gradients=gradients, optimizer_state=optimizer_state,
        activations=activations, inference=weights + inference,
        training=None if activations is None else weights + optimizer_state + max(peak, update),
    )  # fmt: skip


def parameters_without_gradient(module: nn.Module, picture: Sequence[int]) -> list[str]:
    """Names of the parameters that a training step leaves without a gradient, auxiliary heads of a `Net` taking part.

    Empty where it cannot be trained on shapes.
    """
    with undisturbed(module):
        step = Copies(WithHeads(module)).make(META)
        try:
            _run(step, (2, *picture), training=True)
        except Exception:  # it does not train so: then nothing is known of its gradients
            return []
    return [
        name.removeprefix("net.")
        for name, value in step.named_parameters()
        if value.requires_grad and value.grad is None
    ]


class _Loss(torch.autograd.Function):
    """A loss that needs the memory of the cross-entropy: it keeps the logarithms of the probabilities for its gradient."""

    @staticmethod
    def forward(ctx: Any, *outputs: Tensor) -> Tensor:
        ctx.save_for_backward(*(torch.empty_like(output) for output in outputs))
        return outputs[0].new_empty((), dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(logarithms) for logarithms in ctx.saved_tensors)


def _inference(copies: Copies, shape: Sequence[int]) -> int:
    """Bytes at the peak of a forward pass, weights left out."""
    try:
        return _run(copies.make(META), shape, training=False)[0]
    except Exception as error:
        if not wants_values(error):
            raise
    return _run(copies.make(), shape, training=False)[0]


def _run(step: nn.Module, shape: Sequence[int], training: bool) -> tuple[int, int, int]:
    """(bytes at the peak, bytes kept for the backward pass, bytes of gradients), weights left out; `step` is a copy."""
    picture = torch.empty(tuple(shape), device=META, dtype=picture_type(step))
    meter = _Meter()
    meter.count(picture)
    for tensor in [*step.parameters(), *step.buffers()]:
        meter.known.add(tensor.untyped_storage()._cdata)
    set_mode(step, training)
    vars(step)["heads"] = training
    with torch.set_grad_enabled(training), meter:
        outputs = step(picture)
        loss = None
        if learning := [output for output in outputs if output.requires_grad]:
            loss = _Loss.apply(*learning)
            del outputs, learning
        kept = meter.live
        if loss is not None:
            loss.backward()
    gradients = sum(tensor.grad.nbytes for tensor in step.parameters() if tensor.grad is not None)
    return meter.peak, kept, gradients


class _Meter(MetaMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that live, and remembers the most there were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known: set[int] = set()
        self.live = self.peak = 0

    def ran(self, func: OpOverload, arguments: Mapping[str, Any], given: list[Given], results: list[Tensor]) -> None:
        for tensor in results:
            self.count(tensor)
        if func in (_aten.convolution.default, _aten.convolution_backward.default):
            self.peak = max(self.peak, self.live + _scratch(arguments, results[0]))

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


def _scratch(arguments: Mapping[str, Any], result: Tensor) -> int:
    """Bytes of the copies that oneDNN makes for a convolution on the CPU: channels in blocks of 16, few ones filled up."""

    def blocked(tensor: Tensor) -> int:
        channels = tensor.shape[1]
        return tensor.nbytes // channels * (-(-channels // 16) * 16)

    picture, weight = arguments["input"], arguments["weight"]
    if "grad_output" not in arguments:
        return int(weight.nbytes + blocked(result) + (blocked(picture) if picture.shape[1] >= 16 else 0))
    other = blocked(picture) if picture.shape[1] > 3 or arguments["output_mask"][0] else 0
    return int(weight.nbytes + blocked(arguments["grad_output"]) + other)
