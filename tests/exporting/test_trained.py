"""A trained net of each family keeps the class of 1,000 of 1,000 images; the ZIP works where nothing else is installed."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from striate.exporting import export
from tests.exporting.runs import quick

FAMILIES = {
    "lenet5": 3.0, "alexnet-native": 0.4, "vgg11-bn-native": 0.2, "nin-native": 0.2, "inception-mnist": 2.0,
    "resnet-mnist": 2.0, "preresnet20": 1.0, "densenet-native": 0.3,
}  # fmt: skip
"""A row of each family, and how many epochs it learns for: enough to tell clothes apart."""


@pytest.mark.slow
@pytest.mark.parametrize(("row", "epochs"), FAMILIES.items())
def test_1000_of_1000(row, epochs, tmp_path):
    run = quick(tmp_path, row, epochs)
    for form in ("onnx", "pt2", "safetensors"):
        found = export(run, to=form, pictures=1000)
        assert found.checked_on == "test images of fashion-mnist-sample"
        assert (found.check.pictures, found.check.same) == (1000, 1000), (form, found.check)
        found.path.unlink()


@pytest.mark.slow
def test_the_zip_runs_with_three_packages_only(tmp_path, call):
    folder = tmp_path / "birds"
    generator = np.random.default_rng(3)
    for label, level in (("crow", 0), ("gull", 120)):
        (folder / label).mkdir(parents=True)
        for number in range(16):
            pixels = (level + generator.integers(0, 130, (9, 14, 3))).astype(np.uint8)
            image = Image.fromarray(pixels).resize((300, 180), Image.Resampling.BICUBIC)
            exif = Image.Exif()
            exif[0x0112] = 1 + number % 8
            image.save(folder / label / f"{number}.{('jpg', 'png')[number // 8]}", exif=exif)
    run = quick(tmp_path, "resnet20", 5, data=folder, size=32)
    found = export(run, to="zip", path=tmp_path / "birds.zip")
    fresh = tmp_path / "fresh"
    with zipfile.ZipFile(found.path) as archive:
        for name in archive.namelist():
            (tmp_path / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "unpacked" / name).write_bytes(archive.read(name))
    unpacked = tmp_path / "unpacked" / "birds"
    subprocess.run([sys.executable, "-m", "venv", fresh], check=True)
    python = fresh / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "-r", "requirements.txt"], cwd=unpacked, check=True)
    listed = subprocess.run([*pip, "list", "--format", "json"], check=True, capture_output=True, text=True).stdout
    installed = {package["name"].lower() for package in json.loads(listed)}
    assert {"onnxruntime", "numpy", "pillow"} <= installed
    assert not {"torch", "torchvision", "striate", "onnx"} & installed

    files = sorted(folder.rglob("*.*"))
    program = (
        "import json, sys; from predict import predict; print(json.dumps([predict(file) for file in sys.argv[1:]]))"
    )
    answers = json.loads(
        subprocess.run([python, "-c", program, *files], cwd=unpacked, check=True, capture_output=True).stdout
    )
    code, out, _ = call("predict", run.path, *files, "--top", "2", "--json")
    assert code == 0
    for prediction, answer in zip(json.loads(out), answers, strict=True):
        assert next(iter(answer)) == prediction["label"]
        for row in prediction["top"]:
            assert answer[row["class"]] == pytest.approx(row["confidence"], abs=1e-4)
    shown = subprocess.run(
        [python, "predict.py", files[0]], cwd=unpacked, check=True, capture_output=True, text=True
    ).stdout
    assert shown.splitlines()[0] == str(files[0])
