"""The inputs a net accepts: the smallest image, and why a smaller one, or mismatched layers, must fail."""

from __future__ import annotations

import inspect
from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import prod
from typing import TypeVar

from torch import nn

from striate.anatomy.graph import Graph, Shape
from striate.anatomy.recording import Call
from striate.anatomy.sizes import Window
from striate.anatomy.tracing import NothingGiven, TraceFailure, WithHeads, trace, wants_values
from striate.errors import UsageError
from striate.nets.copying import Copies, UncopyableError
from striate.texts import dimensions

_T = TypeVar("_T")
_LARGEST = 1024
_ON_VALUES = (
    "The net was run on shapes only, and its forward reads values, as `if x.sum() > 0`, `.item()`, `.numpy()` and a "
    "mask as an index do: its computation depends on pixel values. Use shapes only, or select by arithmetic, as torch.where does."
)


def trace_or_explain(module: nn.Module, input_shape: Sequence[int], name: str) -> Graph:
    """`trace`, with an explanation instead of torch's bare message.

    Raises:
        UsageError: names the layer that fails, its numbers, the number that would fit, and the smallest image.
    """
    check_lazy(module, input_shape, name)
    try:
        return trace(module, input_shape)
    except TraceFailure as failure:
        raise UsageError(explain_failure(module, input_shape, name, failure)) from failure


def without_weights_or_with(use: Callable[[bool], _T]) -> _T:
    """use(without_weights=True), and use(False) if the net was refused because it asked for values, which it has none of then."""
    try:
        return use(True)
    except UsageError as error:
        if not (isinstance(error.__cause__, TraceFailure) and wants_values(error.__cause__.cause)):
            raise
    return use(False)


def check_lazy(module: nn.Module, input_shape: Sequence[int], name: str) -> None:
    """Raises UsageError if the net has layers that have no shapes before their first batch."""
    lazy = [path for path, part in module.named_modules() if isinstance(part, nn.modules.lazy.LazyModuleMixin)]
    if any(isinstance(parameter, nn.UninitializedParameter) for parameter in module.parameters()):
        which = f" ({', '.join(lazy[:3])})" if any(lazy) else ""
        raise UsageError(
            f"{name} has lazy layers whose shapes are not known yet{which}: run it once on a batch, as in "
            f"net(torch.zeros{tuple(input_shape)}), or build it with explicit channels"
        )


def smallest_input(module: nn.Module, channels: int, *, at_most: int = _LARGEST) -> int | None:
    """Side in pixels of the smallest square image that the net takes; None if it takes none up to `at_most`.

    Found by halving the interval between a size that fails and one that works, and confirmed: a net may take some small
    sizes and refuse larger ones (windows that divide evenly), so all sizes below the one found are tried as well where there
    are few, and the size found is one that works, with the next smaller one failing.
    """
    copies = with_heads(module)
    works = first_usual(copies, channels, at_most)
    return None if works is None else smallest_below(copies, channels, works)


def smallest_below(copies: Copies, channels: int, works: int) -> int:
    """`smallest_input` of a net that is known to take images of the side `works`."""

    def takes(side: int) -> bool:
        return runs(copies, (1, channels, side, side))

    works = bisect_left(range(works), True, lo=1, key=takes)
    return next((side for side in range(1, min(works, 16)) if takes(side)), works)  # of sizes below a gap the first


def with_heads(module: nn.Module | Copies) -> Copies:
    """Copies of the net with its auxiliary heads."""
    return module if isinstance(module, Copies) else Copies(WithHeads(module))


def runs(module: nn.Module | Copies, input_shape: Sequence[int]) -> bool:
    """Whether the net, with its auxiliary heads, takes that input."""
    try:
        trace(with_heads(module), input_shape)
    except TraceFailure:
        return False
    return True


def first_usual(copies: Copies, channels: int, at_most: int = _LARGEST) -> int | None:
    """The first of the usual sides of images, 224 before all, that the net takes; None if it takes none up to `at_most`."""
    usual = (224, 32, 28, 64, 96, 128, 227, 299, 256, 384, 512, at_most)
    return next((side for side in usual if side <= at_most and runs(copies, (1, channels, side, side))), None)


