"""striate data: what it prints and draws."""

import json
import shutil
from dataclasses import replace

import pytest
from PIL import Image

import striate
from striate.data import load_data
from striate.errors import UsageError
from striate.report.samples import write_augmented_grid


def test_show_is_what_data_does(call, pictures):
    short, whole = (json.loads(call("data", *words, pictures, "--json")[1]) for words in ((), ("show",)))
    assert short == whole
    assert call("data", "--json", pictures)[0] == 0
    assert "striate data" in call("data", "--help")[1]


def test_augmented_pictures_are_drawn(call, pictures):
    assert call("data", pictures, "--augmented", "--json")[0] == 0
    assert call("data", pictures, "--augment", "crop,mixup", "--grid", "some.png")[0] == 0
    assert height("some.png") < height("pictures-augmented.png")
    code, _, err = call("data", pictures, "--augment", "crop", "--augmented")
    assert code == 2
    assert "use only one of the two" in err
    code, _, err = call("data", pictures, "--augment", "swirl")
    assert code == 2
    assert "no augmentation named" in err


@pytest.mark.full
def test_digits_are_not_mirrored_unless_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = load_data("fashion-mnist-sample")
    whole, unmirrored = (write_augmented_grid(replace(data, flippable=can)) for can in (True, False))
    assert height(whole) > height(unmirrored)
    (tmp_path / "mine.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match="something else"):
        write_augmented_grid(data, None, tmp_path / "mine.png")


def height(path):
    with Image.open(path) as image:
        return image.height


def test_training_says_what_the_check_up_finds_and_the_report_keeps_it(pictures, tmp_path, capsys):
    shutil.copy(pictures / "dark" / "00.png", pictures / "light" / "mislabelled.png")
    Image.new("RGB", (40, 32), "black").save(pictures / "dark" / "blank.png")
    run = striate.train("lenet5", pictures, epochs=0.5, threads=1, out=tmp_path / "runs")
    said = capsys.readouterr().err
    assert "check   Duplicate images in two classes. 1 pair of two classes" in said
    assert "Blank images. " in said
    assert {finding.kind for finding in run.data.findings} >= {"label-conflict", "blank", "few-pictures"}
    report = (run.path / "report.html").read_text()
    assert "Duplicate images in two classes." in report
    assert "Blank images." in report
