"""Ranks: their number changes nothing but rounding, the same number gives the same bits, each sample counts once, none is lost.

Four processes are started once and play all cases, in groups of one to four of them.
"""

import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import OrderedDict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.multiprocessing.spawn import start_processes

import striate
from striate.data import ImageData, Preprocessing
from striate.data.augmentation import Augmentation
from striate.data.batches import Batches, Order
from striate.errors import StriateError, UsageError
from striate.events import (
    EpochEnded,
    Evaluated,
    Finished,
    Reading,
    Said,
    Saved,
    Started,
    Stepped,
    Stopped,
    Trained,
)
from striate.experiment.resumed import check_restarts, previous_attempt
from striate.inference import logits
from striate.machine import leave
from striate.metrics.classification import confusion_matrix
from striate.namedrecipes import FAST_NORM, FAST_PLAIN
from striate.nets import Net, build
from striate.nets.blocks import he_init
from striate.nets.googlenet import GoogLeNetForm, conv, googlenet, inception
from striate.run import Run
from striate.runforms.config import RunConfig
from striate.training import Audience, Progress, fit, fresh_state, make_job, resumed_state
from striate.training.clock import Clock
from striate.training.job import seed_step
from striate.training.ranks import Ranks, joined, spread
from striate.training.signals import Stop
from striate.training.trainer import validate
from tests import run_config
from tests.training.tiny import pictures, same_bits

STEPS, BATCH, PICTURES = 50, 12, 95
"""A batch of 12 or 11, which neither 2, 3 nor 4 ranks share equally; 8 steps an epoch."""


