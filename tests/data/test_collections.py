"""Sets of other collections by name, from files in each set's own format, made here."""

import bz2
import json
import struct

import numpy as np
import pytest
from PIL import Image

import striate
from striate.data.elsewhere import TORCHVISION
from striate.errors import DataError, UsageError
from striate.training import Progress

SIZE = (24, 20)


def photo(path, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(abs(hash(path.name)) % 2**32).integers(0, 60, (*SIZE, 3))
    Image.fromarray((noise + level).astype(np.uint8)).save(path)


def idx(path, values):
    values = np.asarray(values)
    kind = {"uint8": 8, "int32": 12}[str(values.dtype)]
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(">BBBB", 0, 0, kind, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(head + values.astype(values.dtype.newbyteorder(">")).tobytes())


def images(count):
    return np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def mnist(name):
    def make(root):
        for prefix, count in (("train", 30), ("t10k", 10)):
            idx(root / name / "raw" / f"{prefix}-images-idx3-ubyte", images(count))
            idx(root / name / "raw" / f"{prefix}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 10)

    return make


def emnist(root):
    for split, count in (("train", 94), ("test", 47)):
        idx(root / "EMNIST/raw" / f"emnist-balanced-{split}-images-idx3-ubyte", images(count))
        idx(root / "EMNIST/raw" / f"emnist-balanced-{split}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 47)


def qmnist(root):
    for split, count in (("train", 30), ("test", 20)):
        idx(root / "QMNIST/raw" / f"qmnist-{split}-images-idx3-ubyte", images(count))
        labels = np.zeros((count, 8), dtype=np.int32)
        labels[:, 0] = np.arange(count) % 10
        idx(root / "QMNIST/raw" / f"qmnist-{split}-labels-idx2-int", labels)


def usps(root):
    for name, count in (("usps.bz2", 30), ("usps.t.bz2", 10)):
        rows = [
            f"{number % 10 + 1} " + " ".join(f"{place}:{(place % 3) - 1}" for place in range(1, 257))
            for number in range(count)
        ]
        (root / name).write_bytes(bz2.compress("\n".join(rows).encode()))


def eurosat(root):
    for level, name in ((10, "Forest"), (120, "River")):
        for number in range(20):
            photo(root / "eurosat/2750" / name / f"{name}_{number}.jpg", level)


def gtsrb(root):
    rows = ["Filename;ClassId"]
    for label in range(3):
        for number in range(6):
            photo(root / "gtsrb/GTSRB/Training" / f"{label:05d}" / f"{number:05d}.ppm", 60 * label)
        photo(root / "gtsrb/GTSRB/Final_Test/Images" / f"{label:05d}.ppm", 60 * label)
        rows.append(f"{label:05d}.ppm;{label}")
    (root / "gtsrb/GT-final_test.csv").write_text("\n".join(rows) + "\n")


def pets(root):
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    for split, count in (("trainval", 6), ("test", 3)):
        rows = []
        for label, name in ((1, "Abyssinian"), (2, "american_bulldog")):
            for number in range(count):
                rows.append(f"{name}_{split}{number} {label} 1 1")
                rows[-1] = rows[-1].replace(f"{split}{number}", str(number + (100 if split == "test" else 0)))
                photo(folder / "images" / f"{rows[-1].split()[0]}.jpg", 100 * label - 60)
        (folder / "annotations" / f"{split}.txt").write_text("\n".join(rows) + "\n")


def dtd(root):
    folder = root / "dtd/dtd"
    (folder / "labels").mkdir(parents=True)
    for split in ("train", "val", "test"):
        rows = [f"{name}/{name}_{split}{number}.jpg" for name in ("banded", "dotted") for number in range(4)]
        (folder / "labels" / f"{split}1.txt").write_text("\n".join(rows) + "\n")
        for row in rows:
            photo(folder / "images" / row, 10 if "banded" in row else 130)


def food(root):
    (root / "food-101/meta").mkdir(parents=True)
    for split, count in (("train", 6), ("test", 3)):
        found = {name: [f"{name}/{split}{number}" for number in range(count)] for name in ("ramen", "apple_pie")}
        (root / "food-101/meta" / f"{split}.json").write_text(json.dumps(found))
        for name in (one for names in found.values() for one in names):
            photo(root / "food-101/images" / f"{name}.jpg", 10 if "ramen" in name else 130)


def country(root):
    for split in ("train", "valid", "test"):
        for name in ("AD", "ZW"):
            for number in range(4):
                photo(root / "country211" / split / name / f"{number}.jpg", 10 if name == "AD" else 130)


def aircraft(root):
    data = root / "fgvc-aircraft-2013b/data"
    data.mkdir(parents=True)
    names = ("A300 B4", "Boeing 707-320")
    (data / "variants.txt").write_text("\n".join(names) + "\n")
    for split in ("train", "val", "test"):
        rows = [f"{split}{place}{number} {name}" for place, name in enumerate(names) for number in range(4)]
        (data / f"images_variant_{split}.txt").write_text("\n".join(rows) + "\n")
        for row in rows:
            photo(data / "images" / f"{row.split()[0]}.jpg", 10 if "A300" in row else 130)


def caltech(root):
    for level, name in ((10, "accordion"), (90, "airplanes"), (150, "BACKGROUND_Google")):
        for number in range(1, 21):
            photo(root / "caltech101/101_ObjectCategories" / name / f"image_{number:04d}.jpg", level)
    (root / "caltech101/Annotations").mkdir()


def sst(root):
    for split in ("train", "valid", "test"):
        for name in ("negative", "positive"):
            for number in range(4):
                photo(root / "rendered-sst2" / split / name / f"{number}.png", 10 if name == "negative" else 130)


def sun(root):
    names = ("/a/abbey", "/b/bridge")
    for level, name in zip((10, 130), names, strict=True):
        for number in range(20):
            photo(root / "SUN397" / name[1:] / f"sun_{name[3:]}{number}.jpg", level)
    (root / "SUN397/ClassName.txt").write_text("\n".join(names) + "\n")


def imagenette(root):
    ids = ("n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916", "n03417042", "n03425413",
           "n03445777", "n03888257")  # fmt: skip
    for split, count in (("train", 4), ("val", 2)):
        for place, name in enumerate(ids):
            for number in range(count):
                photo(root / "imagenette2" / split / name / f"{split}{number}.JPEG", 15 * place)


DIGITS = [str(digit) for digit in range(10)]
CLOTHES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
KANA = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
FISH = ["tench", "English springer", "cassette player", "chain saw", "church", "French horn", "garbage truck", "gas pump",
        "golf ball", "parachute"]  # fmt: skip
SETS = {
    "MNIST": (mnist("MNIST"), DIGITS, {"train": 30, "test": 10}),
    "FashionMNIST": (mnist("FashionMNIST"), CLOTHES, {"train": 30, "test": 10}),
    "KMNIST": (mnist("KMNIST"), KANA, {"train": 30, "test": 10}),
    "EMNIST": (emnist, list("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"), {"train": 94, "test": 47}),
    "QMNIST": (qmnist, DIGITS, {"train": 30, "test": 20}),
    "USPS": (usps, DIGITS, {"train": 30, "test": 10}),
    "EuroSAT": (eurosat, ["Forest", "River"], {"train": 34, "test": 6}),
    "GTSRB": (gtsrb, ["0", "1", "2"], {"train": 18, "test": 3}),
    "OxfordIIITPet": (pets, ["Abyssinian", "American Bulldog"], {"train": 12, "test": 6}),
    "DTD": (dtd, ["banded", "dotted"], {"train": 8, "validation": 8, "test": 8}),
    "Food101": (food, ["apple_pie", "ramen"], {"train": 12, "test": 6}),
    "Country211": (country, ["AD", "ZW"], {"train": 8, "validation": 8, "test": 8}),
    "FGVCAircraft": (aircraft, ["A300 B4", "Boeing 707-320"], {"train": 8, "validation": 8, "test": 8}),
    "Caltech101": (caltech, ["accordion", "airplanes"], {"train": 34, "test": 6}),
    "RenderedSST2": (sst, ["negative", "positive"], {"train": 8, "validation": 8, "test": 8}),
    "SUN397": (sun, ["a/abbey", "b/bridge"], {"train": 34, "test": 6}),
    "Imagenette": (imagenette, FISH, {"train": 40, "test": 20}),
}


@pytest.mark.parametrize("name", SETS)
def test_a_set_of_torchvision_has_its_own_names_counts_and_splits(name, tmp_path):
    make, classes, counts = SETS[name]
    make(tmp_path)
    dataset = striate.load_data(f"torchvision:{name}", data_dir=tmp_path)
    assert {split: len(part) for split, part in dataset.splits.items()} == counts
    assert list(dataset.classes) == (classes if name != "SUN397" else ["abbey", "bridge"])
    assert dataset.location == f"torchvision:{name}"
    if dataset.first.shape[2] == 3:  # the level of an image tells its class, in each split
        for part in dataset.splits.values():
            levels = [np.mean(part.pixels[part.labels == label]) for label in range(len(classes))]
            assert levels == sorted(levels, reverse=name == "Food101")


@pytest.mark.slow
def test_a_set_of_torchvision_trains_evaluates_resumes_and_is_repeated_by_its_name(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    dtd(root)
    run = striate.train(
        "lenet5", "torchvision:DTD", data_dir=root, epochs=1, threads=1, layout="nchw", report=False, out=tmp_path,
        progress=Progress(quiet=True),
    )  # fmt: skip
    assert "--data torchvision:DTD" in json.loads((run.path / "summary.json").read_text())["command"]
    assert len(striate.evaluate(run, data_dir=root).data) == 8
    assert striate.predict(run, striate.load_data("torchvision:DTD", data_dir=root)["test"])[0].label in (
        "banded",
        "dotted",
    )
    assert striate.resume(
        run.path, epochs=2, data_dir=root, progress=Progress(quiet=True)
    ).ending.epochs == pytest.approx(2)


def test_a_set_that_is_not_here_says_where_it_would_lie_and_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(
        DataError, match=r"(?s)food-101/images was not found in .*datasets\.Food101|d\.Food101\(.*download=True"
    ):
        striate.load_data("torchvision:Food101", data_dir=tmp_path)
    assert not (tmp_path / "food-101").exists()
    with pytest.raises(UsageError, match="Did you mean Food101"):
        striate.load_data("torchvision:Food102", data_dir=tmp_path)
    with pytest.raises(DataError, match=r"bloodmnist\.npz was not found in"):
        striate.load_data("medmnist:BloodMNIST", data_dir=tmp_path)
    with pytest.raises(UsageError, match=r"^splits is for folders"):
        striate.load_data("torchvision:Food101", data_dir=tmp_path, splits="none")


def test_every_set_can_say_how_it_is_got(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in TORCHVISION:
        with pytest.raises(DataError, match=f"d.{name}\\(|torchvision cannot download it"):
            striate.load_data(f"torchvision:{name}", data_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_set_of_medmnist(tmp_path, monkeypatch):
    rows = {f"{split}_images": images(count) for split, count in (("train", 20), ("val", 6), ("test", 8))}
    rows |= {
        f"{split}_labels": np.arange(count)[:, None] % 2 for split, count in (("train", 20), ("val", 6), ("test", 8))
    }
    np.savez(tmp_path / "breastmnist.npz", **rows)
    dataset = striate.load_data("medmnist:BreastMNIST", data_dir=tmp_path)
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 20, "validation": 6, "test": 8}
    assert np.array_equal(dataset["test"].pixels[..., 0], images(8))
    assert dataset.classes == ("0", "1")
    np.savez(tmp_path / "chestmnist.npz", **rows | {"train_labels": np.ones((20, 14), np.uint8)})
    with pytest.raises(DataError, match="several labels per image"):
        striate.load_data("medmnist:chestmnist", data_dir=tmp_path)


STAND_IN = """
class Image: pass
class ClassLabel:
    names = ["cat", "dog"]
class Dataset:
    column_names = ["image", "label"]
    features = {"image": Image(), "label": ClassLabel()}
    def __init__(self, count): self.count = count
    def __len__(self): return self.count
    def __getitem__(self, position):
        import PIL.Image
        return {"image": PIL.Image.new("RGB", (20, 20), (position, 9, 120 * (position % 2))), "label": position % 2}
def load_dataset(name):
    if name != "someone/pets":
        raise ConnectionError("Couldn't reach the Hub")
    return {"train": Dataset(20), "validation": Dataset(4), "test": Dataset(6)}
"""


def test_a_set_of_hugging_face(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"pip install 'striate\[datasets\]'"):
        striate.load_data("hf:someone/pets")
    (tmp_path / "datasets.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    dataset = striate.load_data("hf:someone/pets")
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 20, "validation": 4, "test": 6}
    assert dataset.classes == ("cat", "dog")
    assert dataset["test"].pixels[3, 0, 0].tolist() == [3, 9, 120]
    assert (dataset.name, dataset.location) == ("pets", "hf:someone/pets")
    with pytest.raises(DataError, match="Couldn't reach the Hub"):
        striate.load_data("hf:someone/else")
