"""The nets that `striate inspect` and `striate train` accept, and what is known about them without data."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import getsourcefile
from pathlib import Path

import torch
from torch import Tensor, nn

from striate.anatomy.input_size import (
    check_lazy,
    first_usual,
    smallest_below,
    trace_or_explain,
    with_heads,
    without_weights_or_with,
)
from striate.anatomy.recording import picture_type
from striate.anatomy.soundness import unsound_causes
from striate.anatomy.tracing import TraceFailure, trace
from striate.errors import UsageError, short_of_means
from striate.nets import build, spec
from striate.nets.copying import UncopyableError, copied, plain
from striate.nets.external import ExternalFacts, ExternalNet, Input, inner, input_channels, is_external, make
from striate.nets.metadevice import on_meta_device
from striate.nets.net import Net
from striate.nets.netspec import NetFacts
from striate.nets.outputs import Logits, names_in
from striate.nets.sources import read_source, source_path
from striate.nets.undisturbed import undisturbed
from striate.texts import dimensions

_ANY_CLASSES = 10
"""Number of classes of a net that is only looked at, when the number is not known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A net to be looked at, on the meta device where we built it ourselves."""

    name: str
    module: nn.Module
    input: Input | None
    """(C, H, W) that it takes by default; None if nothing says so."""
    classes: int | None
    """Number of classes that was asked for, or that the catalogue's row has."""


def resolve(
    target: nn.Module | str, *, channels: int | None = None, classes: int | None = None, without_weights: bool = True
) -> Target:
    """Finds and builds what `target` names, without weights unless an external one is to have them.

    Args:
        target: a catalogue name (`lenet5`), or what `striate.nets.external.make` takes: `FILE.py:OBJECT`,
            `torchvision:NAME`, `timm:NAME`. A module is taken as it is.
        channels: of the input; the net's own default if None.
        classes: likewise.

    Raises:
        UsageError: there is no such net, file or object, or it takes no such channels or classes.
    """
    if isinstance(target, nn.Module):
        row = getattr(target, "spec", None)
        if not (isinstance(target, Net) and isinstance(row, NetFacts)):
            return Target(name=type(target).__name__, module=target, input=None, classes=classes)
        return Target(name=row.name, module=target, input=(target.channels, *row.input[1:]), classes=classes)
    if is_external(target):
        made = make(target, channels=channels, classes=classes, without_weights=without_weights)
        return Target(name=target, module=made.module, input=made.input, classes=classes)
    with on_meta_device():
        net = build(target, channels=channels, classes=classes)
    return Target(name=target, module=net, input=(net.channels, *net.spec.input[1:]), classes=net.classes)


def describe(net: object) -> NetFacts:
    """The facts about a net without data: its catalogue row, or the result of running it on shapes.

    Args:
        net: what `resolve` takes, or a module.

    Raises:
        UsageError: there is no such net, or it takes no images.
    """
    if isinstance(net, nn.Module):
        return _describe_module(net)
    if not isinstance(net, str):
        what = f"the class {net.__name__}: make one, as in {net.__name__}()" if isinstance(net, type) else repr(net)
        raise UsageError(f"a net is a name or a torch.nn.Module, got {what}")
    if not is_external(net):
        return spec(net)
    scheme, _, name = net.rpartition(":")
    path = source_path(net)
    source = None if path is None else read_source(path)

    def tried(without_weights: bool) -> tuple[Input, int]:
        # Three channels: a net that takes any number is to see photos in colour.
        made = make(net, channels=3, classes=_ANY_CLASSES, without_weights=without_weights, source=source)
        return _pictures(made, net)

    input, smallest = without_weights_or_with(tried)
    origin = {"target": net, "min_size": smallest} | (
        {"file": str(source.path), "sha256": source.sha256} if source is not None else {}
    )
    return ExternalFacts(
        name=net,
        title=f"{name} in {source.path.name}" if source is not None else f"{name} of {scheme}",
        family="external",
        input=input,
        min_size=smallest,
        make=lambda channels, classes, pretrained: make(
            net, channels=channels, classes=classes, pretrained=pretrained, source=source
        ),
        origin=origin,
    )


def _describe_module(module: nn.Module) -> NetFacts:
    module = plain(module)
    kind = type(module)
    name = f"{kind.__module__}:{kind.__qualname__}"

    def given(channels: int, classes: int, pretrained: bool) -> ExternalNet:
        if pretrained:
            raise UsageError(f"pretrained is for nets given by name: this {name} starts with its own weights")
        return ExternalNet(module=copied(plain(module), "cpu"))

    row = getattr(module, "spec", None)
    if isinstance(module, Net) and isinstance(row, NetFacts):  # of the catalogue: a run finds it by its name
        return ExternalFacts(
            name=row.name, title=row.title, family=row.family, input=(module.channels, *row.input[1:]),
            min_size=row.min_size, make=given, origin={**row.origin, "given": True},
        )  # fmt: skip
    input, smallest = _pictures(ExternalNet(module=module), name)
    return ExternalFacts(
        name=name, title=kind.__name__, family="external", input=input, min_size=smallest, make=given,
        origin={"min_size": smallest, "given": True} | _file_of(module, input),
    )  # fmt: skip


