"""A folder of photos: building the pixel cache against one plain pass of torchvision's ImageFolder and DataLoader; later epochs.

The photos are those of hymenoptera (about 0.2 megapixels each), from the tar in the folder that STRIATE_DATA names, and the same
ones made larger. Both arms read the same files from the page cache and bring them to 224x224, in turns. CIFAR-10 as class folders
of JPEG files is prepared four times, the first time from nothing.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from bench.record import append, conditions
from striate.data import Preprocessing, load_data
from striate.data.augmentation import Augmentation
from striate.data.batches import Batches, Order
from striate.machine import usable_cores, use_cores
from striate.namedrecipes import named_recipe
from striate.nets import build
from striate.training.step import TrainingStep, make_optimizer

SIZE, REPEATS, BATCH = 224, 5, 32
LARGER = {"given": None, "3 MP": (2048, 1536), "12 MP": (4000, 3000)}
"""Name: width and height that each photo is scaled to; of the larger ones only as many as make the arms take some seconds."""
COUNTS = {"given": None, "3 MP": 120, "12 MP": 40}


def unpacked(name: str, folder: Path) -> Path:
    """The folder of a set that lies in $STRIATE_DATA as a tar, unpacked into `folder`."""
    root = Path(os.environ.get("STRIATE_DATA", "."))
    archives = sorted(root.rglob(f"{name}*.tar*"))
    if not archives:
        raise SystemExit(f"this benchmark needs {name}.tar or {name}.tar.xz in the folder that STRIATE_DATA names")
    target = folder / name
    target.mkdir()
    subprocess.run(["tar", "xf", archives[0], "-C", target], check=True)
    inner = list(target.iterdir())
    return inner[0] if len(inner) == 1 else target


def photos(source: Path, folder: Path, name: str) -> Path:
    """Class folders of JPEG files of one size."""
    paths = sorted(path for path in source.rglob("*.jpg"))
    step = max(1, len(paths) // (COUNTS[name] or len(paths)))
    target = folder / name.replace(" ", "")
    for path in paths[::step][: COUNTS[name]]:
        place = target / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        size = LARGER[name]
        if size is None:
            shutil.copy(path, place)
        else:
            Image.open(path).convert("RGB").resize(size, Image.Resampling.LANCZOS).save(place, quality=90)
    return target


def plain_pass(folder: Path) -> float:
    """Seconds of one pass as the tutorials write it."""
    begin = time.perf_counter()
    transform = transforms.Compose([transforms.Resize(SIZE), transforms.CenterCrop(SIZE), transforms.ToTensor()])
    loader = DataLoader(datasets.ImageFolder(folder, transform), batch_size=BATCH, num_workers=2)
    assert sum(len(x) for x, _ in loader) > 0
    return time.perf_counter() - begin


def prepared(folder: Path, cache: Path, size: int = SIZE) -> float:
    """Seconds until the images of a folder are there, from what `cache` holds."""
    os.environ["STRIATE_CACHE"] = str(cache)
    begin = time.perf_counter()
    load_data(folder, size=(size, size), workers=usable_cores())
    return time.perf_counter() - begin


def compare(folder: Path, scratch: Path, name: str) -> None:
    """A row for photos of one size."""
    plain, building, again = [], [], []
    prepared(folder, scratch / "warm")  # imports, page cache
    for repeat in range(REPEATS):
        plain.append(plain_pass(folder))
        building.append(prepared(folder, scratch / f"cache-{name}-{repeat}"))
        again.append(prepared(folder, scratch / f"cache-{name}-{repeat}"))
    data = load_data(folder, size=(SIZE, SIZE))
    pictures = sum(len(part) for part in data.splits.values())
    batches = make_batches(folder)
    epoch = statistics.median(timed(lambda: load_epoch(batches)) for _ in range(5))
    rate = len(batches.labels) / epoch
    ratio = statistics.median(plain) / statistics.median(building)
    append(
        "cache",
        {
            **conditions(),
            "photos": name,
            "pictures": pictures,
            "megapixels": round(statistics.mean(f.width * f.height for f in data.files.values()) / 1e6, 2),
            "plain_pass_seconds": round(statistics.median(plain), 3),
            "build_seconds": round(statistics.median(building), 3),
            "build_ratio": round(ratio, 2),
            "build_ratio_range": f"{min(p / b for p, b in zip(plain, building, strict=True)):.2f} to "
            f"{max(p / b for p, b in zip(plain, building, strict=True)):.2f}",
            "again_seconds": round(statistics.median(again), 3),
            "later_epoch_pictures_per_second": round(rate),
            "later_epoch_ratio": round(rate * statistics.median(plain) / pictures, 1),
        },
    )


def load_epoch(batches: Batches) -> None:
    """Makes each batch of an epoch and lets go of it, as training does."""
    for step in range(batches.steps_per_epoch):
        batches.batch(1, step)


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def make_batches(folder: Path, augmentation: Augmentation | None = None) -> Batches:
    """Training batches of a folder."""
    data = load_data(folder, size=(SIZE, SIZE)).train
    preprocessing = Preprocessing(size=(SIZE, SIZE), channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)
    return Batches(data, preprocessing, augmentation or Augmentation(), Order(BATCH, 0), torch.device("cpu"))


def against_one_batch(folder: Path) -> None:
    """Training from the cache, mirrored images, against training that repeats one batch: does the loading cost anything?"""
    net = build("alexnet", channels=3, classes=2)
    recipe = named_recipe("fast", family="alexnet", batch_norm=False, params=10**8)
    step, optimizer = TrainingStep(net), make_optimizer(net, recipe)
    batches = make_batches(folder, Augmentation(flip=True))
    fixed = batches.batch(0, 0)

    def train(repeat: bool) -> float:
        begin = time.perf_counter()
        for number in range(6):
            x, labels = fixed if repeat else batches.batch(1, number % batches.steps_per_epoch)
            loss, _ = step(x, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return time.perf_counter() - begin

    train(False)
    pairs = [(train(True), train(False)) for _ in range(8)]
    ratio = statistics.median(one / cached for one, cached in pairs)
    pictures = 6 * BATCH / statistics.median(cached for _, cached in pairs)
    append(
        "cache_training",
        {
            **conditions(),
            "net": "alexnet",
            "pictures_per_second": round(pictures, 1),
            "share_of_repeating_one_batch": round(ratio, 4),
        },
    )


def cifar(scratch: Path) -> None:
    """CIFAR-10 as 60,000 files: prepared from nothing, and again, each in a process of its own as a user would."""
    folder = unpacked("cifar10", scratch)
    os.environ["STRIATE_CACHE"] = str(scratch / "cifar-cache")
    script = (
        "import sys, time; import torch, striate.data, striate.checkup; from pathlib import Path; begin = time.perf_counter();"
        "data = striate.data.load_data(Path(sys.argv[1]), size=(32, 32), workers=2); loaded = time.perf_counter();"
        "striate.checkup.quick(data); print(loaded - begin, time.perf_counter() - loaded)"
    )
    rows = []
    for _ in range(4):
        done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True)
        rows.append([float(word) for word in done.stdout.split()])
    append(
        "cache_cifar10",
        {
            **conditions(),
            "files": 60_000,
            "first_load_seconds": round(rows[0][0], 2),
            "first_check_seconds": round(rows[0][1], 2),
            "again_load_seconds": round(statistics.median(row[0] for row in rows[1:]), 2),
            "again_check_seconds": round(statistics.median(row[1] for row in rows[1:]), 2),
        },
    )


def main() -> None:
    """Photos of three sizes, training from the cache, CIFAR-10."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        use_cores()
        source = unpacked("hymenoptera", scratch)
        for name in LARGER:
            made = photos(source, scratch, name)
            compare(made, scratch, name)
            if name == "given":
                against_one_batch(made)
        cifar(scratch)


if __name__ == "__main__":
    main()
