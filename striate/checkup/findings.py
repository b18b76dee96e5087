"""The records of a check-up, and their wording."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from striate.data.dataset import DataSet

Severity = Literal["serious", "warning", "hint"]
"""`serious`: figures measured on these images are wrong. `warning`: correct it, or know why not. `hint`: have a "
"look."""
KINDS: dict[str, tuple[Severity, str]] = {
    "leakage": ("serious", "Duplicate images in two splits"),
    "near-leakage": ("warning", "Near duplicates in two splits"),
    "label-conflict": ("serious", "Duplicate images in two classes"),
    "near-label-conflict": ("warning", "Near duplicates in two classes"),
    "unreadable": ("warning", "Unreadable files"),
    "unused-range": ("warning", "Values that use little of their range"),
    "clipped": ("warning", "Values outside their range"),
    "blank": ("warning", "Blank images"),
    "few-pictures": ("warning", "Classes with too few images"),
    "imbalance": ("hint", "Class imbalance"),
    "duplicates": ("hint", "Duplicate images within a class"),
    "near-duplicates": ("hint", "Near duplicates within a class"),
    "odd-mode": ("hint", "Files with an unusual colour mode"),
    "odd-size": ("hint", "Files with an unusual size"),
    "small": ("hint", "Very small images"),
    "long": ("hint", "Extreme aspect ratios"),
    "outliers": ("hint", "Images that look unlike their class"),
}
"""Kind -> (usual severity, title), in the order in which findings are reported."""

Place = tuple[str, int]
"""Split, and position in it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a data set: where it stands, its class, and its file if it is one.

    `note`: a remark about this image.
    """

    split: str
    index: int
    label: str
    path: str | None
    note: str = ""

    @property
    def place(self) -> Place:
        return self.split, self.index


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images that show the same. `likeness`: mean structural similarity, 1 where all pixels are equal."""

    first: Picture
    second: Picture
    mirrored: bool = False
    likeness: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that was found, and what to do about it.

    Attributes:
        kind: one of `KINDS`; severity: see `Severity`.
        words: the value, the limit and the way out.
        pictures: those concerned, the worst first; of pairs, none.
        pairs: those concerned, the likest first.
        files: (path, reason) of those that could not be read.
    """

    kind: str
    severity: Severity
    words: str
    pictures: tuple[Picture, ...] = ()
    pairs: tuple[Pair, ...] = ()
    files: tuple[tuple[str, str], ...] = ()

    @property
    def title(self) -> str:
        """The title of the finding."""
        return KINDS[self.kind][1]

    @property
    def count(self) -> int:
        """Number of images, pairs or files; 0 for findings about classes."""
        return len(self.pictures) + len(self.pairs) + len(self.files)

    def as_dict(self) -> dict[str, object]:
        """The finding in plain types."""
        return {"kind": self.kind, "severity": self.severity, "title": self.title, "count": self.count, **asdict(self)}


def finding(kind: str, words: str, **concerned: Any) -> Finding:
    """A finding of the usual severity. `concerned`: pictures, pairs or files."""
    return Finding(kind=kind, severity=KINDS[kind][0], words=words, **concerned)


def picture(dataset: DataSet, split: str, index: int, note: str = "") -> Picture:
    """The record of an image of a data set."""
    part = dataset.splits[split]
    return Picture(
        split=split,
        index=index,
        label=part.classes[part.labels[index]],
        path=None if part.paths is None else part.paths[index],
        note=note,
    )
