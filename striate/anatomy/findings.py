"""Mistakes that can be seen in a net without training it: each with its place, why it hurts, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import exp, log, prod
from typing import NamedTuple

from torch import nn

from striate.anatomy.finding import Finding, make_finding
from striate.anatomy.graph import Graph, Node
from striate.anatomy.memory import parameters_without_gradient
from striate.anatomy.operations import kind_of
from striate.anatomy.rows import INVISIBLE, unused_parameters
from striate.anatomy.soundness import unsound_causes
from striate.texts import dimensions

_VIEWS = {"reshaped", "permuted", "expanded", "part"}
_BATCH_NORMS = {"native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "batch_norm"}
_LINEAR = _BATCH_NORMS | {"avg_pool2d", "_adaptive_avg_pool2d", "mean", "sum", "cat", "constant_pad_nd", "neg"}
_LINEAR_ALONE = {"add", "sub", "mul", "div", "add_", "sub_", "mul_", "div_"}  # with a constant they are linear
_LAYERS = {"convolution", "addmm", "mm"}


class _End(NamedTuple):
    """A last activation that the cross-entropy does not go with."""

    word: str
    operations: set[str]
    spread: float | None
    """How far logits can lie apart behind it; None: as far as they like."""
    effect: str


_ENDS = {
    "softmax": _End(
        "softmax", {"_softmax", "softmax"}, 1.0, "It applies a softmax itself, and a second one makes gradients shrink."
    ),
    "sigmoid": _End(
        "sigmoid", {"sigmoid", "hardsigmoid"}, 1.0, "A sigmoid keeps them between 0 and 1: gradients shrink."
    ),
    "tanh": _End("tanh", {"tanh"}, 2.0, "A tanh keeps them between -1 and 1: gradients shrink."),
    "clamp": _End("clamp", set(), 2.0, "A clamp keeps them in a narrow range: outside it, gradients are 0."),
    "relu": _End(
        "ReLU",
        {"relu", "relu6", "threshold"},
        None,
        "A ReLU sets negative ones to 0: a class with logit 0 for an image learns nothing from that image.",
    ),
}
HEADS = tuple(f"{name}-before-loss" for name in _ENDS)
"""Names of the findings for a last activation that the cross-entropy does not go with."""
BOUNDED = tuple(f"{name}-before-loss" for name, end in _ENDS.items() if end.spread)
"""Those under which the loss has a floor far from 0: such a net is not trained."""


def find_mistakes(
    module: nn.Module, graph: Graph, *, classes: int | None = None, batch: int | None = None
) -> tuple[Finding, ...]:
    """Everything wrong with a net that its graph shows.

    Args:
        classes: that the data has; None if that is not known.
        batch: images a batch in training; None if that is not known.
    """
    readers = graph.consumers()
    found = [
        *_ends_before_loss(graph),
        _bias_before_batchnorm(graph, readers),
        _batchnorm_at_batch_1(graph, batch),
        _dead_branch(graph, readers),
        _unused_parameters(module, graph),
        _missing_activation(graph, readers),
        *_faulty_output(graph, classes),
        *unsound_causes(module, graph.input_shape[1:]),
    ]
    return tuple(finding for finding in found if finding is not None)


def _ends_before_loss(graph: Graph) -> list[Finding | None]:
    """Activations after the last layer that keep logits from going where the cross-entropy wants them."""
    outputs = max((graph.nodes[index].shape[-1] for index in graph.outputs if graph.nodes[index].shape), default=1)
    ends = [_before_views(graph, graph.nodes[index]) for index in graph.outputs]
    found = []
    for name, end in _ENDS.items():
        nodes = [node for node in ends if _end(node) == name]
        spread = end.spread
        if name == "clamp" and nodes:
            spread = max(high - low for low, high in map(_limits, nodes) if low is not None and high is not None)
        why = f"The cross-entropy expects logits of any size and sign. {end.effect}"
        if spread is not None:
            floor = log(1 + (outputs - 1) * exp(-spread))
            why += f" With {outputs} outputs the loss cannot fall below {floor:.3f}."
        remedy = f"Remove the {end.word}, so that the net ends in its last linear layer."
        if name == "softmax":
            remedy += " Apply it where you need probabilities."
        found.append(make_finding(f"{name}-before-loss", map(_place, nodes), why, remedy))
    return found


def _end(node: Node) -> str:
    """Which of `_ENDS` an operation is: ReLU and ReLU6 are clamps at 0 where they are written so."""
    operation = node.operation.rstrip("_")
    if operation in ("hardtanh", "clamp", "clamp_min"):
        low, high = _limits(node)
        if low is not None and high is not None and high - low <= 2:
            return "clamp"
        return "relu" if low == 0 else ""
    if "softmax" in operation and node.attributes.get("dim", -1) % max(len(node.shape), 1) == 0:
        return ""  # over the images, not over the classes: that is another mistake
    return next((name for name, end in _ENDS.items() if operation in end.operations), "")


def _limits(node: Node) -> tuple[float | None, float | None]:
    """Between which a clamp keeps its input; None where it is open, or given by a tensor."""
    low, high = (node.attributes.get(f"{end}_val", node.attributes.get(end)) for end in ("min", "max"))
    return low, high


def _bias_before_batchnorm(graph: Graph, readers: list[list[int]]) -> Finding | None:
    places = [
        _place(node)
        for node in graph.nodes
        if node.operation in _LAYERS
        and node.reads_picture
        and node.attributes.get("bias")
        and (after := _past(graph, readers, node.index, _is_view))
        and all(reader.operation in _BATCH_NORMS for reader in after)
    ]
    return make_finding(
        "bias-before-batchnorm",
        places,
        "Batch norm subtracts the mean, and the bias with it: the bias learns nothing, and its gradient is zero "
        "except for rounding.",
        "Build the layer with bias=False; batch norm has its own.",
    )


def _batchnorm_at_batch_1(graph: Graph, batch: int | None) -> Finding | None:
    norms = [node for node in graph.nodes if node.operation in _BATCH_NORMS and batch == 1]
    single = [node for node in norms if prod(node.shape[2:]) == 1]
    effect = (
        "it sees one value per channel; training stops with an error."
        if single
        else "its statistics are those of that image, and differ from those used in evaluation."
    )
    return make_finding(
        "batchnorm-at-batch-1",
        map(_place, single or norms),
        f"With one image per batch {effect}",
        "Train on batches of at least 2, better 16 or more, and drop a last batch of 1; or use group norm.",
    )


def _dead_branch(graph: Graph, readers: list[list[int]]) -> Finding | None:
    alive, stack = set(), list(graph.outputs)
    while stack:
        index = stack.pop()
        if index not in alive:
            alive.add(index)
            stack += graph.nodes[index].inputs
    # of a chain that leads nowhere, its last layer is the place to look at
    # of several outputs of a layer, as the states of an LSTM, it is enough that one is used
    used = {(node.module, node.call) for node in graph.nodes if node.index in alive and node.module in graph.leaves}
    ends = [
        node
        for node in graph.nodes[1:]
        if node.index not in alive
        and (node.module, node.call) not in used
        and not readers[node.index]
        and (node.macs or node.parameters or (node.module and node.module in graph.leaves))
        and node.operation != "write"
    ]
    return make_finding(
        "dead-branch",
        [_place(node) for node in ends],
        "Its result is computed and discarded: the output does not depend on it.",
        "Use its result, as in x = layer(x), or remove it.",
    )


def _unused_parameters(module: nn.Module, graph: Graph) -> Finding | None:
    dead: Iterable[str] = ()
    if unused_parameters(graph):  # in evaluation; auxiliary heads are used in training
        dead = parameters_without_gradient(module, graph.input_shape[1:])
    read = {name for node in graph.nodes for name in node.parameters}
    return make_finding(
        "unused-parameters",
        list(dict.fromkeys(name.rpartition(".")[0] or name for name in dead if name not in read)),
        "The forward pass never reads them, neither in training nor in evaluation: they use memory and learn nothing.",
        "Call the layer in forward, or remove it.",
    )


def _missing_activation(graph: Graph, readers: list[list[int]]) -> Finding | None:
    places = []
    for node in graph.nodes:
        if node.operation in _LAYERS and node.reads_picture:  # not a weight that is a product of weights
            seconds = _past(graph, readers, node.index, _keeps_linear)
            places += [f"{_place(node)} -> {_place(second)}" for second in seconds if _wasted(node, second)]
    return make_finding(
        "missing-activation",
        places,
        "Two linear layers in a row are equivalent to one: the second adds parameters, but no capacity.",
        "Put an activation between them, such as ReLU.",
    )


def _wasted(first: Node, second: Node) -> bool:
    """Whether two layers in a row do what one could. Grouped convolutions, and a pair of convolutions by way of fewer channels
    (the linear bottleneck of MobileNetV2), save work, and are meant so."""
    if second.operation not in _LAYERS:
        return False
    if first.operation != "convolution" or second.operation != "convolution":
        return True
    (middle, inputs), outputs = first.attributes["weight"][:2], second.attributes["weight"][0]
    grouped = max(first.attributes["groups"], second.attributes["groups"]) > 1
    return not grouped and middle >= min(inputs, outputs)


def _faulty_output(graph: Graph, classes: int | None) -> list[Finding | None]:
    """What is wrong with the shape of the net's first output."""
    if not graph.outputs:
        return []
    output = graph.nodes[graph.outputs[0]]
    place = _place(_before_views(graph, output))
    images, rows, count = graph.input_shape[0], *((output.shape[0], output.shape[-1]) if output.shape else (0, 0))
    few = classes is not None and count < classes
    effect = (
        "labels beyond the last output stop training."
        if few
        else "the extra outputs take up probability and have no meaning."
    )
    return [
        make_finding(
            "wrong-number-of-classes",
            [place] if classes not in (None, count) else [],
            f"The net has {count} outputs for {classes} classes: {effect}",
            f"Give the last layer {classes} outputs.",
        ),
        make_finding(
            "batch-size-changed",
            [_place(output)] if rows != images else [],
            f"A batch of {images} comes out as {rows} rows: a reshape has split one image into several.",
            "Flatten with nn.Flatten() or x.flatten(1), which keep the batch, instead of view(-1, features).",
        ),
        make_finding(
            "not-flattened",
            [place] if set(output.shape[2:]) == {1} else [],
            f"The output is {dimensions(output.shape[1:])} per image: the loss expects logits (N, classes), and treats this "
            "as a map of classes.",
            "End with nn.Flatten(), or with x.flatten(1).",
        ),
    ]


