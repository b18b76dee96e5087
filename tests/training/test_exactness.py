"""The same config gives the same bits, an interrupted run goes on as if nothing had been, and the loop is the plain loop."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import striate
from striate.data import load_data
from striate.data.draws import permutation
from striate.errors import DataError, Interrupted, UsageError
from striate.events import EpochEnded
from striate.namedrecipes import FAST_NORM, FAST_PLAIN, TUTORIAL
from striate.nets import build
from striate.recipe import Recipe
from striate.training import Progress
from striate.training.checkpoint import load_checkpoint
from striate.training.job import seed_step

QUIET = Progress(quiet=True)


def weights(run):
    return load_file(run.path / "weights" / "last.safetensors")


def same_bits(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def training_columns(run):
    return [{key: row[key] for key in row if key not in ("seconds", "pictures_per_second")} for row in run.metrics]


def test_the_same_config_twice_gives_the_same_bits_in_another_process_too(tmp_path, clothes):
    given = {"epochs": 1.1, "threads": 1, "layout": "nchw", "report": False, "out": tmp_path, "progress": QUIET}
    first, again = (striate.train("lenet5", clothes, **given) for _ in range(2))
    assert same_bits(weights(first), weights(again))
    words = ["train", "lenet5", "--epochs", "1.1", "--threads", "1", "--layout", "nchw", "--no-report"]
    command = [sys.executable, "-m", "striate", *words, "--data", clothes, "--name", "fresh", "--out", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    fresh = striate.load(tmp_path / "fresh")
    assert same_bits(weights(first), weights(fresh))
    assert training_columns(first) == training_columns(fresh)
    assert len(fresh.metrics) == 2
    other = striate.train("lenet5", clothes, seed=1, **given)
    assert not same_bits(weights(first), weights(other))


@pytest.mark.parametrize(
    ("net", "recipe"),
    [
        ("lenet5", replace(TUTORIAL, epochs=1.5, batch_size=20, seed=3)),
        ("lenet5", replace(FAST_PLAIN, epochs=1.5, batch_size=20, seed=3)),
        ("lenet5-bn", replace(FAST_NORM, epochs=1.5, batch_size=20, seed=3)),
        ("lenet5-bn", replace(FAST_PLAIN, epochs=1.5, batch_size=20, seed=3)),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.name}-{value.optimizer}-{value.epochs}",
)
def test_weights_equal_those_of_a_plain_pytorch_loop_bit_for_bit(tmp_path, clothes, net, recipe):
    equals_plain_loop(tmp_path, clothes, net, recipe)


@pytest.mark.full
def test_weights_of_the_whole_sample_equal_those_of_a_plain_pytorch_loop(tmp_path):
    equals_plain_loop(tmp_path, "fashion-mnist-sample", "lenet5-bn", replace(FAST_NORM, epochs=1.5, batch_size=100))


def equals_plain_loop(out, data, net, recipe):
    run = striate.train(net, data, recipe=recipe, out=out, threads=1, report=False, layout="nchw", progress=QUIET)
    assert same_bits(weights(run), plain_loop(run, load_data(data).train, net, recipe))


def plain_loop(run, data, name, recipe):
    """Written with nothing of the training package: PyTorch as everybody writes it."""
    held = set(run.validation_indices().tolist())
    kept = [i for i in range(len(data)) if i not in held]
    x = torch.from_numpy(data.pixels[kept]).permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)
    y = torch.from_numpy(data.labels[kept])
    mean, std = (getattr(run.preprocessing, key)[0] for key in ("mean", "std"))
    torch.manual_seed(recipe.seed)
    net = build(name)
    matrices = [p for p in net.parameters() if p.ndim > 1]
    vectors = [p for p in net.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = {
        "adam": lambda: torch.optim.Adam(groups, lr=recipe.lr, fused=True),
        "adamw": lambda: torch.optim.AdamW(groups, lr=recipe.lr, fused=True),
        "sgd": lambda: torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, nesterov=True, fused=True),
    }[recipe.optimizer]()
    per_epoch = -(-len(y) // recipe.batch_size)
    total = round(recipe.epochs * per_epoch)
    for step in range(total):
        epoch, place = divmod(step, per_epoch)
        order = permutation(recipe.seed, epoch, len(y))
        batch = order[len(y) * place // per_epoch : len(y) * (place + 1) // per_epoch]
        progress = (step + 0.5) / total
        rise, fall = progress / (recipe.warmup or 1), (1 - progress) / (1 - recipe.warmup)
        factor = 1 if recipe.schedule == "constant" else rise if progress < recipe.warmup else fall
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * factor
        picture = x[batch]
        if recipe.augmentation.flip:
            raise NotImplementedError
        inputs = picture.float() * (1 / (255 * std)) - mean / std
        loss = F.cross_entropy(net(inputs), y[batch], label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.state_dict()


def test_dropout_is_drawn_by_seed_and_step_alone():
    def drawn(seed, step):
        seed_step(seed, step, torch.device("cpu"))
        return F.dropout(torch.ones(1000), 0.5)

    first = drawn(3, 7)
    torch.rand(5)
    assert torch.equal(drawn(3, 7), first)
    for other in (drawn(3, 8), drawn(4, 7)):
        assert 0.4 < (other == first).float().mean() < 0.6


class StopAfter(Progress):
    """Sends this process a signal when some epochs are done."""

    def __init__(self, epochs, number=signal.SIGINT):
        super().__init__(quiet=True)
        self.epochs, self.number = epochs, number

    def __call__(self, event):
        if isinstance(event, EpochEnded) and event.row["epoch"] == self.epochs:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(("number", "code", "layout"), [(signal.SIGINT, 130, "nchw"), (signal.SIGTERM, 143, "nhwc")])
def test_an_interrupted_run_resumes_to_the_bit(tmp_path, clothes, number, code, layout):
    given = {"epochs": 3, "out": tmp_path, "threads": 1, "report": False, "layout": layout}
    whole = striate.train("lenet5-bn", clothes, name="whole", progress=QUIET, **given)
    with pytest.raises(Interrupted, match=r"striate train --resume .*broken") as caught:
        striate.train("lenet5-bn", clothes, name="broken", progress=StopAfter(1, number), **given)
    assert caught.value.exit_code == code
    broken = striate.load(tmp_path / "broken")
    assert broken.summary.status == "interrupted"
    assert "--resume" in (broken.path / "README.md").read_text()
    resumed = striate.resume(broken.path, progress=QUIET)
    assert resumed.summary.status == "finished"
    assert same_bits(weights(whole), weights(resumed))
    assert training_columns(whole) == training_columns(resumed)
    with pytest.raises(UsageError, match="is finished"):
        striate.resume(broken.path)


@pytest.mark.full
def test_killed_outright_in_the_middle_it_goes_on_from_the_last_checkpoint(tmp_path, clothes):
    given = {"epochs": 8, "batch_size": 20, "threads": 1, "layout": "nchw"}
    whole = striate.train("lenet5", clothes, name="whole", out=tmp_path, report=False, progress=QUIET, **given)
    words = [str(word) for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    command = [sys.executable, "-m", "striate", "train", "lenet5", "--data", clothes, "--no-report", *words]
    process = subprocess.Popen([*command, "--out", tmp_path, "--name", "killed"], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("epoch 2/8"):
            break
    time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not (tmp_path / "killed" / "weights").exists()
    resumed = striate.resume(tmp_path / "killed", progress=QUIET)
    assert same_bits(weights(whole), weights(resumed))


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, clothes):
    given = {"epochs": 3, "name": "run", "out": tmp_path, "threads": 1, "report": False, "layout": "nchw"}
    with pytest.raises(Interrupted):
        striate.train("lenet5", clothes, progress=StopAfter(2), **given)
    run = striate.load(tmp_path / "run")
    older, newest = sorted((run.path / "checkpoints").glob("*.pt"))
    before = int(older.stem.removeprefix("step-"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    state, reasons = load_checkpoint(run)
    assert len(reasons) == 1
    assert newest.name in reasons[0]
    assert state["step"] == before
    for path in (run.path / "checkpoints").glob("*.pt"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no checkpoint to resume from"):
        load_checkpoint(run)


def test_resume_refuses_data_that_changed(tmp_path, pictures):
    with pytest.raises(Interrupted):
        striate.train(
            "lenet5",
            pictures,
            epochs=3,
            batch_size=4,
            name="run",
            out=tmp_path,
            threads=1,
            report=False,
            layout="nchw",
            progress=StopAfter(1),
        )
    next((pictures / "dark").glob("*.png")).unlink()
    with pytest.raises(DataError, match=r"is not the data that .* was trained on"):
        striate.resume(tmp_path / "run")


def test_training_in_a_thread_works_without_signal_handlers(tmp_path, clothes):
    found, given = [], {"epochs": 0.5, "out": tmp_path, "threads": 1, "report": False, "layout": "nchw"}
    thread = threading.Thread(target=lambda: found.append(striate.train("lenet5", clothes, progress=QUIET, **given)))
    thread.start()
    thread.join()
    assert found[0].summary.status == "finished"


def test_a_fraction_of_an_epoch_is_trained_and_recorded(tmp_path, clothes):
    given = {"epochs": 1.5, "batch_size": 90, "threads": 1, "report": False, "layout": "nchw"}
    run = striate.train("lenet5", clothes, out=tmp_path, progress=QUIET, **given)
    assert run.config.plan.steps == 15
    assert [row["step"] for row in run.metrics] == [10, 15]
    assert isinstance(Recipe.from_dict(run.config.recipe.values), Recipe)
    assert np.isfinite([row["train_loss"] for row in run.metrics]).all()
