"""External nets train, resume, predict and load again. Run: pytest tests/training/test_nets_elsewhere.py"""

import json
import os
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import striate
from striate.cli import main
from striate.errors import DataError, Interrupted, UsageError
from striate.events import EpochEnded
from striate.inference import load_net, logits
from striate.training import Progress

pytestmark = pytest.mark.usefixtures("no_charts")
QUIET = Progress(quiet=True)
CPU = torch.device("cpu")

OWN = """
import torch
from torch import nn

class Own(nn.Module):
    def __init__(self, channels=3, classes=1000):
        super().__init__()
        self.conv = nn.Conv2d(channels, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(8, classes)
        self.same = self.fc.weight  # one tensor under two names

    def forward(self, x):
        return self.fc(self.drop(self.norm(self.conv(x)).relu().mean((2, 3))))

colour = Own(3, 4)
five = nn.Sequential(nn.Conv2d(5, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 4))
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


@pytest.fixture
def data(tmp_path):
    """An archive of grey 28x28 images in four classes: the brighter, the later the class."""
    generator = np.random.default_rng(0)
    labels = np.arange(96) % 4
    pixels = (60 * labels[:, None, None] + generator.integers(0, 40, (96, 28, 28))).astype(np.uint8)
    path = tmp_path / "grey.npz"
    np.savez(path, train_images=pixels[:64], train_labels=labels[:64], test_images=pixels[64:], test_labels=labels[64:])
    return path


@pytest.fixture(autouse=True)
def quick(monkeypatch, request):
    """No looks at the machine's speed, and no report but where one is read."""
    monkeypatch.setattr("striate.training.timing.MEASURE_SECONDS", 0)
    if "[FILE]" not in request.node.name:
        monkeypatch.setattr("striate.experiment.finish._report", lambda *_: None)
        monkeypatch.setattr("striate.experiment.reported.write_all", lambda *_: None)


class Stopping(Progress):
    """Sends this process SIGINT when the first epoch is done."""

    def __call__(self, event):
        if isinstance(event, EpochEnded) and event.row["epoch"] == 1:
            os.kill(os.getpid(), signal.SIGINT)


def train(net, data, out, name="run", progress=QUIET, epochs=3, **choices):
    return striate.train(
        net,
        data,
        epochs=epochs,
        batch_size=16,
        threads=1,
        layout="nchw",
        name=name,
        out=out,
        progress=progress,
        **choices,
    )


def interrupted(net, data, out, name="broken"):
    with pytest.raises(Interrupted):
        train(net, data, out, name, Stopping(quiet=True))
    return out / name


def weights(run):
    return load_file(run.path / "weights" / "last.safetensors")


