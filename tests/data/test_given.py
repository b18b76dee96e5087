"""Data as people have it in Python: each form trains, evaluates and predicts, and gives the very pixels and labels."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import striate
from striate.errors import DataError, StriateError, UsageError
from striate.training import Progress

QUIET = Progress(quiet=True)
SIDE = 28


def arrays(count=60, channels=1, seed=0):
    """uint8 (N, H, W, C), and labels of two classes: dark and light."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    noise = generator.integers(-30, 31, (count, SIDE, SIDE, channels))
    return (60 + 130 * labels[:, None, None, None] + noise).astype(np.uint8), labels


class Pairs(Dataset):
    """As torchvision's sets are: PIL images, numbers, names of the classes."""

    classes = ("dark", "light")

    def __init__(self, pixels, labels, sizes=(SIDE,)):
        self.pixels, self.labels, self.sizes = pixels, labels, sizes

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, position):
        if not 0 <= position < len(self):
            raise IndexError(position)
        side = self.sizes[position % len(self.sizes)]
        return Image.fromarray(self.pixels[position].squeeze()).resize((side, side)), int(self.labels[position])


class Feature:
    """Base of stand-ins for the features of the package datasets, which are told by the names of their classes."""


def columns(pixels, labels, **more):
    """A stand-in for a Hugging Face Dataset: rows by position, columns with features."""
    image = type("Image", (Feature,), {})()
    label = type("ClassLabel", (Feature,), {"names": ["dark", "light"]})()
    features = {"id": object(), "image": image, "label": label, **more}

    class Rows:
        def __len__(self):
            return len(labels)

        def __getitem__(self, position):
            return {
                "id": position,
                "image": Image.fromarray(pixels[position].squeeze()),
                "label": int(labels[position]),
            }

    Rows.features, Rows.column_names = features, list(features)
    return Rows()


def forms():
    pixels, labels = arrays()
    colour, _ = arrays(channels=3)
    first_last = torch.from_numpy(colour.transpose(0, 3, 1, 2).copy())
    names = [("dark", "light")[label] for label in labels]
    images = [Image.fromarray(one.squeeze()) for one in pixels]
    return {
        "arrays": (pixels, labels),
        "arrays without channels": (pixels[..., 0], labels.tolist()),
        "floating arrays": (colour.astype(np.float32) / 255, labels),
        "tensors": (first_last, torch.from_numpy(labels)),
        "PIL images and names": (images, names),
        "arrays in a list": ([one[..., 0] for one in pixels], list(labels)),
        "splits": {"train": (pixels, labels), "test": arrays(20, seed=1), "classes": ["dark", "light"]},
        "a tensor dataset": TensorDataset(first_last, torch.from_numpy(labels)),
        "a dataset": Pairs(pixels, labels),
        "photos of several sizes": Pairs(pixels, labels, (SIDE, 40, 33)),
        "a subset": Subset(Pairs(pixels, labels), range(10, 60)),
        "a list of pairs": list(Pairs(pixels, labels)),
        "Hugging Face": columns(pixels, labels),
        "Hugging Face splits": {"train": columns(pixels, labels), "test": columns(*arrays(20, seed=1))},
    }


def train(data, tmp_path, **more):
    settings = {"epochs": 1, "threads": 1, "layout": "nchw", "name": "given", "report": False, "progress": QUIET}
    return striate.train("lenet5", data, out=tmp_path, **settings | more)


FAST = ("arrays",)


@pytest.mark.full
@pytest.mark.parametrize(
    "form", [form if form in FAST else pytest.param(form, marks=pytest.mark.slow) for form in forms()]
)
def test_each_form_trains_evaluates_and_predicts(form, tmp_path):
    run = train(forms()[form], tmp_path)
    kept = json.loads((run.path / "data.json").read_text())
    test = 20 if "splits" in form else 8
    assert kept["counts"]["test"] == test
    named = form not in (
        "arrays",
        "arrays without channels",
        "floating arrays",
        "tensors",
        "arrays in a list",
        "a list of pairs",
        "a tensor dataset",
    )
    assert kept["classes"] == (["dark", "light"] if named else ["0", "1"])
    # Another object with the same content is known again, so that its held-out part is what is tested on.
    again = striate.evaluate(run, forms()[form])
    assert again.data.pixels.shape[0] == test
    given = forms()[form]
    part = given["test"] if isinstance(given, dict) else given
    found = striate.predict(run, part)
    assert len(found) == (20 if isinstance(given, dict) else 50 if form == "a subset" else 60)
    assert not [one.error for one in found if one.error]


def test_the_same_images_in_every_form_are_the_same_data():
    pixels, labels = arrays()
    expected = striate.load_data((pixels, labels), size=(SIDE, SIDE))
    names = {"classes": ["dark", "light"]}
    loaded = [
        striate.load_data({"train": (pixels, labels), **names}),
        striate.load_data(Pairs(pixels, labels)),
        striate.load_data(columns(pixels, labels)),
        striate.load_data((list(map(Image.fromarray, pixels[..., 0])), [("dark", "light")[one] for one in labels])),
        striate.load_data({"train": (torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()), labels), **names}),
        striate.load_data({"train": (pixels / np.float32(255), labels), **names}),
    ]
    assert len({one.train.fingerprint() for one in loaded}) == 1
    assert np.array_equal(loaded[0].train.pixels, expected.train.pixels)
    whole = np.concatenate([loaded[0]["train"].pixels, loaded[0]["test"].pixels])
    assert sorted(map(bytes, whole)) == sorted(map(bytes, pixels))


