"""Net: the form that every network has, named stages followed by a head."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from striate import notebook
from striate.nets.netspec import NetFacts


class Net(nn.Module):
    """Named stages, tensor to tensor, then a head that pools, flattens and classifies.

    Args:
        stages: name -> module, in order; each takes and gives one tensor (N, C, H, W). The last one includes the
            closing norm and activation.
        head: (N, C, H, W) -> logits (N, classes).
        auxiliary: stage name -> (weight of its loss, head on that stage's output). They train with the net and are no
            part of `forward`; empty but for GoogLeNet.
    """

    spec: NetFacts
    channels: int
    classes: int
    notes: tuple[str, ...] = ()
    """Notes on what was done to make it fit; empty for the catalogue's."""

    def __init__(
        self,
        stages: Mapping[str, nn.Module],
        head: nn.Module,
        auxiliary: Mapping[str, tuple[float, nn.Module]] | None = None,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleDict(stages)
        self.head = head
        auxiliary = auxiliary or {}
        self._auxiliary_weights = {stage: weight for stage, (weight, _) in auxiliary.items()}
        self.auxiliary_heads = nn.ModuleDict({stage: head for stage, (_, head) in auxiliary.items()})

    @property
    def auxiliary(self) -> dict[str, tuple[float, nn.Module]]:
        """{stage: (weight of its loss, head)}; empty for most nets."""
        return {stage: (weight, self.auxiliary_heads[stage]) for stage, weight in self._auxiliary_weights.items()}

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> logits (N, classes), in every mode
        for stage in self.stages.values():
            x = stage(x)
        logits: Tensor = self.head(x)
        return logits

    def _repr_html_(self) -> str:
        parts = {**self.stages, "head": self.head, **{f"auxiliary on {n}": h for n, (_, h) in self.auxiliary.items()}}
        rows = [(name, type(part).__name__, f"{_parameters(part):,}") for name, part in parts.items()]
        title = f"{self.spec.title}, {_parameters(self):,} parameters" if hasattr(self, "spec") else type(self).__name__
        return notebook.card(title, {}) + notebook.table(("stage", "module", "parameters"), rows)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