def same_bits(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def outputs(run, side=28):
    net = load_net(run, CPU)
    preprocessing = run.preprocessing
    pixels = np.random.default_rng(1).integers(0, 256, (5, side, side, preprocessing.channels)).astype(np.uint8)
    return logits(net, preprocessing, pixels, CPU)


@pytest.mark.full
@pytest.mark.parametrize(
    "target",
    [
        "FILE",
        *(pytest.param(t, marks=pytest.mark.slow) for t in ("torchvision:shufflenet_v2_x0_5", "timm:test_resnet")),
    ],
)
def test_it_trains_goes_on_to_the_bit_predicts_and_loads_again(target, own, data, tmp_path):
    if target.startswith("timm"):
        pytest.importorskip("timm")
    target = f"{own}:Own" if target == "FILE" else target
    whole = train(target, data, tmp_path, "whole")
    assert same_bits(weights(whole), weights(striate.resume(interrupted(target, data, tmp_path), progress=QUIET)))
    assert whole.config.net.name == whole.config.net.origin.target == target
    assert f"striate train {target} " in whole.summary.command
    if target.startswith(str(own)):
        for page in ("README.md", "report.html"):  # which name the file, and no folder of this machine
            text = (whole.path / page).read_text()
            assert "own.py:Own" in text
            assert str(own.parent) not in text

    again = striate.load(whole.path)
    kept = json.loads(next((whole.path / "evaluations").glob("*/evaluation.json")).read_text())
    assert striate.evaluate(again, device="cpu").summary.loss == kept["loss"]
    (prediction,) = again.predict(np.full((28, 28), 200, np.uint8))
    assert prediction.label in "0123"
    # The file of weights is the module's own state, under the names that its author gave.
    module = load_net(again, CPU).stages["net"]
    assert weights(whole).keys() == module.state_dict().keys()


def test_the_same_logits_as_the_file_makes_without_striate(own, data, tmp_path):
    run = train(f"{own}:Own", data, tmp_path, epochs=1)
    names: dict[str, object] = {}
    exec(compile(OWN, "own.py", "exec"), names)
    module = names["Own"](1, 4)
    module.load_state_dict(weights(run))
    pixels = np.random.default_rng(1).integers(0, 256, (5, 28, 28, 1)).astype(np.uint8)
    preprocessing = run.preprocessing
    with torch.no_grad():
        assert torch.equal(module.eval()(preprocessing.tensor(pixels)), outputs(run))


def test_a_file_that_changed_or_came_with_the_run_is_run_only_if_trusted(own, data, tmp_path, capsys):
    run = train(f"{own}:Own", data, tmp_path, epochs=1)
    broken = interrupted(f"{own}:Own", data, tmp_path)
    expected = outputs(run)
    own.write_text(OWN + "print('it ran')\n")
    for use in (lambda: outputs(striate.load(run.path)), lambda: striate.evaluate(run), lambda: striate.resume(broken)):
        with pytest.raises(UsageError, match="has changed since"):
            use()
    assert "it ran" not in capsys.readouterr().out
    assert torch.equal(outputs(striate.load(run.path, trust_code=True)), expected)
    assert striate.resume(broken, trust_code=True, progress=QUIET).summary.status == "finished"
    picture = tmp_path / "one.png"
    striate.data.decode.Image.new("L", (28, 28)).save(picture)
    for words, code in ((["predict", run.path, picture], 2), (["predict", run.path, picture, "--trust-code"], 0)):
        with pytest.raises(SystemExit) as exited:
            main([str(word) for word in words])
        assert (exited.value.code or 0) == code

    inside = run.path / "own.py"
    inside.write_text(OWN + "print('it ran')\n")
    config = (run.path / "config.yaml").read_text().replace(f"file: {own}", f"file: {inside}")
    (run.path / "config.yaml").write_text(config)
    capsys.readouterr()
    with pytest.raises(UsageError, match="run's own folder"):
        striate.load(run.path).predict(picture)
    assert "it ran" not in capsys.readouterr().out
    assert striate.load(run.path, trust_code=True).predict(picture)[0].error is None
    (run.path / "config.yaml").write_text(
        config.replace(f"    file: {inside}\n", "").replace(f"{own}:Own", f"{inside}:Own")
    )
    capsys.readouterr()
    with pytest.raises(DataError, match=r"config\.yaml: net\.origin\.file is missing"):
        striate.load(run.path).predict(picture)
    assert "it ran" not in capsys.readouterr().out


def test_a_module_begins_with_its_weights_and_is_not_changed(data, tmp_path):
    torch.manual_seed(5)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    run = train(module, data, tmp_path, epochs=1, lr=1e-9)
    assert same_bits(before, module.state_dict())
    assert all(torch.allclose(value, before[name], atol=1e-6) for name, value in weights(run).items())
    assert run.summary.command is None
    assert "given as a module" in run.summary.no_command
    expected = outputs(run)
    with pytest.raises(UsageError, match="module=") as caught:
        outputs(striate.load(run.path))
    assert len(str(caught.value).splitlines()) == 3
    assert torch.equal(outputs(striate.load(run.path, module=module)), expected)

    whole = train(module, data, tmp_path, "whole")
    broken = interrupted(module, data, tmp_path)
    with pytest.raises(UsageError, match="module="):
        striate.resume(broken)
    resumed = striate.resume(broken, module=module, progress=QUIET)
    assert same_bits(weights(whole), weights(resumed))
    assert torch.equal(outputs(resumed), outputs(whole))


def test_a_net_of_the_catalogue_that_was_built_or_trained_before_is_found_by_its_name(data, tmp_path):
    run = train(striate.build("lenet5", classes=4), data, tmp_path, epochs=1)
    expected = outputs(run)
    assert torch.equal(outputs(striate.load(run.path)), expected)
    more = train(load_net(striate.load(run.path), CPU), data, tmp_path, "more", epochs=1, lr=1e-9)
    assert torch.allclose(outputs(striate.load(more.path)), expected, atol=1e-5)
    assert more.summary.command is None


def test_pictures_are_converted_to_the_channels_of_a_net_that_takes_no_other(own, data, tmp_path):
    run = train(f"{own}:colour", data, tmp_path, epochs=1)
    assert run.config.net.notes == ("images are converted to colour",)
    assert run.config.preprocessing.channels == 3
    assert run.predict(np.full((28, 28), 200, np.uint8))[0].error is None
    with pytest.raises(UsageError, match="images of 5 channels"):
        train(f"{own}:five", data, tmp_path)


@pytest.mark.parametrize(
    ("net", "choices", "message"),
    [
        ("OWN:Own", {"recipe": "paper"}, "recipe='fast' or recipe='tutorial'"),
        ("OWN:Own", {"init": "paper"}, "is for nets of the catalogue"),
        ("OWN:Own", {"pretrained": True}, "has none"),
        ("OWN:Owm", {}, "Did you mean Own"),
        ("torchvision:vgg11", {}, "at least 32x32, got 28x28: use size=32"),
        (nn.Linear(784, 4), {}, "does not take an image"),
        (nn.LazyConv2d(4, 3), {}, "lazy layers"),
        (nn.Flatten(), {}, "no weights to train"),
        (nn.Linear, {}, "got the class Linear: make one"),
        (3, {}, "got 3"),
    ],
)
def test_what_cannot_be_asked_of_it_is_said_and_leaves_no_run(own, data, tmp_path, net, choices, message):
    net = net.replace("OWN", str(own)) if isinstance(net, str) else net
    with pytest.raises(UsageError, match=message):
        train(net, data, tmp_path / "runs", **choices)
    assert not (tmp_path / "runs").exists()


@pytest.mark.full
def test_the_page_about_it_does_what_it_says(tmp_path, monkeypatch, capsys):
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "elsewhere.md").read_text()
    example, *programs = re.findall(r"```python\n(.*?)```", text, re.S)
    (tmp_path / "mynet.py").write_text(example)
    (tmp_path / "docs").mkdir()
    shutil.copy(docs / "boot.png", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mynet", raising=False)
    (commands,) = re.findall(r"```sh\n(.*?)```", text, re.S)
    for line in commands.splitlines():
        with pytest.raises(SystemExit) as exited:
            main(shlex.split(line.replace("--epochs 3", "--epochs 1 --threads 1 --layout nchw"))[1:])
        assert not exited.value.code, f"{line}: {capsys.readouterr().err}"
    shown = capsys.readouterr().out
    assert "Findings: none" in shown
    assert "boot.png: " in shown
    for program in programs:
        exec(compile(program, "elsewhere.md", "exec"), {})
    assert "Ankle boot" in capsys.readouterr().out