def explain_failure(module: nn.Module, input_shape: Sequence[int], name: str, failure: TraceFailure) -> str:
    """Which layer fails, why, and what to do."""
    call = failure.calls[-1]
    part = module.get_submodule(call.module)
    kind = type(part).__name__
    where = f"layer {call.module} ({kind})" if call.module else f"the forward method of {kind}"
    picture = dimensions(input_shape[1:])
    lines = [f"{name} does not take an image of {picture}: {where} fails.", _reason(part, call, failure)]
    if trail := _trail(failure.graph):
        lines.append(f"Layers that ran before it: {trail}.")
    if (failure.operation or failure.calls[1:]) and not _is_mismatch(part, call):
        smallest = smallest_input(module, input_shape[1])
        if smallest is None and (whole := _only_batch(module, input_shape)):
            lines.append(
                f"It takes {whole} images at a time and no other number: take the number from the input, as len(x), "
                "or reshape with flatten(1)."
            )
        if smallest is not None:
            lines.append(f"The smallest square image that it takes is {smallest}x{smallest}.")
    return "\n".join(lines)


def _only_batch(module: nn.Module, input_shape: Sequence[int]) -> int | None:
    """The one number of images that the net takes at a time, of the usual ones; None if it takes none."""
    copies = with_heads(module)
    return next((many for many in (2, 4, 8, 16, 32, 64, 128, 256) if runs(copies, (many, *input_shape[1:]))), None)


def _is_mismatch(part: nn.Module, call: Call) -> bool:
    """The layer's own numbers are wrong whatever the image's size."""
    return (
        isinstance(part, nn.modules.conv._ConvNd) and bool(call.inputs) and call.inputs[0][1:2] != (part.in_channels,)
    )


_CHANNELS = (
    (nn.modules.conv._ConvNd, "in_channels", "input channels"),
    (nn.modules.batchnorm._BatchNorm, "num_features", "channels"),
)


def _reason(part: nn.Module, call: Call, failure: TraceFailure) -> str:
    """The layer's rule with its numbers, and the change that would satisfy it."""
    shape = call.inputs[0] if call.inputs else ()
    # What torch's layers say of shapes is a RuntimeError or an IndexError.
    if _has_no_forward(failure.cause) or not isinstance(failure.cause, RuntimeError | IndexError):
        return _own_reason(part, failure)
    if wants_values(failure.cause):
        return f"torch says: {str(failure.cause).rstrip('.')}. {_ON_VALUES}"
    if isinstance(part, nn.Linear) and shape[-1:] != (part.in_features,):
        return _linear_reason(part, shape, failure.graph)
    for kind, name, what in _CHANNELS:
        if isinstance(part, kind) and shape[1:2] != (getattr(part, name),):
            built, got = getattr(part, name), shape[1] if len(shape) > 1 else 0
            return f"It was built for {built} {what} and gets {got}: build it with {name}={got}, or give it {built} channels."
    kernel = getattr(part, "kernel_size", None)
    if kernel is not None and len(shape) == 4 and (reason := _window_reason(part, shape)):
        return reason
    if failure.operation in ("cat", "add", "sub", "mul", "add_") and len(failure.operands) > 1:
        return _meeting_reason(failure.operation, failure.operands)
    if failure.operation in ("addmm", "mm", "bmm") and len(failure.operands) > 1:
        left, right = failure.operands[-2:]
        return (
            f"A matrix product needs as many columns on the left as rows on the right: {dimensions(left)} times "
            f"{dimensions(right)} has {left[-1]} and {right[-2]}."
        )
    if failure.operation in ("view", "_unsafe_view", "reshape") and failure.operands:
        count = prod(failure.operands[0][1:])
        return f"It reshapes {count:,} values an image ({dimensions(failure.operands[0][1:])}); {failure.cause}."
    return f"torch says: {str(failure.cause).rstrip('.')}."