class Doubled:
    """A preprocessing in float64, in which rounding is told from mistakes."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def normalise(self, pixels):
        return self.inner.normalise(pixels).double()

    def tensor(self, pixels):
        return self.inner.tensor(pixels).double()


def without_dropout(net):
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return net


def small_googlenet():
    """A stem, two Inception blocks, a head and an auxiliary one, in the form of GoogLeNet."""
    form = GoogLeNetForm(average_first=False)
    stages = OrderedDict(
        conv1=conv(1, 8, 5, 2, form=form),
        inception3a=inception(8, (4, 4, 6, 2, 4, 2), form),
        inception3b=inception(16, (4, 4, 6, 2, 4, 2), form),
    )
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    auxiliary = nn.Sequential(nn.AdaptiveAvgPool2d(4), conv(16, 4, 1, form=form), nn.Flatten(), nn.Linear(64, 10))
    return Net(stages, head, {"inception3a": (0.3, auxiliary)})


def whole_googlenet():
    form = GoogLeNetForm(stem=(3, 1), pool2=False, average_first=False, dropout=0.0)
    net = googlenet(1, 10, form)
    he_init(net)
    return without_dropout(net)


class Unused(nn.Module):
    """A net with a parameter that gets no gradient."""

    def __init__(self):
        super().__init__()
        self.used = nn.Linear(784, 10)
        self.idle = nn.Linear(3, 3)

    def forward(self, x):
        return self.used(x.flatten(1))


NETS = {
    "lenet5": lambda: build("lenet5"),
    "lenet5-bn": lambda: build("lenet5-bn"),
    "dropout": lambda: Net(
        {"c": nn.Conv2d(1, 4, 5)}, nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(2304, 10))
    ),
    "small googlenet": small_googlenet,
    "googlenet": whole_googlenet,
    "unused": lambda: Net({"net": Unused()}, nn.Identity()),
}
PLAIN = replace(FAST_PLAIN, epochs=6.25, batch_size=BATCH, lr=0.003, seed=5)
NORM = replace(FAST_NORM, epochs=6.25, batch_size=BATCH, lr=0.02, seed=5)


def make(folder, ranks, net, recipe, doubled=True, resume=False):
    """(job, run, state, length) of a training of 50 steps by these ranks."""
    preprocessing = Preprocessing(size=(28, 28), channels=1, mean=(0.5,), std=(0.25,))
    per_epoch = -(-PICTURES // recipe.batch_size)
    plan = {"steps": STEPS, "steps_per_epoch": per_epoch}
    config = run_config.config(
        recipe=recipe.as_dict(), preprocessing=preprocessing.as_dict(), plan={**plan, "epochs": recipe.epochs}
    )
    torch.manual_seed(recipe.seed)
    made = NETS[net]()
    job = make_job(recipe, preprocessing, (pictures(PICTURES, 7), pictures(23, 8)), torch.device("cpu"), made, ranks)
    if doubled:
        made.double()
        job = replace(job, preprocessing=Doubled(job.preprocessing))
        job.batches.preprocessing = job.preprocessing
        job.step.double()
        real = job.batches.inputs

        def inputs(epoch, samples, side=None):
            x, targets = real(epoch, samples, side)
            return x, targets.double() if targets.is_floating_point() else targets

        job.batches.inputs = inputs
    run = Run(folder)
    run.config = RunConfig.from_dict(config)
    state, _ = resumed_state(job, run) if resume else (fresh_state(job), [])
    return job, run, state


def train(folder, ranks, net, recipe, doubled=True, resume=False, at=None, act=None):
    """Weights, buffers, momenta and metrics after 50 steps; `act(job)` is called within step `at`, before its update."""
    job, run, state = make(folder, ranks, net, recipe, doubled, resume)
    real = job.optimizer.step

    def step():
        if state.step == at:
            act(job)
        real()

    job.optimizer.step = step
    error = None
    try:
        fit(job, run, state, Clock(0.0), Audience())
    except StriateError as caught:
        error = caught
    moments = job.optimizer.state_dict()["state"]
    return {
        "weights": {name: tensor.clone() for name, tensor in job.net.state_dict().items()},
        "moments": {
            f"{key} {name}": value.clone()
            for key, values in moments.items()
            for name, value in values.items()
            if isinstance(value, torch.Tensor)
        },
        "rows": [{key: row[key] for key in row if key not in ("seconds", "pictures_per_second")} for row in state.rows],
        "step": state.step,
        "error": None if error is None else f"{type(error).__name__}: {error}",
    }


def signalled(job):
    os.kill(os.getpid(), signal.SIGTERM)


def poisoned(job):
    """Makes the next loss of this rank infinite, but for its gradients."""
    real = job.step.forward
    job.step.forward = lambda x, targets: (lambda loss, hits: (loss + torch.tensor(torch.inf), hits))(*real(x, targets))


def only(rank, ranks, act):
    return act if ranks.rank == rank else (lambda job: None)


def play(case, ranks, folder):
    """What a case gives at a rank."""
    kind, net, recipe, *rest = case
    if kind == "train":
        return train(folder / "run", ranks, net, recipe, doubled=(rest or [True])[0])
    if kind == "interrupt":  # a signal at the last rank within step 20; then on, with as many ranks
        first = train(folder / "run", ranks, net, recipe, False, at=20, act=only(ranks.count - 1, ranks, signalled))
        return {"first": first, **train(folder / "run", ranks, net, recipe, doubled=False, resume=True)}
    if kind == "chain":  # one training, stopped twice and gone on with by other ranks
        at = {4: 15, 2: 35, 1: None}[ranks.count]
        return train(folder.parent / "chain", ranks, net, recipe, True, ranks.count < 4, at, only(0, ranks, signalled))
    if kind == "poison":
        return train(folder / "run", ranks, net, recipe, at=20, act=only(ranks.count - 1, ranks, poisoned))
    if kind == "validate":
        return [validated(ranks, *numbers) for numbers in rest[0]]
    if kind == "together":
        caught = []
        for rank in range(ranks.count):
            try:
                ranks.together(lambda rank=rank: failing(ranks.rank == rank, rank))
            except UsageError as error:
                caught.append(str(error))
        return caught
    raise AssertionError(kind)


def failing(fails, rank):
    if fails:
        raise UsageError(f"rank {rank} failed")


def validated(ranks, count, batch, seed):
    """(loss, accuracy) of a linear net on `count` images."""
    job, data = linear(ranks, count, batch, seed)
    assert len(data) == count
    return validate(job, Stop(), job.net)


def linear(ranks, count, batch, seed):
    generator = np.random.default_rng(seed)
    shades = generator.integers(0, 256, (count, 4, 4, 1)).astype(np.uint8)
    data = ImageData(shades, generator.integers(0, 3, count), ("a", "b", "c"))
    preprocessing = Preprocessing(size=(4, 4), channels=1, mean=(0.5,), std=(0.25,))
    torch.manual_seed(seed)
    net = Net({"flat": nn.Flatten()}, nn.Linear(16, 3))
    recipe = replace(PLAIN, batch_size=batch)
    train_data = ImageData(np.zeros((batch, 4, 4, 1), np.uint8), np.zeros(batch, np.int64), data.classes)
    return make_job(recipe, preprocessing, (train_data, data), torch.device("cpu"), net, ranks), data


AUGMENTED = Augmentation(shift=2, cutmix=1.0)
RICH = replace(PLAIN, balance="weights", label_smoothing=0.1, augmentation=AUGMENTED, micro_batches=2)
SAMPLED = replace(PLAIN, balance="sampler", optimizer="sgd", lr=0.05, momentum=0.9)
EXACT = [("lenet5", PLAIN), ("lenet5", RICH), ("lenet5", SAMPLED), ("small googlenet", PLAIN), ("unused", PLAIN)]
COUNTS = [(1, 2, 3, 4), (1, 3), (1, 2), (1, 2, 3, 4), (1, 2)]
TWICE = [("lenet5-bn", replace(NORM, ema=0.9)), ("dropout", PLAIN)]
SIZES = [(random.Random(i).randint(1, 160), random.Random(i + 99).randint(20, 70), i) for i in range(50)]
"""Images, batch (validation takes 32 at least) and seed."""
CASES = {
    **{f"exact {i} {count}": (count, ("train", *case)) for i, case in enumerate(EXACT) for count in COUNTS[i]},
    **{
        f"twice {i} {count} {t}": (count, ("train", *c, False))
        for i, c in enumerate(TWICE)
        for count in (2, 3)
        for t in "ab"
    },
    **{f"interrupt {i}": (3, ("interrupt", *case)) for i, case in enumerate(TWICE)},
    **{f"chain {count}": (count, ("chain", "lenet5", RICH)) for count in (4, 2, 1)},
    "poison": (3, ("poison", "lenet5", PLAIN)),
    **{f"validate {count}": (count, ("validate", None, None, SIZES)) for count in (1, 2, 3, 4)},
    "together": (3, ("together", None, None)),
}
FULL = ("exact 2", "exact 3", "exact 4", "twice 1", "interrupt 1")
QUICK = {name: case for name, case in CASES.items() if not name.startswith(FULL)}


def crew(rank, folder, cases):
    """One of the four processes."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    for number, (name, (count, case)) in enumerate(cases.items()):
        if rank >= count:
            continue
        ranks = Ranks(rank, count, rank, count, f"file://{folder}/meeting-{number}")
        with joined(ranks):
            found = play(case, ranks, Path(folder) / name)
        torch.save(found, Path(folder) / f"{name} of rank {rank}")
    leave(0)


