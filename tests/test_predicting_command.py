"""`striate predict`: folders, standard input, formats, abstaining, progress; predictions in a notebook."""

import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

import striate
from striate.classifier import Classifier
from striate.cli import predicting as command
from striate.data import load_data
from striate.data.inputs import from_stream
from striate.errors import UsageError
from striate.evaluation.calibration import calibrate
from striate.predicting import Prediction, Predictions, writing

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """The run, calibrated."""
    run = striate.load(shutil.copytree(trained.path, tmp_path_factory.mktemp("calibrated") / "run"))
    validation = load_data("fashion-mnist-sample").train.select(run.validation_indices())
    calibrate(run, Classifier.of(run, device="cpu"), validation)
    return run


@pytest.fixture
def folder(tmp_path):
    """A boot of the test set, noise, and a file that is no image."""
    boot = load_data("fashion-mnist-sample").splits["test"].pixels[0][..., 0]
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    for number, pixels in enumerate((boot, noise), start=1):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "3.png").write_text("no image")
    return tmp_path / "in"


def test_out_of_distribution_images_are_unknown_and_keep_their_classes(call, run, folder):
    code, out, err = call("predict", run.path, folder, "--abstain")
    first, second = out.splitlines()
    assert code == 3
    assert first.startswith(f"{folder}/1.png: Ankle boot ")
    assert second.startswith(f"{folder}/2.png: unknown (nearest classes: ")
    assert f"{folder}/3.png: not an image" in err
    assert "1 of 3 images could not be classified" in err
    known = run.predict(folder, abstain=True)
    assert [(p.label, p.known) for p in known] == [("Ankle boot", True), ("unknown", False), (None, None)]
    assert known[1].top == run.predict(folder)[1].top
    assert run.predict(folder)[1].known is None
    code, _, err = call("predict", run.path, folder, "--abstain", "--csv")
    assert code == 3


def test_without_calibration_abstaining_is_refused(call, trained, folder, tmp_path):
    copy = striate.load(shutil.copytree(trained.path, tmp_path / "copy"))
    (copy.path / "calibration.json").unlink(missing_ok=True)
    code, _, err = call("predict", copy.path, folder, "--abstain")
    assert code == 2
    assert f"striate evaluate {copy.path} --split validation" in err
    with pytest.raises(UsageError, match="no calibration"):  # at once, not with the first prediction
        copy.predict_many([], abstain=True)


def test_csv_json_and_parquet_say_the_same(call, run, folder):
    code, out, _ = call("predict", run.path, folder, "--abstain", "--json", "--top", "2")
    assert code == 3
    told = json.loads(out)
    assert [row["label"] for row in told] == ["Ankle boot", "unknown", None]
    assert out == json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    _, out, _ = call("predict", run.path, folder, "--abstain", "--csv", "--top", "2")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == [*writing.COLUMNS, "class_1", "confidence_1", "class_2", "confidence_2"]
    assert [row["known"] for row in rows] == ["true", "false", ""]
    code, out, _ = call("predict", run.path, folder, "--abstain", "--output", "out/p.parquet", "--top", "2")
    assert code == 3
    assert out == "3 predictions: out/p.parquet\n"
    table = pyarrow.parquet.read_table("out/p.parquet")
    for row, line, said in zip(table.to_pylist(), rows, told, strict=True):
        assert row["picture"] == line["picture"] == said["picture"]
        assert (row["label"] or "") == line["label"] == (said["label"] or "")
        assert (row["error"] or "") == line["error"] == (said["error"] or "")
        assert row["known"] == said["known"]
        assert row["confidence"] == said["confidence"]
        if said["top"]:
            assert (row["class_2"], row["confidence_2"]) == (said["top"][1]["class"], said["top"][1]["confidence"])
            assert float(line["confidence_2"]) == pytest.approx(said["top"][1]["confidence"], abs=5e-7)
        else:
            assert row["class_1"] is None
            assert line["confidence_1"] == ""
    call("predict", run.path, folder, "--output", "p.csv")
    call("predict", run.path, folder, "--output", "p.txt", "--json")
    assert Path("p.csv").read_text().startswith("picture,label,confidence")
    assert json.loads(Path("p.txt").read_text())[0]["label"] == "Ankle boot"


def test_options_that_do_not_go_together(call, run, folder, monkeypatch):
    (folder.parent / "there.csv").write_text("mine")
    for arguments, said in (
        (("--csv", "--json"), "choose one format: --csv or --json"),
        (("--parquet",), "use --output FILE.parquet"),
        (("--output", "p.xlsx"), "must end in one of .csv, .json, .parquet"),
        (("--output", "there.csv"), "there.csv already exists"),
        (("-",), "give it alone"),
    ):
        code, _, err = call("predict", run.path, folder, *arguments)
        assert (code, said in err) == (2, True), err
    assert (folder.parent / "there.csv").read_text() == "mine"
    monkeypatch.setattr(writing, "find_spec", lambda name: None)
    code, _, err = call("predict", run.path, folder, "--output", "p.parquet")
    assert code == 2
    assert "pip install 'striate[parquet]'" in err


