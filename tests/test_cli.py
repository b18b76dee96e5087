"""The command line: results on stdout, the rest on stderr, exit codes, and what bad input gets."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import striate
from striate import run as run_module
from striate.cli import main
from striate.cli.anatomy import parse_shape
from striate.cli.options import parse_duration
from striate.cli.output import WIDTH, show_fields
from striate.errors import UsageError
from striate.events import EpochEnded, Started, Stepped, Trained
from striate.nets import torchvision as weights_module
from striate.nets.torchvision import their_names
from striate.training.progress import Progress


def test_train_prints_the_plan_an_epoch_a_line_and_the_result(call, small_sample):
    code, out, err = call("train", "--epochs", "2", "--threads", "1")
    assert code == 0
    for part in (
        "61,706 parameters",
        "416,520 MACs",
        "899 training, 101 validation",
        "fast: 2 epochs",
        "2 epochs of 15",
    ):
        assert part in err
    epochs = [line for line in err.splitlines() if line.startswith("epoch")]
    assert [line.split()[1] for line in epochs] == ["1/2", "2/2"]
    assert "validation" in epochs[0]
    assert "95 % interval" in out
    assert "striate predict runs/lenet5-fashion-mnist-sample IMAGE" in out
    assert Path("runs/lenet5-fashion-mnist-sample/report.html").is_file()


def test_train_json_is_json_and_agrees_with_the_run(call, small_sample):
    code, out, _ = call(
        "train", "lenet5-bn", "--epochs", "0.3", "--json", "--no-report", "--name", "short", "--threads", "1"
    )
    result = json.loads(out)
    assert code == 0
    run = striate.load("runs/short")
    assert result["accuracy"] == run.evaluations["fashion-mnist-sample-test-centre"].accuracy
    assert result["low"] < result["accuracy"] < result["high"]
    assert result["params"] == 44_878
    assert run.summary.command.startswith("striate train lenet5-bn --epochs 0.")


def test_the_command_kept_in_the_run_repeats_it_to_the_bit(call, small_sample):
    call("train", "--no-report", "--epochs", "1", "--seed", "4", "--lr", "0.002", "--name", "first")
    first = striate.load("runs/first")
    call(*first.summary.command.split()[1:], "--name", "again")
    read = [Path(f"runs/{name}/weights/last.safetensors").read_bytes() for name in ("first", "again")]
    assert read[0] == read[1]


def test_nothing_that_exists_is_overwritten(call, small_sample):
    for _ in range(2):
        assert call("train", "--no-report", "--epochs", "0.1", "--threads", "1")[0] == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == [
        "lenet5-fashion-mnist-sample",
        "lenet5-fashion-mnist-sample-2",
    ]
    code, _, err = call("train", "--epochs", "0.1", "--name", "lenet5-fashion-mnist-sample")
    assert code == 2
    assert "already exists: choose another --name" in err


def test_runs_lists_them_and_says_how_to_make_one(call, trained):
    assert "striate train" in call("runs")[1]
    _, out, _ = call("runs", "--out", trained.path.parent)
    assert "trained" in out
    assert "lenet5" in out
    listed = json.loads(call("runs", "--out", trained.path.parent, "--json")[1])
    assert listed[0]["status"] == "finished"
    assert listed[0]["epochs"] == 2


def test_evaluate_and_predict(call, trained, tmp_path, no_charts):
    copy = shutil.copytree(trained.path, tmp_path / "copy")
    code, out, _ = call("evaluate", copy)
    assert code == 0
    assert "of 2,000 test images" in out
    assert json.loads(call("evaluate", copy, "--split", "validation", "--json")[1])["n"] == 1000
    Image.new("L", (28, 28), 90).save("grey.png")
    code, out, _ = call("predict", copy, "grey.png", "--top", "2")
    assert code == 0
    assert out.startswith("grey.png: ")
    assert out.count("%") == 2
    Path("broken.png").write_bytes(b"nothing")
    code, out, err = call("predict", copy, "broken.png", "grey.png", "gone.png")
    assert code == 3
    assert out.startswith("grey.png")
    assert "broken.png: not an image" in err
    assert "gone.png: no such file" in err
    code, out, _ = call("predict", copy, "broken.png", "grey.png", "--json")
    answers = json.loads(out)
    assert code == 3
    assert answers[0]["error"].startswith("not an image")
    assert answers[1]["top"][0]["confidence"] == answers[1]["confidence"]


def test_nets_lists_filters_sorts_and_shows_a_card(call):
    everything = json.loads(call("nets", "--json")[1])
    assert {row["name"] for row in everything} == set(striate.CATALOGUE)
    _, out, _ = call("nets", "--family", "lenet", "--sort", "params")
    assert out.splitlines()[1].split()[0] == "lenet5-bn"
    _, out, _ = call("nets", "lenet5-1998")
    assert "60,000" in out
    assert "1998" in out
    assert json.loads(call("nets", "lenet5", "--json")[1])["params"] == 61_706
    assert call("nets", "--family", "letnet")[0] == 2
    assert call("nets", "--sort", "colour")[0] == 2


def test_inspect_prints_the_table(call):
    _, out, _ = call("inspect", "lenet5")
    assert "61,706" in out
    assert "416,520" in out
    read = json.loads(call("inspect", "lenet5", "--input", "3x32x32", "--classes", "7", "--json")[1])
    assert read["totals"]["parameters"] == 61_706 + 2 * 150 - 3 * 85
    assert call("inspect", "lenet5", "--input", "big")[0] == 2


def test_inspect_draws_and_overwrites_nothing(call):
    assert call("inspect", "lenet5", "--diagram", "net.svg", "--maps", "maps.svg")[0] == 0
    assert Path("net.svg").read_text().startswith("<svg")
    assert "28" in Path("maps.svg").read_text()
    assert call("inspect", "lenet5", "--diagram", "net.svg")[0] == 0  # the same drawing
    code, _, err = call("inspect", "alexnet", "--diagram", "net.svg")
    assert code == 2
    assert "net.svg already exists" in err


def test_inspect_explains_and_the_size_calculator_shows_its_sum(call):
    _, out, _ = call("inspect", "alexnet", "--explain")
    assert "floor((227 - 11 + 2*0) / 4) + 1 = 55" in out
    _, out, _ = call("conv", "--input", "227", "--kernel", "11", "--stride", "4")
    assert out.splitlines()[0] == "227 -> 55"
    worked = json.loads(call("conv", "--input", "13", "--kernel", "3", "--stride", "2", "--transposed", "--json")[1])
    assert worked["output"] == 27
    code, _, err = call("conv", "--input", "5", "--kernel", "7")
    assert code == 2
    assert "does not fit" in err


def test_data_says_what_a_set_holds_and_draws_it(call, pictures):
    code, out, _ = call("data", "fashion-mnist-sample")
    assert code == 0
    assert "train 10,000, test 2,000" in out
    assert "Ankle boot" in out
    with Image.open("fashion-mnist-sample-samples.png") as grid:
        assert grid.width > 500
    call("data", "fashion-mnist-sample")
    assert len(list(Path().glob("*samples*.png"))) == 1
    held = json.loads(call("data", pictures, "--json", "--grid", "grid.png")[1])
    assert held["pictures"] == {"train": 20, "test": 4}
    assert Path(held["grid"]).is_file()


def test_doctor_reports_the_machine(call):
    report = json.loads(call("doctor", "--json")[1])
    assert report["sgemm_gflops"] > 0
    assert report["data"]["fashion-mnist-sample"]
    assert report["cores"] >= 1
    assert "SGEMM" in call("doctor")[1]


@pytest.mark.full
def test_a_folder_of_pictures_is_trained_on(call, pictures, no_charts):
    code, out, err = call("train", "lenet5", "--data", pictures, "--epochs", "8", "--json", "--threads", "1")
    assert code == 0, err
    assert "28x28x3, 2 classes" in err
    result = json.loads(out)
    assert result["accuracy"] == 1.0
    prediction = striate.load(result["run"]).predict(pictures / "light" / "03.png")[0]
    assert prediction.label == "light"
    assert call("evaluate", result["run"])[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (("train", "lenet"), 2, ["no net named 'lenet'", "Did you mean lenet5", "striate nets"]),
        (("train", "--data", "fashon-mnist"), 2, ["Did you mean fashion-mnist"]),
        (("train", "--data", "no/such/folder"), 3, ["no/such/folder: no such folder"]),
        (("train", "--recipe", "slow"), 2, ["no recipe named 'slow'", "fast, paper, tutorial"]),
        (("train", "lenet5-1998"), 2, ["lenet5-1998 needs images of at least 32x32, got 28x28", "--size 32"]),
        (("train", "--size", "8"), 2, ["lenet5 needs images of at least 12x12, got 8x8"]),
        (("train", "--epochs", "-1"), 2, ["epochs must be above 0, got -1"]),
        (("train", "--epochs", "1", "--budget", "5m"), 2, ["epochs and budget cannot be combined"]),
        (("train", "--budget", "soon"), 2, ["a budget is a time such as 90s, 5m", "'soon'"]),
        (("train", "--budget", "1s"), 2, ["leaves no time to train"]),
        (("train", "--batch-size", "0"), 2, ["batch-size must be at least 1, got 0"]),
        (("train", "--lr", "0"), 2, ["lr must be above 0"]),
        (("train", "--device", "cuda:9"), 2, ["no device 'cuda:9'", "it has: "]),
        (("train", "--device", "tpu"), 2, ["no device 'tpu'"]),
        (("train", "--threads", "0"), 2, ["threads must be at least 1"]),
        (("train", "--init", "random"), 2, ["--init", "'default', 'paper'"]),
        (("train", "--name", "../up"), 2, ["a run's name is letters"]),
        (("train", "--resume", "nowhere"), 3, ["nowhere does not exist"]),
        (("evaluate", "nowhere"), 3, ["nowhere does not exist"]),
        (("predict", ".", "x.png"), 3, [". is not a run: it has no config.yaml"]),
        (("inspect", "resnet999"), 2, ["no net named 'resnet999'"]),
        (("nets", "vgg"), 2, ["no net named 'vgg'"]),
        (("train", "--colour", "red"), 2, ["No such option"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input_gets_value_limit_and_way_out(call, arguments, code, parts):
    found, out, err = call(*arguments)
    assert found == code
    assert out == ""
    assert "Traceback" not in err
    for part in parts:
        assert part in err
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def test_the_paper_form_trains_at_its_size_with_ten_classes_only(call, pictures, small_sample):
    assert (
        call(
            "train",
            "lenet5-1998",
            "--no-report",
            "--size",
            "32",
            "--epochs",
            "0.1",
            "--init",
            "paper",
            "--threads",
            "1",
        )[0]
        == 0
    )
    code, _, err = call("train", "lenet5-1998", "--data", pictures)
    assert code == 2
    assert "ten" in err or "10" in err


@pytest.mark.full
def test_pretrained_weights_are_begun_with_and_what_was_changed_is_said(call, pictures, monkeypatch):
    published = striate.build("resnet18").state_dict()
    theirs = {theirs: published[ours] for ours, theirs in their_names(striate.build("resnet18")).items()}
    monkeypatch.setattr(weights_module, "published", lambda name, progress: ("TEST", theirs))
    options = [
        "--no-report",
        "--size",
        "64",
        "--epochs",
        "1",
        "--lr",
        "1e-9",
        "--threads",
        "1",
        "--name",
        "tuned",
        "--pretrained",
    ]
    code, _, err = call("train", "resnet18", "--data", pictures, *options)
    assert code == 0, err
    assert "torchvision's weights TEST" in err
    assert "replaced by a new one of 2" in err
    run = striate.load("runs/tuned")
    assert run.config.preprocessing.mean == (0.485, 0.456, 0.406)
    assert "--pretrained" in run.summary.command
    trained = load_file(run.path / "weights" / "last.safetensors")
    name = next(name for name, tensor in published.items() if tensor.ndim == 4)
    torch.testing.assert_close(trained[name], published[name], atol=1e-5, rtol=0)
    code, _, err = call("train", "lenet5", "--pretrained")
    assert code == 2
    assert "torchvision" in err


def test_the_weights_of_a_file_are_begun_with(call, small_sample):
    torch.manual_seed(4)
    begun = striate.build("lenet5").state_dict()
    torch.save(begun, "theirs.pth")
    options = [
        "--no-report",
        "--weights",
        "theirs.pth",
        "--epochs",
        "1",
        "--lr",
        "1e-9",
        "--threads",
        "1",
        "--name",
        "from-theirs",
    ]
    code, _, err = call("train", "lenet5", *options)
    assert code == 0, err
    assert "theirs.pth" in err
    run = striate.load("runs/from-theirs")
    assert f"--weights {Path('theirs.pth').resolve()}" in run.summary.command
    trained = load_file(run.path / "weights" / "last.safetensors")
    for name, tensor in begun.items():
        torch.testing.assert_close(trained[name], tensor, atol=1e-5, rtol=0)
    code, _, err = call("train", "resnet20", "--weights", "theirs.pth")
    assert code == 3
    assert "theirs.pth" in err
    assert call("train", "resnet18", "--weights", "theirs.pth", "--pretrained")[0] == 2


def test_debug_shows_the_traceback(call):
    with pytest.raises(UsageError):
        main(["train", "lenet", "--debug"])


def test_an_unwritable_place_and_a_full_disk_are_said_before_training(call, monkeypatch):
    Path("file").write_text("in the way")
    code, _, err = call("train", "--epochs", "1", "--out", "file/runs")
    assert code == 1
    assert "cannot be written" in err
    assert "epoch 1" not in err
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6))
    code, _, err = call("train", "--epochs", "1")
    assert code == 1
    assert "977 KiB free" in err
    assert "epoch 1" not in err


def test_a_disk_that_fills_while_training_is_said_and_nothing_is_left_half_written(call, small_sample, monkeypatch):
    real = os.fsync

    def full(handle):
        if "step-" in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(run_module.os, "fsync", full)
    code, _, err = call("train", "--epochs", "1", "--name", "full", "--threads", "1")
    assert code == 1
    assert "No space left on device" in err
    assert not list(Path("runs/full/checkpoints").iterdir())
    assert striate.load("runs/full").summary.status == "failed"


@pytest.mark.full
def test_control_c_saves_and_says_how_to_go_on(tmp_path, clothes):
    words = ["--data", clothes, "--epochs", "900", "--threads", "1", "--out", tmp_path]
    command = [sys.executable, "-m", "striate", "train", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("epoch   2/900"):
            break
    begin = time.perf_counter()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert time.perf_counter() - begin < 5
    assert process.returncode == 130
    run = tmp_path / "lenet5-clothes"
    assert f"To resume: striate train --resume {run}" in err
    assert "Traceback" not in err
    assert out == ""
    assert list((run / "checkpoints").glob("*.pt"))


def test_durations_and_shapes_are_parsed():
    assert [parse_duration(text) for text in ("90s", "90", "5m", "1h30m", "1.5h", "1m30s")] == [
        90,
        90,
        300,
        5400,
        5400,
        90,
    ]
    for text in ("", "s", "5x", "-3s"):
        with pytest.raises(UsageError):
            parse_duration(text)
    assert parse_shape("3x224x200") == parse_shape("3,224,200") == (3, 224, 200)


def test_on_a_terminal_there_is_a_bar_and_still_a_line_an_epoch():
    class Terminal:
        def __init__(self):
            self.text = ""

        def isatty(self):
            return True

        def write(self, text):
            self.text += text
            return len(text)

        def flush(self):
            pass

    terminal = Terminal()
    progress = Progress(stream=terminal)
    progress(Started(run="runs/run", step=0, steps=10, steps_per_epoch=5))
    progress(Stepped(step=4, steps=10, epoch=1, epochs=2, loss=0.5, accuracy=0.75, images_per_second=1234.0))
    row = {"epoch": 1, "train_loss": 0.5, "train_accuracy": 0.75, "val_accuracy": 0.7, "pictures_per_second": 1234.0}
    progress(EpochEnded(row=row, epochs=2, seconds_left=3.0, last=False))
    progress(Trained(step=10))
    assert "loss 0.500" in terminal.text
    assert "accuracy 75.0 %" in terminal.text
    assert "epoch 1/2" in terminal.text


def test_the_last_epoch_says_nothing_of_time_left():
    stream = io.StringIO()
    progress = Progress(stream=stream)
    row = {"epoch": 1, "train_loss": 0.5, "train_accuracy": 0.75, "val_accuracy": None, "pictures_per_second": 1234.0}
    progress(EpochEnded(row=row, epochs=2, seconds_left=3.0, last=False))
    progress(EpochEnded(row=row | {"epoch": 2}, epochs=2, seconds_left=0.0, last=True))
    first, second = stream.getvalue().splitlines()
    assert first.endswith("  1,234 images/s  3.0 s left")
    assert second.endswith("  1,234 images/s")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "--lr", "a"), "'--lr': 'a' is not a number\n"),
        (("train", "--seed", "1.5"), "'--seed': '1.5' is not a whole number\n"),
        (("train", "--fit", "x"), "'--fit': 'x' is not one of 'crop', 'pad', 'squash'.\n"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_named_in_plain_words(call, words, said):
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert err.endswith(f"Error: Invalid value for {said}")


def test_no_line_is_broken_between_a_number_and_its_unit(capsys):
    for before in range(70, 100):
        show_fields({"time": f"{'x' * before} 3.0 s, 12 min 05 s, 7 % of 4 samples"})
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 6 + max(before, WIDTH)
        assert " ".join(line[6:] for line in lines) == f"{'x' * before} 3.0 s, 12 min 05 s, 7 % of 4 samples"
        assert not [line for line in lines[1:] if line.split()[0] in ("s,", "min", "%")]


@pytest.mark.parametrize(
    ("own", "count"), [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")]
)
def test_waiting_threads_sleep_soon_unless_the_user_says_otherwise_and_torch_is_not_there_before(own, count):
    code = (
        "import os, sys\nfrom striate.cli import main\ntry:\n    main(['--version'])\n"
        "finally:\n    print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    )
    bare = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", code], env=bare | own, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{count} False"