def played(folder, cases):
    """Plays the cases in four processes, forks of one that has everything imported: name -> what each rank found."""
    multiprocessing.set_forkserver_preload(["striate.experiment", "pytest"])
    start_processes(crew, (str(folder), cases), nprocs=4, start_method="forkserver")
    return results(folder, cases)


def results(folder, cases):
    read = lambda name, rank: torch.load(folder / f"{name} of rank {rank}", weights_only=False)  # noqa: E731
    return {name: [read(name, rank) for rank in range(count)] for name, (count, _) in cases.items()}


@pytest.fixture(scope="module")
def quick(shared):
    return results(shared("ranks", lambda folder: played(folder, QUICK)), QUICK)


@pytest.fixture(scope="module")
def rest(shared):
    cases = {name: case for name, case in CASES.items() if name not in QUICK}
    return results(shared("other-ranks", lambda folder: played(folder, cases)), cases)


@pytest.fixture
def found(request, quick):
    """What each rank found in each case; the quick ones, in tests marked `full` the others too."""
    return {**quick, **request.getfixturevalue("rest")} if request.node.get_closest_marker("full") else quick


def furthest(a, b):
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.full
@pytest.mark.parametrize(
    "case",
    [0, 1, *(pytest.param(case, marks=pytest.mark.full) for case in (2, 3, 4))],
    ids=["plain", "rich", "sampled", "auxiliary head", "unused parameter"],
)
def test_the_number_of_ranks_changes_nothing_but_rounding(found, case):
    (one,) = found[f"exact {case} 1"]
    begin = make(Path("nowhere"), Ranks(), *EXACT[case])[0].net.state_dict()
    assert furthest(begin, one["weights"]) > 1e-3, "it learned"
    for count in COUNTS[case][1:]:
        for each in found[f"exact {case} {count}"]:
            assert each["step"] == STEPS
            assert furthest(one["weights"], each["weights"]) < 1e-12
            for row, other in zip(each["rows"], one["rows"], strict=True):
                assert row == pytest.approx(other, rel=1e-12)


