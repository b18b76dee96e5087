"""`--net auto`: net, image size and augmentation follow from the images, the time and the measured speed of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F

from striate.data import DataSet, Reading, read_data
from striate.data.dataset import OF_FILES
from striate.data.decode import FileInfo, decode_with_info
from striate.data.listing import list_files
from striate.errors import DataError
from striate.inference import set_layout
from striate.nets import build, spec
from striate.nets.undisturbed import same_generators
from striate.settings import AUTO, Settings
from striate.texts import counted, duration

SAMPLE, DEMO = "fashion-mnist-sample", "lenet5"
"""The bundled sample, which shows a whole training within seconds, and the net for it where no budget is given."""
AIM = 180.0
"""Seconds that training may take where no budget is given."""
AROUND = 10.0
"""Seconds of a budget that are not for training: start, evaluation, report."""
EPOCHS = 12
"""Epochs of recipe `fast`, where neither epochs nor a budget are given."""
LOOKED_AT = 200
"""Files whose size and colour are looked at, spread evenly over the training images."""
PHOTO = 48
"""Shorter side in pixels from which images are scaled; smaller ones keep their size."""
TIMED = 0.4
"""Seconds for which training steps of a candidate are timed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What a choice goes by.

    Attributes:
        images, classes: of training.
        side: median of the shorter sides, in pixels.
        channels: 1 where the images are grey, else 3.
        files: whether the images are files, which are read at any size.
        flippable: whether a mirrored image keeps its class.
    """

    images: int
    classes: int
    side: int
    channels: int
    files: bool
    flippable: bool = True


@dataclass(frozen=True, slots=True)
class Candidate:
    """A net at an image size.

    Attributes:
        net: its name in the catalogue.
        side: of the images in pixels; None for their own.
        needs: images that it has to see, counting repeats, before it is better than the next lighter one.
        augmented: epochs from which augmentation helps it.
    """

    net: str
    side: int | None
    needs: int
    augmented: int = 5


SMALL_IMAGES = (
    Candidate("resnet18-native", None, 1_500_000),
    Candidate("resnet18-native-light", None, 600_000),
    Candidate("resnet12-native", None, 40_000),
    Candidate("lenet5", None, 0, 20),
)
PHOTOS = (
    Candidate("resnet18", 128, 40_000),
    Candidate("resnet12-native", 64, 15_000),
    Candidate("resnet12-native", 32, 4_000),
    Candidate("lenet5", 28, 0, 20),
)
"""Best first, where there is time for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What was chosen.

    Attributes:
        net, size, augment: as in `Settings`.
        reason: for people, in a line.
        otherwise: why it is no heavier net, in a line; empty where there is none.
    """

    net: str
    size: int | None = None
    augment: str | None = None
    reason: str
    otherwise: str = ""


def chosen(settings: Settings) -> Choice | None:
    """The choice for settings that ask for `auto`; None for others.

    Raises:
        UsageError, DataError: as `load_data` does.
    """
    if settings.net != AUTO:
        return None
    if settings.data == SAMPLE and settings.budget is None:
        why = f"{DEMO}: the bundled sample is for a first look, which takes seconds"
        return Choice(net=DEMO, size=settings.size, reason=why)
    found = survey(settings)
    return best(found, settings, lambda net, side: images_per_second(net, side, found))


def best(found: Survey, settings: Settings, speed: Callable[[str, int], float]) -> Choice:
    """The best candidate for which there is time.

    Args:
        speed: images a second that training of a net manages at an image size.
    """
    heavier = ""
    *_, last = candidates = PHOTOS if found.side >= PHOTO else SMALL_IMAGES
    for candidate in candidates:
        side = settings.size or min(candidate.side or found.side, found.side)
        fixed = None if settings.budget is not None else (settings.epochs or EPOCHS) * found.images
        short = settings.budget <= AROUND if settings.budget is not None else (fixed or 0) < candidate.needs
        if candidate is not last and (short or side < spec(candidate.net).min_size):
            continue
        rate = speed(candidate.net, side)
        called = f"{candidate.net} at {side}x{side} in {'colour' if found.channels == 3 else 'grey'}"
        allowed = rate * (AIM if settings.budget is None else max(0.0, settings.budget - AROUND))
        seen = allowed if fixed is None else fixed
        if candidate.needs <= seen <= allowed or candidate is last:
            an_epoch = f"an epoch takes about {duration(found.images / rate)} here"
            return Choice(
                net=candidate.net,
                size=settings.size or (side if found.files or candidate.side else None),
                augment=_augment(candidate, found, settings, seen / found.images),
                reason=f"{called}: {counted(found.images, 'training image')} of {found.side} pixels (shorter side, median); "
                f"{an_epoch}",
                otherwise=heavier,
            )
        heavier = f"{called} would need about {duration((candidate.needs if fixed is None else fixed) / rate)}"
    raise AssertionError("the last candidate is always taken")


def _augment(candidate: Candidate, found: Survey, settings: Settings, epochs: float) -> str | None:
    """The augmentation for a training of about so many epochs; None for that of the recipe."""
    if settings.augment is not None or settings.recipe != "fast" or epochs < candidate.augmented:
        return settings.augment if isinstance(settings.augment, str) else None
    side = settings.size or candidate.side or found.side
    return f"{'flip,' if found.flippable else ''}shift={max(1, side // 8)}"


def survey(settings: Settings) -> Survey:
    """What the training images are. Files are listed, and some are looked at; other data is loaded.

    Raises:
        UsageError, DataError: as `load_data` does.
    """
    names = (*OF_FILES, "range", "on_bad")
    reading = Reading(size=(64, 64), tested=False, **{name: getattr(settings, name) for name in names})
    data = settings.data
    if not isinstance(data, str | Path) or not _are_files(Path(data)):
        dataset = data if isinstance(data, DataSet) else read_data(data, reading, data_dir=settings.data_dir)
        height, width, channels = dataset.train.shape
        return Survey(
            images=len(dataset.train), classes=len(dataset.classes), side=min(height, width),
            channels=settings.channels or channels, files=False, flippable=dataset.flippable,
        )  # fmt: skip
    listing = list_files(Path(data), reading)
    files = [file.path for file in listing.files if file.split == "train"]
    seen = [info for path in files[:: max(1, len(files) // LOOKED_AT)] if (info := _info(path)) is not None]
    if not seen:
        raise DataError(f"none of the training images in {data} can be read")
    sides = sorted(min(info.width, info.height) for info in seen)
    return Survey(
        images=len(files), classes=len(listing.classes), side=sides[len(sides) // 2],
        channels=settings.channels or (1 if all(info.grey for info in seen) else 3), files=True,
    )  # fmt: skip


def _are_files(path: Path) -> bool:
    """Whether the data is a folder or a table of image files."""
    return path.is_dir() or path.suffix.lower() in (".csv", ".tsv", ".parquet")


def _info(path: Path) -> FileInfo | None:
    try:
        return decode_with_info(path, at_least=32)[1]
    except DataError:
        return None


def images_per_second(net: str, side: int, found: Survey) -> float:
    """Images a second that plain training steps of a net manage on the CPU, with the threads that torch has."""
    batch = 128 if side < PHOTO else 8  # more would take seconds of a budget
    with same_generators():
        module = build(net, channels=found.channels, classes=max(2, found.classes)).train()
        set_layout(module, "nhwc")
        optimizer = torch.optim.SGD(module.parameters(), lr=1e-6)
        x = torch.randn(batch, found.channels, side, side).contiguous(memory_format=torch.channels_last)
        y = torch.zeros(batch, dtype=torch.int64)

        def step() -> float:
            begin = time.perf_counter()
            optimizer.zero_grad()
            F.cross_entropy(module(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            return time.perf_counter() - begin

        step()
        taken = [step()]
        while sum(taken) < TIMED:
            taken.append(step())
    return batch / min(taken)


def decided(settings: Settings, choice: Choice) -> Settings:
    """The settings with what was chosen; what was asked for stays."""
    return replace(settings, net=choice.net, size=choice.size, augment=choice.augment or settings.augment)
