"""Which folders of a tree are splits and which are classes. What could be either is never guessed: an error asks."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from striate.data.dataset import require_distinct
from striate.data.formats import ARCHIVES
from striate.data.ledger import below
from striate.data.tree import Folder
from striate.errors import DataError, UsageError, param

SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "trainset", "训练", "训练集"),
    "validation": ("val", "valid", "validation", "dev", "验证", "验证集"),
    "test": ("test", "testing", "testset", "测试", "测试集"),
}
SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}
_PARTS = frozenset({
    "eval", "evaluation", "holdout", "heldout", "fold", "folds", "pred", "predict", "prediction", "query",
    "gallery", "unlabeled", "unlabelled", "split", "subset", "partition"
})  # fmt: skip
"""Words for parts of a set that are none of the three splits."""
_NEUTRAL = frozenset({
    "set", "data", "dataset", "split", "folder", "image", "images", "img", "imgs", "picture", "pictures", "photo",
    "photos", "jpg", "jpeg", "png", "final", "new", "original", "orig", "raw", "the", "my", "of"
})  # fmt: skip
"""Words that carry no meaning beside the name of a split."""
_NO_CLASS = frozenset({
    "images", "image", "img", "imgs", "jpegimages", "masks", "mask", "labels", "label", "annotations", "annotation",
    "groundtruth", "ground_truth", "gt", "segmentation", "segmentations", "bboxes", "unlabeled", "unlabelled"
})  # fmt: skip
"""Names of folders that hold images or what is drawn over them, and are no class."""
OUTSIDE = "an image outside the class folders"
UNLABELLED = "an image without a class: its folder has no class folders (striate predict accepts them)"
UNNAMED = "not among --splits"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the classes of each split lie: split -> the folder whose folders are its classes; and (folder, why) of those
    that are no part of the set.
    """

    roots: Mapping[str, Folder]
    left: Sequence[tuple[Folder, str]] = ()


def _how() -> str:
    """How the user says which folders are splits."""
    example = param("splits", "train=training_set,test=test_set")
    return (
        f"Say it with {param('splits')}: {param('splits', 'none')} if every folder is a class, or the folder of each split, "
        f"as in {example}"
    )


def _excluding(folder: Folder, source: Path) -> str:
    """The option that leaves a folder out."""
    return f"{param('exclude')} {shlex.quote(below(source, folder.path))}"


def parse_splits(text: str) -> dict[str, str]:
    """split -> folder of `train=a,test=b`; empty for `none`. Raises UsageError for anything else."""
    if text.strip().lower() == "none":
        return {}
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, folder = (piece.strip() for piece in part.partition("="))
        split = SPLIT_OF.get(name.lower())
        if not equals or not folder or split is None or split in found:
            raise UsageError(
                f"{param('splits')} is none, or the folder of each split, as in train=training_set,test=test_set; got {text!r}"
            )
        found[split] = folder.replace("\\", "/").strip("/").removeprefix("./")
    return found


def lay_out(tree: Folder, splits: str | None) -> Layout:
    """Which folders are splits, and where their classes lie.

    Args:
        splits: what `--splits` says; None to go by the names of the folders.

    Raises:
        UsageError: a split's folder is not there.
        DataError: folders that could be splits or classes.
    """
    if splits is not None:
        wanted = parse_splits(splits)
        return _as_stated(tree, wanted) if wanted else Layout({"train": _unwrapped(tree)})
    root = _unwrapped(tree)
    found, rest = _by_name(root)
    empty = [folder for folder in root.folders if _beside(folder) and _split_of(folder.name) is not None]
    empty += [folder for folder, _ in found if not folder.any_picture() and not folder.closed]
    if empty:
        raise DataError(
            f"{empty[0].path} is a split by name but has no images: add images, or leave it out with "
            f"{_excluding(empty[0], tree.path)}"
        )
    roots: dict[str, Folder] = {}
    for folder, split in found:
        if split in roots:
            names = " and ".join(repr(one.name) for one, other in found if other == split)
            raise DataError(f"{root.path}: {names} are both a {split} split by name. {_how()}")
        roots[split] = folder
    if not roots:
        return Layout({"train": root})
    flat = [split for split, folder in roots.items() if is_flat(folder)]
    if doubtful := [folder for folder in rest if not (_words(folder.name) & _PARTS and is_flat(folder))]:
        raise DataError(
            f"{root.path}: {_listed(roots.values())} could be {'a split' if len(roots) == 1 else 'splits'} or "
            f"{'a class' if len(roots) == 1 else 'classes'}, beside {_listed(doubtful)}. {_how()}"
        )
    unlabelled = [roots.pop(split) for split in flat] if "train" not in flat and len(flat) < len(roots) else []
    return _laid_out(roots, [(folder, UNLABELLED) for folder in (*unlabelled, *rest)])