TWO_NETS = pytest.mark.parametrize(
    "case", [0, pytest.param(1, marks=pytest.mark.full)], ids=["batch norm and mean weights", "dropout"]
)


@pytest.mark.full
@TWO_NETS
@pytest.mark.parametrize("count", [2, 3])
def test_the_same_number_twice_gives_the_same_bits(found, case, count):
    first, second = (found[f"twice {case} {count} {which}"] for which in "ab")
    for a, b in zip(first, second, strict=True):
        assert same_bits(a["weights"], b["weights"])
        assert same_bits(a["moments"], b["moments"])
        assert a["rows"] == b["rows"]
    weights = [{name: each["weights"][name] for name in each["weights"] if "running" not in name} for each in first]
    assert all(same_bits(weights[0], other) for other in weights[1:]), "all ranks have the same weights"


@pytest.mark.full
@TWO_NETS
def test_a_signal_at_one_rank_stops_all_after_the_same_step_and_they_go_on_to_the_bit(found, case):
    whole, broken = found[f"twice {case} 3 a"], found[f"interrupt {case}"]
    for a, b in zip(whole, broken, strict=True):
        assert b["first"]["step"] == 21
        assert b["first"]["error"].startswith("Interrupted: stopped after step 21 of 50; everything is saved")
        assert same_bits(a["weights"], b["weights"])
        assert same_bits(a["moments"], b["moments"])
        assert a["rows"] == b["rows"]


@pytest.mark.full
def test_a_run_goes_on_with_another_number_of_ranks(found):
    assert [found[f"chain {count}"][0]["step"] for count in (4, 2, 1)] == [16, 36, 50]
    ((whole,), (chain,)) = found["exact 1 1"], found["chain 1"]
    assert furthest(whole["weights"], chain["weights"]) < 1e-12
    for row, other in zip(chain["rows"], whole["rows"], strict=True):
        assert row == pytest.approx(other, rel=1e-12)


def test_dropout_falls_otherwise_at_each_rank_and_at_the_first_as_in_one_process():
    draws = []
    for rank in ((), (0,), (1,), (2,)):
        seed_step(7, 3, torch.device("cpu"), *rank)
        draws.append(torch.rand(8))
    assert torch.equal(draws[0], draws[1])
    assert not any(torch.equal(draws[i], draws[j]) for i in (1, 2, 3) for j in (1, 2, 3) if i < j)


@pytest.mark.full
def test_a_loss_that_is_not_finite_at_one_rank_stops_all_before_the_update(found):
    for each in found["poison"]:
        assert each["step"] == 21
        assert "in step 22 (epoch 3), which was not taken" in each["error"]


