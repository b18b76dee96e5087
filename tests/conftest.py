"""What many tests share: one trained run, and small files made by the tests themselves."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import striate
from striate.cli import main
from striate.data.named import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, write_idx
from striate.training import Progress


@pytest.fixture(autouse=True)
def _one_thread():
    """Tests run side by side, one on a core; threads of one that wait for those of another would be many times slower."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """No test reads or leaves pixels, or trusted files, where users have theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRIATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("STRIATE_TRUST", str(tmp_path_factory.mktemp("trust") / "trusted.jsonl"))
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run of LeNet-5 on the sample, two epochs; tests must not change it."""
    out = tmp_path_factory.mktemp("runs")
    return striate.train(
        "lenet5", epochs=2, threads=1, layout="nchw", name="trained", out=out, progress=Progress(quiet=True)
    )


@pytest.fixture
def pictures(tmp_path):
    """A folder of two classes, 12 images each of 40x32 pixels: dark ones and light ones."""
    generator = np.random.default_rng(0)
    for label, level in (("dark", 40), ("light", 200)):
        folder = tmp_path / "pictures" / label
        folder.mkdir(parents=True)
        for number in range(12):
            noise = generator.integers(-30, 31, (40, 32, 3))
            Image.fromarray((level + noise).astype(np.uint8)).save(folder / f"{number:02d}.png")
    return tmp_path / "pictures"


@pytest.fixture
def small_idx(tmp_path):
    """Makes the four files of an MNIST-like set in a folder: `small_idx(folder, train=30, test=10)`."""

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
def call(capsys, tmp_path, monkeypatch):
    """Runs the command line in an empty folder; gives (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as exited:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return exited.value.code or 0, captured.out, captured.err

    return run