def _laid_out(roots: Mapping[str, Folder], left: Sequence[tuple[Folder, str]]) -> Layout:
    return Layout({split: _unwrapped(roots[split], inside=True) for split in SPLIT_NAMES if split in roots}, left)


def class_folders(root: Folder, source: Path, stated: bool) -> list[Folder]:
    """The folders of a split's classes, those without an image among them unless they hold something else. Unless the user has
    `stated` what the folders are, raises DataError for one that by its name is no class, or two that one would take for the same.
    """
    classes = [folder for folder in root.folders if not _beside(folder)]
    if not stated:
        for folder in classes:
            if folder.name.strip().lower() in SPLIT_OF:
                raise DataError(f"{folder.path} is a split by name, but is among classes. {_how()}")
            inner = [one for one in folder.folders if one.name.strip().lower() in SPLIT_OF and one.any_picture()]
            if inner:
                raise DataError(
                    f"{folder.path} has {_listed(inner)} in it: splits must lie above the classes, as in "
                    f"{inner[0].name}/{folder.name}. Move them, or use {param('splits', 'none')} to treat them as "
                    f"classes"
                )
        upper = {folder.name for folder in classes}
        for folder in classes:  # classes could lie a level deeper
            inside = {one.name for one in folder.folders if one.any_picture()}
            if others := sorted(inside & (upper - {folder.name})):
                raise DataError(
                    f"{folder.path} holds folders with the names of other classes: {', '.join(map(repr, others))}. Leave it out "
                    f"with {_excluding(folder, source)}, move their images, or say {param('splits', 'none')} if all are of the "
                    f"class {folder.name!r}"
                )
        odd = [one for one in classes if one.name.strip().lower() in _NO_CLASS]
        if odd and len(classes) > 1:
            raise DataError(
                f"{root.path}: {_listed(odd)} {'is' if len(odd) == 1 else 'are'} no class by the name. {param('exclude')} the "
                f"folder, as in {_excluding(odd[-1], source)}, or say {param('splits', 'none')} if it is a class"
            )
        if odd and is_flat(odd[0]):
            return []
    require_distinct([folder.name for folder in classes], str(root.path))
    return classes


def require_upper(classes: Sequence[Folder]) -> None:
    """Raises DataError if the classes of all splits hold the same folders, and nothing else: those could be the classes too."""
    found = [{one.name for one in folder.folders if one.any_picture()} for folder in classes]
    if len({folder.name for folder in classes}) < 2 or any(names != found[0] for names in found) or len(found[0]) < 2:
        return
    if not any(folder.pictures for folder in classes):
        raise DataError(
            f"{classes[0].path.parent}: classes could be {_listed(classes)}, or {', '.join(map(repr, sorted(found[0])[:6]))}, "
            f"which lie in each of them. Say {param('splits', 'none')} if they are the upper ones, else put the images of each "
            "class into one folder"
        )


def is_flat(folder: Folder) -> bool:
    """Whether a folder holds images but none in folders of classes; it may lie in a folder of the same name."""
    while True:
        inner = [one for one in folder.folders if one.any_picture()]
        if folder.pictures or len(inner) != 1:
            return not inner
        if inner[0].name != folder.name and not _words(inner[0].name) <= _NEUTRAL:
            return False  # the folder of one class
        folder = inner[0]


