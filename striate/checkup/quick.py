"""The part of the check-up that costs next to nothing: training runs it by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from striate.checkup.copies import copy_findings, equal_groups, equal_pairs
from striate.checkup.findings import KINDS, Finding, Picture, finding, picture
from striate.data.dataset import DataSet
from striate.data.images import Pixels, portions
from striate.data.ranges import unused
from striate.data.values import UNUSED, plain
from striate.texts import counted

_RARE = 0.02
"""Share of the files up to which a mode or a size is odd, where the most common one has `_COMMON`."""
_COMMON = 0.9
_SMALL_SIDE, _SMALL_SHARE = 16, 0.25
"""Shorter sides that are very small: in pixels, and as a share of the median."""
_LONG = 3.0
"""The longer side in shorter ones, from which an image is very long or high."""
_BLANK = 16
"""Largest range, of 255, that the values of a blank image range over, in each channel."""
_FEW = {"train": 20, "validation": 5, "test": 5}
"""Images of a class below which it has too few."""
_UNEVEN, _VERY_UNEVEN = 3, 10
"""Ratio of the largest class to the smallest from which imbalance is reported."""


def quick(dataset: DataSet) -> list[Finding]:
    """Unreadable files, ranges of values, odd modes and sizes, blank images, equal images, and the sizes of the classes.

    Nothing is decoded, and only pixels that are loaded are looked at: 60,000 images of 32x32 take less than half a second.
    """
    blanks = blank_pictures(dataset)
    blank = {picture.place for picture in blanks}
    groups = [group for group in equal_groups(dataset) if group[0].place not in blank]
    return in_order(
        [
            *_unreadable(dataset.unreadable),
            *_values(dataset),
            *_blank(blanks),
            *_class_sizes(dataset),
            *_odd_files(dataset),
            *copy_findings(equal_pairs(groups), dataset, near=False),
        ]
    )


def in_order(findings: list[Finding]) -> list[Finding]:
    """Findings in the order in which they are reported."""
    kinds = list(KINDS)
    return sorted(findings, key=lambda finding: kinds.index(finding.kind))


def _unreadable(unreadable: Mapping[str, str]) -> list[Finding]:
    count = len(unreadable)
    words = (
        f"{counted(count, 'file')} cannot be read and {'is' if count == 1 else 'are'} left out. Repair or remove "
        f"{'it' if count == 1 else 'them'}; --exclude silences this, and training with --on-bad stop refuses to start."
    )
    return [finding("unreadable", words, files=tuple(unreadable.items()))] if count else []


def _values(dataset: DataSet) -> list[Finding]:
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
    if most <= least:  # one value: blank images, which are a finding of their own
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
    found.sort(key=lambda item: -item[0])
    return [picture(dataset, *place[1:]) for place in found]


def blank_pictures(dataset: DataSet) -> list[Picture]:
    """Those whose values range over at most 16 of 255 in each channel."""
    found = []
    for split, part in dataset.splits.items():
        start = 0
        for portion in portions(part.pixels):
            # An image that varies does so on every fourth pixel, too: only what is left is looked at in full.
            suspects = np.flatnonzero(_ranges(portion[:, ::4, ::4]) <= _BLANK)
            ranges = _ranges(portion[suspects]) if len(suspects) else suspects
            found += [
                picture(dataset, split, start + int(place), f"values range over {spread}" if spread else "one colour")
                for place, spread in zip(suspects, ranges.tolist(), strict=True)
                if spread <= _BLANK
            ]
            start += len(portion)
    return found


def _ranges(pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """int64 (N,): the largest range of values of a channel."""
    spread = pixels.max(axis=(1, 2)).astype(np.int64) - pixels.min(axis=(1, 2))
    widest: np.ndarray[tuple[int, ...], np.dtype[np.int64]] = spread.max(axis=1)
    return widest


def _blank(pictures: list[Picture]) -> list[Finding]:
    words = (
        f"{counted(len(pictures), 'image')} {'has' if len(pictures) == 1 else 'have'} almost no content: each channel "
        f"spans at most {_BLANK} of 255. A net cannot learn from them: --exclude them."
    )
    return [finding("blank", words, pictures=tuple(pictures))] if pictures else []


def _class_sizes(dataset: DataSet) -> list[Finding]:
    found = []
    few = [
        f"{name} {count} in {split}"
        for split, part in dataset.splits.items()
        for name, count in zip(part.classes, part.class_counts(), strict=True)
        if count < _FEW[split]
    ]
    if few:
        listed = ", ".join(few[:10]) + (f" and {len(few) - 10} more" if len(few) > 10 else "")
        words = (
            f"Classes with few images: {listed}. Below {_FEW['train']} in training, a class is hardly learned; below "
            f"{_FEW['test']} in a test, single images decide: add images, or merge classes."
        )
        found.append(finding("few-pictures", words))
    part = dataset.splits.get("train", dataset.first)
    counts = dict(zip(part.classes, part.class_counts(), strict=True))
    largest, smallest = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    ratio = counts[largest] / max(counts[smallest], 1)
    if ratio >= _UNEVEN:
        words = (
            f"{largest} has {counts[largest]:,} images and {smallest} {counts[smallest]:,}, a ratio of {ratio:.1f} "
            f"(reported from {_UNEVEN} on). Accuracy hides the results of small classes: look at macro F1 and the "
            "figures per class, and train with --balance weights or --balance sampler."
        )
        imbalance = finding("imbalance", words)
        found.append(replace(imbalance, severity="warning") if ratio >= _VERY_UNEVEN else imbalance)
    return found


def _odd_files(dataset: DataSet) -> list[Finding]:
    if not dataset.files:
        return []
    files = [
        (split, index, dataset.files[path])
        for split, part in dataset.splits.items()
        for index, path in enumerate(part.paths or ())
        if path in dataset.files
    ]
    modes = Counter(info.mode for _, _, info in files)
    sizes = Counter(f"{info.width}x{info.height}" for _, _, info in files)
    usual_mode, usual_size = modes.most_common(1)[0], sizes.most_common(1)[0]
    typical = float(np.median([min(info.width, info.height) for _, _, info in files]))
    smallest = max(_SMALL_SIDE, _SMALL_SHARE * typical)
    odd: dict[str, list[Picture]] = {"odd-mode": [], "odd-size": [], "small": [], "long": []}
    for split, index, info in files:
        size, short, long = f"{info.width}x{info.height}", *sorted((info.width, info.height))
        if _is_odd(modes[info.mode], usual_mode[1], len(files)):
            odd["odd-mode"].append(picture(dataset, split, index, f"{info.format}, {info.mode}"))
        if short < smallest:
            odd["small"].append(picture(dataset, split, index, size))
        elif long > _LONG * short:
            odd["long"].append(picture(dataset, split, index, f"{size}, {long / short:.1f} to 1"))
        elif _is_odd(sizes[size], usual_size[1], len(files)):
            odd["odd-size"].append(picture(dataset, split, index, size))
    words = {
        "odd-mode": f"not {usual_mode[0]}, as {usual_mode[1]:,} of {len(files):,} are. All are converted to grey or "
        "RGB (docs/data.md); check that they belong.",
        "odd-size": f"not of {usual_size[0]} pixels, as {usual_size[1]:,} of {len(files):,} are. They are resized; "
        "check that they belong.",
        "small": f"below {smallest:.0f} pixels on the shorter side (the median is {typical:.0f}). They become blurred "
        "when enlarged: replace or --exclude them.",
        "long": f"more than {_LONG:g} times as long as wide, or the reverse. --fit crop keeps only the centre of such "
        "an image: use --fit pad, or crop it by hand.",
    }
    return [
        finding(
            kind,
            f"{counted(len(found), 'file')} {'is' if len(found) == 1 else 'are'} {words[kind]}",
            pictures=tuple(found),
        )
        for kind, found in odd.items()
        if found
    ]


def _is_odd(count: int, most: int, files: int) -> bool:
    return most >= _COMMON * files and count <= _RARE * files
