"""Checks in the operations of a net that it is a function of one image: random draws, unregistered weights, mixing "
"of images, state.

The net is run on shapes for two and for three images. A dimension whose length differs between the two runs holds images, to
wherever reshapes have brought it; an operation that reduces, sorts, normalises or contracts along it mixes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from striate.anatomy.finding import Finding, make_finding
from striate.anatomy.operations import kind_of
from striate.anatomy.recording import picture_type
from striate.anatomy.tracing import wants_values
from striate.anatomy.watching import Step, Watched, unowned, watch
from striate.nets.copying import Copies
from striate.nets.undisturbed import undisturbed

_MOVES = {"joined", "part", "indexed", "expanded", "repeated", "reshaped", "permuted", "copied"}
"""Kinds of operations that only move values or tensors about: a batch may be taken apart and put together again."""
_SCATTERS = {"gather", "scatter", "select_scatter", "slice_scatter"}
_PARTS = {"unbind", "split", "split_with_sizes", "chunk"}
"""Operations that take a batch apart and keep all of it, as a loop over the images does."""
_FACTORIES = ("new_", "empty", "zeros", "ones", "full", "arange")
_PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "matmul", "addmv", "mv", "dot"}
_WINDOWS = ("convolution", "pool", "upsample", "grid_sampler", "conv")


def unsound_causes(module: nn.Module, picture: Sequence[int]) -> tuple[Finding, ...]:
    """What in a net's operations makes its answer depend on more than one image and the weights; empty where nothing is seen.

    The module is left as it is: a copy is run, on the meta device unless it asks for values there.

    Args:
        picture: (C, H, W).
    """
    with undisturbed(module):
        try:
            copies = Copies(module)
            try:
                return _causes_on(copies, picture, torch.device("meta"))
            except Exception as error:
                if not wants_values(error):
                    raise
                return _causes_on(copies, picture, torch.device("cpu"))
        except Exception:  # a net that cannot be run so is judged by its answers alone
            return ()


def _causes_on(copies: Copies, picture: Sequence[int], device: torch.device) -> tuple[Finding, ...]:
    twin = copies.make(device)
    images = [torch.zeros(count, *picture, device=device, dtype=picture_type(twin)) for count in (2, 3)]
    # The first pass may fill tables that are kept; what follows is how the net works from then on.
    first, three, two = (watch(twin, image) for image in (images[0], images[1], images[0]))
    found = [loose_weights(two), _draws(two), *_mixed(twin, two, three), _state(first, two)]
    return tuple(finding for finding in found if finding is not None)


def loose_weights(seen: Watched) -> Finding | None:
    """The finding for weights that a forward pass has read but that are not registered."""
    steps = [seen.steps[index] for index in seen.live if seen.steps[index].trained]
    paths = [name for step in steps for name in step.loose if name]
    return _nobodys(_holders(paths) or [step.place for step in steps])


def layers_nobody_owns(module: nn.Module) -> Finding | None:
    """The finding for weights in lists, dicts and other attributes of a module, whether forward reads them or not."""
    return _nobodys(_holders([path for path, tensor in unowned(module).items() if tensor.requires_grad]))


def _holders(paths: Sequence[str]) -> list[str]:
    """The layers that weights lie in: `layers[0].weight` -> `layers[0]`."""
    return [path.rpartition(".")[0] or path for path in paths]


def _nobodys(places: Sequence[str]) -> Finding | None:
    return make_finding(
        "weights-nobody-owns",
        places,
        "The forward pass reads weights that are neither parameters nor buffers of the module, such as those of "
        "layers in a Python list or dict: they are not trained, not saved, and initialised anew at each load.",
        "Keep layers in nn.ModuleList or nn.ModuleDict, weights in nn.Parameter, and tables in register_buffer.",
    )


def _draws(seen: Watched) -> Finding | None:
    steps = [seen.steps[index] for index in seen.live if seen.steps[index].draws]
    dropout = any("dropout" in step.operation or step.operation == "bernoulli" for step in steps)
    return make_finding(
        "draws-in-evaluation",
        [step.place for step in steps],
        f"It draws random numbers in evaluation too ({', '.join(dict.fromkeys(step.operation for step in steps))}): "
        "each call gives a different answer.",
        "Use nn.Dropout, or F.dropout(x, p, training=self.training): it is off in evaluation."
        if dropout
        else "Draw random numbers only in training: if self.training.",
    )


def _mixed(module: nn.Module, two: Watched, three: Watched) -> list[Finding | None]:
    """Findings for operations along a dimension that holds images, each kind of them by its name."""
    places: dict[str, list[str]] = {}
    pairs = list(zip(two.steps, three.steps, strict=False))
    alike = next((index for index, (a, b) in enumerate(pairs) if a.operation != b.operation), len(pairs))
    if two.steps and alike < max(len(two.steps), len(three.steps)):
        step = two.steps[min(alike, len(two.steps) - 1)]
        if _in_layer(module, step) == "images-as-sequence":
            places["images-as-sequence"] = [step.place]
    live = {index for index in two.live if index < alike} & set(three.live)
    for step, other in (pairs[index] for index in sorted(live)):
        if (kind := _mixes(step, other)) is not None:
            kind = _in_layer(module, step) or kind
            places.setdefault(kind, []).append(step.place)
    return [make_finding(kind, where, *_MIXES[kind]) for kind, where in places.items()]


def _in_layer(module: nn.Module, step: Step) -> str | None:
    """The name of the mistake where the step is one of a layer of torch's that was built for another order of dimensions."""
    try:
        part = module.get_submodule(step.module)
    except AttributeError:
        return None
    if isinstance(part, nn.MultiheadAttention):
        return "attention-over-batch"
    return "images-as-sequence" if isinstance(part, nn.RNNBase) else None


