"""What a check-up finds: the records, and the words for them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from striate.data.dataset import DataSet

Severity = Literal["serious", "warning", "hint"]
"""`serious`: figures measured on these images are wrong. `warning`: correct it, or know why not. `hint`: worth a look."""
KINDS: dict[str, tuple[Severity, str]] = {
    "leakage": ("serious", "The same image in two splits"),
    "near-leakage": ("warning", "Nearly the same image in two splits"),
    "label-conflict": ("serious", "The same image in two classes"),
    "near-label-conflict": ("warning", "Nearly the same image in two classes"),
    "unreadable": ("warning", "Files that cannot be read"),
    "unused-range": ("warning", "Values that use little of their range"),
    "clipped": ("warning", "Values beyond their range"),
    "blank": ("warning", "Blank images"),
    "few-pictures": ("warning", "Classes with too few images"),
    "imbalance": ("hint", "Classes of very different size"),
    "duplicates": ("hint", "The same image twice in a class"),
    "near-duplicates": ("hint", "Nearly the same image twice in a class"),
    "odd-mode": ("hint", "Files of another kind than the rest"),
    "odd-size": ("hint", "Files of another size than the rest"),
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

    `note`: what the finding says of this very image.
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
        """What it is, in a few words."""
        return KINDS[self.kind][1]

    @property
    def count(self) -> int:
        """Images, pairs or files; 0 for what is said of classes."""
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
