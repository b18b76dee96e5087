"""The net that a run starts with: its weights drawn with the seed, published ones, or those of a file or a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from striate.anatomy.soundness import layers_nobody_owns
from striate.anatomy.targets import check_fit
from striate.data import DataSet
from striate.errors import DataError, UsageError, param
from striate.inference import MOST_BYTES
from striate.nets import CATALOGUE, Net, build
from striate.nets.classifier import classifier
from striate.nets.external import ExternalFacts, adapt, inner, input_channels
from striate.nets.netspec import NetFacts
from striate.nets.torchvision import Pretrained, pretrained
from striate.nets.weightfiles import load_weights
from striate.run import Run
from striate.runfiles import place
from striate.runforms.kinds import LARGEST_SIDE
from striate.settings import Settings
from striate.texts import listed

IMAGENET = 1000
"""Classes of published weights, except some of timm's."""
SHOWN = 5
"""Classes that a note names."""
_PUBLISHED = "the number of classes is that of the published weights"


def build_initial_net(
    row: NetFacts, dataset: DataSet, size: tuple[int, int], settings: Settings
) -> tuple[Net, Pretrained | None]:
    """The net for the data's channels and classes and images of `size` (H, W), its weights drawn with the seed or published ones.
    An external net keeps its own number of channels where it takes no other: images are converted to it.

    Raises UsageError if the net cannot have so many classes or such images, or has no published weights; StriateError if these
    could not be downloaded.
    """
    channels, classes = settings.channels or dataset.train.shape[2], len(dataset.classes)
    # The seed that the run will have; its recipe is resolved later, for this net.
    torch.manual_seed(int(getattr(settings.recipe, "seed", 0)) if settings.seed is None else settings.seed)
    if settings.pretrained and settings.weights is not None:
        raise UsageError(
            f"{param('pretrained')} and {param('weights')} cannot be combined: a net starts from one or the other"
        )
    published: Pretrained | None = None
    if isinstance(row, ExternalFacts):
        net, published = _build_external(row, dataset, size, settings)
    elif settings.pretrained:
        net, published = pretrained(row.name, channels=channels, classes=classes)
        if classes == IMAGENET:
            published = replace(published, notes=(*published.notes, by_position(_PUBLISHED, dataset.classes)))
    else:
        net = build(row.name, channels=channels, classes=classes, init=settings.init)
    if settings.weights is not None:
        published = begin_with(net, settings.weights, dataset.classes, size)
    return net, published


def _build_external(
    row: ExternalFacts, dataset: DataSet, size: tuple[int, int], settings: Settings
) -> tuple[Net, Pretrained | None]:
    if settings.init != "default":
        raise UsageError(
            f"{param('init', settings.init)} is for nets of the catalogue: {row.name} initialises its own weights"
        )
    channels, classes = settings.channels or dataset.train.shape[2], len(dataset.classes)
    made = row.make(channels, classes, settings.pretrained)
    own = input_channels(made.module) or row.input[0]
    if own not in (1, 3):
        raise UsageError(f"{row.name} takes images of {own} channels: images have 1 (grey) or 3 (colour)")
    converted = "grey" if own == 1 else "colour"
    notes = (*made.notes, f"images are converted to {converted}") if own != channels else made.notes
    if settings.pretrained and classes == getattr(made.module, "default_cfg", {}).get("num_classes", IMAGENET):
        notes = (*notes, by_position(_PUBLISHED, dataset.classes))
    net = adapt(made.module, row, own, classes)
    try:
        notes = (*notes, *check_fit(net, size, classes, dataset.name))
    except UsageError as error:
        if (fault := layers_nobody_owns(made.module)) is not None:  # which also hides what channels it takes
            raise UsageError(f"{row.name} is not a function of one image. {fault}") from error
        raise
    if made.mean is None or made.std is None:
        net.notes = notes
        return net, None
    return net, replace(made, notes=notes)


def begin_with(net: Net, weights: str | Path, classes: Sequence[str], size: tuple[int, int]) -> Pretrained:
    """Puts the weights of a file or a run's folder into a net for `classes`, and says what was done; `size`: (H, W) of images.

    The weights of a run name their classes. With the same names the rows of the classifier go where those are here; with other
    ones it is initialised anew, as it is with another number of classes. A file that names none keeps it by position.
    Raises DataError if the file is refused, or is that of another net; or if the run has no finished weights.
    """
    path, names = _file(Path(weights))
    module = inner(net)
    state = module.state_dict()
    drawn = {name: one.clone() for name, one in state.items() if one.dim() and len(one) == len(classes)}
    loaded = load_weights(net, path, new_classifier=True)
    note = None if loaded.new_classifier else _matched(net, drawn, names or loaded.classes, classes, size)
    return replace(loaded, notes=(*loaded.notes, *([note] if note else [])))


def _file(weights: Path) -> tuple[Path, tuple[str, ...] | None]:
    """(the file, the names of classes that the run beside it has; None without one)."""
    if weights.is_dir():
        run = Run.open(weights)
        found = place(run.path, f"weights/{run.recipe.keep}.safetensors", most=MOST_BYTES)
        if found is None:
            raise DataError(f"{run.path} has no finished weights: resume it with striate train --resume {run.path}")
        return found, run.data.classes
    folder = weights.absolute().parent
    if folder.name == "weights" and (folder.parent / "config.yaml").is_file():
        with suppress(DataError):
            return weights, Run.open(folder.parent).data.classes
    return weights, None


def _matched(
    net: Net,
    drawn: dict[str, torch.Tensor],
    given: Sequence[str] | None,
    classes: Sequence[str],
    size: tuple[int, int],
) -> str | None:
    """Brings the rows of the classifier to their classes; gives what is to be said of it. `drawn`: the tensors that the net had
    before; `given`: the names of the file's classes, None if it does not say.
    """
    if given is None or len(given) != len(classes) or len(set(given)) != len(given):
        return by_position("the file does not name its classes", classes)
    if tuple(given) == tuple(classes):
        return None
    head = classifier(net, size)
    state = inner(net).state_dict()
    if not head:
        known = listed(given, SHOWN)
        return by_position(f"its classes are {known}, and which of its tensors belong to them is not known", classes)
    order = [given.index(name) for name in classes] if set(given) == set(classes) else None
    with torch.no_grad():
        for name in head:
            state[name].copy_(drawn[name] if order is None else state[name][order])
    if order is None:
        return f"its classifier is initialised anew: its classes were {listed(given, SHOWN)}, and are {listed(classes, SHOWN)}"
    return "the rows of its classifier are reordered by class name"


def by_position(why: str, classes: Sequence[str]) -> str:
    """The note about a classifier that is kept unchanged."""
    names = listed(classes, SHOWN)
    return f"{why}: its classifier is kept by position, so its rows are used for {names}, in this order"


def check_size(row: NetFacts, size: tuple[int, int]) -> None:
    """Raises UsageError if images of `size` (H, W) are too large for any run, or too small for the net; it names nets of its
    family that take them.
    """
    if min(size) < row.min_size:
        family = [(name, other) for name, other in CATALOGUE.items() if other.family == row.family]
        others = [name for name, other in family if other.min_size <= min(size)]
        instead = f", or {' or '.join(others[:3])}" if others else ""
        raise UsageError(
            f"{row.name} needs images of at least {row.min_size}x{row.min_size}, got {size[0]}x{size[1]}: "
            f"use {param('size', row.min_size)}{instead}"
        )
    if max(size) > LARGEST_SIDE:
        raise UsageError(f"images can have at most {LARGEST_SIDE}x{LARGEST_SIDE} pixels, got {size[0]}x{size[1]}")
