"""The contract of every net in the catalogue, as one function that tests of your own net can call too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from striate.anatomy import Anatomy, inspect
from striate.anatomy.asking import answers, ask, images_as_fed, reproduces
from striate.anatomy.recording import picture_type
from striate.anatomy.targets import check_fit, describe
from striate.data.preprocessing import Preprocessing
from striate.errors import CheckError, UsageError, short_of_means, unknown_name
from striate.nets.copying import copied, plain
from striate.nets.external import adapt, inner
from striate.nets.hooks import set_mode
from striate.nets.net import Net
from striate.nets.undisturbed import undisturbed
from striate.training.step import TrainingStep

_ROUNDING = 1e-5
_TRAINED = 3
"""Images in the batch that gradients come from: batch norm makes two values +1 and -1, whatever the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """A net under test: `own` is a copy of it as a Net, in evaluation mode, and `again` builds it anew."""

    own: Net
    anatomy: Anatomy
    again: Callable[[], nn.Module]

    @property
    def dtype(self) -> torch.dtype:
        return picture_type(self.own) or torch.float32

    def images(self) -> Tensor:
        """(4, C, H, W): the fixed images that every net is asked about."""
        channels, *size = self.anatomy.input
        preprocessing = Preprocessing(
            size=(size[0], size[1]), channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels
        )
        return images_as_fed(preprocessing, torch.device("cpu")).to(self.dtype)


def check_net(
    net: nn.Module | Callable[[], nn.Module],
    input: Sequence[int] | None = None,
    *,
    classes: int | None = None,
    skip: Sequence[str] = (),
) -> None:
    """Checks that a net can be inspected, trained, saved and exported, and that its answers can be trusted.

    - `fit`: it is read on shapes, gives logits (N, classes) in training mode, and its state is tensors.
    - `answers`: in evaluation mode they are finite, and the same twice, for an image alone, in another order and among others.
    - `gradients`: they are finite, and reach every parameter; only those of biases ahead of batch norm may be zero. The net is
      finite after a step of SGD.
    - `smallest`: it answers for the smallest square image that it is said to take.
    - `saving`: a net that is built anew and given its weights from a file's bytes answers the same.
    - `export`: what `torch.export` makes of it answers the same.
    - `unchanged`: all of this leaves the net and the random generators as they were, to the bit.

    Args:
        net: a module, which is copied; or what makes one without arguments, such as its class. `saving` builds a second one
            then, and so finds weights that are no part of the state.
        input: (C, H, W) of the images; those that the net takes by default if None.
        classes: number of classes that it must have; as many as it gives if None.
        skip: names of checks to leave out.

    Raises:
        CheckError: what does not hold, a line for each check.
        UsageError: an unknown check, no net, or one that takes no such images.
    """
    for name in skip:
        if name not in CHECKS:
            raise unknown_name("check", name, CHECKS, ", ".join(CHECKS))
    module = net if isinstance(net, nn.Module) else net()
    if not isinstance(module, nn.Module):
        raise UsageError(f"the function must return a torch.nn.Module, got {type(module).__name__}")
    before, generator = _state(module), torch.get_rng_state()
    row = describe(module)
    image = tuple(input or row.input)
    anatomy = inspect(module, image, classes=classes)
    given = anatomy.graph.nodes[anatomy.graph.outputs[0]].shape[-1] if classes is None else classes
    own = adapt(copied(plain(module), "cpu"), row, image[0], given)
    set_mode(own, training=False)
    subject = _Subject(own=own, anatomy=anatomy, again=lambda: _anew(net))
    wrong = []
    for name, check in CHECKS.items():
        if name in skip:
            continue
        try:
            with undisturbed(inner(own)):
                fault = check(subject)
        except Exception as error:
            if short_of_means(error):
                raise
            fault = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        if fault is not None:
            wrong.append(f"{name}: {fault}")
    if "unchanged" not in skip and (changed := _changed(before, _state(module), generator)):
        wrong.append(f"unchanged: {', '.join(changed[:3])} changed during the checks")
    if wrong:
        raise CheckError(f"{row.name} fails {len(wrong)} of {len(CHECKS) - len(set(skip))} checks", *wrong)


def _anew(net: nn.Module | Callable[[], nn.Module]) -> nn.Module:
    """A net of the same form with other weights."""
    if not isinstance(net, nn.Module):
        torch.manual_seed(1)
        return net()
    twin = copied(net, "cpu")
    with torch.no_grad():
        for tensor in (*twin.parameters(), *twin.buffers()):
            tensor.zero_()
    return twin


