"""Held-out images: which ones, as a pure function of labels, groups, fraction and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from striate.data.dataset import DataSet
from striate.data.draws import SPLIT, hashes
from striate.data.images import ImageData, Indices, Labels, concatenate
from striate.errors import DataError, UsageError

TEST_SHARE = 0.15
"""Share of each class that is held out for testing if the data has no test split."""


def hold_out(labels: Labels, fraction: float, seed: int, groups: Indices | None = None) -> tuple[Indices, Indices]:
    """Splits positions 0 .. N-1 into (kept, held out), the same share of every class, both in ascending order.

    A class keeps at least one image and, where it has two or more, gives at least one. Groups are held out whole, so that
    shares are met only as nearly as their sizes allow, and a class that is all of one group gives none.

    Args:
        labels: int64 (N,).
        fraction: share to hold out, 0 <= fraction < 1, else UsageError.
        groups: int64 (N,): images of the same number stay together, as of `together`.
    """
    if not 0 <= fraction < 1:
        raise UsageError(f"the share of images to hold out must be at least 0 and below 1, got {fraction}")
    positions = np.arange(len(labels), dtype=np.int64)
    if fraction == 0 or not len(labels):
        return positions, positions[:0]
    totals = np.bincount(labels)
    wanted = np.minimum(np.maximum(1, np.rint(fraction * totals).astype(np.int64)), totals - 1)
    rank = hashes(seed, 0, torch.from_numpy(positions), SPLIT).numpy()
    held = np.zeros(len(labels), dtype=bool)
    if groups is None:
        for label in np.unique(labels):
            members = positions[labels == label]
            held[members[np.argsort(rank[members], kind="stable")[: wanted[label]]]] = True
        return positions[~held], positions[held]
    order = np.argsort(groups, kind="stable")
    members_of = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    members_of.sort(key=lambda members: rank[members[0]])
    # First what is at least half wanted; then, of classes whose groups are all too large for that, the smallest group.
    for half in (True, False):
        for members in members_of if half else sorted(members_of, key=len):
            counts = np.bincount(labels[members], minlength=len(totals))
            if half:
                fits = 2 * np.minimum(counts, wanted).sum() >= len(members)
            else:
                fits = any(wanted[label] and not held[labels == label].any() for label in set(labels[members]))
            if fits and ((counts == 0) | (totals > counts)).all():  # no class loses its last image
                held[members] = True
                wanted, totals = np.maximum(wanted - counts, 0), totals - counts
    return positions[~held], positions[held]


def together(data: ImageData) -> Indices | None:
    """int64 (N,), a number for each group of images that must not be parted: those of one group, and those whose pixels
    are equal. None where no two belong together.
    """
    parent = list(range(len(data)))

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = position = parent[parent[position]]
        return position

    first: dict[tuple[str, str], int] = {}
    groups = data.groups or (None,) * len(data)
    for position, (content, group) in enumerate(zip(data.content_hashes(), groups, strict=True)):
        for key in [("content", content), *([("group", group)] if group is not None else [])]:
            parent[root(position)] = root(first.setdefault(key, position))
    found = np.asarray([root(position) for position in range(len(data))], dtype=np.int64)
    return None if len(np.unique(found)) == len(data) else found


def seen_in_training(dataset: DataSet) -> dict[str, int]:
    """split -> how many of its images have the very pixels of a training image; only splits that have some, of files."""
    if "train" not in dataset.splits or dataset.first.paths is None:
        return {}
    trained = set(dataset.train.content_hashes())
    given = {split: part for split, part in dataset.splits.items() if split not in ("train", *dataset.made)}
    counts = {split: sum(content in trained for content in part.content_hashes()) for split, part in given.items()}
    return {split: count for split, count in counts.items() if count}


def record(dataset: DataSet, held: Indices | None) -> dict[str, list[str]] | None:
    """The content hashes of the training split, without the positions `held` for validation, and of those that were made of it;
    None where none was made of files.
    """
    made = [*dataset.made, *(["validation"] if held is not None and len(held) else [])]
    if not made or dataset.first.paths is None:
        return None
    hashes = dataset.train.content_hashes()
    aside = set() if held is None else set(held.tolist())
    found = {"train": [content for position, content in enumerate(hashes) if position not in aside]}
    if "validation" in made:
        found["validation"] = [hashes[position] for position in sorted(aside)]
    if "test" in made:
        found["test"] = list(dataset.set_aside or dataset.splits["test"].content_hashes())
    return found


def recorded(dataset: DataSet, record: Mapping[str, Sequence[str]], split: str) -> ImageData:
    """The images of a split in `record` that are still there, whatever was added or renamed. Raises DataError if none is."""
    wanted = set(record[split])
    parts = []
    for name in dict.fromkeys(("train", *dataset.made)):
        part = dataset.splits[name]
        chosen = [position for position, content in enumerate(part.content_hashes()) if content in wanted]
        parts.append(part.select(np.asarray(chosen, dtype=np.int64)))
    whole = concatenate(parts)
    if not len(whole):
        raise DataError(f"{dataset.location} no longer has any of the {len(wanted)} images that were its {split} split")
    return whole


def with_test_split(dataset: DataSet, has_test: bool) -> DataSet:
    """The set; if its source has no test split, `TEST_SHARE` of the training images of each class becomes one."""
    if has_test or "train" not in dataset.splits:
        return dataset
    train = dataset.train
    kept, held = hold_out(train.labels, TEST_SHARE, seed=0, groups=together(train))
    splits = {**dataset.splits, "train": train.select(kept), "test": train.select(held)}
    return replace(dataset, splits=splits, made=("test",))
