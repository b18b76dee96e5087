"""External nets: an object in a file, a torchvision or a timm model, a module object. Each becomes a `Net`."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from striate.errors import StriateError, UsageError, param, short_of_means, unknown_name
from striate.nets.metadevice import on_meta_device
from striate.nets.net import Net
from striate.nets.netspec import NetFacts
from striate.nets.outputs import Logits
from striate.nets.sources import Source, arguments, find_object, read_source, source_path
from striate.nets.torchvision import Pretrained, averaged, fold_note, fold_stem, published

Input = tuple[int, int, int]

STAGE = "net"
"""Name of the one stage of an external net."""
INCEPTIONS = ("googlenet", "inception_v3")
"""torchvision's nets with auxiliary heads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalNet(Pretrained):
    """An external module as it was built, and the image (C, H, W) that it takes by default; None if nothing says so."""

    module: nn.Module
    input: Input | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalFacts(NetFacts):
    """The facts of an external net, found by running it on shapes, and how it is made.

    `origin` has its `min_size`; the `target` that `make` takes, if there is one; for a file also `file` and `sha256`; and
    `given`, true for a module object, whose weights no name gives again.
    """

    make: Callable[[int, int, bool], ExternalNet]
    """(channels, classes, pretrained) -> the module, its weights drawn from torch's global generator or published ones."""


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
    """Builds the net that `target` names; targets become modules nowhere else.

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
    notes = [f"it starts from torchvision's weights {label}"]
    if anew:
        notes.append(f"initialised anew, because the number of classes differs: {', '.join(anew)}")
    # Inception's weights are of images with mean and deviation 0.5, into which torchvision's net turns ImageNet's itself.
    mean, std = ((0.5,) * 3, (0.5,) * 3) if name in INCEPTIONS else (tuple(transforms.mean), tuple(transforms.std))
    return replace(made, mean=mean, std=std, notes=(*made.notes, *notes))


def _with_channels(name: str, made: ExternalNet, channels: int) -> ExternalNet:
    """The net with its first convolution for images of other channels than three, made of its own weights: see `fold_stem`."""
    conv = next((part for part in made.module.modules() if isinstance(part, nn.Conv2d)), None)
    if conv is None or conv.in_channels != 3 or conv.groups != 1:
        raise UsageError(f"{name} takes 3-channel images, got {channels}: its first layer cannot be replaced")
    conv.in_channels, conv.weight = channels, nn.Parameter(fold_stem(conv.weight.detach(), channels))
    return replace(
        made,
        input=made.input and (channels, *made.input[1:]),
        mean=made.mean and averaged(made.mean, channels),
        std=made.std and averaged(made.std, channels),
        notes=(*made.notes, fold_note(channels)),
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
    options = {key: value for key, value in {"in_chans": channels, "num_classes": classes}.items() if value is not None}
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
        mean=averaged(tuple(about["mean"]), channels or default[0]),
        std=averaged(tuple(about["std"]), channels or default[0]),
        notes=(f"it starts from timm's weights {about.get('architecture', name)}.{about.get('tag', '')}".rstrip("."),),
    )


def _construct(build: Callable[[], Any], without_weights: bool) -> Any:
    """A net without weights; with weights where its construction computes with tensors, which the meta device cannot."""
    if without_weights:
        try:
            with on_meta_device():
                return build()
        except (NotImplementedError, RuntimeError):
            pass
    return build()
