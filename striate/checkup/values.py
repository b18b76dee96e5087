"""Findings about pixel values: values that use little of their range, and values outside it."""

from __future__ import annotations

import numpy as np

from striate.checkup.findings import Finding, Picture, finding, picture
from striate.data.dataset import DataSet
from striate.data.images import portions
from striate.data.ranges import unused
from striate.data.values import UNUSED, plain
from striate.texts import counted


def value_findings(dataset: DataSet) -> list[Finding]:
    """Findings on pixel values. Of images of more than 8 bits what their files held; of 8 bits what all images together reach."""
    found = [
        finding(
            "unused-range",
            f"{text}. The net then sees almost no contrast, as when 12 bits are stored in 16. State which values are "
            "black and white with --range LOW,HIGH, or store 8 bits.",
        )
        for row in dataset.values
        if (text := unused(row))
    ]
    if not dataset.values and (text := _unused_of_eight(dataset)):
        found.append(finding("unused-range", text))
    return [*found, *_clipped(dataset)]


def _unused_of_eight(dataset: DataSet) -> str | None:
    """Said where all images together range over no more than a tenth of 255."""
    least, most = 255, 0
    for part in dataset.splits.values():
        for portion in portions(part.pixels):
            least, most = min(least, int(portion.min())), max(most, int(portion.max()))
            if most - least > UNUSED * 255:
                return None
    if most <= least:  # one value: blank images, which are told as such
        return None
    return (
        f"All images together range over {least} to {most} of 0 to 255, as if class numbers or bits were stored as "
        "grey values. Scale them before you store them."
    )


def _clipped(dataset: DataSet) -> list[Finding]:
    outside = [row for row in dataset.values if row.outside]
    if not outside:
        return []
    row, count = outside[0], sum(row.outside for row in outside)
    words = (
        f"{counted(count, 'image')} {'holds' if count == 1 else 'hold'} values outside the range {plain(row.low)} to "
        f"{plain(row.high)}: they go from {plain(row.least)} to {plain(row.most)}, and values outside become black or "
        "white. State a wider --range if this is not intended."
    )
    return [finding("clipped", words, pictures=tuple(_beyond(dataset)))]


def _beyond(dataset: DataSet) -> list[Picture]:
    """The files with values beyond their range, those that go farthest first."""
    found = []
    for split, part in dataset.splits.items():
        for index, path in enumerate(part.paths or ()):
            values = dataset.files[path].found if path in dataset.files else None
            if values is not None and (values.least < values.low or values.most > values.high):
                note = f"{plain(values.least)} to {plain(values.most)}"
                found.append((max(values.low - values.least, values.most - values.high), split, index, note))
    order = np.argsort([-distance for distance, *_ in found], kind="stable").tolist() if found else []
    return [picture(dataset, *found[place][1:]) for place in order]
