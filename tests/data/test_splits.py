"""Splits that are made: stratified, whole groups, equal images on one side, and followed when the folder changes."""

import json
import re
import shutil
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

import striate
from striate import evaluation, events
from striate.data import load_data
from striate.data.images import ImageData
from striate.data.splits import hold_out, seen_in_training, together
from striate.errors import DataError, UsageError
from striate.training.progress import Progress

QUIET = Progress(quiet=True)


def test_groups_of_one_are_held_out_as_if_there_were_none():
    labels = np.random.default_rng(0).integers(0, 5, 400)
    plain, grouped = hold_out(labels, 0.2, 3), hold_out(labels, 0.2, 3, np.arange(400))
    assert all(np.array_equal(a, b) for a, b in zip(plain, grouped, strict=True))


def test_groups_stay_whole_and_shares_are_nearly_met():
    generator = np.random.default_rng(1)
    labels, groups = generator.integers(0, 4, 2000), generator.integers(0, 300, 2000)
    kept, held = hold_out(labels, 0.2, 0, groups)
    assert not set(groups[kept]) & set(groups[held])
    assert sorted([*kept, *held]) == list(range(2000))
    shares = np.bincount(labels[held]) / np.bincount(labels)
    assert np.abs(shares - 0.2).max() < 0.05
    assert not np.array_equal(held, hold_out(labels, 0.2, 1, groups)[1])


def test_a_class_of_one_group_gives_none_and_no_class_is_emptied():
    labels = np.array([0] * 6 + [1] * 6)
    kept, held = hold_out(labels, 0.5, 0, np.array([0] * 6 + [1, 1, 1, 2, 2, 2]))
    assert set(labels[held]) == {1}
    assert set(labels[kept]) == {0, 1}


def test_what_belongs_together_is_found_through_pictures_and_groups():
    pixels = np.arange(6, dtype=np.uint8).repeat(4).reshape(6, 2, 2, 1)
    pixels[3] = pixels[0]
    groups = ("a", "b", None, None, "b", "a")
    data = ImageData(pixels, np.zeros(6, np.int64), ("x",), None, groups)
    found = together(data)
    same = {pair for pair in combinations(range(6), 2) if found[pair[0]] == found[pair[1]]}
    assert same == {(0, 3), (0, 5), (3, 5), (1, 4)}
    assert together(ImageData(np.unique(pixels, axis=0), np.zeros(5, np.int64), ("x",))) is None


def test_pictures_on_two_given_sides_are_counted_and_said(pictures, tmp_path):
    root = tmp_path / "given"
    for name, chosen in (("train", range(8)), ("val", range(8, 10)), ("test", range(10, 12))):
        for label in ("dark", "light"):
            (root / name / label).mkdir(parents=True)
            for number in chosen:
                shutil.copy(pictures / label / f"{number:02d}.png", root / name / label)
    assert seen_in_training(load_data(root, size=(32, 32))) == {}
    shutil.copy(root / "train" / "dark" / "00.png", root / "test" / "dark" / "other name.png")
    with Image.open(root / "train" / "light" / "01.png") as image:
        image.save(root / "test" / "light" / "other form.bmp")
    assert seen_in_training(load_data(root, size=(32, 32))) == {"test": 2}
    assert seen_in_training(load_data(pictures, size=(32, 32))) == {}
    said = Said()
    run = striate.train("lenet5", root, epochs=0.5, batch_size=8, threads=1, out=tmp_path / "runs", progress=said)
    assert "2 of 6 test images are also training images" in said.warning
    assert run.data.seen_in_training == {"test": 2}
    assert "2 of the 6 test images are also training images" in (run.path / "report.html").read_text()


class Said(Progress):
    """Keeps what is said before training."""

    def __init__(self):
        super().__init__(quiet=True)
        self.warning = ""

    def __call__(self, event):
        if isinstance(event, events.Said) and event.about == "shared":
            self.warning += event.text


