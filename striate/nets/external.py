"""External nets: an object in a file, a torchvision or a timm model, a module that is at hand. Each is made a `Net`."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import redirect_stdout
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import StriateError, UsageError, param, short_of_means, unknown_name
from striate.nets.metadevice import on_meta_device
from striate.nets.net import Net
from striate.nets.netspec import NetFacts
from striate.nets.sources import Source, arguments, find_object, read_source, source_path
from striate.nets.torchvision import fold_stem, published

Input = tuple[int, int, int]

STAGE = "net"
"""Name of the one stage of an external net."""
INCEPTIONS = ("googlenet", "inception_v3")
"""torchvision's nets with auxiliary heads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalNet:
    """An external module, as it was built.

    Attributes:
        input: the image (C, H, W) that it takes by default; None if nothing says so.
        mean, std: of each channel of the images that its published weights know, where it has those.
        notes: in words, what was done to it besides.
    """

    module: nn.Module
    input: Input | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalFacts(NetFacts):
    """The facts of an external net, found by running it on shapes, and how it is made.

    `origin` has its `min_size`; the `target` that `make` takes, if there is one; for a file also `file` and `sha256`; and
    `given`, true for a module that was at hand, whose weights no name gives again.
    """

    make: Callable[[int, int, bool], ExternalNet]
    """(channels, classes, pretrained) -> the module, its weights drawn from torch's global generator or published ones."""


class Logits(nn.Module):
    """The head of an external net: takes the logits out of what the net gives, a tensor or something with `.logits` or
    `["logits"]`.

    torchvision's GoogLeNet and Inception give auxiliary logits beside them while they train; those are left aside.
    """

    def forward(self, output: Any) -> Tensor:
        logits = logits_in(output)
        if logits is None:
            raise UsageError(
                f"the net gives {described(output)}: its forward must give logits, a tensor (N, classes), or something "
                'with such a tensor as .logits or ["logits"]'
            )
        # A net that computes in half precision, as under autocast, is scored in float32.
        return logits if logits.dtype is torch.float32 else logits.float()


def logits_in(output: object) -> Tensor | None:
    """What a net gives as its logits; None if it is not known which tensor they are."""
    found = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", output)
    return found if isinstance(found, Tensor) else None


def outputs_in(output: object) -> list[Tensor]:
    """The tensors in what a net gives, in tuples, dicts, dataclasses and other objects too; those that are its logits first."""
    logits = logits_in(output)
    found = {id(tensor): tensor for tensor in ([] if logits is None else [logits]) + _tensors(output, set())}
    return list(found.values())


def _tensors(output: object, seen: set[int]) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if id(output) in seen or isinstance(output, str | bytes | type | nn.Module):
        return []
    seen.add(id(output))
    if isinstance(output, Mapping):
        parts = list(output.values())
    elif isinstance(output, Sequence | Set):
        parts = list(output)
    elif is_dataclass(output):
        parts = [getattr(output, field.name, None) for field in fields(output)]
    else:
        parts = list(getattr(output, "__dict__", {}).values())
    return [tensor for part in parts for tensor in _tensors(part, seen)]


def parts_of(output: object) -> list[str]:
    """The names of what is in a dict, a named tuple or a dataclass that a net gives, but for those that hold nothing."""
    if isinstance(output, Mapping):
        return [str(name) for name, value in output.items() if value is not None]
    named = [field.name for field in fields(output)] if is_dataclass(output) else getattr(output, "_fields", ())
    return [name for name in named if getattr(output, name, None) is not None]


def described(output: object) -> str:
    """What a net gives, in words: `a tuple of 2 tensors`, `a dict of features and maps`, `None`."""
    if output is None:
        return "None"
    kind = type(output).__name__
    name = f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"
    if names := parts_of(output):
        return f"{name} of {', '.join(names)}"
    if isinstance(output, list | tuple):
        return f"{name} of {len(output)} things"
    return name


def adapt(module: nn.Module, facts: NetFacts, channels: int, classes: int) -> Net:
    """The module as a Net of one stage, sharing its weights; a Net stays as it is but for its facts."""
    net = module if isinstance(module, Net) else Net({STAGE: module}, Logits())
    net.spec, net.channels, net.classes = facts, channels, classes
    return net