def _mixes(step: Step, other: Step) -> str | None:
    """The name under which an operation mixes images, or None. `step` and `other`: the same one for two and three images."""
    if len(step.operands) != len(other.operands) or step.operation.startswith(_FACTORIES) or step.inputs == ():
        return None
    along = [_varying(a, b) for a, b in zip(step.operands, other.operands, strict=True)]
    if not any(along):
        return None
    first = next(place for place, dims in enumerate(along) if dims)
    dims, rank = along[first], len(step.operands[first])
    result = _varying(step.result, other.result)
    asked = _asked(step, rank)
    if len(dims) > 1:
        return "images-contracted" if asked & dims and not _only_moves(step) else None
    if "softmax" in step.operation:
        return "softmax-over-batch" if asked & dims else None
    if "batch_norm" in step.operation:
        own = step.attributes.get("training", "no_training" not in step.operation)
        return "batch-statistics" if own and dims - {1} else None
    if "attention" in step.operation:
        return "attention-over-batch" if len(step.operands[first]) - 2 in dims else None
    if "rnn" in step.operation or step.operation in ("lstm", "gru"):
        return "images-as-sequence" if 0 in dims and not step.attributes.get("batch_first") else None
    if step.operation in _PRODUCTS:
        left, right = step.operands[-2:], along[-2:]
        inner = {len(left[0]) - 1} & right[0] or {max(len(left[1]) - 2, 0)} & right[1]
        return "images-contracted" if inner or len(result) > 1 else None
    if not result:
        return None if step.operation in _PARTS else "reduced-over-batch"
    if len(result) > max(map(len, along)):
        return "images-contracted"
    if _only_moves(step):
        return None
    if any(word in step.operation for word in _WINDOWS):
        return "window-over-batch" if {dim for dim in dims if dim >= 2} and rank >= 3 else None
    if "layer_norm" in step.operation:
        return "batch-statistics" if {d for d in dims if d >= rank - len(step.attributes["normalized_shape"])} else None
    return "ordered-over-batch" if asked & dims else None


def _only_moves(step: Step) -> bool:
    return step.view or step.operation in _SCATTERS or kind_of(step.operation) in _MOVES


def _varying(a: Sequence[int], b: Sequence[int]) -> set[int]:
    """Dimensions that hold images: those whose length differs."""
    return {dim for dim, (x, y) in enumerate(zip(a, b, strict=False)) if x != y}


def _asked(step: Step, rank: int) -> set[int]:
    """The dimensions that an operation was told to work along, from 0."""
    value: Any = step.attributes.get("dim", step.attributes.get("dims"))
    dims = value if isinstance(value, list | tuple) else [value]
    return {dim % rank for dim in dims if isinstance(dim, int) and not isinstance(dim, bool) and rank}


def _state(first: Watched, again: Watched) -> Finding | None:
    """State that changes between calls: a buffer that is written and read, or a changing Python number."""
    live = [again.steps[index] for index in again.live]
    read = {name for step in live for name in (*step.reads, *step.loose)}
    places = [
        f"{name} ({step.line})" if step.line else name for step in again.steps for name in step.writes if name in read
    ]
    if len(first.steps) == len(again.steps):
        pairs = zip(first.steps, again.steps, strict=True)
        places += [b.place for a, b in pairs if a.operation == b.operation and _numbers(a) != _numbers(b)]
    return make_finding(
        "state-changes-in-evaluation",
        places,
        "In evaluation too, it uses a buffer or a number that changes with each call: identical images get different "
        "answers.",
        "Change running statistics and counters, and draw random numbers, only in training: if self.training.",
    )


def _numbers(step: Step) -> list[Any]:
    return [value for value in step.attributes.values() if isinstance(value, int | float)]


_ASK_DIM = (
    "Its answer for an image depends on the other images in the batch, so an image alone gets a different answer."
)
_MIXES = {
    "softmax-over-batch": (
        f"The softmax is over dimension 0, the images of a batch, and not over the classes. {_ASK_DIM}",
        "Remove it before the cross-entropy, which applies its own; elsewhere write softmax(dim=1).",
    ),
    "batch-statistics": (
        f"In evaluation too, it normalises by the mean and variance of the batch. {_ASK_DIM}",
        "Let batch norm keep running statistics (track_running_stats=True), or use group norm.",
    ),
    "reduced-over-batch": (
        f"It combines the images of a batch (by a mean, a sum, a maximum, or a selected image). {_ASK_DIM}",
        "Reduce over the other dimensions only, as in x.mean((1, 2, 3), keepdim=True).",
    ),
    "ordered-over-batch": (
        f"It works along dimension 0, the images of a batch, as a sort or a cumulative sum does. {_ASK_DIM}",
        "Give it the dimension of the features, as in dim=1.",
    ),
    "images-contracted": (
        f"A product compares or sums the images of a batch. {_ASK_DIM}",
        "Keep the batch apart: einsum('nij,njk->nik', ...), bmm, or flatten(1).",
    ),
    "attention-over-batch": (
        f"Attention runs across the images of the batch. {_ASK_DIM}",
        "Build it with batch_first=True, or give it (length, batch, features).",
    ),
    "images-as-sequence": (
        f"It reads the images of the batch as one sequence. {_ASK_DIM}",
        "Build the layer with batch_first=True, or give it (length, batch, features).",
    ),
    "window-over-batch": (
        f"Its window slides over the images of the batch. {_ASK_DIM}",
        "Keep the batch in dimension 0.",
    ),
}
"""Name of a finding -> why, remedy."""

NAMES = ("weights-nobody-owns", "draws-in-evaluation", *_MIXES, "state-changes-in-evaluation")
"""Names of all findings that say a net to be no function of one image."""
