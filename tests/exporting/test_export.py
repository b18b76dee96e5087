"""Exports of runs: what is in each form, that it answers as the run does, and that nothing else is kept or given away."""

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import striate
from striate import exporting
from striate.data import load_data
from striate.errors import CheckError, UsageError
from striate.exporting import export
from striate.exporting.checking import LIMIT, compare, pictures_of
from striate.exporting.folder import readme, write_zip
from striate.exporting.model import Deployed, model_of
from striate.nets.external import make
from tests import run_config
from tests.exporting.runs import clothes, make_run, sharp

QUICK = 8
"""Images of a check: a batch of seven and one of one."""


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """The trained run, with a temperature as the calibration leaves it."""
    copy = striate.load(shutil.copytree(trained.path, tmp_path_factory.mktemp("exported") / "clothes"))
    (copy.path / "calibration.json").write_text(json.dumps(run_config.calibration(1.7)))
    return copy


@pytest.fixture(scope="module")
def onnx(run, tmp_path_factory):
    return export(run, to="onnx", path=tmp_path_factory.mktemp("onnx") / "clothes.onnx")


def test_onnx_takes_pixels_and_gives_tempered_probabilities_and_logits(run, onnx):
    session = onnxruntime.InferenceSession(onnx.path)
    (pixels,) = session.get_inputs()
    assert (pixels.name, pixels.type, pixels.shape[1:]) == ("pixels", "tensor(uint8)", [28, 28, 1])
    assert isinstance(pixels.shape[0], str)
    test = load_data("fashion-mnist-sample").splits["test"].pixels
    for count in (1, 7, 40):
        probabilities, logits = session.run(["probabilities", "logits"], {"pixels": test[:count]})
        assert probabilities.shape == logits.shape == (count, 10)
        softmax = torch.from_numpy(logits).double().div(1.7).softmax(1).numpy()
        np.testing.assert_allclose(probabilities, softmax, atol=1e-6)
    for prediction, row in zip(run.predict(*test[:7], top=10), probabilities, strict=False):
        confidences = dict(prediction.top)
        np.testing.assert_allclose(row, [confidences[name] for name in run.data.classes], atol=1e-4)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == list(run.data.classes)
    assert json.loads(facts["preprocessing"])["size"] == [28, 28]
    assert json.loads(facts["calibration"])["temperature"] == 1.7
    assert json.loads(facts["accuracy"])["n"] == 2000
    assert "MIT" in facts["licence"]


def test_the_check_and_its_record(run, onnx):
    assert (onnx.check.pictures, onnx.checked_on) == (64, "test images of fashion-mnist-sample")
    assert onnx.check.difference <= LIMIT
    assert 60 <= onnx.check.decided == onnx.check.agreed <= onnx.check.same <= 64
    record = json.loads((run.path / "exports" / "clothes.onnx.json").read_text())
    assert record["path"] == "clothes.onnx"
    assert record["sha256"] == onnx.sha256
    assert record["check"]["difference"] == onnx.check.difference
    assert onnx.bytes == onnx.path.stat().st_size
    assert "clothes.onnx" in str(onnx)