def inner(net: nn.Module) -> nn.Module:
    """What `adapt` was given: its weights have the names that its author knows, so they are saved under those."""
    if not (isinstance(net, Net) and isinstance(net.head, Logits)):
        return net
    module: nn.Module = net.stages[STAGE]
    return module


def is_external(target: str) -> bool:
    """Whether a target is not a name of the catalogue but `FILE.py:OBJECT`, `torchvision:NAME` or `timm:NAME`."""
    return ":" in target or target.endswith(".py")


def make(
    target: str,
    *,
    channels: int | None = None,
    classes: int | None = None,
    pretrained: bool = False,
    without_weights: bool = False,
    source: Source | None = None,
) -> ExternalNet:
    """Builds what `target` names; the one place where a target becomes a module.

    Args:
        target: `FILE.py:OBJECT` (a module, or a class or function that makes one; the file is run), `torchvision:NAME` or
            `timm:NAME`.
        channels: of the input; the net's own default if None. An object in a file has them where it takes them.
        classes: likewise.
        pretrained: with the weights that torchvision or timm publish, downloaded once.
        without_weights: on the meta device, where its construction allows that.
        source: the file of the target, where it was read already.

    Raises:
        UsageError: there is no such net, file or object, or it takes no such channels or classes.
        StriateError: the published weights could not be downloaded.
    """
    scheme, colon, name = target.rpartition(":")
    path = source_path(target)
    if scheme == "torchvision":
        return _from_torchvision(name, channels, classes, pretrained, without_weights)
    if scheme == "timm":
        return _from_timm(name, channels, classes, pretrained, without_weights)
    if path is not None:
        if pretrained:
            raise UsageError(
                f"{param('pretrained')} is for published weights, and {target} has none: load yours in the file"
            )
        return _from_file(source or read_source(path), name, target, channels, classes, without_weights)
    if not colon and target.endswith(".py"):
        raise UsageError(f"which net in {target}? Write {target}:OBJECT, the name of a module, class or function in it")
    raise UsageError(f"{target!r} names no net: give a catalogue name, FILE.py:OBJECT, torchvision:NAME or timm:NAME")


def input_channels(module: nn.Module) -> int | None:
    """Input channels of the first convolution; None if there is none."""
    return next((part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)), None) or None


