"""The values fitted on a run's validation images, and its net's answers to fixed images."""

from __future__ import annotations

from typing import Annotated, Literal

from striate.choices import Within
from striate.errors import DataError
from striate.forms import RARE, Form, Rare
from striate.runforms.kinds import Count, Figure, Name, Share, Temperature

Score = Literal["nearest", "energy", "max_logit", "max_softmax"]


class WithoutReferences(Form):
    score: Literal["energy", "max_logit", "max_softmax"]
    keep: Share
    threshold: Figure


class Abstain(Form):
    """The score of an image below whose threshold the net abstains, chosen to keep a share of the validation images.

    Attributes:
        without_references: counts where calibration.safetensors, which is made of images, was not handed on.
    """

    score: Score
    keep: Share
    threshold: Figure
    without_references: Rare[WithoutReferences] = None


class Calibration(Form):
    """calibration.json: what was fitted on the validation images.

    Attributes:
        n: images; not_finite: further ones for which the net gives no finite logits, which are left out.
        temperature: the logits are divided by it.
        how: `fitted`; `shrunk` towards 1 or `left out`, which is 1, where the images are too few to tell.
        likeliest: the temperature before that.
        loss_before, ece_before, loss, ece: of these images, without the temperature and with it.
        abstain: None where there are too few images.
    """

    split: Name = "validation"
    n: Count
    not_finite: Annotated[Count, RARE] = 0
    temperature: Temperature
    how: Literal["fitted", "shrunk", "left out"] = "fitted"
    likeliest: Figure | None = None
    loss_before: Figure
    ece_before: Share
    loss: Figure
    ece: Share
    abstain: Rare[Abstain] = None


class Answer(Form):
    """answer.json: the logits that the net gave for the fixed images when it was saved."""

    images: Name = ""
    logits: Annotated[tuple[tuple[Figure | None, ...], ...], Within(1, 100)]

    def __post_init__(self) -> None:
        if len({len(row) for row in self.logits}) > 1:
            raise DataError("logits must be rows of as many numbers each")
