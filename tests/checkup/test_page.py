"""`striate data check`: what it prints, its page, its exit code, and what it says of a run."""

import csv
import hashlib
import json
import re
from dataclasses import asdict

import numpy as np
import pytest

from striate.checkup import Checkup
from striate.checkup.findings import Finding, Pair, Picture
from striate.errors import DataError, UsageError
from striate.files import write_csv, write_json, write_yaml
from striate.metrics.classification import wilson
from striate.report.checkup import effects_of_copies
from striate.run import Run
from tests.checkup.made import copy_of, photo
from tests.run_config import config
from tests.run_config import data as data_of

ODD_NAME = "a\nb\x1b[31m<script>.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """train and test of two classes; a test image is a copy of a training image, a file is broken, a name is odd."""
    root = tmp_path_factory.mktemp("data") / "animals"
    for number in range(80):
        place = root / ("train", "test")[number >= 56] / ("cat", "dog")[number % 2] / f"{number:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        photo(number, side=48).save(place)
    copy = root / "test" / "dog" / ODD_NAME
    copy.write_bytes((root / "train" / "dog" / "011.png").read_bytes())
    copy_of(photo(20, side=48), "encoded", np.random.default_rng(0)).save(root / "test" / "cat" / "near.png")
    (root / "train" / "cat" / "cut\n.png").write_bytes(copy.read_bytes()[:900])
    return root


def state(root):
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in root.rglob("*")
        if path.is_file()
    }


def test_the_command_prints_a_table_and_where_the_page_is(call, folder):
    before = state(folder)
    code, out, err = call("data", "check", folder)
    assert code == 0
    assert re.search(r"serious +1  Duplicate images in two splits", out)
    assert re.search(r"warning +1  Near duplicates in two splits", out)
    assert re.search(r"warning +1  Unreadable files", out)
    assert "animals-check.html" in out
    assert "train/dog/011.png = test/dog/a\\nb\\x1b[31m<script>.png" in out
    assert "\x1b" not in out + err, "names cannot steer the terminal"
    assert all(not line.startswith("b\\x1b") for line in out.splitlines())
    assert state(folder) == before
    # The same again is the same page, and none is overwritten.
    call("data", "check", folder)
    assert not (folder.parents[1] / "animals-check-2.html").exists()


def test_strict_is_a_check_that_failed(call, folder, pictures):
    code, _, err = call("data", "check", folder, "--strict")
    assert code == 4
    assert "leakage" in err
    code, out, _ = call(
        "data", "check", folder, "--strict", "--exclude", "*near.png", "--exclude", "cut*", "--exclude", "a*b*"
    )
    assert (code, "no problems found" in out or "hint" in out) == (0, True)


def test_json_has_everything(call, folder):
    _, out, _ = call("data", "check", folder, "--json", "--html", "some.html")
    found = json.loads(out)
    assert found["page"] == "some.html"
    kinds = {finding["kind"]: finding for finding in found["findings"]}
    assert kinds["leakage"]["pairs"][0]["second"]["path"].endswith(ODD_NAME)
    assert kinds["leakage"]["count"] == 1
    assert kinds["unreadable"]["files"][0][0].endswith("cut\n.png")
    assert found["weighty"] == 3
    assert found["effects"] == []


@pytest.mark.full
def test_the_page_shows_the_pictures_and_asks_for_nothing(call, folder, tmp_path):
    call("data", "check", folder, "--html", "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "http" not in re.sub(r"data:image/[^\"]*", "", page).replace('http-equiv="Content-Security-Policy"', "")
    assert page.count('class="double"') == 2
    assert page.count("data:image/") >= 4
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "cut\\n.png" in page
    assert str(folder) not in page, "no path of somebody's machine"
    assert 'id="leakage"' in page
    assert "No file was changed" in page
    code, _, err = call("data", "check", folder, "--html", "page.html", "--exclude", "*near.png")
    assert code == 2
    assert "something else" in err


def test_a_pattern_that_names_nothing_is_an_error(call, pictures):
    code, _, err = call("data", "check", pictures, "--exclude", "nothing*")
    assert code == 2
    assert "matches no file" in err


def run_folder(path, rows, data="animals", split="test"):
    """A run as far as the check-up reads it."""
    write_yaml(path / "config.yaml", config(classes=2, data=data))
    write_json(path / "data.json", data_of(("cat", "dog"), data))
    place = path / "evaluations" / f"{data}-{split}-centre"
    write_csv(place / "predictions.csv", rows, ("index", "path", "truth", "predicted", "confidence", "loss"))
    right = sum(row["truth"] == row["predicted"] for row in rows)
    supports = [sum(row["truth"] == name for row in rows) for name in ("cat", "dog")]
    one = {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    figures = {
        "data": data, "split": split, "views": "centre", "n": len(rows), "correct": right, "accuracy": right / len(rows),
        "low": 0.1, "high": 0.9, "top5": None, "loss": 0.1, "macro_f1": 0.5, "ece": 0.1, "classes": ["cat", "dog"],
        "confusion": [[0, 0], [0, 0]], "most_confused": [],
        "per_class": [{"class": name, "support": n, **one} for name, n in zip(("cat", "dog"), supports, strict=True)],
    }  # fmt: skip
    write_json(place / "evaluation.json", figures)
    return Run.open(path)


def predictions(paths, wrong):
    return [
        {
            "index": index,
            "path": path,
            "truth": "cat",
            "predicted": "dog" if index in wrong else "cat",
            "confidence": 0.9,
            "loss": 0.1,
        }
        for index, path in enumerate(paths)
    ]


def checkup_of(copies, count, paths=None):
    def side(split, index):
        return Picture(split, index, "cat", None if paths is None or split == "train" else paths[index])

    pairs = tuple(Pair(side("train", index), side("test", index)) for index in copies)
    finding = Finding(kind="leakage", severity="serious", words="", pairs=pairs)
    counts = {"train": 100, "test": count}
    return Checkup(
        name="animals", location="", pictures=counts, classes=("cat", "dog"), findings=(finding,), seconds=0.0
    )


@pytest.mark.parametrize("named", [False, True])
def test_accuracy_without_the_copies_is_that_of_a_plain_loop(tmp_path, named):
    wrong, copies = {0, 3, 9, 17}, {3, 5, 6, 7}
    paths = [f"test/{index}.png" for index in range(20)] if named else None
    run = run_folder(tmp_path / "run", predictions(paths or [""] * 20, wrong))
    (effect,) = effects_of_copies(checkup_of(copies, 20, paths), run)
    kept = [index not in wrong for index in range(20) if index not in copies]
    found = asdict(effect)
    assert found["accuracy"] == 16 / 20
    assert found["accuracy_without_copies"] == sum(kept) / len(kept) == 13 / 16
    assert found["accuracy_on_copies"] == 3 / 4
    assert found["interval_without_copies"] == list(wilson(13, 16))
    assert "without the 4 that are copies" in str(effect)


def test_what_cannot_be_said_of_a_run(tmp_path):
    run = run_folder(tmp_path / "run", predictions([""] * 20, set()))
    with pytest.raises(DataError, match="20 images, and the split that was checked has 19"):
        effects_of_copies(checkup_of({1}, 19), run)
    other = run_folder(tmp_path / "other", predictions([""] * 20, set()), data="plants")
    with pytest.raises(UsageError, match=r"plants \(test\), and not on held-out images of animals"):
        effects_of_copies(checkup_of({1}, 20), other)
    (effect,) = effects_of_copies(checkup_of(set(), 20), run)
    assert "none of them is a copy" in str(effect)
    (effect,) = effects_of_copies(checkup_of(set(range(20)), 20), run)
    assert "nothing was tested" in str(effect)


def test_the_command_says_it_of_a_run(call, folder, tmp_path):
    names = sorted(str(path) for path in (folder / "test").rglob("*.png"))
    rows = predictions(names, {0})
    run_folder(tmp_path / "run", rows)
    code, out, _ = call("data", "check", folder, "--run", tmp_path / "run", "--json")
    assert code == 0
    (effect,) = json.loads(out)["effects"]
    assert (effect["n"], effect["copies"]) == (26, 2)
    with (tmp_path / "run" / "evaluations" / "animals-test-centre" / "predictions.csv").open(newline="") as file:
        kept = [row for row in csv.DictReader(file) if not row["path"].endswith((ODD_NAME, "near.png"))]
    right = sum(row["truth"] == row["predicted"] for row in kept)
    assert effect["accuracy_without_copies"] == right / len(kept)
