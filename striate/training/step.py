"""TrainingStep: net and loss as one module, which is what a compiler or a distributed wrapper takes hold of. The optimizer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.data.images import ImageData
from striate.nets import Net
from striate.recipe import Recipe
from striate.training.optimizers import SGD, Adam, AdamW


class TrainingStep(nn.Module):
    """(inputs, labels) -> (loss, hits), the loss with that of the auxiliary heads added by their weights.

    Args:
        net: any net of the catalogue's form.
        label_smoothing: share of the target spread evenly over all classes (Szegedy et al. 2015, section 7).
        weights: float32 (classes,), what the loss of each class counts; None for all alike.

    Attributes:
        bf16: whether the net computes in bfloat16 where torch's autocast does; weights and loss stay float32.
    """

    weights: Tensor | None

    def __init__(self, net: Net, label_smoothing: float = 0.0, weights: Tensor | None = None) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("weights", weights, persistent=False)
        self.label_smoothing = label_smoothing
        self.bf16 = False

    def forward(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, C, H, W) -> scalar mean loss with its graph, and how many of the N were right (int64).

        `labels`: int64 (N,), or the share of each class, float (N, classes); right is the class with the largest share then.
        """
        auxiliary = self.net.auxiliary
        extra: list[tuple[float, Tensor]] = []
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            for name, stage in self.net.stages.items():
                x = stage(x)
                if name in auxiliary:
                    weight, head = auxiliary[name]
                    extra.append((weight, head(x)))
            logits = self.net.head(x)
        loss = self._loss(logits, labels)
        for weight, other in extra:
            loss = loss + weight * self._loss(other, labels)
        truth = labels if labels.ndim == 1 else labels.argmax(1)
        return loss, (logits.detach().argmax(1) == truth).sum()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.bf16:
            logits = logits.float()
        if self.weights is None:
            return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        # The mean over the images: torch's own mean of weighted losses divides by the weights that the batch happens to have.
        losses = F.cross_entropy(
            logits, labels, weight=self.weights, label_smoothing=self.label_smoothing, reduction="none"
        )
        return losses.mean()


def class_weights(data: ImageData) -> Tensor:
    """float32 (classes,): N / (classes that have images x images of this class), so that all classes weigh the same and a
    image weighs 1 on the average; 0 for a class without images.
    """
    counts = torch.tensor(data.class_counts(), dtype=torch.float64)
    present = counts > 0
    return torch.where(present, len(data) / (present.sum() * counts.clamp(min=1)), 0).float()


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over the net's trainable parameters; its rate is set before every step.

    Weights of one dimension, which are biases and the scales of norms, do not decay unless `recipe.decay_all`: decay would
    pull a norm's scale to zero and gives a bias nothing. A body that is frozen at first is in groups of its own: torch's fused
    SGD begins the momentum of a whole group at once.
    """
    trainable = [(name, parameter) for name, parameter in net.named_parameters() if parameter.requires_grad]
    grouped: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in trainable:
        decay = recipe.weight_decay if recipe.decay_all or parameter.ndim > 1 else 0.0
        frozen = bool(recipe.freeze) and name.startswith("stages.")
        grouped.setdefault((decay, frozen), []).append(parameter)
    groups = [{"params": parameters, "weight_decay": decay} for (decay, _), parameters in grouped.items()]
    # Fused kernels update all weights in one pass over memory; MPS has none for every optimizer.
    fused = all(parameter.device.type in ("cpu", "cuda") for _, parameter in trainable)
    if recipe.optimizer == "adamw":
        return AdamW(groups, lr=recipe.lr, fused=fused)
    if recipe.optimizer == "adam":
        return Adam(groups, lr=recipe.lr, fused=fused)
    return SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused)
