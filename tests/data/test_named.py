"""Named sets: where they are looked for, that they are the official files, and what is said where they are not."""

import hashlib

import numpy as np
import pytest
import torchvision.datasets

from striate.data import NAMED, load_data, named
from striate.data.named import TEST_LABELS, TRAIN_IMAGES, find, read_idx, unpack, write_idx
from striate.errors import DataError, UsageError


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """No set is on this machine: an empty cache, no Debian folder, no environment variable."""
    monkeypatch.setattr(named, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(named, "places", lambda data_dir: [*([data_dir] if data_dir else []), tmp_path / "cache"])
    monkeypatch.delenv("STRIATE_DATA", raising=False)
    return tmp_path


@pytest.fixture
def believed(monkeypatch):
    """Takes the checksums of the files in a folder for the official ones of `mnist`."""

    def believe(folder):
        sums = {
            path.name.removesuffix(".gz"): hashlib.sha256(unpack(path)).hexdigest()
            for path in folder.iterdir()
            if "ubyte" in path.name
        }
        row = NAMED["mnist"]
        changed = type(row)(**{**{f: getattr(row, f) for f in row.__dataclass_fields__}, "sha256": sums})
        monkeypatch.setitem(NAMED, "mnist", changed)

    return believe


def test_the_sample_is_the_official_sets_beginning():
    # SHA-256 of the first 10,000 training images, read from the official file with torchvision.
    data = load_data("fashion-mnist-sample")
    assert data.train.shape == (28, 28, 1)
    assert (len(data.train), len(data.splits["test"])) == (10_000, 2_000)
    assert hashlib.sha256(data.train.pixels.tobytes()).hexdigest() == SAMPLE_TRAIN
    assert hashlib.sha256(data.splits["test"].pixels.tobytes()).hexdigest() == SAMPLE_TEST
    assert data.train.class_counts() == [942, 1027, 1016, 1019, 974, 989, 1021, 1022, 990, 1000]
    assert data.classes == tuple(torchvision.datasets.FashionMNIST.classes)


SAMPLE_TRAIN = "2929ae1c7b89e0ee6587bbe4911fd5f0a5dafe21ae6ed9b737173cbfe20c12c9"
SAMPLE_TEST = "09bbac78738f0229a68f7ca74e62665d7fb34f45ea7a3509ab5c4a202c1370de"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("place", ["mnist", "MNIST/raw", "."])
def test_idx_files_are_found_in_every_usual_place(elsewhere, small_idx, believed, place, packed):
    root = elsewhere / "sets"
    believed(small_idx(root / place, packed=packed))
    data = load_data("mnist", data_dir=root)
    assert len(data.train) == 30
    assert data.train.pixels.shape == (30, 28, 28, 1)
    assert data.splits["test"].labels.tolist() == list(range(10))


def test_files_of_another_set_in_the_same_place_are_not_taken(elsewhere, small_idx):
    small_idx(elsewhere / "sets")
    assert find(NAMED["mnist"], elsewhere / "sets") is None


def test_unofficial_and_damaged_files_are_named(elsewhere, small_idx, believed):
    folder = small_idx(elsewhere / "sets" / "mnist")
    with pytest.raises(DataError, match=r"train-images.*not the official file.*SHA-256"):
        load_data("mnist", data_dir=elsewhere / "sets")
    believed(folder)
    path = folder / f"{TRAIN_IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"train-images.*damaged.*download it again"):
        load_data("mnist", data_dir=elsewhere / "sets")


def test_without_files_and_network_the_error_says_where_and_how(elsewhere, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", refuse)
    with pytest.raises(DataError) as caught:
        load_data("fashion-mnist", data_dir=elsewhere / "nowhere")
    for part in ("nowhere", "cache", "Network is unreachable", "data_dir", "STRIATE_DATA", "fashion-mnist-sample"):
        assert part in str(caught.value)


def test_what_is_downloaded_once_is_not_downloaded_again(elsewhere, small_idx, believed, monkeypatch, capsys):
    calls = []

    def download(root, download):
        calls.append(root)
        print("progress")
        believed(small_idx(root / "MNIST" / "raw"))

    monkeypatch.setattr(torchvision.datasets, "MNIST", download)
    for _ in range(2):
        # The second time the fresh checksums stand for the official ones.
        try:
            load_data("mnist")
        except DataError:
            load_data("mnist")
    assert calls == [elsewhere / "cache"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_is_read_through_torchvision(elsewhere, monkeypatch, name, classes):
    made = {}

    class Fake:
        def __init__(self, root, train, download):
            assert not download
            self.data = np.full((classes * 2, 32, 32, 3), 7, np.uint8)
            self.targets = list(range(classes)) * 2
            self.classes = [f"class {i}" for i in range(classes)]
            made[train] = root

    monkeypatch.setattr(torchvision.datasets, NAMED[name].torchvision, Fake)
    folder = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    (elsewhere / "sets" / name / folder).mkdir(parents=True)
    data = load_data(name, data_dir=elsewhere / "sets")
    assert data.train.pixels.shape == (classes * 2, 32, 32, 3)
    assert made[True] == elsewhere / "sets" / name


def test_cifar_files_that_are_not_the_official_ones_are_never_unpickled(elsewhere):
    folder = elsewhere / "sets" / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "data_batch_1").write_bytes(b"cos\nsystem\n(S'touch /tmp/striate-was-here'\ntR.")
    with pytest.raises(DataError, match="not the official ones"):
        load_data("cifar10", data_dir=elsewhere / "sets")


def test_unknown_names_get_the_nearest_ones():
    with pytest.raises(UsageError, match=r"no data set or folder named 'fashon-mnist'.*Did you mean fashion-mnist"):
        load_data("fashon-mnist")


def test_idx_round_trip_and_the_same_bytes_each_time(tmp_path):
    values = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(tmp_path / "a.gz", values)
    write_idx(tmp_path / "b.gz", values)
    assert np.array_equal(read_idx(tmp_path / "a.gz"), values)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x0d\x01" + bytes(8), "not an IDX file"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05ab", "5 bytes"),
    ],
)
def test_files_that_are_no_idx_are_refused(tmp_path, content, message):
    (tmp_path / TEST_LABELS).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / TEST_LABELS)
