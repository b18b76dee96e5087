"""The programs in docs/export.md run and say what is on the image."""

import re
import shutil
from pathlib import Path

import pytest
import torch

import striate.exporting
from striate.exporting.graphs import write_onnx, write_program
from striate.exporting.model import model_of
from striate.exporting.tensors import write_safetensors, write_torchvision
from tests.exporting.runs import clothes, make_run, sharp

ROOT = Path(__file__).parents[2]


@pytest.mark.full
def test_the_programs_run(trained, tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", page, re.S)
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "boot.png", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)
    model = model_of(trained)
    write_onnx(model, tmp_path / "lenet5.onnx")
    write_program(model, tmp_path / "lenet5.pt2")
    write_safetensors(model, tmp_path / "lenet5.safetensors")
    torch.manual_seed(0)
    resnet = sharp(striate.build("resnet18", classes=10))
    write_torchvision(
        model_of(make_run(tmp_path / "run", resnet, size=(32, 32), channels=3, classes=clothes())),
        tmp_path / "resnet18.safetensors",
    )
    for program in programs:
        exec(compile(program, "docs/export.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    expected = trained.predict("docs/boot.png")[0].label
    assert said[:3] == [expected] * 3
    assert said[3] in clothes()


def test_every_form_is_explained():
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    for form in striate.exporting.FORMS:
        assert f"| `{form}` |" in page
        assert f"--to {form}" in page
