"""The check-up of a data set: what is wrong or odd about its images, said before a net is trained on them.

Nothing is changed: files are read, and what was found is reported.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from striate.checkup.copies import across_copies, copy_findings, equal_groups
from striate.checkup.findings import Finding, Picture, Place, picture
from striate.checkup.near import near_duplicates, thumbnails
from striate.checkup.outliers import outlier_findings
from striate.checkup.quick import in_order, quick
from striate.data.dataset import DataSet
from striate.data.images import Pixels

SIZE = (32, 32)
"""The size to load files at for a check-up: equal at that size counts as equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """The findings in a data set.

    Attributes:
        name, location: of the data set.
        pictures: split -> number of images that were checked.
        classes: their names.
        findings: in the order of their weight.
        seconds: what the check-up took, without loading.
    """

    name: str
    location: str
    pictures: Mapping[str, int]
    classes: tuple[str, ...]
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def weighty(self) -> tuple[Finding, ...]:
        """The findings that are more than a hint."""
        return tuple(finding for finding in self.findings if finding.severity != "hint")

    def as_dict(self) -> dict[str, object]:
        """The result in plain types."""
        findings = [finding.as_dict() for finding in self.findings]
        seconds = round(self.seconds, 2)
        return {**asdict(self), "weighty": len(self.weighty), "findings": findings, "seconds": seconds}


def check(dataset: DataSet) -> Checkup:
    """The whole check-up: what `quick` finds, near duplicates, and images that look unlike their class.

    Args:
        dataset: loaded at `SIZE` if it is of files, so that what is equal is so at that size. Time grows with the square of
            the number of images (docs/checkup.md).
    """
    begin = time.perf_counter()
    reduced = np.concatenate([thumbnails(part.pixels) for part in dataset.splits.values()])
    findings = quick(dataset)
    blank = {picture.place for finding in findings if finding.kind == "blank" for picture in finding.pictures}
    findings += [*_near(dataset, reduced, blank), *outlier_findings(dataset, reduced, blank)]
    return Checkup(
        name=dataset.name,
        location=dataset.location,
        pictures={split: len(part) for split, part in dataset.splits.items()},
        classes=dataset.classes,
        findings=tuple(in_order(findings)),
        seconds=time.perf_counter() - begin,
    )


def _near(dataset: DataSet, reduced: Pixels, blank: set[Place]) -> list[Finding]:
    """Near duplicates of images that are not blank; of equal ones the first stands for all."""
    groups = {group[0].place: group for group in equal_groups(dataset)}
    left_out = blank | {member.place for group in groups.values() for member in group[1:]}
    places = [(split, index) for split, part in dataset.splits.items() for index in range(len(part))]
    kept = [position for position, place in enumerate(places) if place not in left_out]

    def group(position: int) -> list[Picture]:
        place = places[kept[position]]
        return groups.get(place) or [picture(dataset, *place)]

    pairs = [
        pair
        for match in near_duplicates(reduced[kept])
        for pair in across_copies((group(match.first), group(match.second)), match.mirrored, match.likeness)
    ]
    return copy_findings(pairs, dataset, near=True)


def copies_of_training(findings: Iterable[Finding], split: str = "test") -> set[Picture]:
    """The images of a split that are, or nearly are, training images."""
    return {
        pair.second
        for finding in findings
        if finding.kind in ("leakage", "near-leakage")
        for pair in finding.pairs
        if (pair.first.split, pair.second.split) == ("train", split)
    }
