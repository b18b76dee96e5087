"""How files are to be read, as a person asks for it and as a run keeps it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from striate.arguments import check
from striate.choices import Fit, OnBad
from striate.data.ranges import range_of
from striate.data.values import Range
from striate.errors import UsageError, param

CHANNELS = (1, 3)
"""Number of channels that images can have: grey, or colour."""
OF_FILES = ("group_by", "exclude", "splits")
"""The fields that a run keeps with its data; those of the images are in its preprocessing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Which files are read, and into what pixels. The fields are arguments of `striate.load_data`, which says what they mean."""

    size: tuple[int, int] = (224, 224)
    channels: int | None = None
    fit: Fit = "crop"
    range: Range | None = None
    group_by: str | None = None
    exclude: tuple[str, ...] = ()
    splits: str | None = None
    on_bad: OnBad = "skip"
    partial: bool = False
    tested: bool = True
    """Whether the test split is read. If not, none of its files is opened; where the data has none of its own, the same images
    are set aside as otherwise."""

    def __post_init__(self) -> None:
        check("fit", self.fit, Fit)
        check("on_bad", self.on_bad, OnBad)
        if self.channels not in (None, *CHANNELS):
            raise UsageError(f"{param('channels')} is 1 for grey images or 3 for colour, got {self.channels}")
        object.__setattr__(self, "exclude", tuple(self.exclude))
        object.__setattr__(self, "range", range_of(self.range))

    def of_all(self) -> Reading:
        """The same pixels, but of all files, and in the splits that these have by themselves."""
        return replace(self, group_by=None, exclude=(), splits=None)