@pytest.mark.slow
def test_a_run_on_data_given_in_python_asks_for_it_again(tmp_path):
    pixels, labels = arrays()
    run = train((pixels, labels), tmp_path)
    summary = json.loads((run.path / "summary.json").read_text())
    assert not summary.get("command")
    with pytest.raises(DataError, match=r"given in Python(.|\n)*fingerprint"):
        striate.evaluate(run)
    with pytest.raises(DataError, match="given in Python"):
        striate.resume(run.path, epochs=2, progress=QUIET)
    other = pixels.copy()
    other[3] = 255 - other[3]
    with pytest.raises(DataError, match="is not the data"):
        striate.resume(run.path, epochs=2, data=(other, labels), progress=QUIET)
    longer = striate.resume(run.path, epochs=2, data=(pixels, labels), progress=QUIET)
    assert longer.ending.epochs == pytest.approx(2)
    # Images that the run does not know are all of them what it is tested on.
    assert len(striate.evaluate(run, arrays(14, seed=9)).data) == 14


@pytest.mark.slow
def test_data_of_other_names_and_sets_from_load_data(tmp_path):
    pixels, labels = arrays()
    dataset = striate.load_data(Pairs(pixels, labels))
    run = train(dataset, tmp_path)
    assert len(striate.evaluate(run, dataset).data) == len(dataset["test"])
    assert len(striate.evaluate(run, dataset["test"]).data) == len(dataset["test"])
    with pytest.raises(UsageError, match="one split"):
        striate.predict(run, dataset)
    assert len(striate.predict(run, dataset["test"])) == len(dataset["test"])


def test_a_set_and_its_splits_are_read_as_lists_are():
    dataset = striate.load_data((*arrays(40),))
    assert len(dataset) == 40 == len(list(dataset))
    image, label = dataset[0]
    assert image.shape == (1, SIDE, SIDE)
    assert image.dtype == torch.uint8
    assert label in (0, 1)
    last = dataset[-1]
    assert torch.equal(last[0], dataset["test"][-1][0])
    with pytest.raises(IndexError):
        dataset[40]
    with pytest.raises(UsageError, match="no split 'tset'; it has: train, test"):
        dataset["tset"]
    assert len(repr(dataset)) < 300
    seen = [labels for _, labels in DataLoader(dataset, batch_size=16)]
    assert sum(map(len, seen)) == 40


@pytest.mark.slow
def test_the_splits_are_served_by_worker_processes():
    dataset = striate.load_data((*arrays(40),))
    batches = [labels for _, labels in DataLoader(dataset.train, batch_size=8, num_workers=2)]
    assert torch.equal(torch.cat(batches), torch.from_numpy(dataset.train.labels))


@pytest.mark.slow
def test_the_example_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs/data.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(example, names)
    assert [one.error for one in names["found"]] == [None] * 5
    assert len(list((tmp_path / "runs").iterdir())) == 1


class Boxes(Pairs):
    def __getitem__(self, position):
        return super().__getitem__(position)[0], {"boxes": [[0, 0, 1, 1]], "labels": [1]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda x, y: (x.transpose(0, 3, 1, 2), y), r"channels come last, transpose\(0, 2, 3, 1\)"),
        (lambda x, y: (np.zeros((60, 3, 20, 3), np.uint8), y), "channels second or last"),
        (lambda x, y: (torch.from_numpy(x), y), r"a tensor must be .* got \(60, 28, 28, 1\).*permute\(0, 3, 1, 2\)"),
        (lambda x, y: (x / 127.5 - 1, y), "unknown black and white"),
        (lambda x, y: (x, y[:-1]), "60 images need as many labels, got 59"),
        (lambda x, y: (x, np.eye(4)[y] + np.eye(4)[3]), "(?s)one per image.*several labels per image"),
        (lambda x, y: Boxes(x, y), "label 0: a dict is not a class.*boxes or masks"),
        (lambda x, y: ([*x[:5], "no-such.png"], y[:6]), "image 5: .*no-such.png: no such file"),
        (lambda x, y: {"images": x, "labels": y}, r"'images' is not a split.*'train': \(images, labels\)"),
        (lambda x, y: {"train": (x, y), "test": (x[:4], [0, 0, 0, 0])}, "the split test .* lacks: 1"),
        (lambda x, y: DataLoader(Pairs(x, y)), "For a DataLoader, give its dataset"),
        (lambda x, y: (np.zeros(2), np.zeros(2)), r"must be \(N, H, W\) or \(N, H, W, 1 or 3\), got float64 \(2,\)"),
        (lambda x, y: x, "cannot be used as training data"),
        (lambda x, y: (x[:0], y[:0]), "no images"),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_asked_back(data, message):
    with pytest.raises(StriateError, match=message):
        striate.load_data(data(*arrays()))