@pytest.mark.full
def test_sharded_validation_of_real_ranks_is_that_of_one_process(found):
    (one,) = found["validate 1"]
    for count in (2, 3, 4):
        for each in found[f"validate {count}"]:
            assert [accuracy for _, accuracy in each] == [accuracy for _, accuracy in one]
            assert [loss for loss, _ in each] == pytest.approx([loss for loss, _ in one], rel=1e-6)


@pytest.mark.full
def test_an_error_at_one_rank_is_raised_by_all(found):
    assert found["together"] == 3 * [["rank 0 failed", "rank 1 failed", "rank 2 failed"]]


def test_every_sample_of_a_batch_has_one_rank():
    draw = random.Random(0)
    for _ in range(1000):
        size, batch, count = draw.randint(1, 300), draw.randint(1, 40), draw.randint(1, 9)
        data = ImageData(np.zeros((size, 1, 1, 1), np.uint8), np.zeros(size, np.int64), ("a",))
        preprocessing = Preprocessing(size=(1, 1), channels=1, mean=(0.5,), std=(0.25,))
        batches = Batches(data, preprocessing, Augmentation(), Order(batch, draw.randint(0, 99)), torch.device("cpu"))
        epoch, seen = draw.randint(0, 9), []
        for step in range(batches.steps_per_epoch):
            samples = batches.samples(epoch, step)
            shares = [samples[Ranks(rank, count).share(len(samples))] for rank in range(count)]
            assert torch.equal(torch.cat(shares), samples)
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
            seen += torch.cat(shares).tolist()
        assert sorted(seen) == list(range(size))


class Told(Ranks):
    """A rank that keeps what it would give to the others, and goes on as if all of it were its own."""

    __slots__ = ()
    said = []  # noqa: RUF012

    def gathered(self, tensor):
        self.said.append(tensor)
        return torch.ones(1, 3)

    def same_buffers(self, net):
        pass


def test_sharded_evaluation_counts_what_one_process_counts():
    draw = random.Random(1)
    for number in range(200):
        size, batch, count = draw.randint(1, 200), draw.randint(20, 70), draw.randint(1, 8)
        job, data = linear(Ranks(), size, batch, number)
        outputs = logits(job.net, job.preprocessing, data.pixels, job.device, batch)
        whole = confusion_matrix(data.labels, outputs.argmax(1).numpy(), 3)
        parts = np.zeros_like(whole)
        Told.said.clear()
        for rank in range(count):
            share = Ranks(rank, count).share(size)
            if share.start < share.stop:
                mine = logits(job.net, job.preprocessing, data.pixels[share], job.device, batch).argmax(1).numpy()
                parts += confusion_matrix(data.labels[share], mine, 3)
            validate(replace(job, ranks=Told(rank, count)), Stop(), job.net)
        assert np.array_equal(parts, whole)
        loss, hits, seen = torch.stack(Told.said).sum(0).tolist()
        assert (hits, seen) == (whole.trace(), size)
        alone = validate(job, Stop(), job.net)
        assert (loss / size, hits / size) == (pytest.approx(alone[0], rel=1e-6), alone[1])


def test_what_cannot_be_shared_is_refused_by_name(monkeypatch):
    with pytest.raises(
        UsageError, match=r"a batch of 11 images cannot be split into 1 micro-batch on each of 13 ranks: use a"
    ):
        make(Path("nowhere"), Ranks(0, 13), "lenet5", PLAIN)
    with pytest.raises(UsageError, match="processes must be at least 1, got 0"):
        spread(0, len, Audience())
    for device in ("cpu:0", "cpu"):
        assert Ranks(1, 2).device(device).type == "cpu"
    assert Ranks(1, 2).device("auto").type in ("cpu", "cuda")
    with pytest.raises(UsageError, match="leave processes out"):
        striate.experiment.try_out(striate.experiment.Settings(processes=2))
    for name, value in (("RANK", 1), ("WORLD_SIZE", 2), ("LOCAL_RANK", 1), ("LOCAL_WORLD_SIZE", 2)):
        monkeypatch.setenv(name, str(value))
    assert Ranks.here() == Ranks(1, 2, 1, 2)
    with pytest.raises(UsageError, match="2 ranks were already started by torchrun: leave out processes"):
        striate.train(processes=2)