def _place(node: Node) -> str:
    return node.module or node.operation


def _before_views(graph: Graph, node: Node) -> Node:
    """The operation that made a tensor, ignoring reshapes."""
    while _is_view(node) and len(node.inputs) == 1:
        node = graph.nodes[node.inputs[0]]
    return node


def _is_view(node: Node) -> bool:
    """Whether an operation moves values only; `unbind` does too, but begins a recurrent layer, which is no linear one."""
    if node.operation in INVISIBLE or node.operation == "identity":
        return True
    return kind_of(node.operation) in _VIEWS and node.operation != "unbind"


def _keeps_linear(node: Node) -> bool:
    """Whether an operation is linear; a sum of branches is not counted so, as a skip is meant to be one."""
    alone = node.operation in _LINEAR_ALONE and len(node.inputs) == 1
    return alone or node.operation in _LINEAR or _is_view(node)


def _past(graph: Graph, readers: list[list[int]], index: int, passes: Callable[[Node], bool]) -> list[Node]:
    """The operations that read a tensor, after those that `passes` skips."""
    found, queue, seen = [], list(readers[index]), set()
    while queue:
        reader = queue.pop(0)
        if reader in seen:
            continue
        seen.add(reader)
        if passes(graph.nodes[reader]):
            queue += readers[reader]
        else:
            found.append(graph.nodes[reader])
    return found
