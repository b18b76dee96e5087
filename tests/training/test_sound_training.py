"""Training refuses what is not a function of one image, runs keep an answer, and NaN never leaves as an answer."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from anatomy import unsound
from PIL import Image
from torch import nn

import striate
from striate.errors import CheckError, DataError, UsageError
from striate.training import Progress

pytestmark = pytest.mark.usefixtures("no_charts")
QUIET = Progress(quiet=True)

NETS = '''
import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self, channels=3, classes=2):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3)
        self.fc = nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))


class NoAnswerForWhite(Plain):
    """log of a negative number where all of an image is white."""

    def forward(self, x):
        darkest = x.amin((1, 2, 3))
        return super().forward(x) + 0 * torch.log(20 - darkest).view(-1, 1)


class Ends(Plain):
    """`kind` comes after the last layer."""

    def __init__(self, channels=3, classes=2):
        super().__init__(channels, classes)
        self.last = self.kind()

    def forward(self, x):
        return self.last(super().forward(x))


class Sigmoid(Ends):
    def kind(self):
        return nn.Sigmoid()


class Softmax(Ends):
    def kind(self):
        return nn.Softmax(dim=-1)


class Tanh(Ends):
    def kind(self):
        return nn.Tanh()


class ReLU(Ends):
    def kind(self):
        return nn.ReLU()


class LogSoftmax(Ends):
    def kind(self):
        return nn.LogSoftmax(1)


class SoftmaxOfImages(Ends):
    def kind(self):
        return nn.Softmax(0)


class LogSoftmaxOfImages(Ends):
    def kind(self):
        return nn.LogSoftmax(0)


class Hard(Ends):
    """Learns nothing: which class is the largest has no gradient."""

    def kind(self):
        return lambda x: torch.eye(x.shape[1])[x.argmax(1)]


class Named(Plain):
    def forward(self, x):
        return {"logits": super().forward(x)}


class Excited(Plain):
    def forward(self, x):
        maps = self.conv(x).relu()
        return self.fc((maps * maps.mean((2, 3), keepdim=True).sigmoid()).mean((2, 3)))


class LastState(Plain):
    """The LSTM takes the batch for the sequence, and gives a state for each row of an image."""

    def __init__(self, channels=3, classes=2):
        super().__init__(channels, classes)
        self.rows = nn.LSTM(4, 4)

    def forward(self, x):
        return self.fc(self.rows(self.conv(x).mean(3).transpose(1, 2))[1][0][-1])
'''


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No looks at the machine's speed, and no report."""
    monkeypatch.setattr("striate.training.timing.MEASURE_SECONDS", 0)
    monkeypatch.setattr("striate.experiment.finish._report", lambda *_: None)
    monkeypatch.setattr("striate.experiment.reported.write_all", lambda *_: None)
    monkeypatch.setattr("striate.experiment.reported.show", lambda *_: None)


@pytest.fixture
def nets(tmp_path):
    path = tmp_path / "nets.py"
    path.write_text(NETS)
    return path


@pytest.fixture
def data(tmp_path):
    """Dark images of two classes; of the test images four are white."""
    labels = np.arange(40) % 2
    pixels = np.random.default_rng(0).integers(0, 20, (40, 12, 12, 3)).astype(np.uint8)
    pixels += (10 * labels[:, None, None, None]).astype(np.uint8)
    tests = pixels[:20].copy()
    tests[:4] = 255
    path = tmp_path / "dark.npz"
    np.savez(path, train_images=pixels, train_labels=labels, test_images=tests, test_labels=labels[:20])
    return path


def trained(target, data, tmp_path, **more):
    options = {"epochs": 1, "report": False, "threads": 1, "layout": "nchw", "validation": 0.2, "batch_size": 8} | more
    return striate.train(target, data, out=tmp_path / "runs", progress=QUIET, **options)