def test_safetensors_are_the_weights_of_the_run_and_say_what_they_are(run, tmp_path):
    found = export(run, to="safetensors", path=tmp_path / "clothes.safetensors", pictures=QUICK)
    weights, kept = load_file(found.path), load_file(run.path / "weights" / "last.safetensors")
    assert weights.keys() == kept.keys()
    assert all(torch.equal(weights[name], kept[name]) for name in kept)
    with safe_open(found.path, "pt") as file:
        about = json.loads(file.metadata()["striate"])
    assert about["net"] == {"name": "lenet5", "channels": 1, "classes": 10, "init": "default"}
    assert found.path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("row", "ending"),
    [
        pytest.param("resnet18", "pth", marks=pytest.mark.full),
        pytest.param("resnet18", "safetensors", marks=pytest.mark.slow),
        pytest.param("googlenet-torchvision", "safetensors", marks=pytest.mark.slow),
        pytest.param("vgg11", "safetensors", marks=pytest.mark.slow),
    ],
)
def test_torchvisions_net_takes_the_weights(row, ending, tmp_path):
    torch.manual_seed(0)
    classes = clothes()
    net = sharp(striate.build(row, classes=10)).eval()
    made = make_run(tmp_path / "run", net, size=(32, 32), channels=3, classes=classes)
    found = export(made, to="torchvision", path=tmp_path / f"weights.{ending}", pictures=QUICK)
    weights = torch.load(found.path, weights_only=True) if ending == "pth" else load_file(found.path)
    theirs = torchvision.models.get_model(row.split("-")[0], weights=None, num_classes=10, **(
        {"init_weights": False} if "googlenet" in row else {}
    )).eval()  # fmt: skip
    theirs.load_state_dict(weights)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(theirs(x), net(x))


def test_torchvision_has_no_lenet_and_no_grey_resnet(run, tmp_path):
    with pytest.raises(UsageError, match=r"torchvision has no lenet5: use to='safetensors'.*alexnet-owt"):
        export(run, to="torchvision")
    grey = make_run(
        tmp_path / "run",
        striate.build("resnet18", channels=1, classes=10),
        size=(32, 32),
        channels=1,
        classes=clothes(),
    )
    with pytest.raises(UsageError, match="resnet18 takes images of 3 channels, but this run's net of 1"):
        export(grey, to="torchvision")
    assert not (grey.path / "exports").exists()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A run on a folder of photos, turned by EXIF and of many modes, one damaged. Its place is nobody's business."""
    folder = tmp_path_factory.mktemp("secret-place") / "birds"
    generator = np.random.default_rng(3)
    for label in ("crow", "gull"):
        (folder / label).mkdir(parents=True)
        for number in range(1, 9):
            pixels = generator.integers(0, 256, (9, 14, 3)).astype(np.uint8)
            image = Image.fromarray(pixels).resize((300, 180), Image.Resampling.BICUBIC)
            exif = Image.Exif()
            exif[0x0112] = number
            mode = ("RGB", "L", "CMYK")[number % 3]
            image.convert(mode).save(folder / label / f"my-cousin-{number}.jpg", exif=exif)
    (folder / "crow" / "broken.png").write_bytes(b"no image")
    torch.manual_seed(0)
    net = sharp(striate.build("resnet20", channels=3, classes=2)).eval()
    run = make_run(
        folder.parent / "runs" / "birds", net, size=(32, 32), channels=3, classes=("crow", "gull"), location=str(folder)
    )
    (run.path / "README.md").write_text(
        "---\nlibrary_name: striate\n---\n\n# birds\n\nA net. [report.html](report.html) shows all of it: open it.\n\n"
        "![Loss](curves.png)\n\n## How to use it\n\nstriate predict runs/birds\n\n## Data\n\nbirds of 80 km/h, "
        f"see [them](https://example.org/a/b/c), in {folder}/crow.\n\n"
        f"## How to repeat it\n\nstriate train --data {folder}\n\n## Limits\n\n- Some.\n"
    )
    return run


@pytest.fixture(scope="module")
def handed(photos):
    """The folder for others, made of the photos' run."""
    return export(photos, to="zip", path=photos.path.parent / "for-you")


@pytest.fixture(scope="module")
def program(photos):
    """The same run as .pt2."""
    return export(photos, to="pt2", path=photos.path.parent / "birds.pt2", pictures=QUICK)


def test_pt2_has_the_same_and_what_goes_along(photos, program):
    about = {"about.json": ""}
    net = torch.export.load(program.path, extra_files=about).module()
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8))
    with torch.no_grad():
        expected = Deployed(model_of(photos))(pixels)
    for given, wanted in zip(net(pixels), expected, strict=True):
        torch.testing.assert_close(given, wanted)
    assert json.loads(about["about.json"])["classes"] == ["crow", "gull"]


