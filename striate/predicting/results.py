"""One prediction, and a list of predictions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from striate import notebook
from striate.data.images import Pixels
from striate.data.ledger import Ledger
from striate.texts import percent

UNKNOWN = "unknown"
"""The label of an image that is unlike those of validation. A class may have this name too; `Prediction.known` tells."""
NO_NUMBER = "the net returns NaN or infinity for this image, so there is no answer"
"""The error of an image that was read, and for which the net has no answer."""
SHOWN = 50
"""Predictions that a notebook shows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        picture: the file's path, or its place among the images given, as in `image 2`.
        label: the likeliest class; `UNKNOWN` for an out-of-distribution image, where that was asked; None with an error.
        confidence: the likeliest class's probability, 0 to 1, if it is one of the classes: the softmax of the logits divided by
            the temperature that the run's calibration holds, or by 1.
        top: the likeliest classes with their probabilities, best first; of unknown images too.
        known: whether the image is like those of validation; None where that was not asked, or it could not be read.
        error: why the image could not be read, or that the net gives no number for it; or None.
    """

    picture: str
    label: str | None = None
    confidence: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    known: bool | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, object]:
        """The prediction in plain types."""
        return {**asdict(self), "top": [{"class": name, "confidence": value} for name, value in self.top]}

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.picture}: {self.error}"
        classes = ", ".join(f"{name} {percent(value)}" for name, value in self.top)
        return f"{self.picture}: {f'{UNKNOWN} (nearest classes: {classes})' if self.known is False else classes}"

    def _repr_html_(self) -> str:
        return Predictions([self])._repr_html_()


class Predictions(list[Prediction]):
    """A list of predictions that a notebook shows as a table, with what the net was fed of the first images.

    Attributes:
        thumbnails: uint8 (H, W, C) of the first `SHOWN`, None for one that could not be read.
        ledger: what became of every entry of the folders that were given; None where none was.
    """

    def __init__(
        self,
        predictions: Iterable[Prediction] = (),
        thumbnails: Iterable[Pixels | None] = (),
        ledger: Ledger | None = None,
    ) -> None:
        super().__init__(predictions)
        self.thumbnails = tuple(thumbnails)
        self.ledger = ledger

    def __repr__(self) -> str:
        return "\n".join([*map(str, self[:SHOWN]), *filter(None, [self._rest()])])

    def _repr_html_(self) -> str:
        rows = []
        for place, prediction in enumerate(self[:SHOWN]):
            pixels = self.thumbnails[place] if place < len(self.thumbnails) else None
            sure = "" if prediction.confidence is None else notebook.bar(prediction.confidence)
            others = prediction.top if prediction.known is False else prediction.top[1:]
            rows.append(
                (
                    "" if pixels is None else notebook.thumbnail(pixels),
                    prediction.picture,
                    prediction.error or prediction.label,
                    "" if prediction.known is False else sure,
                    ", ".join(f"{name} {percent(value)}" for name, value in others),
                )
            )
        columns = ("what the net sees" if self.thumbnails else "", "image", "prediction", "confidence", "next classes")
        return notebook.table(columns, rows, self._rest())

    def _rest(self) -> str:
        return f"... and {len(self) - SHOWN:,} more" if len(self) > SHOWN else ""