@pytest.mark.parametrize("kind", unsound.CASES, ids=lambda kind: kind.__name__)
def test_training_refuses_it_before_step_1(kind, data, tmp_path):
    name, place = unsound.CASES[kind]
    with pytest.raises(UsageError) as refused:
        trained(f"{unsound.__file__}:{kind.__name__}", data, tmp_path)
    assert "is not a function of one image" in str(refused.value)
    assert name in str(refused.value)
    assert place in str(refused.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("kind", [unsound.LayersInADict, unsound.DropoutAlwaysOn, unsound.Squeezes])
def test_a_module_from_python_is_asked_too(kind, data, tmp_path):
    with pytest.raises(UsageError, match=unsound.CASES[kind][0]):
        trained(kind(3, 2), data, tmp_path)


def test_layers_in_a_list_are_named_also_where_they_hide_the_channels(tmp_path):
    with pytest.raises(UsageError, match=r"weights-nobody-owns at _layers\[0\], _layers\[1\]"):
        trained(f"{unsound.__file__}:LayersInAList", "fashion-mnist-sample", tmp_path)


BOUNDED = {
    "Sigmoid": ("sigmoid-before-loss at last", "cannot fall below 0.313", "Remove the sigmoid"),
    "Tanh": ("tanh-before-loss at last", "cannot fall below 0.127", "Remove the tanh"),
    "Softmax": ("softmax-before-loss at last", "cannot fall below 0.313", "Remove the softmax"),
}


@pytest.mark.parametrize("kind", BOUNDED)
def test_bounded_logits_are_not_trained(kind, call, nets, data, tmp_path):
    out = ("--out", tmp_path / "runs")
    for way in ((), ("--find-lr", tmp_path / "rates.png")):
        code, _, err = call("train", f"{nets}:{kind}", "--data", data, "--epochs", "1", *out, *way)
        assert code == UsageError.exit_code
        assert "cannot be trained with this output" in err
        assert all(words in " ".join(err.split()) for words in BOUNDED[kind])
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "rates.png").exists()


@pytest.mark.parametrize("last", [nn.Sigmoid(), nn.Tanh(), nn.Softmax(1), nn.Softmax()])
@pytest.mark.filterwarnings("ignore:Implicit dimension choice")  # torch's own
def test_bounded_logits_of_a_module_from_python_are_not_trained(last, data, tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2), last)
    with pytest.raises(UsageError, match=f"{type(last).__name__.lower()}-before-loss at 4"):
        trained(net, data, tmp_path)


@pytest.mark.parametrize("kind", ["SoftmaxOfImages", "LogSoftmaxOfImages"])
def test_a_softmax_over_the_images_is_called_so(kind, nets, data, tmp_path):
    with pytest.raises(UsageError, match=r"softmax-over-batch at last \(nets.py:\d+\)|softmax-over-batch at last"):
        trained(f"{nets}:{kind}", data, tmp_path)


@pytest.mark.parametrize("kind", ["LogSoftmax", "ReLU", "Excited", "Named"])
def test_ends_and_insides_that_are_no_fault_are_trained(kind, nets, data, tmp_path):
    assert trained(f"{nets}:{kind}", data, tmp_path).evaluations


def test_what_learns_nothing_is_not_trained(nets, data, tmp_path):
    with pytest.raises(UsageError, match=r"Hard learns nothing: no gradient flows .* argmax"):
        trained(f"{nets}:Hard", data, tmp_path)


def test_a_state_a_row_is_called_an_lstm_over_the_batch(nets, data, tmp_path):
    with pytest.raises(
        UsageError, match=r"10 rows of logits for 2 images.*images-as-sequence at rows .*batch_first=True"
    ):
        trained(f"{nets}:LastState", data, tmp_path)


def test_try_says_it(call, nets, data, tmp_path):
    code, out, _ = call("train", f"{unsound.__file__}:DropoutAlwaysOn", "--data", data, "--try", "--json")
    (check,) = [row for row in json.loads(out) if row["name"] == "one image"]
    assert (code, check["verdict"]) == (CheckError.exit_code, "failed")
    assert "draws-in-evaluation at bernoulli (unsound.py:" in check["said"]
    code, out, _ = call("train", f"{nets}:Sigmoid", "--data", data, "--try", "--json")
    found = {row["name"]: row["verdict"] for row in json.loads(out)}
    assert found["one image"] == "ok"
    assert (code, found["sigmoid-before-loss"]) == (CheckError.exit_code, "failed")


def test_training_says_what_it_cannot_mend(call, nets, data, tmp_path):
    _, _, err = call("train", f"{nets}:ReLU", "--data", data, "--epochs", "1", "--out", tmp_path / "runs")
    assert "relu-before-loss" in err


def test_a_run_keeps_an_answer_that_its_net_must_give(nets, data, tmp_path):
    run = trained(f"{nets}:Plain", data, tmp_path)
    assert np.array(run.answer).shape == (2, 2)
    picture = np.full((12, 12, 3), 9, np.uint8)
    assert striate.load(run.path).predict(picture)[0].error is None
    nets.write_text(NETS.replace(".relu()", ".tanh()"))
    with pytest.raises(DataError, match=r"gives different answers than when it was saved .*answer\.json"):
        striate.load(run.path, trust_code=True).predict(picture)
    (run.path / "answer.json").unlink()  # as in runs of before
    assert striate.load(run.path, trust_code=True).predict(picture)[0].error is None