@pytest.fixture
def patients(tmp_path):
    """24 images of 8 patients, three each, in two classes; a copy of each patient's first one under another name."""
    generator = np.random.default_rng(0)
    for patient in range(8):
        folder = tmp_path / "patients" / ("ill" if patient % 2 else "well")
        folder.mkdir(parents=True, exist_ok=True)
        for shot in range(3):
            picture = Image.fromarray(generator.integers(0, 256, (32, 32, 3)).astype(np.uint8))
            picture.save(folder / f"p{patient}-{shot}.png")
        shutil.copy(folder / f"p{patient}-0.png", folder / f"copy{patient}.png")
        Image.open(folder / f"p{patient}-0.png").save(folder / f"other{patient}.bmp")
    return tmp_path / "patients"


def test_equal_pictures_are_never_on_two_sides(patients):
    data = load_data(patients, size=(32, 32))
    sides = [{picture.tobytes() for picture in part.pixels} for part in data.splits.values()]
    assert not sides[0] & sides[1]
    assert len(data.splits["test"]) > 0


def test_patients_are_never_on_two_sides(patients):
    data = load_data(patients, size=(32, 32), group_by=r"(?:p|copy|other)(\d)")
    sides = [
        {re.sub(r"\D*(\d).*", r"\1", path.rsplit("/")[-1]) for path in part.paths} for part in data.splits.values()
    ]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == set("01234567")
    groups = [set(part.groups) for part in data.splits.values()]
    assert not groups[0] & groups[1]
    assert groups[0] | groups[1] == set("01234567")
    with pytest.raises(UsageError, match="is not a regular expression"):
        load_data(patients, group_by="(")
    with pytest.raises(UsageError, match="matches no file name; the first one is"):
        load_data(patients, group_by="doctor")
    with pytest.raises(UsageError, match="has none"):
        load_data("fashion-mnist-sample", group_by="x")


def test_a_run_follows_its_split_when_the_folder_changes(pictures, tmp_path):
    run = striate.train(
        "lenet5", pictures, epochs=1, batch_size=8, threads=1, report=False, out=tmp_path / "runs", progress=QUIET
    )
    content = json.loads((run.path / "split.json").read_text())["content"]
    counts = {split: len(hashes) for split, hashes in content.items()}
    assert counts == {"train": 18, "validation": 2, "test": 4}
    before = {split: _names(run, split) for split in counts}
    for number in range(40):  # these alone would change who is held out
        shade = Image.new("RGB", (32, 40), (number, 0, 0))
        shade.save(pictures / "dark" / f"0new{number}.png")
    for path in sorted((pictures / "light").iterdir()):
        path.rename(path.with_name(f"z{path.name}"))
    after = {split: _names(run, split) for split in counts}
    assert {split: {name.replace("light/z", "light/") for name in names} for split, names in after.items()} == before
    gone = next(iter(after["test"]))
    (pictures / gone).unlink()
    assert _names(run, "test") == after["test"] - {gone}
    for name in after["test"] - {gone}:
        (pictures / name).unlink()
    with pytest.raises(DataError, match="any of the 4 images"):
        _names(run, "test")


def test_the_group_pattern_is_kept_with_the_run(patients, tmp_path):
    run = striate.train(
        "lenet5",
        patients,
        group_by=r"\d",
        epochs=0.5,
        batch_size=8,
        threads=1,
        report=False,
        out=tmp_path / "runs",
        progress=QUIET,
    )
    assert r"--group-by '\d'" in run.summary.command
    digits = [
        set(re.findall(r"/[a-z]*(\d)", " ".join(_names(run, split)))) for split in ("train", "validation", "test")
    ]
    assert all(digits)
    assert all(not a & b for a, b in combinations(digits, 2))


def _names(run, split):
    """class/file of the images that an evaluation of the run's own data reads."""
    paths = evaluation.evaluate(run, split=split).data.paths
    return {"/".join(path.split("/")[-2:]) for path in paths}
