"""The pre-flight: a sound job passes, each planted fault is found by name, and nothing of the job changes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from striate.data.augmentation import Augmentation
from striate.data.images import ImageData
from striate.data.preprocessing import Preprocessing
from striate.namedrecipes import named_recipe
from striate.nets import build
from striate.training.finder import find_rate, steepest
from striate.training.job import make_job
from striate.training.preflight import preflight


def job_of(net=None, labels=None, **recipe):
    generator = np.random.default_rng(0)
    labels = np.arange(96) % 10 if labels is None else labels
    pixels = generator.integers(0, 60, (96, 28, 28, 1))
    for position, label in enumerate(labels):
        pixels[position, 2 * label : 2 * label + 6, 4:24] += 150
    data = ImageData(pixels.astype(np.uint8), np.asarray(labels, dtype=np.int64), tuple("abcdefghij"))
    preprocessing = Preprocessing(size=(28, 28), channels=1, mean=(0.3,), std=(0.25,))
    chosen = replace(named_recipe("fast", family="lenet", batch_norm=False, params=60_000), batch_size=32, **recipe)
    torch.manual_seed(0)
    return make_job(
        chosen, preprocessing, (data, None), torch.device("cpu"), net or build("lenet5", channels=1, classes=10)
    )


def checks_of(job):
    return {check.name: check for check in preflight(job)}


def test_a_sound_job_passes_and_nothing_of_it_changes():
    job = job_of(augmentation=Augmentation(shift=2))
    before = {name: value.clone() for name, value in job.net.state_dict().items()}
    state = torch.get_rng_state()
    found = checks_of(job)
    assert [check.verdict for check in found.values()] == ["ok"] * 5
    assert "ln(10) = 2.303" in found["initial loss"].said
    assert all(torch.equal(before[name], value) for name, value in job.net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert job.optimizer.state_dict()["state"] == {}


def lenet():
    torch.manual_seed(0)
    return build("lenet5", channels=1, classes=10)


def test_a_softmax_in_the_net_is_found():
    net = lenet()
    net.head = nn.Sequential(net.head, nn.Softmax(1))
    found = checks_of(job_of(net))["initial loss"]
    assert found.verdict == "failed"
    assert "remove its softmax" in found.said


def test_first_weights_that_are_too_large_are_found():
    net = lenet()
    with torch.no_grad():
        net.head[-1].weight.mul_(500)
    found = checks_of(job_of(net))["initial loss"]
    assert found.verdict == "warning"
    assert "too large" in found.said


def test_a_net_that_cannot_learn_is_found():
    net = lenet()
    net.stages[next(iter(net.stages))].register_forward_hook(lambda module, inputs, output: output * 0)
    found = checks_of(job_of(net))
    assert found["can overfit 32 images"].verdict == "failed"
    assert "the net does not learn" in found["can overfit 32 images"].said


def test_parameters_that_the_loss_does_not_depend_on_are_named():
    net = lenet()
    net.spare = nn.Linear(3, 3)
    found = checks_of(job_of(net))["gradients"]
    assert found.verdict == "warning"
    assert found.said.startswith("none reaches spare.weight, spare.bias")


@pytest.mark.full
def test_dead_relus_are_named():
    net = lenet()
    dead = nn.Sequential(nn.Conv2d(6, 6, 1), nn.ReLU())
    nn.init.constant_(dead[0].bias, -100.0)
    first = next(iter(net.stages))
    net.stages[first] = nn.Sequential(net.stages[first], dead)
    found = checks_of(job_of(net))["dead ReLUs"]
    assert found.verdict == "warning"
    assert "(100 %)" in found.said


@pytest.mark.full
def test_equal_pictures_with_different_labels_cannot_be_learned_by_heart():
    job = job_of()
    data = job.batches.data
    twins = ImageData(np.repeat(data.pixels[::2], 2, axis=0), data.labels, data.classes)
    config_job = job_of()
    config_job.batches._pixels = torch.from_numpy(twins.pixels).permute(0, 3, 1, 2).contiguous()
    found = {check.name: check for check in preflight(config_job, seconds=60.0)}["can overfit 32 images"]
    assert found.verdict == "warning"
    assert "different labels" in found.said


def test_the_finder_gives_the_same_answer_twice_and_leaves_the_job_alone():
    job = job_of()
    before = {name: value.clone() for name, value in job.net.state_dict().items()}
    first, second = find_rate(job), find_rate(job)
    assert first == second
    assert all(torch.equal(before[name], value) for name, value in job.net.state_dict().items())
    assert 1e-4 < first.steepest < first.lowest < 1
    assert list(first.rates) == sorted(first.rates)


def test_the_finder_finds_the_limit_of_a_quadratic():
    """Of loss = a/2 w^2, plain gradient steps diverge above the rate 2/a."""
    for curvature in (0.5, 5.0, 50.0):
        w, rates, losses = 1.0, [], []
        for number in range(200):
            rate = 1e-5 * (1e6) ** (number / 199)
            losses.append(curvature / 2 * w * w)
            rates.append(rate)
            w -= rate * curvature * w
            if losses[-1] > 10 * min(losses):
                break
        assert steepest(rates, losses) < 2 / curvature


def test_a_loss_that_never_falls_has_no_steepest_place():
    assert steepest([0.1, 0.2, 0.3, 0.4], [1.0, 1.1, 1.2, 1.3]) is None
    assert steepest([0.1, 0.2, 0.3, 0.4], [1.0, 1.0, 1.0, 1.0]) is None


@pytest.mark.full
def test_the_commands_look_and_write_no_run(tmp_path, small_sample, call):
    code, out, _ = call("train", "lenet5", "--try", "--threads", 1)
    assert code == 0
    assert "can overfit 32 images" in out
    code, out, _ = call("train", "lenet5", "--find-lr", "search.png", "--json", "--threads", 1)
    assert code == 0
    found = json.loads(out)
    assert found["steepest"] < found["lowest"]
    with Image.open(tmp_path / "search.png") as picture:
        assert picture.width > 1000
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def net(classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(784, classes), nn.Softmax(1))\n"
    )
    code, out, said = call("train", "net.py:net", "--size", 28, "--try", "--json", "--threads", 1)
    assert code == 4
    verdicts = {check["name"]: check["verdict"] for check in json.loads(out)}
    assert (verdicts["one image"], verdicts["softmax-before-loss"], verdicts["initial loss"]) == (
        "ok",
        "failed",
        "failed",
    )
    assert said.endswith("striate: this training would fail: softmax-before-loss, initial loss\n")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == [
        "net.py",
        "search.png",
    ]