@pytest.mark.parametrize(
    "content", ['{"logits": 3}', '{"logits": [[1, 2], [3]]}', '{"logits": [["a", 2], [3, 4]]}', "[1"]
)
def test_a_damaged_answer_is_named(content, nets, data, tmp_path):
    run = trained(f"{nets}:Plain", data, tmp_path)
    (run.path / "answer.json").write_text(content)
    with pytest.raises(DataError, match=r"answer\.json(:| is damaged)"):
        striate.load(run.path).predict(np.zeros((12, 12, 3), np.uint8))


@pytest.fixture
def odd(nets, data, tmp_path):
    """A run whose net has no answer for white images, and a folder with one of them between two others."""
    run = trained(f"{nets}:NoAnswerForWhite", data, tmp_path, validation=0.5)  # enough of them to say what is strange
    folder = tmp_path / "in"
    folder.mkdir()
    for number, level in enumerate((5, 255, 15), start=1):
        Image.fromarray(np.full((12, 12, 3), level, np.uint8)).save(folder / f"{number}.png")
    return run, folder


def test_no_number_is_the_error_of_its_row(call, odd, tmp_path):
    run, folder = odd
    code, out, err = call("predict", run.path, folder)
    assert code == 3
    assert len(out.splitlines()) == 2
    assert f"{folder}/2.png: the net returns NaN or infinity for this image" in err
    assert "1 of 3 images could not be classified" in err
    code, out, _ = call("predict", run.path, folder, "--json")
    rows = json.loads(out, parse_constant=pytest.fail)
    assert code == 3
    assert [row["label"] is None for row in rows] == [False, True, False]
    assert rows[1]["top"] == []
    assert "NaN" in rows[1]["error"]
    code, out, _ = call("predict", run.path, folder, "--csv", "--abstain")
    table = list(csv.DictReader(io.StringIO(out)))
    assert code == 3
    assert [row["confidence"] == "" for row in table] == [False, True, False]
    code, _, _ = call("predict", run.path, folder, "--output", tmp_path / "out.parquet")
    assert code == 3
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet")["confidence"].null_count == 1


def test_no_number_counts_as_wrong_and_is_named(call, odd):
    run, _ = odd
    (evaluation,) = run.evaluations.values()
    assert (evaluation.n, evaluation.unanswered) == (20, 4)
    assert evaluation.correct <= 16
    assert evaluation.accuracy == evaluation.correct / 20
    (folder,) = (run.path / "evaluations").iterdir()
    rows = list(csv.DictReader(io.StringIO((folder / "predictions.csv").read_text())))
    assert [row["predicted"] for row in rows[:4]] == [""] * 4
    for file in run.path.rglob("*.json"):
        json.loads(file.read_text(), parse_constant=pytest.fail)
    code, out, _ = call("evaluate", run.path, "--json")
    assert code == 0
    assert json.loads(out, parse_constant=pytest.fail)["unanswered"] == 4
    _, out, _ = call("evaluate", run.path)
    assert "NaN or infinity for 4 images" in out.replace("\n", " ")
    _, out, _ = call("evaluate", run.path, "--robustness", "--json")
    assert json.loads(out, parse_constant=pytest.fail)["robustness"]["clean"] <= 0.8


def test_export_and_explain_say_it(call, odd, tmp_path):
    run, folder = odd
    code, _, err = call("export", run.path, "--to", "safetensors")
    assert code == CheckError.exit_code
    assert "the net returns NaN or infinity for 4 of" in err
    code, _, err = call("explain", run.path, folder / "2.png", "--method", "saliency", "--output", tmp_path)
    assert code == 3
    assert "2.png: the net returns NaN or infinity for this image" in err


def test_resuming_a_copy_keeps_the_answer_true(nets, data, tmp_path):
    run = trained(f"{nets}:Plain", data, tmp_path)
    before = run.answer
    longer = striate.resume(run.path, epochs=3, progress=QUIET)
    assert longer.answer != before
    copied = Path(shutil.copytree(longer.path, tmp_path / "copy"))
    assert striate.load(copied).predict(np.zeros((12, 12, 3), np.uint8))[0].error is None
