"""The training data of a run: data.json, split.json."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from striate.choices import Within
from striate.errors import DataError
from striate.forms import Form, Rare, shown
from striate.runforms.kinds import Classes, Count, Counts, Name, Text


class FindingRow(Form):
    kind: Name
    severity: Name = ""
    title: Text
    count: Count | None = None
    words: Annotated[str, Within(0, 100_000)]


class LedgerRow(Form):
    fate: Literal["used", "excluded", "junk", "unreadable", "other"]
    kind: Text
    count: Count
    examples: tuple[Text, ...]


class Ledger(Form):
    """The ledger of the data: see `striate.data.ledger`."""

    what: Name
    entries: Count
    used: Count
    excluded: Count
    junk: Count
    unreadable: Count
    other: Count
    named: Annotated[tuple[LedgerRow, ...], Within(0, 10_000)]
    notes: Annotated[tuple[Text, ...], Within(0, 10_000)]


class Data(Form):
    """data.json: what the run was trained on."""

    name: Name
    title: Text = ""
    source: Text = ""
    licence: Text = ""
    classes: Classes
    counts: Counts
    class_counts: dict[str, tuple[Count, ...]]
    shape: tuple[Annotated[int, Within(1, 10**6)], Annotated[int, Within(1, 10**6)], Annotated[int, Within(1, 64)]]
    fingerprint: Name
    unreadable: dict[str, Text] = field(default_factory=dict)
    excluded: tuple[Text, ...] = ()
    junk: Count = 0
    ledger: Ledger | None = None
    values: tuple[dict[str, object], ...] = ()
    seen_in_training: Counts = field(default_factory=dict)
    findings: tuple[FindingRow, ...] = ()
    side: Rare[Annotated[int, Within(1, 10**6)]] = None
    """Median of the shorter sides of the files, in pixels; None where images are no files."""
    colour: Rare[bool] = None
    """Whether some file has colour, whatever the net is fed; None where images are no files."""
    flippable: Rare[bool] = None
    """Whether a mirrored image keeps its class."""

    def __post_init__(self) -> None:
        for split in ("train", *(split for split, count in self.counts.items() if count)):
            for name, counted in (("counts", self.counts), ("class_counts", self.class_counts)):
                if split not in counted:
                    raise DataError(f"{name}.{shown(split)} is missing")
        for split, counts in self.class_counts.items():
            if len(counts) != len(self.classes):
                raise DataError(f"class_counts.{split} must have {len(self.classes)} counts, got {len(counts)}")
        for split, count in self.seen_in_training.items():
            if count > self.counts.get(split, 0):
                raise DataError(f"seen_in_training.{shown(split)} is {count:,}, more than counts has of it")

    @property
    def called(self) -> str:
        """Its title, or its name where it has none."""
        return self.title or self.name


class Split(Form):
    """split.json: positions of the training split that the run held out, and the content hashes of its splits."""

    validation: tuple[Annotated[int, Within(0, 10**9)], ...] | None = None
    content: dict[str, tuple[Name, ...]] | None = None
