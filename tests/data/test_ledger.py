"""The ledger: every entry is accounted for, and no image is lost or mislabelled, in trees and tables of many kinds."""

import os
from pathlib import Path

import numpy as np
import pytest

from striate.data import load_data
from striate.data.ledger import Ledger
from striate.errors import StriateError
from tests.data.made_trees import COLOURS, write_table, write_tree

TREES, TABLES = 60, 40


def found(data):
    """path -> (split, class) of what was loaded, after each image's colour was compared with its class."""
    seen = {}
    for split, part in data.splits.items():
        for path, label, pixels in zip(part.paths, part.labels, part.pixels, strict=True):
            name = part.classes[label]
            assert np.abs(pixels[:].reshape(-1, 3).mean(0) - COLOURS[name]).max() < 9, (path, name)
            seen[path] = (split if split not in data.made else "train", name)
    return seen


@pytest.mark.parametrize("seed", range(TREES))
def test_random_trees(tmp_path, seed):
    root = tmp_path / "set"
    truth = write_tree(root, seed)
    data = load_data(root, size=(8, 8), exclude=truth.exclude)
    assert found(data) == {path: (split or "train", label) for path, (split, label) in truth.pictures.items()}
    ledger = data.ledger.as_dict()
    assert ledger["entries"] == sum(len(folders) + len(files) for _, folders, files in os.walk(root)) + truth.linked
    assert sum(ledger[fate] for fate in ("used", "excluded", "junk", "unreadable", "other")) == ledger["entries"]
    held = {parent for path in [*truth.pictures, *root.rglob("drop-*")] for parent in Path(path).parents}
    # Folders in which there is nothing but what cannot be read.
    truth.fates["other"] += len({parent for path in truth.cut for parent in path.parents} - held)
    assert {fate: ledger[fate] for fate in ("excluded", "unreadable", "other")} == truth.fates


@pytest.mark.parametrize("seed", range(TABLES))
def test_random_tables(tmp_path, seed):
    table, truth, fates = write_table(tmp_path, seed)
    data = load_data(table, size=(8, 8))
    assert found(data) == {path: (split or "train", label) for path, (split, label) in truth.items()}
    ledger = data.ledger.as_dict()
    assert ledger["entries"] == ledger["used"] + sum(fates.values()) == len(truth) + sum(fates.values())
    assert {fate: ledger[fate] for fate in fates} == fates


def test_a_ledger_that_does_not_add_up_is_an_error():
    ledger = Ledger()
    ledger.find(3)
    ledger.enter("used", "a.png")
    ledger.enter("junk", ".DS_Store")
    with pytest.raises(StriateError, match="3 files and folders were found and 2 accounted for"):
        ledger.check()
    ledger.enter("other", "a\n\x1b[2J.xml", ".xml")
    ledger.check()
    assert ledger.lines() == [
        "3 files and folders: 1 used, 1 junk, 1 of another kind",
        "junk: .DS_Store",
        r"of another kind, .xml: a\n\x1b[2J.xml",
    ]


@pytest.mark.full
def test_all_commands_show_it_in_the_same_words(call, pictures, tmp_path):
    (pictures / "dark" / "Thumbs.db").write_bytes(b"")
    (pictures / "dark" / "00.xml").write_text("<annotation/>")
    words = ["28 files and folders: 26 used, 1 junk, 1 of another kind", "dark/Thumbs.db", "dark/00.xml"]
    for command in (("data", pictures), ("data", "check", pictures), ("train", "--data", pictures, "--epochs", 0.5)):
        code, out, err = call(*command)
        assert code == 0
        assert all(word in out + err for word in words), out + err
    run = next((tmp_path / "runs").iterdir())
    assert words[0] in (run / "report.html").read_text()
    code, _, err = call("predict", run, pictures)
    assert (code, all(word in err for word in words)) == (0, True), err
