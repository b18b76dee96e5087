"""`--range` from the command to the run, its card, its export and its predictions; and what the check-up says of values."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import striate
import striate.exporting
from striate.checkup.quick import quick
from striate.data import Preprocessing, load_data
from striate.data.preprocessing import HEADROOM
from striate.errors import DataError
from striate.training import Progress


def grey_files(folder, most, kind=np.uint16, count=40, least=0):
    """Two classes that differ by their brightness; values up to `most`."""
    generator = np.random.default_rng(0)
    for number in range(count):
        label = "ab"[number % 2]
        values = least + generator.random((28, 28)) * (most - least) * (0.4 if label == "a" else 1)
        values[0, 0], values[0, 1] = most, least
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.astype(kind)).save(folder / label / f"{number}.tif")
    return folder


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    return grey_files(tmp_path_factory.mktemp("pictures") / "twelve", 4095)


@pytest.fixture(scope="module")
def run(twelve, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return striate.train(
        "lenet5",
        twelve,
        epochs=1,
        range=(0, 4095),
        threads=1,
        report=False,
        out=out,
        name="twelve",
        progress=Progress(quiet=True),
    )


def test_training_on_twelve_bits_asks_for_the_range_and_exits_with_three(call, twelve, tmp_path):
    code, _, err = call("train", "lenet5", "--data", twelve, "--out", tmp_path / "runs")
    assert code == 3
    assert "40 of its images hold 16-bit values that reach only 4,095 of 65,535" in err
    assert "--range 0,4095" in err
    assert not (tmp_path / "runs").exists()


def test_a_run_keeps_its_range_and_says_it(run, twelve):
    assert run.config.preprocessing.range == (0, 4095)
    assert run.preprocessing.range == (0, 4095)
    assert "--range 0,4095" in run.summary.command
    assert run.data.values[0] | {"least": 0} == {
        "kind": "16-bit", "count": 40, "least": 0, "most": 4095, "low": 0, "high": 4095, "outside": 0,
    }  # fmt: skip
    assert not [finding for finding in run.data.findings if finding.kind in ("unused-range", "clipped")]
    assert "values from 0 (black) to 4,095 (white)" in (run.path / "README.md").read_text()
    again = striate.experiment.evaluate(run)
    assert again.summary.fingerprint == next(iter(run.evaluations.values())).fingerprint


def test_a_run_predicts_by_its_range_whatever_the_picture_comes_as(run, twelve):
    path = next((twelve / "b").iterdir())
    values = np.asarray(Image.open(path))
    found = run.predict(path, values, values.astype(np.float32), values.astype(np.int64), Image.open(path))
    assert len({(one.label, round(one.confidence, 6)) for one in found}) == 1
    unit = run.predict(values.astype(np.float32) / 4095)[0]
    assert "but the range is 0 to 4,095" in unit.error


def test_older_runs_without_a_range_still_open(run):
    config = {
        key: value for key, value in run.config.preprocessing.as_dict().items() if key not in ("range", "sixteen")
    }
    old = Preprocessing.from_dict(config)
    assert (old.range, old.sixteen) == (None, False)


@pytest.mark.full
def test_an_exported_folder_reads_by_the_range(run, twelve, tmp_path):
    striate.exporting.export(run, to="zip", path=tmp_path / "handed.zip")
    import zipfile

    with zipfile.ZipFile(tmp_path / "handed.zip") as archive:
        archive.extractall(tmp_path)
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    how = json.loads((folder / "preprocessing.json").read_text())
    assert how["range"] == [0, 4095]
    assert how["headroom"] == HEADROOM
    path = next((twelve / "b").iterdir())
    script = "import json, sys; from pictures import read; print(read(sys.argv[1], json.load(open('preprocessing.json'))).sum())"
    done = subprocess.run([sys.executable, "-c", script, path], cwd=folder, capture_output=True, text=True)
    assert int(done.stdout) == run.preprocessing.read(path).sum(), done.stderr


def test_a_run_on_sixteen_bits_that_fill_their_range_knows_a_dark_picture(tmp_path):
    folder = grey_files(tmp_path / "full", 65535)
    run = striate.train(
        "lenet5", folder, epochs=1, threads=1, report=False, out=tmp_path / "runs", progress=Progress(quiet=True)
    )
    assert run.config.preprocessing.range is None
    dark = np.full((28, 28), 3000, np.uint16)
    assert run.predict(dark)[0].error is None
    assert "--range" not in run.summary.command


def test_a_run_on_eight_bits_asks_back_what_it_cannot_know(call, trained, tmp_path):
    dark = np.full((28, 28), 3000, np.uint16)
    assert "reach only 3,000 of 65,535" in trained.predict(dark)[0].error
    Image.fromarray(dark).save(tmp_path / "dark.png")
    code, _, err = call("predict", trained.path, tmp_path / "dark.png")
    assert code == 3
    assert "reach only 3,000 of 65,535" in err
    folder = grey_files(tmp_path / "other", 4095, count=20)
    with pytest.raises(DataError, match="reach only 4,095 of 65,535"):
        striate.experiment.evaluate(trained, folder)


def kinds(folder, **options):
    dataset = load_data(folder, size=(28, 28), channels=1, **options)
    return {finding.kind: finding for finding in quick(dataset) if finding.kind in ("unused-range", "clipped")}


def test_the_check_up_says_what_is_unused_and_what_is_clipped(twelve, tmp_path):
    unused = kinds(twelve)["unused-range"]
    assert unused.severity == "warning"
    assert "40 16-bit images use 6.2 % of their range: 0 to 4,095 of 0 to 65,535" in unused.words
    assert not kinds(twelve, range=(0, 4095))
    clipped = kinds(twelve, range=(0, 3000))["clipped"]
    assert clipped.count == 40
    assert "outside the range 0 to 3,000: they go from 0 to 4,095" in clipped.words
    masks = grey_files(tmp_path / "masks", 9, np.uint8)
    assert "range over 0 to 9 of 0 to 255" in kinds(masks)["unused-range"].words
    assert not kinds(grey_files(tmp_path / "plain", 255, np.uint8))
    floats = grey_files(tmp_path / "floats", 0.05, np.float32)
    assert "40 floating images use 5.0 % of their range" in kinds(floats)["unused-range"].words


def test_the_commands_take_a_range_and_show_the_values(call, twelve, tmp_path):
    grid, page = tmp_path / "grid.png", tmp_path / "page.html"
    shown = call("data", twelve, "--range", "0,4095", "--grid", grid)[1]
    assert "40 16-bit from 0 to 4,095, read as 0 (black) to 4,095 (white)" in " ".join(shown.split())
    for words, found in (((), True), (("--range", "0,4095"), False)):
        report = json.loads(call("data", "check", twelve, *words, "--html", page, "--json")[1])
        assert ("unused-range" in {finding["kind"] for finding in report["findings"]}) == found
        page.unlink()
    for words in (("data", twelve), ("data", "check", twelve), ("train", "--data", twelve)):
        code, _, err = call(*words, "--range", "9,1")
        assert code == 2
        assert "--range must be the values of black and white" in err
    code, _, err = call("train", "--range", "0,4095", "--out", tmp_path / "runs")
    assert code == 2
    assert "--range is for images with more than 8 bits" in err
