"""A net is a function of one image, and it is asked: on four fixed images, in evaluation mode.

Its answers must be numbers, the same twice, the same for an image alone and among others, and the same from a module that is
built anew and given the weights. A net whose answers are not is refused by the name of the cause.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from striate.anatomy.finding import Finding
from striate.anatomy.soundness import NAMES, loose_weights, unsound_causes
from striate.anatomy.watching import unowned, watch
from striate.data.draws import hashes
from striate.data.preprocessing import Preprocessing
from striate.nets.copying import copied
from striate.nets.external import inner
from striate.nets.hooks import evaluating, set_mode
from striate.nets.undisturbed import undisturbed
from striate.texts import counted

IMAGES = 4
ROUNDING = 1e-5
"""Tolerance as a share of the largest logit: less is rounding. Kernels that depend on the batch size differ by about 1e-6."""
ROUNDING_64, ROUNDING_SHARE = 1e-6, 0.01
"""A larger difference is rounding if in float64 it is below the first, or by the second smaller than in float32."""
ROUNDING_ALONE = 1e-2
"""Tolerance as a share of the largest logit, where float64 cannot be had: nets with deep stacks of layers amplify rounding."""
LIGHT = 500_000_000
"""MACs an image up to which each image is asked for alone."""
_STREAM = 99  # of the images' draws; no stream of training has it
_BLANK = "0 / 0 or log(0), as when dividing by an image's own standard deviation, which is 0 if all pixels are equal"


@dataclass(frozen=True, slots=True)
class Asked:
    """The answers of a net.

    Attributes:
        logits: float32 (4, classes), of the fixed images.
        fault: why it is no function of one image; None if it is one.
    """

    logits: Tensor
    fault: Finding | None


def fixed_images(channels: int, height: int, width: int) -> Tensor:
    """uint8 (4, H, W, C), the same everywhere: black, noise, a gradient, and dark noise in the upper half of a bright image."""
    places = torch.arange(height * width * channels)
    noise = (hashes(0, 0, places, _STREAM) & 255).view(height, width, channels)
    across = (torch.arange(width) * 255 // max(width - 1, 1)).view(1, width, 1).expand(height, width, channels)
    upper = (torch.arange(height) * 2 < height).view(height, 1, 1)
    halves = torch.where(upper, noise // 4, 255 - noise // 16)
    return torch.stack((torch.zeros_like(noise), noise, across, halves)).to(torch.uint8)


def images_as_fed(preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """float32 (4, C, H, W): the fixed images as a net is fed them.

    The first one has one value everywhere, in all channels alike, as no colour has after each channel's own normalisation. It is
    -1, whose mean and deviation floats compute exactly: what divides by the deviation divides by 0, and not by a rounding error.
    """
    images = preprocessing.tensor(fixed_images(preprocessing.channels, *preprocessing.size).numpy())
    images[0] = -1
    return images.to(device)


def ask(net: nn.Module, images: Tensor, *, heavy: bool = False, again: Callable[[], nn.Module] | None = None) -> Asked:
    """Asks a copy of the net in eval mode; the net, what its class and file keep and random generators stay as they are.

    Args:
        images: float32 (4, C, H, W), the fixed images as the net is fed, on its device.
        heavy: ask for fewer of the images alone.
        again: builds a second net with other weights on the CPU; None if that is not possible.
    """
    with undisturbed(inner(net)), torch.no_grad():
        twin = copied(net)
        set_mode(twin, training=False)
        whole, fault = _first_answer(twin, images)
        if fault is not None:
            return Asked(whole, fault)
        number = bool(whole.isfinite().all())
        exact = _Exact(twin, images)
        if not number:
            fault = _not_finite(twin, images, whole, exact)
        if fault is None:
            fault = _among_others(twin, images, whole if number else None, exact, heavy)
        if fault is None and again is not None and number:
            fault = _built_anew(net, again(), images, whole)
    return Asked(whole, fault)


def answers(net: nn.Module, images: Tensor) -> Tensor:
    """float32 (N, classes) on the CPU, of images as the net is fed; the net is left in its mode."""
    with evaluating(net), torch.no_grad():
        found: Tensor = net(images).float().cpu()
    return found


def reproduces(expected: Tensor, found: Tensor) -> bool:
    """Whether answers are those that were kept, but for the rounding of another machine or device."""
    if expected.shape != found.shape:
        return False
    numbers = expected.isfinite()
    if not bool(numbers.any()):
        return not bool(found.isfinite().any())
    near = (expected - found).abs() <= ROUNDING_ALONE * expected[numbers].abs().max()
    return bool(torch.where(numbers, near, ~found.isfinite()).all())


class _Exact:
    """The net in float64, made when it is first needed: what is left of a difference there is no rounding."""

    def __init__(self, net: nn.Module, images: Tensor) -> None:
        self.net, self.images = net, images

    @cached_property
    def _made(self) -> nn.Module:
        return copied(self.net).double()

    def pair(self, group: Sequence[int]) -> tuple[Tensor, Tensor] | None:
        """float64 logits of those images, of a call for all images and of one for them; None where the net cannot compute so."""
        try:
            whole, part = (self._made(self.images[list(places)].double()) for places in (range(IMAGES), group))
            return whole.double()[list(group)], part.double()
        except Exception:
            return None


def _first_answer(net: nn.Module, images: Tensor) -> tuple[Tensor, Finding | None]:
    """The logits of all images together, and what is wrong with their shape or with the weights that were read for them."""
    try:
        seen = watch(net, images)
    except Exception:  # what cannot be watched can perhaps be run
        output, fault = net(images), None
    else:
        output, fault = seen.output, loose_weights(seen)
    if fault is None:
        fault = _shape_fault(output, len(images))
    return (output.float() if isinstance(output, Tensor) else torch.empty(0)), fault


def _shape_fault(output: Any, count: int, classes: int | None = None) -> Finding | None:
    shape = tuple(output.shape) if isinstance(output, Tensor) else ()
    if len(shape) == 2 and shape[0] == count and classes in (None, shape[1]):
        return None
    shown = "x".join(map(str, shape)) or "one number"
    given = f"a tensor of {shown}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
    return Finding(
        name="wrong-output-shape",
        where=("the output",),
        why=f"For {counted(count, 'image')} it gives {given}, and not {count} rows of logits.",
        remedy="Reshape with flatten(1) and squeeze with the dimension named: squeeze() drops the batch of one image too.",
    )


def _not_finite(net: nn.Module, images: Tensor, whole: Tensor, exact: _Exact) -> Finding | None:
    """The fault where answers are NaN or infinite; None where float32 only overflowed, as fresh deep nets let it."""
    double = exact.pair(range(IMAGES))
    if double is not None and bool(double[0].isfinite().all()):
        return None
    bad = (~whole.isfinite().all(1)).nonzero().flatten().tolist()
    kind = "NaN" if bool(whole.isnan().any()) else "infinity"
    which = "a uniform image" if bad == [0] else f"{len(bad)} of {IMAGES} images"
    return _no_number(_first_not_finite(net, images), why=f"For {which} it gives {kind}, which is no answer")


def _no_number(*where: str, why: str) -> Finding:
    return Finding(
        name="not-finite",
        where=where or ("the output",),
        why=f"{why}: look for {_BLANK}.",
        remedy="Add a small number to the divisor, as in x / (deviation + 1e-5), or to the argument of the logarithm.",
    )


def _first_not_finite(net: nn.Module, images: Tensor) -> str:
    """The operation that made the first NaN, or the infinity that became one."""
    try:
        seen = watch(net, images, values=True)
    except Exception:
        return "the output"
    steps = [seen.steps[index] for index in seen.live]
    step = next((s for s in steps if s.nan), None) or next((s for s in steps if s.infinite), None)
    if step is None:
        return "the output"
    while before := [seen.steps[index] for index in step.inputs if index >= 0 and seen.steps[index].infinite]:
        step = before[0]
    return f"{step.operation} in {step.place}" if step.module else step.place


def _among_others(net: nn.Module, images: Tensor, whole: Tensor | None, exact: _Exact, heavy: bool) -> Finding | None:
    """Whether answers are the same in a second call, in another order, in other company and alone."""
    groups = [[3, 1], [0]] if heavy else [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0], [0], [1], [2], [3]]
    for group in groups:
        try:
            found = net(images[group])
        except Exception as error:
            if len(group) == IMAGES:
                raise
            said = f"It takes {IMAGES} images together, and refuses {counted(len(group), 'image')}: {error}."
            return _caused(net, images, "company", said)
        if (fault := _shape_fault(found, len(group), None if whole is None else whole.shape[1])) is not None:
            return fault
        if whole is not None and _equal(whole[group], found.float(), exact, group):
            continue
        if whole is None:  # in float32 it overflowed
            pair = exact.pair(group)
            if pair is None or bool((pair[0] - pair[1]).abs().max() <= ROUNDING_64 * pair[0].abs().max()):
                continue
        if not _equal(net(images).float(), net(images).float(), exact, range(IMAGES)):
            return _caused(net, images, "call", "A second call with the same images gives different answers.")
        if whole is not None and 0 in group and _only_blank(net, images, whole, exact):
            return _blank_is_rounding(net, images)
        which = f"{counted(len(group), 'image')} alone" if len(group) == 1 else "the same images in another batch"
        return _caused(net, images, "company", f"Answers for {which} differ from those for all {IMAGES} together.")
    return None


def _only_blank(net: nn.Module, images: Tensor, whole: Tensor, exact: _Exact) -> bool:
    """Whether all images but the blank one have the same answers in other company and alone."""
    groups = [[1, 2, 3], [1], [2], [3]]
    return all(_equal(whole[group], net(images[group]).float(), exact, group) for group in groups)


def _blank_is_rounding(net: nn.Module, images: Tensor) -> Finding:
    """The fault of a net that divides by what is 0 for a blank image, and by chance is a rounding error instead."""
    steps = watch(net, images[:1]).steps
    divisions = [step.place for step in steps if step.operation in ("div", "reciprocal", "rsqrt", "log")]
    return _no_number(
        *dict.fromkeys(divisions), why="For a blank image its answer is a rounding error, and NaN with other neighbours"
    )


def _equal(a: Tensor, b: Tensor, exact: _Exact, group: Sequence[int]) -> bool:
    """Whether logits of a group of images, among all images and by themselves, are the same but for rounding."""
    scale = float(a.abs().max())
    difference = float((a - b).abs().max())
    if difference <= ROUNDING * scale:
        return True
    pair = exact.pair(group)
    if pair is None:
        return difference <= ROUNDING_ALONE * scale
    left = float((pair[0] - pair[1]).abs().max())
    return left <= max(ROUNDING_64 * float(pair[0].abs().max()), ROUNDING_SHARE * difference)


def _built_anew(net: nn.Module, fresh: nn.Module, images: Tensor, whole: Tensor) -> Finding | None:
    """Whether a fresh module with this one's weights gives this one's answers."""
    inner(fresh).load_state_dict(inner(net).state_dict())
    if reproduces(whole.cpu(), answers(fresh.to(images.device), images)):
        return None
    return lost_by_loading(net)


def lost_by_loading(net: nn.Module) -> Finding:
    """The fault of a net whose weights, in a module built anew, give other answers."""
    module = inner(net)
    kept = module.state_dict()
    names = (*unowned(module), *(name for name, _ in module.named_buffers() if name not in kept))
    return Finding(
        name="answer-lost-by-loading",
        where=names or ("the module",),
        why="A newly built module with its saved weights gives different answers: part of its state is not saved.",
        remedy="Register every learned or random tensor with nn.Parameter or register_buffer (persistent), and create "
        "none in forward.",
    )


_FITTING = {
    "call": ("draws-in-evaluation", "state-changes-in-evaluation"),
    "company": tuple(name for name in NAMES if "evaluation" not in name),
}
"""Symptom -> names of its possible causes."""


def _caused(net: nn.Module, images: Tensor, kind: str, seen: str) -> Finding:
    """The fault by the name of its cause, as the net's operations show it, or by what was seen where they show none."""
    causes = unsound_causes(inner(net), images.shape[1:])
    fitting = [cause for cause in causes if cause.name in _FITTING[kind]] or list(causes)
    if fitting:
        first = fitting[0]
        return Finding(name=first.name, where=first.where, why=f"{first.why} {seen}", remedy=first.remedy)
    changes = kind == "call"
    return Finding(
        name="answer-changes" if changes else "answer-depends-on-company",
        where=("the forward pass",),
        why=seen,
        remedy="Look for random numbers of NumPy or Python, and for attributes that forward changes."
        if changes
        else "Look for operations over dimension 0, which holds the images of a batch, and for a view or reshape that mixes it "
        "with others, as after transpose(0, 1).",
    )
