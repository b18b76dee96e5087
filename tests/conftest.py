"""What many tests share: one trained run, and small files made by the tests themselves.

Nothing heavy is imported before a fixture needs it, so that a test of a pure function starts in a second.
"""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from striate.run import Run
    from tests.faults import Warm


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tests run side by side, one on a core; threads of one that wait for those of another would be many times slower."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before step 1 a training times its step, three times at the least and for 0.4 seconds: here three times are enough."""
    if "striate.training.timing" in sys.modules:
        monkeypatch.setattr("striate.training.timing.MEASURE_SECONDS", 0.0)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or leaves pixels, or trusted files, where users have theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRIATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("STRIATE_TRUST", str(tmp_path_factory.mktemp("trust") / "trusted.jsonl"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """What `fsync` is for, a power cut, cannot be played here: no test waits until the disk has what was written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`shared(name, make)` is a folder that `make(folder)` has filled, once for all the processes that run tests side by side."""
    from filelock import FileLock

    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        place, done = base / name, base / f"{name}.done"
        with FileLock(base / f"{name}.lock"):
            if not done.exists():
                place.mkdir()
                make(place)
                done.touch()
        return place

    return folder


@pytest.fixture(scope="session")
def trained(shared: Callable[..., Path]) -> Run:
    """A run of LeNet-5 on the sample, two epochs; tests must not change it."""
    import striate
    from striate.training import Progress

    given: dict[str, Any] = {
        "epochs": 2,
        "threads": 1,
        "layout": "nchw",
        "name": "trained",
        "progress": Progress(quiet=True),
    }
    return striate.load(shared("trained-runs", lambda out: striate.train("lenet5", out=out, **given)) / "trained")


@pytest.fixture(scope="session")
def clothes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's first 1,000 training and 200 test images, an archive: for trainings that are about something else."""
    import numpy as np

    import striate

    whole = striate.load_data("fashion-mnist-sample")
    arrays: dict[str, Any] = {"classes": np.array(whole.classes)}
    for split, count in (("train", 1000), ("test", 200)):
        arrays[f"{split}_images"] = whole[split].pixels[:count]
        arrays[f"{split}_labels"] = whole[split].labels[:count]
    path = tmp_path_factory.mktemp("clothes") / "clothes.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def _small_sample(tmp_path_factory: pytest.TempPathFactory, clothes: Path) -> Path:
    import numpy as np

    from striate.data.named import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, write_idx

    folder = tmp_path_factory.mktemp("small-sample")
    with np.load(clothes) as arrays:
        for split, images, labels in (("train", TRAIN_IMAGES, TRAIN_LABELS), ("test", TEST_IMAGES, TEST_LABELS)):
            write_idx(folder / f"{images}.gz", arrays[f"{split}_images"][..., 0])
            write_idx(folder / f"{labels}.gz", arrays[f"{split}_labels"].astype(np.uint8))
    return folder


@pytest.fixture
def small_sample(monkeypatch: pytest.MonkeyPatch, _small_sample: Path) -> None:
    """In this process the data set fashion-mnist-sample is `clothes`."""
    monkeypatch.setattr("striate.data.named.find", lambda row, data_dir=None: _small_sample)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of two classes, 12 images each of 40x32 pixels: dark ones and light ones."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    for label, level in (("dark", 40), ("light", 200)):
        folder = tmp_path / "pictures" / label
        folder.mkdir(parents=True)
        for number in range(12):
            noise = generator.integers(-30, 31, (40, 32, 3))
            Image.fromarray((level + noise).astype(np.uint8)).save(folder / f"{number:02d}.png")
    return tmp_path / "pictures"


@pytest.fixture
def small_idx(tmp_path: Path) -> Callable[..., Path]:
    """Makes the four files of an MNIST-like set in a folder: `small_idx(folder, train=30, test=10)`."""
    import numpy as np

    from striate.data.named import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, write_idx

    def make(folder: Path, train: int = 30, test: int = 10, packed: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(1)
        for images, labels, count in ((TRAIN_IMAGES, TRAIN_LABELS, train), (TEST_IMAGES, TEST_LABELS, test)):
            for name, values in (
                (images, generator.integers(0, 256, (count, 28, 28))),
                (labels, np.arange(count) % 10),
            ):
                packed_path = folder / f"{name}.gz"
                write_idx(packed_path, values.astype(np.uint8))
                if not packed:
                    (folder / name).write_bytes(gzip.decompress(packed_path.read_bytes()))
                    packed_path.unlink()
        return folder

    return make


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in an empty folder; gives (exit code, stdout, stderr)."""
    from striate.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exited:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(exited.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts are empty ones, at once: for tests that are about something else than what they show."""
    import io

    import vl_convert
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(file, "PNG")
    monkeypatch.setattr(vl_convert, "vegalite_to_png", lambda *_, **__: file.getvalue())
    monkeypatch.setattr(
        vl_convert,
        "vegalite_to_svg",
        lambda *_, **__: '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"></svg>',
    )


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """A process that has everything imported, of which commands are forks: see `faults`."""
    from tests.faults import Warm

    made = Warm(tmp_path_factory.mktemp("warm"))
    yield made
    made.close()
