"""The outputs of a net: which tensor holds the logits, which others there are, and a description for messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import UsageError
from striate.texts import with_article


class Logits(nn.Module):
    """The head of an external net: takes the logits from its output, a tensor or something with `.logits` or `["logits"]`.

    torchvision's GoogLeNet and Inception give auxiliary logits beside them while they train; those are ignored.
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
    """The logits in a net's output; None if it is not known which tensor they are."""
    found = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", output)
    return found if isinstance(found, Tensor) else None


def outputs_in(output: object) -> list[Tensor]:
    """The tensors in a net's output, also inside tuples, dicts, dataclasses and other objects; the logits first."""
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


def names_in(output: object) -> list[str]:
    """The names of the entries of a dict, a named tuple or a dataclass that a net returns, except those that are None."""
    if isinstance(output, Mapping):
        return [str(name) for name, value in output.items() if value is not None]
    named = [field.name for field in fields(output)] if is_dataclass(output) else getattr(output, "_fields", ())
    return [name for name in named if getattr(output, name, None) is not None]


def described(output: object) -> str:
    """A net's output in words: `a tuple of 2 things`, `a dict of features, logits`, `None`."""
    if output is None:
        return "None"
    name = with_article(type(output).__name__)
    if names := names_in(output):
        return f"{name} of {', '.join(names)}"
    if isinstance(output, list | tuple):
        return f"{name} of {len(output)} things"
    return name