def _file_of(module: nn.Module, input: Input) -> dict[str, str]:
    """`target`, `file` and `sha256` of a module whose class, called from its file as `make` would, gives such a net again.

    Such a net is the same operations in the same order, with the same settings and the same names and shapes of tensors.
    Empty if that is not so, and for classes of a script that is running: to run that again would train again.
    """
    kind = type(module)
    if kind.__module__ == "__main__" or kind.__module__.split(".")[0] == "torch":
        return {}
    try:
        source = read_source(Path(getsourcefile(kind) or ""))
        target = f"{source.path}:{kind.__qualname__}"
        graph = trace(module, (1, *input))
        classes = graph.nodes[graph.outputs[0]].shape[-1]
        again = make(target, channels=input[0], classes=classes, without_weights=True, source=source).module
        same = (
            trace(again, (1, *input)).nodes == graph.nodes
            and repr(again) == repr(module)
            and {name: value.shape for name, value in again.state_dict().items()}
            == {name: value.shape for name, value in module.state_dict().items()}
        )
    except (UsageError, TraceFailure, TypeError, OSError, IndexError):
        return {}
    return {"target": target, "file": str(source.path), "sha256": source.sha256} if same else {}


def _pictures(made: ExternalNet, name: str) -> tuple[Input, int]:
    """(the image that a net takes by default, side of the smallest square one), by trying."""
    stem = input_channels(made.module)
    picture = made.input or (stem or 3, 224, 224)
    check_lazy(made.module, (1, *picture), name)
    copies = with_heads(made.module)
    for channels in dict.fromkeys(number for number in (stem, 3, 1) if number):
        if (side := first_usual(copies, channels)) is not None:
            default = made.input if made.input and made.input[0] == channels else (channels, side, side)
            return default, smallest_below(copies, channels, side)
    trace_or_explain(made.module, (1, *picture), name)
    raise UsageError(f"{name} takes no square images of 1 or 3 channels")


def check_fit(net: Net, size: tuple[int, int], classes: int, data: str) -> tuple[str, ...]:
    """Whether an external net can be trained on images of `size` (H, W) and so many classes of the set `data`.

    Returns:
        What is to be said of it, in words: that it gives auxiliary logits, which are ignored.

    Raises:
        UsageError: it does not take such images, gives something else than logits, has other classes, nothing to train, or
            a state that a file of weights cannot hold.
    """
    name, module = net.spec.name, inner(net)
    picture = (net.channels, *size)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise UsageError(f"{name} has no weights to train")
    if not_real := [key for key, value in module.named_parameters() if value.is_complex()]:
        raise UsageError(
            f"{name} has complex weights ({', '.join(not_real[:3])}): it can be inspected, but not "
            f"trained. Keep their real and "
            "imaginary parts as weights (torch.view_as_real), and join them in forward (torch.view_as_complex)"
        )
    if odd := [key for key, value in module.state_dict().items() if not isinstance(value, Tensor)]:
        raise UsageError(
            f"the state of {name} contains values other than tensors, which cannot be saved: {', '.join(odd)}"
        )
    graph = trace_or_explain(module, (1, *picture), name)
    output = _training_output(module, picture, name)
    logits = Logits()(output)
    if logits.ndim == 2 and len(logits) != 2:
        cause = next(iter(unsound_causes(module, picture)), "Keep the images of a batch in dimension 0.")
        raise UsageError(f"{name} gives {len(logits)} rows of logits for 2 images, instead of one for each. {cause}")
    if not logits.requires_grad:
        raise UsageError(
            f"{name} learns nothing: no gradient flows from its output to its weights, because of argmax, rounding, "
            "detach() or torch.no_grad(), for example. Return the logits of the last layer"
        )
    flat = ". End it with nn.Flatten()" if logits.ndim > 2 and set(logits.shape[2:]) == {1} else ""
    if logits.ndim != 2:
        raise UsageError(
            f"{name} gives a tensor of {dimensions(logits.shape[1:])} an image: its forward must give logits (N, classes){flat}"
        )
    if logits.shape[1] != classes:
        last = next((node.module for node in reversed(graph.nodes) if node.parameters), "")
        layer = f"its last layer, {last} ({graph.modules[last]})," if last else "its last layer"
        raise UsageError(
            f"{name} gives {logits.shape[1]} classes, and {data} has {classes}: give {layer} {classes} outputs, or "
            "give its function or class an argument `classes`"
        )
    left = [key for key in names_in(output) if key != "logits"]
    return (f"its {', '.join(left)} are ignored",) if left else ()


def _training_output(module: nn.Module, picture: Input, name: str) -> object:
    """The output of a copy of the net for two black images, in training mode."""
    twin = copied(module, "cpu")
    try:
        twin.train()
    except NotImplementedError as error:
        raise UsageError(
            f"{name} is an exported program (torch.export), whose operations are fixed: it can be inspected, but not "
            f"trained. "
            "Give the module that it was exported from"
        ) from error
    try:
        with undisturbed(module), torch.enable_grad():
            return twin(torch.zeros(2, *picture))
    except Exception as error:
        if short_of_means(error):
            raise
        kind = picture_type(module)
        advice = (
            ""
            if kind in (None, torch.float32)
            else f". Its weights are {kind}, and training is in float32: give net.float()"
        )
        said = "" if isinstance(error, UncopyableError) else f"{type(error).__name__}: "
        raise UsageError(
            f"{name} cannot be trained on images of {dimensions(picture)}: {said}{error}{advice}"
        ) from error
