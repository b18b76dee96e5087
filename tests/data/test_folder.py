"""Class folders: what is read, what is left out and said, and what is an error."""

import json
import os
import shutil

import numpy as np
import pytest

import striate
from striate.data import load_data
from striate.errors import DataError


def load(folder, size=(16, 16), channels=3):
    return load_data(folder, size=size, channels=channels, workers=2)


def test_class_folders_become_one_array_with_a_test_split_held_out(pictures):
    data = load(pictures)
    assert data.classes == ("dark", "light")
    assert data.train.pixels.shape == (20, 16, 16, 3)
    assert data.splits["test"].class_counts() == [2, 2]
    brightness = data.train.pixels.reshape(20, -1).mean(1)
    assert np.array_equal(brightness > 120, data.train.labels == 1)
    assert data.train.paths[0].endswith("00.png") or data.train.paths[0].endswith("01.png")
    again = load(pictures)
    assert data.train.fingerprint() == again.train.fingerprint()


def test_given_splits_are_kept_under_their_usual_names(pictures, tmp_path):
    root = tmp_path / "split"
    for name in ("Train", "valid", "test"):
        shutil.copytree(pictures, root / name)
    data = load(root)
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 24, "validation": 24, "test": 24}


def test_a_class_that_one_split_lacks_is_an_error_of_three_lines(pictures, tmp_path):
    root = tmp_path / "split"
    shutil.copytree(pictures, root / "train")
    shutil.copytree(pictures / "dark", root / "test" / "dark")
    with pytest.raises(DataError) as caught:
        load(root)
    assert len(str(caught.value).splitlines()) == 3
    assert "test lacks: light" in str(caught.value)


def test_junk_is_left_out_and_unreadable_files_are_named(pictures):
    (pictures / ".ipynb_checkpoints").mkdir()
    (pictures / "__MACOSX").mkdir()
    (pictures / "dark" / ".DS_Store").write_bytes(b"x")
    (pictures / "dark" / "Thumbs.db").write_bytes(b"x")
    (pictures / "dark" / "notes.txt").write_text("no image")
    (pictures / "light" / "sub").mkdir()
    shutil.copy(pictures / "light" / "00.png", pictures / "light" / "sub" / "deeper.png")
    (pictures / "light" / "loop").symlink_to(pictures)
    data = load(pictures)
    assert data.classes == ("dark", "light")
    assert sum(len(part) for part in data.splits.values()) == 25
    assert data.unreadable == {}
    ledger = data.ledger.as_dict()
    assert {fate: ledger[fate] for fate in ("entries", "used", "junk", "unreadable", "other")} == {
        "entries": 34,
        "used": 28,  # 25 images, two classes, and the folder in one of them
        "junk": 5,
        "unreadable": 0,
        "other": 1,
    }
    assert {"fate": "other", "kind": ".txt", "count": 1, "examples": ["dark/notes.txt"]} in ledger["named"]


def test_folders_that_cannot_be_used_say_why(tmp_path, pictures):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no class folders"):
        load(tmp_path / "empty")
    shutil.copytree(pictures / "dark", tmp_path / "one" / "dark")
    with pytest.raises(DataError, match="at least two"):
        load(tmp_path / "one")
    (pictures / "nothing").mkdir()
    with pytest.raises(DataError, match="no readable image of class nothing"):
        load(pictures)
    with pytest.raises(DataError, match="no such folder"):
        load(tmp_path / "not" / "there")


@pytest.mark.full
def test_a_file_name_that_is_no_utf_8_goes_through_training_and_json(pictures, tmp_path, call):
    shutil.copy(pictures / "dark" / "00.png", pictures / "dark" / os.fsdecode(b"odd-\xff.png"))
    (pictures / "dark" / os.fsdecode(b"broken-\xfe.png")).write_bytes(b"no image")
    code, out, _ = call("train", "lenet5", "--data", pictures, "--epochs", 0.5, "--threads", 1, "--json")
    assert code == 0
    run = striate.load(json.loads(out)["run"])
    assert [path.endswith("broken-\udcfe.png") for path in run.data.unreadable] == [True]
    code, out, _ = call("data", pictures, "--json")
    assert code == 0
    assert list(json.loads(out)["unreadable"]) == list(run.data.unreadable)