def test_an_interrupted_file_is_not_there(run, folder, tmp_path):
    from striate.files import writing as whole

    def broken():
        yield Prediction(picture="one", label="a", confidence=1.0, top=(("a", 1.0),))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), whole(tmp_path / "p.csv") as file:
        writing.write_predictions(broken(), file, "csv", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_standard_input_names_pictures_or_is_one(call, run, folder, monkeypatch):
    def piped(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        return [
            (row["picture"], row["label"], row["error"])
            for row in json.loads(call("predict", run.path, "-", "--json")[1])
        ]

    assert piped(b"in/1.png\n\ngone.png\r\n" + os.fsencode(folder / "1.png")) == [
        ("in/1.png", "Ankle boot", None),
        ("gone.png", None, "no such file"),
        (str(folder / "1.png"), "Ankle boot", None),
    ]
    assert piped((folder / "1.png").read_bytes()) == [("image 1", "Ankle boot", None)]
    assert piped(b"in\n")[0] == ("in/1.png", "Ankle boot", None)
    assert piped(b"") == []


def test_what_a_stream_holds_is_told_apart():
    long = [f"{'x' * number}.png" for number in (1, 30, 64, 63, 62, 200)]
    for ending in ("", "\n"):
        text = "\n".join(long) + ending
        assert list(from_stream(io.BytesIO(text.encode()))) == long
    assert list(from_stream(io.BytesIO(b"caf\xe9.png\n"))) == [os.fsdecode(b"caf\xe9.png")]
    for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        file = io.BytesIO()
        Image.new("RGB", (511, 257), "red").save(file, format=form)
        assert list(from_stream(io.BytesIO(file.getvalue()))) == [file.getvalue()]


def test_names_that_are_no_utf_8_are_written_as_escapes(call, run, folder):
    shutil.copy(folder / "1.png", os.fsencode(folder) + b"/caf\xe9.png")
    for option in ("--csv", "--json"):
        _, out, _ = call("predict", run.path, folder, option)
        assert r"caf\udce9.png" in out
    call("predict", run.path, folder, "--output", "p.parquet")
    assert r"/in/caf\udce9.png" in "".join(pyarrow.parquet.read_table("p.parquet")["picture"].to_pylist())


def test_progress_is_a_line_now_and_then_on_stderr(call, run, folder, monkeypatch):
    monkeypatch.setattr(command, "SECONDS", 0)
    _, out, err = call("predict", run.path, folder / "1.png", folder / "2.png", "--csv")
    assert "1 of 2 images, " in err
    assert "a second" in err
    assert "pictures" not in out


def test_many_rows_of_parquet_in_portions(tmp_path):
    many = (Prediction(picture=str(n), label="a", confidence=0.5, top=(("a", 0.5),)) for n in range(12_001))
    with (tmp_path / "p.parquet").open("wb") as file:
        writing.write_predictions(many, file, "parquet", 1)
    content = pyarrow.parquet.ParquetFile(tmp_path / "p.parquet")
    assert content.metadata.num_row_groups == 3
    assert content.read()["picture"].to_pylist() == [str(n) for n in range(12_001)]


def test_nothing_is_a_list_and_a_table_too(tmp_path):
    for form, said in (("json", b"[]\n"), ("csv", b"picture,label,confidence,known,error,class_1,confidence_1\n")):
        stream = io.BytesIO()
        writing.write_predictions([], stream, form, 1)
        assert stream.getvalue() == said


def test_a_notebook_shows_names_as_text_and_the_picture_that_the_net_saw(run, folder):
    shutil.copy(folder / "1.png", folder / "<script>&.png")
    found = run.predict(folder, abstain=True)
    html = found._repr_html_()
    assert "&lt;script&gt;&amp;.png" in html
    assert "<script>" not in html
    assert html.count("data:image/png;base64,") == 3
    assert "Ankle boot" in html
    assert "unknown" in html
    assert "not an image" in html
    assert "Ankle boot" in found[0]._repr_html_()
    assert repr(found).splitlines()[0] == str(found[0])
    many = Predictions([found[0]] * 60)
    assert "... and 10 more" in many._repr_html_()
    assert repr(many).endswith("... and 10 more")


def test_a_notebook_shows_runs_and_nets(run):
    html = run._repr_html_()
    assert "Ankle boot" in html
    assert "95 % interval" in html
    assert "61,706 parameters" in striate.build("lenet5")._repr_html_()
    assert "auxiliary on" in striate.build("googlenet")._repr_html_()
    assert "1409.4842" in striate.CATALOGUE["googlenet"]._repr_html_()
    anatomy = striate.inspect("lenet5")._repr_html_()
    assert "<svg" in anatomy
    assert "416,520 MACs" in anatomy


def test_with_json_in_a_file_stdout_holds_nothing_that_is_no_json(call, run, folder, tmp_path):
    code, out, err = call("predict", run.path, folder / "1.png", "--json", "--output", tmp_path / "found.json")
    assert (code, out) == (0, "")
    assert "1 predictions" in err
    assert json.loads((tmp_path / "found.json").read_text())[0]["label"] == "Ankle boot"
