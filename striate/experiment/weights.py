"""A net that begins with the weights of a file or a run, its classifier matched by the names of classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from striate.errors import DataError
from striate.inference import MOST_BYTES
from striate.nets import Net
from striate.nets.classifier import classifier
from striate.nets.external import inner
from striate.nets.torchvision import Pretrained
from striate.nets.weightfiles import load_weights
from striate.run import Run
from striate.runfiles import place

SHOWN = 5
"""Classes that a note names."""


def begin_with(net: Net, weights: str | Path, classes: Sequence[str], size: tuple[int, int]) -> Pretrained:
    """Puts the weights of a file, or of a run's folder, into a net that is to tell `classes` apart, and says what was done.

    The weights of a run name their classes. With the same names the rows of the classifier go where those are here; with other
    ones the classifier begins anew, as it does with another number of classes. A file that names none keeps it by position.

    Args:
        size: (H, W) of the images.

    Raises:
        DataError: the file is refused, or is that of another net; the run has no finished weights.
    """
    path, names = _file(Path(weights))
    module = inner(net)
    drawn = {
        name: one.clone() for name, one in module.state_dict().items() if one.dim() and len(one) == len(classes)
    }  # fmt: skip
    loaded = load_weights(net, path, new_classifier=True)
    note = None if loaded.new_classifier else _matched(net, drawn, names or loaded.classes, classes, size)
    notes = (*loaded.notes, *([note] if note else []))
    return Pretrained(net=net, mean=loaded.mean, std=loaded.std, notes=notes)


def _file(weights: Path) -> tuple[Path, tuple[str, ...] | None]:
    """(the file, the names of classes that the run beside it has; None without one)."""
    if weights.is_dir():
        run = Run.open(weights)
        found = place(run.path, f"weights/{run.recipe.keep}.safetensors", most=MOST_BYTES)
        if found is None:
            raise DataError(f"{run.path} has no finished weights: go on with striate train --resume {run.path}")
        return found, run.data.classes
    folder = weights.absolute().parent
    if folder.name == "weights" and (folder.parent / "config.yaml").is_file():
        try:
            return weights, Run.open(folder.parent).data.classes
        except DataError:  # then the file speaks for itself
            return weights, None
    return weights, None


def _matched(
    net: Net,
    drawn: dict[str, torch.Tensor],
    given: Sequence[str] | None,
    classes: Sequence[str],
    size: tuple[int, int],
) -> str | None:
    """Brings the rows of the classifier to their classes; gives what is to be said of it.

    Args:
        drawn: the tensors that the net had before.
        given: the names of the file's classes, None if it does not say.
    """
    if given is None or len(given) != len(classes) or len(set(given)) != len(given):
        return by_position("the file does not name its classes", classes)
    if tuple(given) == tuple(classes):
        return None
    head = classifier(net, size)
    state = inner(net).state_dict()
    if not head:
        return by_position(f"its classes are {_listed(given)}, and which tensors speak of them cannot be told", classes)
    order = [given.index(name) for name in classes] if set(given) == set(classes) else None
    with torch.no_grad():
        for name in head:
            state[name].copy_(drawn[name] if order is None else state[name][order])
    if order is None:
        return f"its classifier begins anew: its classes were {_listed(given)}, and are {_listed(classes)}"
    return "the rows of its classifier are put where these classes have them, by name"


def by_position(why: str, classes: Sequence[str]) -> str:
    """What to say of a classifier that is kept as it lies."""
    return f"{why}: its classifier is kept by position, and its rows are taken for {_listed(classes)}, in this order"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