def _fit(subject: _Subject) -> str | None:
    check_fit(subject.own, subject.anatomy.input[1:], subject.own.classes, "the check")
    return None


def _answers(subject: _Subject) -> str | None:
    fault = ask(subject.own, subject.images()).fault
    return None if fault is None else str(fault)


def _gradients(subject: _Subject) -> str | None:
    own = copied(subject.own).train()
    torch.manual_seed(0)
    images = torch.randn(_TRAINED, *subject.anatomy.input, dtype=subject.dtype)
    loss, _ = TrainingStep(own)(images, torch.arange(_TRAINED) % own.classes)
    loss.backward()
    learning = {name: parameter for name, parameter in inner(own).named_parameters() if parameter.requires_grad}
    useless = {
        f"{place}.bias"
        for finding in subject.anatomy.findings
        if finding.name == "bias-before-batchnorm"
        for place in finding.where
    }
    for name, parameter in learning.items():
        if (gradient := parameter.grad) is None:
            return f"{name} gets no gradient"
        if not bool(gradient.isfinite().all()):
            return f"the gradient of {name} is not finite"
        if name not in useless and not bool(gradient.any()):
            return f"the gradient of {name} is zero everywhere"
    steepest = max(learning.values(), key=lambda parameter: float(cast(Tensor, parameter.grad).abs().max()))
    before = steepest.detach().clone()
    torch.optim.SGD(learning.values(), lr=0.1).step()
    if bad := [name for name, parameter in learning.items() if not bool(parameter.isfinite().all())]:
        return f"after a step {bad[0]} is not finite"
    return "a step of SGD moves no parameter" if torch.equal(steepest, before) else None


def _smallest(subject: _Subject) -> str | None:
    side = subject.own.spec.min_size
    with torch.no_grad():
        logits = subject.own(torch.zeros(1, subject.own.channels, side, side, dtype=subject.dtype))
    if logits.shape != (1, subject.own.classes):
        return f"for one image of {side}x{side} it gives a tensor of {tuple(logits.shape)}"
    return None


def _saving(subject: _Subject) -> str | None:
    state = {
        name: value.clone(memory_format=torch.contiguous_format)
        for name, value in inner(subject.own).state_dict().items()
    }
    fresh = inner(subject.again())
    fresh.load_state_dict(load(save(state)))
    images = subject.images()
    own = adapt(fresh, subject.own.spec, subject.own.channels, subject.own.classes)
    if reproduces(answers(subject.own, images), answers(own, images)):
        return None
    return "a newly built net with its saved weights gives different answers: part of its state is not saved"


def _export(subject: _Subject) -> str | None:
    images = subject.images()[1:3]
    with torch.no_grad():
        exported = cast(Tensor, torch.export.export(subject.own, (images,)).module()(images))
        own = subject.own(images)
    # The same operations on the same tensors: nothing but rounding may differ.
    near = _ROUNDING * max(1.0, float(own.abs().max()))
    if torch.allclose(exported, own, rtol=_ROUNDING, atol=near, equal_nan=True):
        return None
    return "the result of torch.export gives different answers"


def _state(module: nn.Module) -> dict[str, object]:
    """The state that must not change: values, modes, gradients and hooks of all parts."""
    found: dict[str, object] = {}
    for path, part in module.named_modules():
        found[f"the mode of {path or 'the net'}"] = part.training
        found[f"the hooks of {path or 'the net'}"] = (len(part._forward_hooks), len(part._forward_pre_hooks))
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        found[name] = tensor.detach().clone()
        found[f"the gradient of {name}"] = None if tensor.grad is None else tensor.grad.clone()
    return found


def _changed(before: dict[str, object], after: dict[str, object], generator: Tensor) -> list[str]:
    def same(a: object, b: object) -> bool:
        if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
            return a is b or a == b
        return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())  # NaN stays NaN

    names = [name for name in before if name not in after or not same(before[name], after[name])]
    return names + ([] if torch.equal(generator, torch.get_rng_state()) else ["torch's random generator"])


CHECKS: dict[str, Callable[[_Subject], str | None]] = {
    "fit": _fit,
    "answers": _answers,
    "gradients": _gradients,
    "smallest": _smallest,
    "saving": _saving,
    "export": _export,
    "unchanged": lambda subject: None,
}
"""Name of a check -> what does not hold, or None. `unchanged` compares before and after all of them."""
