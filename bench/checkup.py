"""The check-up: planted copies found on CIFAR-10 as class folders, what else it reports there, and its time; the odd ant.

100 training images are copied into the test folders, 20 each: as they are, encoded anew (JPEG quality 50 to 94), resized (to
16, 24, 48 or 64 pixels), mirrored, and cropped by 5 to 10 % a side; all but the first are encoded anew as well. The pairs besides
those are CIFAR-10's own: run `striate data check` on it and look. Hymenoptera has a GIF, "image not found", among the ants.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from bench.cache import unpacked
from bench.record import append, conditions
from striate.checkup import SIZE, Checkup, check
from striate.checkup.quick import quick
from striate.data import load_data
from striate.machine import usable_cores, use_cores

KINDS = ("exact", "encoded", "resized", "mirrored", "cropped")
EACH = 20


def main() -> None:
    """CIFAR-10 with planted copies, once; then hymenoptera."""
    use_cores()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["STRIATE_CACHE"] = str(Path(scratch) / "cache")
        folder = unpacked("cifar10", Path(scratch))
        planted = plant(folder, np.random.default_rng(0))
        dataset = load_data(folder, size=SIZE, workers=usable_cores())
        begin = time.perf_counter()
        quick(dataset)
        quick_seconds = time.perf_counter() - begin
        found = check(dataset)
        pairs = {frozenset((pair.first.path, pair.second.path)) for f in found.findings for pair in f.pairs}
        ants = check(load_data(unpacked("hymenoptera", Path(scratch)), size=SIZE, workers=usable_cores()))
    copies = {str(copy) for copy, _, _ in planted}
    recalled = {
        f"found_{kind}": sum(frozenset((str(a), str(b))) in pairs for a, b, k in planted if k == kind) for kind in KINDS
    }
    append(
        "checkup",
        {
            **conditions(),
            "pictures": sum(found.pictures.values()),
            "planted": len(planted),
            **recalled,
            "other_pairs": sum(not pair & copies for pair in pairs),
            "quick_seconds": round(quick_seconds, 2),
            "check_seconds": round(found.seconds, 1),
            **odd_ant(ants),
        },
    )


def plant(folder: Path, generator: np.random.Generator) -> list[tuple[Path, Path, str]]:
    """(copy, original, kind) of each copy of a training image, written into the test folder of its class."""
    originals = sorted(folder.glob("train/*/*.jpg"))
    planted = []
    for number, position in enumerate(generator.choice(len(originals), EACH * len(KINDS), replace=False)):
        original, kind = originals[position], KINDS[number % len(KINDS)]
        copy = folder / "test" / original.parent.name / f"planted-{kind}-{number}.jpg"
        if kind == "exact":
            shutil.copy(original, copy)
        else:
            copy.write_bytes(changed(Image.open(original).convert("RGB"), kind, generator))
        planted.append((copy, original, kind))
    return planted


def changed(image: Image.Image, kind: str, generator: np.random.Generator) -> bytes:
    """A JPEG file of the image, changed as `kind` says."""
    if kind == "resized":
        share = float(generator.choice((0.5, 0.75, 1.5, 2)))
        image = image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.LANCZOS)
    elif kind == "mirrored":
        image = ImageOps.mirror(image)
    elif kind == "cropped":
        left, top, right, bottom = generator.uniform(0.05, 0.10, 4)
        image = image.crop(
            (
                max(1, round(left * image.width)),
                max(1, round(top * image.height)),
                image.width - max(1, round(right * image.width)),
                image.height - max(1, round(bottom * image.height)),
            )
        )
    content = io.BytesIO()
    image.save(content, "JPEG", quality=int(generator.integers(50, 95)))
    return content.getvalue()


def odd_ant(found: Checkup) -> dict[str, int]:
    """Where the GIF stands among the images that look unlike their class, and how many these are."""
    pictures = [picture for finding in found.findings if finding.kind == "outliers" for picture in finding.pictures]
    place = next((n for n, picture in enumerate(pictures, start=1) if str(picture.path).endswith(".gif")), 0)
    return {"gif_place": place, "outliers": len(pictures)}


if __name__ == "__main__":
    main()