@pytest.mark.full
def test_the_folder_is_all_that_others_need(photos, handed):
    assert handed.checked_on == "images of birds"
    assert handed.check.pictures == 16
    assert {file.name for file in handed.path.iterdir()} == {
        "model.onnx", "predict.py", "pictures.py", "values.py", "classes.json", "preprocessing.json", "requirements.txt",
        "README.md", "LICENCE.txt",
    }  # fmt: skip
    assert json.loads((handed.path / "classes.json").read_text()) == ["crow", "gull"]
    assert set((handed.path / "requirements.txt").read_text().split()) == {
        f"numpy=={np.__version__}", f"onnxruntime=={onnxruntime.__version__}", f"pillow=={Image.__version__}",
    }  # fmt: skip
    assert "type: ignore" not in (handed.path / "predict.py").read_text()


def test_the_script_answers_as_striate_predict_does(photos, handed, tmp_path):
    """In isolation from Striate; what it imported is the standard library and its three packages, with what these need."""
    shutil.copytree(handed.path, tmp_path / "elsewhere")
    files = sorted(file for file in (photos.path.parents[1] / "birds").rglob("*.jpg"))
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from predict import predict;"
        "answers = [predict(file) for file in sys.argv[2:]];"
        "print(json.dumps([answers, sorted({name.split('.')[0] for name in sys.modules})]))"
    )
    command = [sys.executable, "-I", "-B", "-c", program, tmp_path / "elsewhere", *files]
    answers, modules = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert not {"torch", "torchvision", "striate", "onnx", "onnxscript", "safetensors"} & set(modules)
    for prediction, answer in zip(photos.predict(*files, top=2), answers, strict=True):
        assert next(iter(answer)) == prediction.label
        for name, value in prediction.top:
            assert answer[name] == pytest.approx(value, abs=1e-4)
    shown = subprocess.run([sys.executable, "-B", tmp_path / "elsewhere" / "predict.py", files[0]], capture_output=True)
    assert shown.returncode == 0
    assert shown.stdout.decode().splitlines()[1].endswith(photos.predict(files[0])[0].label)


