"""DataSet: images under one name, with their splits, where they came from, and what was left out; and how they are to be read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, overload

from striate.arguments import check
from striate.choices import Fit, OnBad
from striate.data.decode import FileInfo
from striate.data.images import ImageData
from striate.data.ledger import Ledger
from striate.data.ranges import Values, doubt, range_of
from striate.data.values import Range
from striate.errors import DataError, UsageError, param
from striate.texts import dimensions

if TYPE_CHECKING:
    import torch


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


@dataclass(frozen=True, eq=False, kw_only=True, slots=True, repr=False)
class DataSet:
    """A set of images under one name: its splits and where it came from.

    Attributes:
        name: `fashion-mnist`, or the folder's name.
        location: what `load_data` takes to load it again: the name, or the folder's absolute path.
        source: who made it, with a reference.
        licence: its terms as the makers state them.
        splits: `train`, and `validation` and `test` where the set gives them. All have the same classes.
        flippable: whether a mirrored image keeps its class (it does not for digits).
        unreadable: file -> reason, for those that were left out.
        excluded: pattern -> the files that it left out.
        made: the splits that were made from the training images because the data has none.
        ledger: what became of every file and folder, row, or array; None for a set by name.
        files: path -> what its file is, for those that could be read; empty where images are no files.
        place: the folder of the pixel cache, or why there is none.
        numbered: whether classes have numbers and no names.
        reading: how files were read.
        values: of images that are wider than 8 bits.
        range: their black and white, where it was stated.
        set_aside: content hashes of a test split that was made and then left out, see `untested`.
    """

    name: str
    location: str
    title: str
    source: str
    licence: str = "not stated"
    splits: Mapping[str, ImageData]
    flippable: bool = True
    unreadable: Mapping[str, str] = field(default_factory=dict)
    excluded: Mapping[str, Sequence[str]] = field(default_factory=dict)
    made: tuple[str, ...] = ()
    ledger: Ledger | None = None
    files: Mapping[str, FileInfo] = field(default_factory=dict)
    place: str = ""
    numbered: bool = False
    reading: Reading | None = None
    values: tuple[Values, ...] = ()
    range: Range | None = None
    set_aside: tuple[str, ...] = ()

    def untested(self) -> DataSet:
        """The set without its test split. Of one that was made of the training images the content hashes stay, `set_aside`."""
        kept = dict(self.splits)
        test = kept.pop("test", None)
        aside = self.set_aside if test is None or "test" not in self.made else test.content_hashes()
        return replace(self, splits=kept, set_aside=aside)

    def __len__(self) -> int:
        """Images of all splits."""
        return sum(map(len, self.splits.values()))

    @overload
    def __getitem__(self, key: str) -> ImageData: ...

    @overload
    def __getitem__(self, key: int) -> tuple[torch.Tensor, int]: ...

    def __getitem__(self, key: int | str) -> tuple[torch.Tensor, int] | ImageData:
        """A split by its name, or by number (uint8 tensor (C, H, W), label) of one image, counted over all splits."""
        if isinstance(key, str):
            if key not in self.splits:
                raise UsageError(f"{self.name} has no split {key!r}; it has: {', '.join(self.splits)}")
            return self.splits[key]
        position = range(len(self))[key]
        for part in self.splits.values():
            if position < len(part):
                break
            position -= len(part)
        return part[position]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        return (picture for part in self.splits.values() for picture in part)

    @property
    def train(self) -> ImageData:
        """The training split. Raises DataError where there is none."""
        if "train" not in self.splits:
            raise DataError(f"{self.location} has no training images, only: {', '.join(self.splits)}")
        return self.splits["train"]

    @property
    def first(self) -> ImageData:
        """The training split, or what there is instead."""
        return next(iter(self.splits.values()))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.first.classes

    @property
    def junk(self) -> int:
        """Number of hidden files, system files, and circular links that were left out."""
        return 0 if self.ledger is None else self.ledger.count("junk")

    def __repr__(self) -> str:
        """A line for the set, one for its classes, one a split."""
        names = [name if len(name) <= 24 else f"{name[:23]}…" for name in self.classes[:8]]
        more = f" and {len(self.classes) - 8} more" if len(self.classes) > 8 else ""
        left = {
            "not readable": len(self.unreadable),
            "excluded": len(self.excluded_files()),
            "system files": self.junk,
        }
        lines = [f"<DataSet {self.name[:80]}", f"  {len(self.classes)} classes: {', '.join(names)}{more}"]
        lines += [f"  {split}: {len(data):,} images of {dimensions(data.shape)}" for split, data in self.splits.items()]
        if any(left.values()):
            lines.append(f"  left out: {', '.join(f'{count} {what}' for what, count in left.items() if count)}")
        return "\n".join(lines) + ">"

    def excluded_files(self) -> list[str]:
        """The files that some pattern names, each once."""
        return sorted({path for paths in self.excluded.values() for path in paths})

    def require_excluded(self) -> None:
        """Raises UsageError if a pattern of files to exclude matches none: it is probably misspelt."""
        if unused := [pattern for pattern, paths in self.excluded.items() if not paths]:
            raise UsageError(f"{param('exclude')} {unused[0]!r} matches no file of {self.location}")

    def require_range(self) -> None:
        """Raises UsageError if a range was stated and all images are of 8 bits, and DataError if training would have to guess at
        black and white: none was stated, and values are not known, or fill so little of 16 bits that they may be fewer.
        """
        if self.range is not None and not self.values:
            raise UsageError(
                f"{param('range')} is for images with more than 8 bits, but {self.location} has none that it applies to"
            )
        if self.range is None and (asked := doubt(self.values, self.unreadable.values())):
            raise DataError(f"{self.location}: {asked}")

    def _of_files(self) -> dict[str, object]:
        """The files before they are scaled and converted: the median of their shorter sides, and whether any has colour."""
        if not self.files:
            return {}
        sides = sorted(min(file.width, file.height) for file in self.files.values())
        return {"side": sides[len(sides) // 2], "colour": not all(file.grey for file in self.files.values())}

    def as_dict(self) -> dict[str, Any]:
        """The content of the data set, in plain types."""
        return {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "licence": self.licence,
            "location": self.location,
            "classes": list(self.classes),
            "shape": list(self.first.shape),
            "pictures": {split: len(data) for split, data in self.splits.items()},
            "class_counts": {split: data.class_counts() for split, data in self.splits.items()},
            "unreadable": dict(self.unreadable),
            "excluded": self.excluded_files(),
            "junk": self.junk,
            "ledger": None if self.ledger is None else self.ledger.as_dict(),
            "values": [row.as_dict() for row in self.values],
            "flippable": self.flippable,
            **self._of_files(),
        }


def require_distinct(names: Iterable[str], where: str) -> None:
    """Raises DataError for two classes that differ only in capitals, in spaces or signs between words, in what cannot be seen, or
    in how a letter or number is written.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(folded(name), name)
        if other != name:
            raise DataError(
                f"{where}: the classes {other!r} and {name!r} differ only in {_difference(other, name)}: "
                "give both the same name, or clearly different ones"
            )


def folded(name: str) -> str:
    """A name as a reader takes it: without regard to capitals, spaces at its ends, what stands between words, letters that cannot
    be seen, or how letters and numbers are written.
    """
    text = " ".join(unicodedata.normalize("NFKC", _seen(name)).casefold().split())
    text = re.sub(r"(?<=[^\W_])[-_ ]+(?=[^\W\d_])", " ", text)
    try:
        return repr(float(text)) if re.fullmatch(r"[+-]?\d+(\.\d*)?", text) and len(text) < 16 else text
    except ValueError:
        return text


def _seen(name: str) -> str:
    return "".join(letter for letter in name if unicodedata.category(letter) != "Cf")


def _difference(one: str, other: str) -> str:
    if _seen(one) == _seen(other):
        return "invisible characters (such as a zero-width space)"
    composed = [unicodedata.normalize("NFC", name) for name in (one, other)]
    if composed[0] == composed[1]:
        return "the encoding of an accent (Unicode NFC and NFD)"
    if composed[0].casefold() == composed[1].casefold():
        return "capitals"
    if "".join(composed[0].split()).casefold() == "".join(composed[1].split()).casefold():
        return "spaces"
    return "their spelling"