def _as_stated(tree: Folder, wanted: Mapping[str, str]) -> Layout:
    by_place = {folder.path.relative_to(tree.path).as_posix(): folder for folder in tree.walk()}
    inner = _unwrapped(tree)
    by_place |= {folder.path.relative_to(inner.path).as_posix(): folder for folder in inner.walk()} | by_place
    roots = {}
    for split, place in wanted.items():
        if place not in by_place:
            there = ", ".join(repr(folder.name) for folder in inner.folders) or "none"
            raise UsageError(f"{param('splits')}: there is no folder {place!r} in {tree.path}; its folders: {there}")
        roots[split] = by_place[place]
    taken = {id(folder) for root in roots.values() for folder in root.walk()}
    above = {parent for root in roots.values() for parent in root.path.parents}
    left: list[tuple[Folder, str]] = []
    for folder in tree.walk():
        if id(folder) not in taken and folder.path not in above:
            left.append((folder, UNNAMED))
            taken |= {id(one) for one in folder.walk()}
    return _laid_out(roots, left)


def _unwrapped(folder: Folder, inside: bool = False) -> Folder:
    """The folder, or the one below it that everything lies in, as in `dataset/flowers/CLASS` or `train/images/CLASS`. `inside` a
    split, the folder may have the split's name once more.
    """
    while not folder.pictures:
        inner = [one for one in folder.folders if not _beside(one)]
        if len(inner) != 1 or not any(one.any_picture() for one in inner[0].folders):
            return folder
        if not inside and _split_of(inner[0].name) is not None:
            return folder
        folder = inner[0]
    return folder


def _beside(folder: Folder) -> bool:
    """Whether a folder without images holds other things, such as annotations: it is no class then, and an empty one may be."""
    if folder.any_picture() or folder.all_closed():
        return False
    others = {path.suffix.lower() for path in folder.all_others()}
    return bool(others) and others.isdisjoint(ARCHIVES)


def _by_name(root: Folder) -> tuple[list[tuple[Folder, str]], list[Folder]]:
    """((folder, split) of those that are splits by their names, the others that may be classes)."""
    folders = [folder for folder in root.folders if not _beside(folder)]
    splits = [_split_of(one.name, [other.name for other in folders if other is not one]) for one in folders]
    found = [(folder, split) for folder, split in zip(folders, splits, strict=True) if split is not None]
    rest = [
        folder
        for folder, split in zip(folders, splits, strict=True)
        if split is None and (folder.any_picture() or any(folder.all_others()))
    ]
    if not found and len(rest) > 1 and all(_words(folder.name) & _PARTS for folder in rest):
        raise DataError(f"{root.path}: {_listed(rest)} are parts of a data set by name, not classes. {_how()}")
    return found, rest


def _split_of(name: str, beside: Sequence[str] = ()) -> str | None:
    """The split that a name says: alone, with words that say nothing, or with those that another split's name has too."""
    plain = unicodedata.normalize("NFKC", name).strip().lower()
    if plain in SPLIT_OF:
        return SPLIT_OF[plain]
    splits, rest = _said(name)
    if len(splits) != 1:
        return None
    alike = any(len(found) == 1 and found != splits and more == rest for found, more in map(_said, beside))
    return splits.pop() if alike or not rest else None


def _said(name: str) -> tuple[set[str], set[str]]:
    """(the splits that a name says, its other words, but for numbers and those that say nothing)."""
    words = _words(name)
    rest = {word for word in words if word not in SPLIT_OF and not word.isdigit()}
    return {SPLIT_OF[word] for word in words if word in SPLIT_OF}, rest - _NEUTRAL


def _words(name: str) -> set[str]:
    """The words of a name, in small letters: divided by what is no letter, by digits, and by capitals within."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name))
    return {word.lower() for word in re.findall(r"[^\W\d_]+|\d+", apart)}


def _listed(folders: Iterable[Folder], shown: int = 6) -> str:
    names = [repr(folder.name) for folder in folders]
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