def test_the_readme_of_the_folder(handed):
    text = (handed.path / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: striate\n---\n\n# birds\n\nA net.\n\n## How to use it\n")
    for there in (
        "pip install -r requirements.txt",
        "python predict.py image.jpg",
        "80 km/h",
        "example.org/a/b/c",
        "- Some.",
    ):
        assert there in text
    for gone in ("report.html", "curves.png", "striate predict", "How to repeat it"):
        assert gone not in text
    assert text.index("How to use it") < text.index("## Data") < text.index("## Limits")


def test_nothing_private_is_in_any_form(photos, handed, program, tmp_path):
    weights = export(photos, to="safetensors", path=tmp_path / "birds.safetensors", pictures=QUICK)
    with zipfile.ZipFile(program.path) as archive:
        parts = [archive.read(name) for name in archive.namelist()]
    files = [*handed.path.iterdir(), program.path, weights.path]
    for content in [*parts, *(file.read_bytes() for file in files)]:
        for word in (b"secret-place", b"my-cousin", b"site-packages", b"/striate/", str(tmp_path.parent).encode()):
            assert word not in content


def test_a_zip_unpacks_into_one_folder_and_is_the_same_again(run, tmp_path):
    found = export(run, to="zip", path=tmp_path / "clothes.zip", pictures=QUICK)
    with zipfile.ZipFile(found.path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert all(name.startswith("clothes/") and not name.endswith(".pyc") for name in names)
        assert len(names) == 9
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(archive.read(name))
    write_zip(tmp_path / "clothes", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == found.path.read_bytes()


def test_without_its_data_a_run_is_checked_on_the_sample_and_it_is_said(tmp_path):
    torch.manual_seed(0)
    net = sharp(striate.build("resnet20", channels=3, classes=10)).eval()
    for location in (str(tmp_path / "gone"), "cifar10"):
        run = make_run(
            tmp_path / location.rpartition("/")[2] / "run",
            net,
            size=(32, 32),
            channels=3,
            classes=clothes(),
            location=location,
        )
        chosen = pictures_of(run, model_of(run).classifier.preprocessing, 5)
        assert chosen.pixels.shape == (5, 32, 32, 3)
        assert (
            chosen.source == f"test images of the bundled sample ({location.rpartition('/')[2]} is not on this machine)"
        )


def test_what_differs_is_not_kept(run, tmp_path, monkeypatch, call):
    def slightly_wrong(self, pixels):
        probabilities, logits = original(self, pixels)
        return probabilities, logits * 1.001

    original = Deployed.forward
    monkeypatch.setattr(Deployed, "forward", slightly_wrong)
    code, out, err = call("export", run.path, "--to", "onnx", "--output", tmp_path / "wrong.onnx")
    assert (code, out) == (4, "")
    assert "not kept: wrong.onnx does not give the same answers as clothes" in err
    assert "1.0e-03 of the largest logit (limit 1e-04)" in err
    assert list(tmp_path.iterdir()) == []
    assert not (run.path / "exports" / "wrong.onnx.json").exists()


def test_what_cannot_be_opened_is_not_kept(run, tmp_path, monkeypatch):
    monkeypatch.setitem(
        exporting.FORMS,
        "onnx",
        replace(
            exporting.FORMS["onnx"],
            write=exporting._reopened("onnx", lambda model, path: path.write_bytes(b"no net")),
        ),
    )
    with pytest.raises(CheckError, match="could not be reopened"):
        export(run, to="onnx", path=tmp_path / "wrong.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays_and_names_are_checked_first(run, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "model_of", None)  # nothing is computed
    (tmp_path / "mine.onnx").write_text("mine")
    (tmp_path / "mine").mkdir()
    for to, name in (("onnx", "mine.onnx"), ("zip", "mine")):
        with pytest.raises(UsageError, match=r"mine.* already exists: remove it, or choose another name"):
            export(run, to=to, path=tmp_path / name)
    assert (tmp_path / "mine.onnx").read_text() == "mine"
    with pytest.raises(UsageError, match=r"to='pt2' must end in \.pt2, got 'net\.pt'"):
        export(run, to="pt2", path=tmp_path / "net.pt")
    with pytest.raises(UsageError, match=r"no export format named 'onxx'. Did you mean onnx"):
        export(run, to="onxx")


def test_what_comes_into_being_meanwhile_stays_too(run, tmp_path, monkeypatch):
    original = exporting.FORMS["safetensors"]

    def late(*given):
        (tmp_path / "mine.safetensors").write_text("mine")
        return original.write(*given)

    monkeypatch.setitem(exporting.FORMS, "safetensors", replace(original, write=late))
    with pytest.raises(UsageError, match="already exists"):
        export(run, to="safetensors", path=tmp_path / "mine.safetensors", pictures=QUICK)
    assert (tmp_path / "mine.safetensors").read_text() == "mine"


class Deciding(nn.Module):
    """Decides by the values of its input, which no graph can hold."""

    def __init__(self):
        super().__init__()
        self.head = nn.Module()
        self.classifier = nn.Linear(784, 10)

    def forward(self, x):
        return self.classifier(x.flatten(1)) if x.sum() > 0 else self.classifier(-x.flatten(1))


class Own(nn.Module):
    """Of two parts, without a Net's form."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 5, stride=3)
        self.norm = nn.BatchNorm2d(4)
        self.classifier = nn.Linear(4 * 8 * 8, 10)

    def forward(self, x):
        return self.classifier(self.norm(self.conv(x)).relu().flatten(1))


def test_a_net_of_ones_own(tmp_path):
    torch.manual_seed(0)
    module = Own()
    run = make_run(tmp_path / "run", module, size=(28, 28), channels=1, classes=clothes())
    assert export(run, to="onnx", pictures=QUICK).path == run.path / "exports" / "run.onnx"
    assert load_file(export(run, to="safetensors", pictures=QUICK).path).keys() == module.state_dict().keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [
        "torchvision:resnet18", "torchvision:googlenet", "torchvision:mobilenet_v3_small", "torchvision:squeezenet1_1",
        "torchvision:shufflenet_v2_x0_5", "timm:resnet10t", "timm:test_efficientnet", "timm:test_vit",
    ],
)  # fmt: skip
def test_nets_from_elsewhere(target, tmp_path):
    torch.manual_seed(0)
    made = make(target, channels=3, classes=10)
    run = make_run(
        tmp_path / "run", made.module.eval(), target=target, size=made.input[1:], channels=3, classes=clothes()
    )
    for form in ("onnx", "pt2", "safetensors", *(["torchvision"] if "torchvision" in target else [])):
        assert export(run, to=form, pictures=QUICK).check.decided


def test_a_net_that_no_graph_can_hold_is_named(tmp_path):
    module = Deciding()
    run = make_run(tmp_path / "run", module, size=(28, 28), channels=1, classes=clothes())
    for form in ("onnx", "pt2"):
        with pytest.raises(
            UsageError, match=r"Deciding cannot be written as a graph.*Its weights can: to='safetensors'"
        ):
            export(run, to=form)
    assert export(run, to="safetensors", pictures=QUICK).check.passed


def test_the_command(run, call):
    code, out, err = call("export", run.path, "--to", "safetensors")
    assert (code, err) == (0, "")
    assert f"{run.path / 'exports' / 'clothes.safetensors'} (243 KiB)" in " ".join(out.split())
    assert "same class in 64 of 64" in " ".join(out.split())
    assert 'load_file("clothes.safetensors")' in out
    code, _, err = call("export", run.path, "--to", "safetensors")
    assert code == 2
    assert "already exists" in err
    code, out, _ = call("export", run.path, "--to", "safetensors", "--output", "other.safetensors", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["path"] == "other.safetensors"
    assert found["check"]["pictures"] == 64
    assert found["limit"] == 1e-4
    assert found["beside"]


def test_comparison_counts_the_decided_only_and_no_nan_passes():
    logits = np.array([[10.0, 1.0], [3.0, 3.001], [0.0, 5.0]])
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    answers = {"logits": logits.copy(), "probabilities": probabilities.copy()}
    answers["logits"][1] = [3.002, 3.0]
    found = compare({"probabilities": probabilities, "logits": logits}, answers)
    assert (found.pictures, found.decided, found.agreed, found.same, found.passed) == (3, 2, 2, 2, False)
    assert found.difference == pytest.approx(0.002 / 10)
    answers["logits"][1] = [3.0005, 3.0009]
    assert compare({"probabilities": probabilities, "logits": logits}, answers).passed
    answers["logits"][2] = [5.0, 0.0]
    assert compare({"probabilities": probabilities, "logits": logits}, answers).agreed == 1
    for broken in ("logits", "probabilities"):
        with_nan = {name: values.copy() for name, values in answers.items()}
        with_nan[broken][0, 0] = np.nan
        assert not compare({"probabilities": probabilities, "logits": logits}, with_nan).passed


def test_paths_are_taken_out_of_a_card_and_nothing_else(run):
    model = model_of(run)
    text = "# x\n\nSee /home/me/pictures/cats.jpg, C:\\Users\\me\\cat.png, a/b, and/or, https://a.org/b/c/d, 3 /4, `~/x`.\n"
    assert "See cats.jpg, cat.png, a/b, and/or, https://a.org/b/c/d, 3 /4" in readme(text, model)
