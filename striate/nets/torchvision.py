"""torchvision's weights, loaded and saved: the same tensors under the other's names, for every row that has a twin there."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import reduce
from urllib.error import URLError

import torch
from torch import Tensor, nn

from striate.errors import DataError, StriateError, UsageError
from striate.nets import CATALOGUE, FAMILIES, build, spec
from striate.nets.net import Net

TWINS = {row.name: row.torchvision for row in CATALOGUE.values() if row.torchvision}
"""Row of the catalogue -> torchvision's name of the same net."""


def twin(name: str) -> str:
    """torchvision's name of the net of a row. Raises UsageError if the row has no twin there."""
    if spec(name).name not in TWINS:
        raise UsageError(f"{name} has no twin in torchvision; these have: {', '.join(TWINS)}")
    return TWINS[name]


def their_names(net: Net) -> dict[str, str]:
    """Our name of each tensor of the net: torchvision's."""
    if rules := FAMILIES[net.spec.family].torchvision:
        return {
            ours: reduce(lambda name, rule: re.sub(rule[0], rule[1], name), rules, ours) for ours in net.state_dict()
        }
    # AlexNet and VGG are numbered there: `features` are our stages, layer by layer, `classifier` the head behind the flattening.
    layers = [name for name, module in net.named_modules() if not any(module.children())]
    stages, head = ([name for name in layers if name.startswith(part)] for part in ("stages.", "head."))
    numbered = {layer: f"features.{number}" for number, layer in enumerate(stages)}
    numbered |= {layer: f"classifier.{number}" for number, layer in enumerate(head[2:])}
    return {
        f"{layer}.{tensor}": f"{numbered[layer]}.{tensor}"
        for layer, tensor in (ours.rsplit(".", 1) for ours in net.state_dict())
    }


def load(name: str, state_dict: Mapping[str, Tensor]) -> Net:
    """The net of row `name` with torchvision's weights, its channels and classes as the weights have them.

    Args:
        state_dict: of the twin, all of it; GoogLeNet's with the auxiliary heads.

    Raises:
        UsageError: the row has no twin.
        DataError: tensors are missing, left over or of another shape.
    """
    twin(name)
    with torch.device("meta"):
        names = their_names(build(name))
    known = list(names.values())
    if set(known) != state_dict.keys():
        raise DataError(f"these are not the weights of torchvision's {twin(name)}: {difference(known, state_dict)}")
    renamed = {ours: state_dict[theirs].detach().clone() for ours, theirs in names.items()}
    stem = next(tensor for tensor in renamed.values() if tensor.dim() == 4)
    classes = len(renamed["head.classifier.weight"])
    with torch.device("meta"):
        net = build(name, channels=stem.shape[1], classes=classes)
    for ours, expected in net.state_dict().items():
        if renamed[ours].shape != expected.shape:
            raise DataError(
                f"{names[ours]} of torchvision's {twin(name)} should have shape {tuple(expected.shape)}, "
                f"got {tuple(renamed[ours].shape)}"
            )
    net.load_state_dict(renamed, assign=True)
    return net


def save(net: Net) -> dict[str, Tensor]:
    """The net's weights under torchvision's names, to be loaded into its twin there.

    Raises:
        UsageError: the net's row has no twin.
    """
    twin(net.spec.name)
    state_dict = net.state_dict()
    return {theirs: state_dict[ours] for ours, theirs in their_names(net).items()}


def difference(wanted: Collection[str], given: Collection[str]) -> str:
    """Which tensors a file lacks of those of a net, and which it has besides, in words."""
    missing = [name for name in wanted if name not in given]
    left_over = [name for name in given if name not in wanted]
    return (
        f"{len(missing)} tensors are missing ({', '.join(missing[:3]) or 'none'}), {len(left_over)} left over "
        f"({', '.join(left_over[:3]) or 'none'})"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretrained:
    """What is known of the weights that a net begins with.

    Attributes:
        mean, std: of each channel of the images that they know, whose pixels are 0 to 1; None where nothing says so.
        notes: what was done, in words: which weights, a stem that was folded, a head that begins anew.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()


def fold_stem(weight: Tensor, channels: int) -> Tensor:
    """The first convolution's weights (outputs, 3, H, W) for images of other channels: (outputs, channels, H, W).

    For one channel the three are summed, which gives what the same grey in all three would have given. For others they are
    repeated in turn and scaled by 3 / channels, so that the sum over the channels keeps its size.
    """
    if channels == 1:
        return weight.sum(1, keepdim=True)
    repeated = weight[:, [channel % 3 for channel in range(channels)]]
    return repeated * (3 / channels)


def fold_note(channels: int) -> str:
    """A description of what `fold_stem` did."""
    how = "the sum of its three colours" if channels == 1 else "its three colours in turn, times 3 / channels"
    return f"its first convolution takes {channels} channel{'s' * (channels > 1)}: {how}"


def averaged(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Figures of three colours for so many channels: their mean where there are not three."""
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def pretrained(name: str, *, channels: int = 3, classes: int = 1000, progress: bool = True) -> tuple[Net, Pretrained]:
    """The net of row `name` with torchvision's published ImageNet weights, made to fit channels and classes.

    Args:
        progress: show the download, which happens once and is kept in torch's hub directory.

    Raises:
        UsageError: the row has no twin in torchvision.
        StriateError: the weights could not be downloaded.
    """
    label, state_dict = published(twin(name), progress)
    source = load(name, state_dict)
    net = build(name, channels=channels, classes=classes)
    weights = source.state_dict()
    notes = [f"{name} starts from torchvision's weights {label}"]
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    if name == "googlenet-torchvision":
        mean = std = (0.5, 0.5, 0.5)
        notes.append("its auxiliary heads were not trained; its images have mean and standard deviation 0.5")
    if channels != 3:
        stem = next(key for key, tensor in weights.items() if tensor.dim() == 4)
        weights[stem] = fold_stem(weights[stem], channels)
        notes.append(fold_note(channels))
    if classes != source.classes:
        weights = {key: tensor for key, tensor in weights.items() if ".classifier." not in key}
        notes.append(f"the classifier of {source.classes} classes is replaced by a new one of {classes}")
    net.load_state_dict(net.state_dict() | weights)
    return net, Pretrained(mean=averaged(mean, channels), std=averaged(std, channels), notes=tuple(notes))


def published(name: str, progress: bool) -> tuple[str, dict[str, Tensor]]:
    """torchvision's default weights of its net `name`: their label there, and the state dict of the net that has them."""
    import torchvision.models

    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        with warnings.catch_warnings():  # that GoogLeNet's auxiliary heads were not trained: our notes say so
            warnings.simplefilter("ignore", UserWarning)
            if name == "googlenet":
                model: nn.Module = torchvision.models.googlenet(weights=weights, progress=progress, aux_logits=True)
            else:
                model = torchvision.models.get_model(name, weights=weights, progress=progress)
    except (URLError, OSError) as error:
        raise StriateError(
            f"could not download {weights.url}: {error}. With a copy of the file "
            f"in {torch.hub.get_dir()}/checkpoints no network is needed"
        ) from error
    return str(weights), dict(model.state_dict())