def _own_reason(part: nn.Module, failure: TraceFailure) -> str:
    """The exception of the user's code, or its missing arguments."""
    cause = failure.cause
    if isinstance(cause, NothingGiven | UncopyableError):
        return f"{str(cause)[:1].upper()}{str(cause)[1:]}."
    if isinstance(cause, TypeError) and (missing := _needed(part)):
        return (
            f"Its forward needs {' and '.join(missing)} besides the image: give them defaults, or wrap the net in a "
            "module that supplies them."
        )
    if _has_no_forward(cause):
        return "It has no forward method: add one that takes the images and returns the logits."
    advice = f" {_ON_VALUES}" if wants_values(cause) else ""
    return f"It raises {type(cause).__name__}: {str(cause).rstrip('.')}.{advice}"


def _has_no_forward(cause: Exception) -> bool:
    return isinstance(cause, NotImplementedError) and 'missing the required "forward"' in str(cause)


def _needed(part: nn.Module) -> list[str]:
    """Arguments of its forward without a default, the first one aside: that is the image."""
    try:
        arguments = list(inspect.signature(part.forward).parameters.values())
    except (TypeError, ValueError):
        return []
    named = [one for one in arguments if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    positional = [one for one in named if one.kind is not one.KEYWORD_ONLY]
    return [one.name for one in named if one.default is one.empty and one not in positional[:1]]


def _linear_reason(part: nn.Linear, shape: Shape, graph: Graph) -> str:
    """The number of features, and where it comes from."""
    got = shape[-1] if shape else 0
    maps = next((node.shape[1:] for node in reversed(graph.nodes) if len(node.shape) == 4), None)
    text = f"It was built for {part.in_features:,} features and gets {got:,}"
    if maps is not None and len(shape) == 2 and prod(maps) == got:
        channels, *sides = maps
        text += f" = {channels} channels of {dimensions(sides)}"
        side = round((part.in_features / channels) ** 0.5)
        if side**2 * channels == part.in_features:
            text += f", where {channels} channels of {side}x{side} were expected"
        return (
            f"{text}. Either build it with in_features={got}, or give the net images of the size it was made for, or "
            f"pool the maps to a fixed size before flattening (AdaptiveAvgPool2d)."
        )
    if maps is not None and shape and len(shape) == 4:
        return (
            f"{text}: the maps ({dimensions(maps)}) were not flattened. Put nn.Flatten() before it; "
            f"then it needs in_features={prod(maps)}."
        )
    return f"{text}. Build it with in_features={got}."


def _window_reason(part: nn.Module, shape: Shape) -> str | None:
    """Says that the layer's window is wider than the map; None if it is not."""

    def at(side: int, name: str, usual: int) -> int:
        value = getattr(part, name, usual)
        return value if isinstance(value, int) else int(value[side % len(value)])

    if isinstance(getattr(part, "padding", 0), str):
        return None
    for side, size in enumerate(shape[2:]):
        window = Window(
            kernel=at(side, "kernel_size", 1), padding=at(side, "padding", 0), dilation=at(side, "dilation", 1)
        )
        padded = size + 2 * window.padding
        if window.span > padded:
            taps = f" ({window.kernel} taps, dilation {window.dilation})" if window.dilation > 1 else ""
            return (
                f"Its window is {window.span} pixels{taps} wide, and its input only {size} + 2*{window.padding} = "
                f"{padded}. Earlier layers have reduced the image too much: use a larger image, or remove a pooling "
                "layer or a stride before it."
            )
    return None


def _meeting_reason(operation: str, operands: Sequence[Shape]) -> str:
    word = "concatenated" if operation == "cat" else "combined elementwise"
    shapes = " and ".join(dimensions(shape[1:]) for shape in operands)
    different = {
        axis
        for place, axis in enumerate(("channels", "height", "width"), start=1)
        if len({s[place] for s in operands if len(s) > place}) > 1 and not (operation == "cat" and place == 1)
    }
    return (
        f"Branches of {shapes} are {word}, and differ in {' and '.join(sorted(different)) or 'shape'}: give the "
        "branches the same strides and padding, or add a 1x1 convolution to the shorter one."
    )


def _trail(graph: Graph) -> str:
    """The last few shapes on the way."""
    steps: list[str] = []
    for node in graph.nodes:
        text = dimensions(node.shape[1:])
        if not steps or steps[-1] != text:
            steps.append(text)
    return " -> ".join(steps if len(steps) <= 8 else [*steps[:2], "...", *steps[-5:]]) if len(steps) > 1 else ""