def _from_file(
    source: Source, name: str, target: str, channels: int | None, classes: int | None, without_weights: bool
) -> ExternalNet:
    with redirect_stdout(sys.stderr):  # what a file prints is no part of an answer
        found = find_object(source, name, target)
    if isinstance(found, nn.Module):
        return ExternalNet(module=found)
    given = arguments(found, target, channels, classes)
    try:
        with redirect_stdout(sys.stderr):
            module = _construct(lambda: found(**given), without_weights)
    except Exception as error:
        if short_of_means(error):
            raise
        raise UsageError(f"{target} could not be built: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"{target} gives a {type(module).__name__}, not a torch.nn.Module")
    return ExternalNet(module=module)


def _from_torchvision(
    name: str, channels: int | None, classes: int | None, pretrained: bool, without_weights: bool
) -> ExternalNet:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise unknown_name("torchvision model", name, known, "torchvision.models.list_models()")
    builder = torchvision.models.get_model_builder(name)
    options: dict[str, Any] = {"weights": None}
    if "weights_backbone" in inspect.signature(builder).parameters:
        options["weights_backbone"] = None
    notes: tuple[str, ...] = ()
    if name in INCEPTIONS:
        options |= {"init_weights": not without_weights, "aux_logits": False}
        notes = ("built without its auxiliary heads",)
    if classes is not None:
        options["num_classes"] = classes
    module: nn.Module = _construct(lambda: builder(**options), without_weights)
    weights = next(iter(torchvision.models.get_model_weights(name)), None)
    side = weights.transforms().crop_size[0] if weights is not None else 224
    made = ExternalNet(module=module, input=(3, side, side), notes=notes)
    if pretrained:
        made = _with_published(name, made)
    return made if channels in (None, 3) else _with_channels(f"torchvision:{name}", made, channels or 3)


def _with_published(name: str, made: ExternalNet) -> ExternalNet:
    """The net with torchvision's default weights, except those of another shape (the classifier of other classes)."""
    import torchvision

    label, weights = published(name, progress=True)
    transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    own = made.module.state_dict()
    fitting = {key: weights[key] for key in own if key in weights and weights[key].shape == own[key].shape}
    made.module.load_state_dict(own | fitting)
    anew = [key for key in own if key not in fitting]
    notes = [f"it begins with torchvision's weights {label}"]
    if anew:
        notes.append(f"what has another number of classes begins anew: {', '.join(anew)}")
    # Inception's weights are of images with mean and deviation 0.5, into which torchvision's net turns ImageNet's itself.
    mean, std = ((0.5,) * 3, (0.5,) * 3) if name in INCEPTIONS else (tuple(transforms.mean), tuple(transforms.std))
    return replace(made, mean=mean, std=std, notes=(*made.notes, *notes))


def _with_channels(name: str, made: ExternalNet, channels: int) -> ExternalNet:
    """The net with its first convolution for images of other channels than three, made of its own weights: see `fold_stem`."""
    path, conv = next(
        ((path, part) for path, part in made.module.named_modules() if isinstance(part, nn.Conv2d)), ("", None)
    )
    if conv is None or conv.in_channels != 3 or conv.groups != 1:
        raise UsageError(f"{name} takes 3-channel images, got {channels}: its first layer cannot be replaced")
    with torch.device(conv.weight.device):
        stem = nn.Conv2d(
            channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation,  # type: ignore[arg-type]
            bias=conv.bias is not None, padding_mode=conv.padding_mode,
        )  # fmt: skip
    stem.weight = nn.Parameter(fold_stem(conv.weight.detach(), channels))
    stem.bias = conv.bias
    made.module.set_submodule(path, stem)
    how = "the sum of its three colours" if channels == 1 else "its three colours in turn, times 3 / channels"
    return replace(
        made,
        input=made.input and (channels, *made.input[1:]),
        mean=_averaged(made.mean, channels),
        std=_averaged(made.std, channels),
        notes=(*made.notes, f"its first convolution takes {channels} channel{'s' * (channels > 1)}: {how}"),
    )


def _from_timm(
    name: str, channels: int | None, classes: int | None, pretrained: bool, without_weights: bool
) -> ExternalNet:
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise UsageError("timm is not installed: pip install 'striate[timm]'") from error
    known = timm.list_models()
    if name.split(".")[0] not in known:
        raise unknown_name("timm model", name, known, "timm.list_models()")
    options = {
        key: value for key, value in (("in_chans", channels), ("num_classes", classes)) if value is not None
    }  # fmt: skip
    try:
        module: Any = _construct(lambda: timm.create_model(name, pretrained=pretrained, **options), without_weights)
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise UsageError(f"timm:{name} could not be built: {error}") from error
        raise StriateError(f"could not load the weights that timm publishes for {name}: {error}") from error
    about: dict[str, Any] = module.default_cfg
    default: Input = tuple(about["input_size"])
    made = ExternalNet(module=module, input=(default[0] if channels is None else channels, *default[1:]))
    if not pretrained:
        return made
    return replace(
        made,
        mean=_averaged(tuple(about["mean"]), channels or default[0]),
        std=_averaged(tuple(about["std"]), channels or default[0]),
        notes=(f"it begins with timm's weights {about.get('architecture', name)}.{about.get('tag', '')}".rstrip("."),),
    )


def _averaged(values: tuple[float, ...] | None, channels: int) -> tuple[float, ...] | None:
    """Figures of three colours for other channels: their mean."""
    return values if values is None or len(values) == channels else (sum(values) / len(values),) * channels


def _construct(build: Callable[[], Any], without_weights: bool) -> Any:
    """A net without weights; with weights where its construction computes with tensors, which the meta device cannot."""
    if without_weights:
        try:
            with on_meta_device():
                return build()
        except (NotImplementedError, RuntimeError):
            pass
    return build()
