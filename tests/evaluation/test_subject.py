"""Whose images a run is tested on: classes by name, and the run's own data known by its content wherever it lies."""

import csv
import json
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

import striate
from striate.data import DataSet, ImageData
from striate.errors import DataError, UsageError
from striate.evaluation import evaluate
from striate.evaluation.subject import with_classes
from striate.training import Progress

QUIET = Progress(quiet=True)
LEVELS = {"ant": 20, "bee": 120, "cat": 220}


def picture(label, generator):
    noise = generator.integers(-15, 16, (32, 32, 3))
    return np.clip(LEVELS[label] + noise, 0, 255).astype(np.uint8)


def make_folder(folder, labels=LEVELS, count=12, seed=0):
    generator = np.random.default_rng(seed)
    for label in labels:
        (folder / label).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(picture(label, generator)).save(folder / label / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    place = tmp_path_factory.mktemp("subject")
    data = make_folder(place / "photos")
    run = striate.train(
        "lenet5", data, recipe="tutorial", epochs=10, lr=0.002, batch_size=8, size=32, name="run", out=place / "runs",
        threads=1, report=False,
        layout="nchw", exclude=["cat/00.png"], progress=QUIET,
    )  # fmt: skip
    return run.path, data


@pytest.fixture
def run(trained_once, tmp_path):
    return striate.load(shutil.copytree(trained_once[0], tmp_path / "runs" / "run"))


@pytest.fixture
def moved(trained_once, run, tmp_path):
    """The run's data at another place, and not where it was."""
    new = shutil.copytree(trained_once[1], tmp_path / "elsewhere" / "renamed")
    config = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(config.replace(str(trained_once[1]), str(tmp_path / "gone" / "photos")))
    return striate.load(run.path), new


def archive(path, order, classes=True, count=10, of=LEVELS):
    generator = np.random.default_rng(5)
    chosen = [label for label in order if label in of]
    labels = np.array([order.index(label) for label in chosen for _ in range(count)])
    images = np.stack([picture(order[label], generator) for label in labels])
    given = {"classes": np.array(order)} if classes else {}
    np.savez(path, test_images=images, test_labels=labels, **given)
    return path


def test_classes_in_another_order_are_matched_by_name(run, tmp_path):
    generator = np.random.default_rng(5)
    with (tmp_path / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        for label in ("cat", "ant", "bee"):
            for number in range(10):
                Image.fromarray(picture(label, generator)).save(tmp_path / f"{label}{number}.png")
                rows.writerow([f"{label}{number}.png", label, "test"])
    for data in (archive(tmp_path / "turned.npz", ["cat", "bee", "ant"]), tmp_path / "table.csv"):
        found = evaluate(run, data).summary.as_dict()
        assert found["accuracy"] > 0.9, data
        assert found["classes"] == ["ant", "bee", "cat"]
        assert found["absent"] == []
        assert found["by_position"] == ""


def test_some_of_the_classes_are_enough_and_the_others_have_support_0(run, tmp_path):
    one = make_folder(tmp_path / "one", ["cat"], 20, seed=3)
    two = archive(tmp_path / "two.npz", ["cat", "ant"])
    folder = make_folder(tmp_path / "some" / "test", ["bee"], 6, seed=4)
    for data, absent in ((one, ["ant", "bee"]), (two, ["bee"]), (folder.parent, ["ant", "cat"])):
        found = evaluate(run, data).summary.as_dict()
        assert found["absent"] == absent
        assert {row["class"] for row in found["per_class"] if row["support"] == 0} == set(absent)
        assert found["accuracy"] > 0.9
        assert "NaN" not in json.dumps(found)


def test_only_unknown_names_are_an_error_that_lists_them(run, tmp_path):
    generator = np.random.default_rng(0)
    images = np.stack([picture("ant", generator) for _ in range(4)])
    np.savez(tmp_path / "d.npz", test_images=images, test_labels=[0, 0, 1, 1], classes=["ant", "dog", "wolf"])
    with pytest.raises(DataError, match=r"know: dog\. It has ant, dog, wolf; the run knows ant, bee, cat") as caught:
        evaluate(run, tmp_path / "d.npz")
    assert caught.value.exit_code == 3


def dataset_of(names, labels, numbered=False):
    data = ImageData(np.zeros((len(labels), 2, 2, 3), np.uint8), np.asarray(labels, np.int64), tuple(names))
    return data, DataSet(
        name="given", location="given.npz", title="", source="", licence="", splits={"test": data}, flippable=True,
        unreadable={}, numbered=numbered,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("Cat", "cat"),
        ("cat ", "cat"),
        ("hot dog", "hot_dog"),
        (unicodedata.normalize("NFD", "Café"), unicodedata.normalize("NFC", "Café")),
        ("Ｃａｔ", "cat"),
    ],
)
def test_names_that_differ_in_form_only_are_not_taken_for_each_other(theirs, ours):
    data, dataset = dataset_of(["ant", theirs], [0, 1])
    with pytest.raises(DataError, match="only in case, spaces or letter forms: rename it"):
        with_classes(data, ("ant", ours), dataset)


def test_numbers_without_names_are_taken_by_position_and_said(run, tmp_path, call):
    data = archive(tmp_path / "numbers.npz", ["ant", "bee", "cat"], classes=False)
    code, out, _ = call("evaluate", run.path, "--data", data)
    assert code == 0
    assert (
        "matched by position, because these images have class numbers but no names: 0 is ant, 1 is bee, 2 is cat"
        in " ".join(out.split())
    )
    fewer = archive(tmp_path / "fewer.npz", ["ant", "bee"], classes=False)
    code, _, err = call("evaluate", run.path, "--data", fewer)
    assert code == 3
    assert "does not know: 0, 1. It has 0, 1; the run knows ant, bee, cat" in err
    assert "add an array named classes" in err


def test_numbers_that_are_names_are_names():
    data, dataset = dataset_of("0123", [1, 2, 3, 3], numbered=True)
    found, said = with_classes(data, ("1", "2", "3"), dataset)
    assert (found.labels.tolist(), said) == ([0, 1, 2, 2], "")
    # Folders that are called 0 and 1 have names: they are not the classes a and b.
    data, dataset = dataset_of("01", [0, 1])
    with pytest.raises(DataError, match="does not know: 0, 1"):
        with_classes(data, ("a", "b"), dataset)


def test_moved_data_is_known_by_its_content(trained_once, moved, call):
    run, new = moved
    before = {split: evaluate(striate.load(trained_once[0]), split=split).summary for split in ("test", "validation")}
    code, _, err = call("evaluate", run.path)
    assert code == 3
    assert "no longer there. If it was moved, give its new location: --data NEWPLACE" in err
    for split in ("test", "validation", "train"):
        found = evaluate(run, new, split=split)
        assert found.key == f"photos-{split}-centre"
        assert found.summary.data == "photos"
        if split in before:
            assert found.summary.fingerprint == before[split].fingerprint
            assert found.summary.accuracy == before[split].accuracy
    code, _, err = call("look", run.path, "--what", "embedding", "--data", new, "--split", "train")
    assert code == 0, err
    for what in ("unit", "embedding"):
        code, _, err = call("look", run.path, "--what", what, "--split", "train")
        assert (code, "--data NEWPLACE" in err) == (3, True)
    code, out, err = call("data", "check", new, "--run", run.path, "--exclude", "cat/00.png")
    assert code == 0, err
    assert "photos-test-centre" in " ".join(out.split())


def test_other_data_with_the_same_classes_is_evaluated_as_other_data(run, tmp_path):
    found = evaluate(run, make_folder(tmp_path / "newer", count=14, seed=9))
    assert found.key == "newer-test-centre"


def test_a_run_goes_on_where_its_data_lies_now(moved, tmp_path, call):
    run, new = moved
    code, _, err = call("train", "--resume", run.path, "--epochs", 11)
    assert (code, "--data NEWPLACE" in err) == (3, True)
    other = make_folder(tmp_path / "other", seed=8)
    code, _, err = call("train", "--resume", run.path, "--epochs", 11, "--data", other)
    assert code == 2 or "are gone or changed" in err
    (other / "cat" / "00.png").unlink()
    fewer = make_folder(tmp_path / "fewer", ["ant", "bee"])
    with pytest.raises((DataError, UsageError)):
        striate.resume(run.path, epochs=11, data=fewer, progress=QUIET)
    before = (run.path / "config.yaml").read_bytes()
    code, _, err = call("train", "--resume", run.path, "--epochs", 11, "--data", tmp_path / "nowhere")
    assert (code, before) == (3, (run.path / "config.yaml").read_bytes())
    code, _, err = call("train", "--resume", run.path, "--epochs", 11, "--data", new)
    assert code == 0, err
    after = striate.load(run.path)
    assert after.config.data.location == str(new)
    assert after.ending.planned_epochs == 11
    assert list(after.evaluations) == ["photos-test-centre"]
