"""A net as a graph that runs without Striate: ONNX, and PyTorch's exported program (.pt2)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from striate.errors import UsageError, param, short_of_means
from striate.exporting.model import Deployed, Model
from striate.strictjson import to_json

if TYPE_CHECKING:
    from torch.export import ExportedProgram

INPUT, OUTPUTS = "pixels", ("probabilities", "logits")
ABOUT = "about.json"
"""The file in a .pt2 that holds what `striate.exporting.model.about` gives."""


def write_onnx(model: Model, path: Path) -> None:
    """Writes an ONNX file: `pixels` uint8 (N, H, W, C) -> `probabilities` and `logits`, float32 (N, classes), for any N.

    Weights are inside; what goes along is in its metadata, each key of `about` as a text.

    Raises:
        UsageError: the net, an external one, does what ONNX has no words for.
    """
    import onnx

    program = traced(model)
    with _naming(model, "ONNX"):
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[INPUT],
            output_names=OUTPUTS,
            dynamic_shapes=({0: "N"},),
            verbose=False,
        )
    assert exported is not None
    graph = exported.model
    # It records which lines of which files each node came from: private, and of no use to anybody else.
    graph.metadata_props.clear()
    graph.graph.metadata_props.clear()
    for node in graph.graph.all_nodes():
        node.metadata_props.clear()
    graph.metadata_props.update(model.facts())
    exported.save(path)
    onnx.checker.check_model(path, full_check=True)


def write_program(model: Model, path: Path) -> None:
    """Writes a .pt2 for `torch.export.load`: uint8 (N, H, W, C) -> (probabilities, logits); what goes along in `ABOUT`.

    Raises:
        UsageError: the net, an external one, does what torch.export cannot follow.
    """
    program = traced(model)
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)  # lines of files of this machine
    content = io.BytesIO()  # writing to a full disk by itself, torch ends the whole process
    torch.export.save(program, content, extra_files={ABOUT: to_json(model.about.as_dict())})
    path.write_bytes(content.getvalue())


def traced(model: Model) -> ExportedProgram:
    """The net with its normalisation and softmax, as a graph for any number of images."""
    height, width = model.classifier.preprocessing.size
    example = torch.zeros(2, height, width, model.classifier.preprocessing.channels, dtype=torch.uint8)
    with _naming(model, "a graph"):
        return torch.export.export(
            Deployed(model), (example,), dynamic_shapes=({0: torch.export.Dim("N")},), strict=False
        )


@contextmanager
def _naming(model: Model, form: str) -> Iterator[None]:
    """Makes a UsageError of whatever a net raises that cannot be written in a form."""
    try:
        yield
    except Exception as error:
        if short_of_means(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{model.classifier.net.spec.name} cannot be written as {form}, which has no decisions that depend on values and no "
            f"code but tensor operations: {reason}. Its weights can: {param('to', 'safetensors')}"
        ) from error