def test_an_observer_in_the_calling_process_sees_every_event_of_two_ranks(clothes, tmp_path):
    told, given = [], {"epochs": 2, "batch_size": 60, "threads": 1, "layout": "nchw", "processes": 2, "report": False}
    run = striate.train(
        "lenet5", clothes, out=tmp_path, progress=Progress(quiet=True), observers=[told.append], **given
    )
    assert (run.summary.status, run.config.plan.ranks, len(run.metrics)) == ("finished", 2, 2)
    assert "--processes 2" in run.summary.command
    (evaluation,) = run.evaluations.values()
    assert evaluation.n == 200
    kept = [event for event in told if not isinstance(event, Stepped | Reading)]
    assert [event for event in striate.follow(run) if not isinstance(event, Stepped)] == kept
    assert {type(event) for event in told} >= {Said, Started, Stepped, EpochEnded, Saved, Trained, Evaluated, Finished}
    assert [event.row["epoch"] for event in kept if isinstance(event, EpochEnded)] == [1, 2]


# Through the commands.

OPTIONS = [
    "lenet5",
    "--no-report",
    "--epochs",
    "6",
    "--threads",
    "1",
    "--layout",
    "nchw",
    "--batch-size",
    "600",
    "--json",
]


def command(*words):
    return [sys.executable, "-m", *words]


def weights(folder):
    return load_file(folder / "weights" / "last.safetensors")


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


