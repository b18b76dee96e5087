"""Images that are there more than once: pairs of them, sorted into leakage, label conflicts and mere repetition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from striate.checkup.findings import Finding, Pair, Picture, finding, picture
from striate.data.dataset import DataSet
from striate.texts import counted

_ORDER = ("train", "validation", "test")

_WAY_OUT = {
    "leakage": "Results on such images are too optimistic: the net has been trained on them. {remedy}.",
    "label-conflict": "At most one of the two labels is correct: fix it, or leave the image out.",
    "duplicates": "Such an image counts twice in training and evaluation. If this is not intended, leave one out.",
}


def equal_groups(dataset: DataSet) -> list[list[Picture]]:
    """Images with identical pixels at the size they were loaded at, each group with two or more."""
    first: dict[str, tuple[str, int]] = {}
    repeated: dict[str, list[tuple[str, int]]] = {}
    for split, part in dataset.splits.items():
        for index, content in enumerate(part.content_hashes()):
            place = first.setdefault(content, (split, index))
            if place != (split, index):
                repeated.setdefault(content, [place]).append((split, index))
    return [[picture(dataset, *place) for place in group] for group in repeated.values()]


def equal_pairs(groups: Iterable[Sequence[Picture]]) -> list[Pair]:
    """Few pairs that cover every image of each group: each with the first of its own class and split; with the first of its
    class in an earlier split, or of any class there; and with the first of each class before its own.
    """
    return list(chain.from_iterable(map(_pairs_of, groups)))


def _pairs_of(group: Sequence[Picture]) -> Iterator[Pair]:
    ordered = sorted(group, key=_place)
    for position, second in enumerate(ordered):
        before = ordered[:position]
        same_class = [picture for picture in before if picture.label == second.label]
        elsewhere = [picture for picture in same_class or before if picture.split != second.split]
        others = {picture.label: picture for picture in reversed(before) if picture.label != second.label}
        partners = {
            *[picture for picture in same_class if picture.split == second.split][:1],
            *(elsewhere or [picture for picture in before if picture.split != second.split])[:1],
            *others.values(),
        }
        yield from (Pair(first, second) for first in sorted(partners, key=_place))


def _place(picture: Picture) -> tuple[int, int]:
    return _ORDER.index(picture.split), picture.index


def copy_findings(pairs: Sequence[Pair], dataset: DataSet, near: bool) -> list[Finding]:
    """The pairs as findings: across splits, across classes, and within a class of one split. One can be in the first two."""
    height, width, _ = dataset.first.shape
    alike = "that seem to show the same image: re-encoded, resized, mirrored or slightly cropped"
    alike = alike if near else f"with identical pixels at {width}x{height}"
    by_kind: dict[str, list[Pair]] = defaultdict(list)
    for pair in sorted(pairs, key=lambda pair: -pair.likeness):
        kinds = ["leakage"] * (pair.first.split != pair.second.split)
        kinds += ["label-conflict"] * (pair.first.label != pair.second.label)
        for kind in kinds or ["duplicates"]:
            by_kind[kind].append(pair)
    return [
        finding(
            f"near-{kind}" if near else kind,
            f"{_said(found, kind, alike)} {_way_out(kind, dataset)}",
            pairs=tuple(found),
        )
        for kind, found in by_kind.items()
    ]


def _said(pairs: Sequence[Pair], kind: str, alike: str) -> str:
    if kind != "leakage":
        where = "of two classes" if kind == "label-conflict" else "of one class and split"
        return f"{counted(len(pairs), 'pair')} {where}, {alike}."
    sides: dict[tuple[str, str], set[int]] = defaultdict(set)
    for pair in pairs:
        sides[pair.second.split, pair.first.split].add(pair.second.index)
    where = ", ".join(f"{counted(len(seen), f'{late} image')} also in {early}" for (late, early), seen in sides.items())
    return f"{counted(len(pairs), 'pair')} across splits, {alike}; {where}."


def _way_out(kind: str, dataset: DataSet) -> str:
    if dataset.first.paths is None:
        remedy = "With --run, the check-up reports the accuracy without them"
    else:
        remedy = "Remove them from one split, with --exclude or by hand"
        remedy += ", or keep them together with --group-by" if dataset.made else ""
    return _WAY_OUT[kind].format(remedy=remedy)


def across_copies(matched: tuple[Sequence[Picture], Sequence[Picture]], mirrored: bool, likeness: float) -> list[Pair]:
    """Pairs for two images that nearly match, each standing for its group of equals: every image of a group with the first
    of each class and split in the other.
    """
    pairs = set()
    for members, others in (matched, matched[::-1]):
        firsts = {(other.split, other.label): other for other in sorted(others, key=_place, reverse=True)}
        for member in members:
            for other in firsts.values():
                first, second = sorted((member, other), key=_place)
                pairs.add(Pair(first, second, mirrored, likeness))
    return sorted(pairs, key=lambda pair: (_place(pair.first), _place(pair.second)))