TOLD = []
"""What an observer here, in the process that called, was told of the two ranks that went on."""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """(run, exit code, what was said) of `--processes 2` that a signal stopped after an epoch, and that then went on."""
    out = tmp_path_factory.mktemp("two")
    words = ["train", *OPTIONS, "--processes", "2", "--out", out, "--name", "stopped"]
    process = subprocess.Popen(command("striate", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for((out / "stopped" / "metrics.csv").is_file, process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert Run(out / "stopped").summary.status == "interrupted", said
    run = striate.resume(out / "stopped", progress=Progress(quiet=True), observers=[TOLD.append])
    return run, process.returncode, said


@pytest.mark.full
def test_a_signal_to_the_command_stops_its_processes_and_they_go_on(stopped):
    run, code, said = stopped
    assert code == 143
    assert said.count("everything is saved") == 1
    assert "Warning" not in said
    assert run.summary.status == "finished"
    assert run.config.plan.ranks == 2
    assert "--processes 2" in run.summary.command
    assert len(run.metrics) == 6
    (evaluation,) = run.evaluations.values()
    assert evaluation.n == 2000
    assert evaluation.accuracy > 0.5


@pytest.mark.full
def test_an_observer_in_the_calling_process_sees_every_event_of_two_ranks_that_go_on(stopped):
    run = stopped[0]
    told = [event for event in TOLD if not isinstance(event, Stepped | Reading)]
    before = list(striate.follow(run))
    started = max(place for place, event in enumerate(before) if isinstance(event, Stopped)) + 1
    assert isinstance(before[0], Said), "what the ranks of the command told"
    assert [event for event in before[started:] if not isinstance(event, Stepped)] == told
    assert {type(event) for event in TOLD} >= {Said, Started, Stepped, EpochEnded, Saved, Trained, Evaluated, Finished}
    epochs = [event.row["epoch"] for event in told if isinstance(event, EpochEnded)]
    assert epochs == list(range(7 - len(epochs), 7))


def torchrun(out, kills, generator, options=OPTIONS):
    """The folder of a run of two ranks under torchrun, of which one is killed so many times."""
    words = ["--standalone", "--nproc-per-node=2", f"--max-restarts={kills}", "-m", "striate", "train", *options]
    words += ["--out", str(out), "--name", "killed"]
    process = subprocess.Popen(
        command("torch.distributed.run", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    folder, before = out / "killed", 0
    for _ in range(kills):
        wait_for(lambda b=before: trains(folder, b), process)
        before = (folder / "summary.json").stat().st_mtime_ns
        time.sleep(generator.uniform(0, 1))
        generator.choice(psutil.Process(process.pid).children()).kill()
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return folder


def trains(folder, before):
    """Whether the run was begun or gone on with since."""
    summary = folder / "summary.json"
    return summary.is_file() and summary.stat().st_mtime_ns > before and Run(folder).summary.status == "running"


@pytest.mark.full
def test_a_rank_killed_under_torchrun_ends_with_the_bits_of_a_run_that_was_stopped_otherwise(stopped, tmp_path):
    folder = torchrun(tmp_path, 1, random.Random(0))
    assert striate.load(folder).summary.status == "finished"
    assert same_bits(weights(folder), weights(stopped[0].path))


@pytest.mark.slow
def test_ten_ranks_killed_under_torchrun(tmp_path):
    options = [*OPTIONS, "--epochs", "60"]
    whole = tmp_path / "whole"
    words = ["train", *options, "--processes", "2", "--out", tmp_path, "--name", "whole"]
    subprocess.run(command("striate", *words), check=True, capture_output=True)
    folder = torchrun(tmp_path, 10, random.Random(1), options)
    assert same_bits(weights(folder), weights(whole))
    for name in ("train_loss", "val_loss", "val_accuracy"):
        assert [row[name] for row in Run(folder).metrics] == [row[name] for row in Run(whole).metrics]


def test_torchrun_that_may_restart_wants_a_name_and_takes_no_run_of_another_launch(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(UsageError, match="add name='NAME'"):
        previous_attempt(tmp_path, None)
    assert previous_attempt(tmp_path, "run") is None
    (tmp_path / "run").mkdir()
    assert previous_attempt(tmp_path, "run") == tmp_path / "run"
    begun = datetime.fromtimestamp(psutil.Process(os.getppid()).create_time() - 5, UTC).isoformat(timespec="seconds")
    (tmp_path / "run" / "summary.json").write_text(json.dumps({"started": begun}))
    assert previous_attempt(tmp_path, "run") is None


@pytest.mark.slow
def test_the_whole_googlenet_with_its_auxiliary_heads(tmp_path):
    recipe = replace(PLAIN, lr=1e-4)
    found = played(tmp_path, {f"{count}": (count, ("train", "googlenet", recipe)) for count in (1, 2, 3, 4)})
    for count in (2, 3, 4):
        for each in found[f"{count}"]:
            assert furthest(found["1"][0]["weights"], each["weights"]) < 1e-12


@pytest.mark.slow
def test_two_agents_of_two_ranks_of_which_one_is_killed_are_four_ranks(tmp_path, monkeypatch):
    """Two nodes on one machine, which meet on the loopback."""
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        "--nnodes=2",
        "--nproc-per-node=2",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint=127.0.0.1:{port}",
        "--rdzv-id=7",
    ]
    words += ["--max-restarts=3", "-m", "striate", "train", *OPTIONS, "--out", str(tmp_path), "--name", "nodes"]
    agents = [subprocess.Popen(command("torch.distributed.run", *words), stderr=subprocess.PIPE) for _ in range(2)]
    wait_for(lambda: trains(tmp_path / "nodes", 0), agents[0])
    psutil.Process(agents[1].pid).children()[0].kill()
    for agent in agents:
        _, said = agent.communicate(timeout=240)
        assert agent.returncode == 0, said
    words = ["train", *OPTIONS, "--processes", "4", "--out", tmp_path, "--name", "one"]
    subprocess.run(command("striate", *words), check=True, capture_output=True)
    assert same_bits(weights(tmp_path / "nodes"), weights(tmp_path / "one"))


def test_nodes_that_could_not_meet_again_are_told_the_way_out(monkeypatch):
    check_restarts()
    for name, value in (("MAX_RESTARTS", "3"), ("USE_AGENT_STORE", "True")):
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    check_restarts()
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        striate.train()
    with pytest.raises(UsageError, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        striate.resume("runs/any")
