"""Weights from anybody: what is refused, and why; what is accepted, and that it is the very weights."""

import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

import striate
from striate.errors import DataError
from striate.inference import save_weights
from striate.nets.savedfiles import read_saved
from striate.nets.torchvision import save as under_their_names
from striate.nets.weightfiles import load_weights
from striate.runforms.config import RunConfig
from tests import run_config
from tests.nets.hostile_weights import CANARY, hostile, lenet, members, saved, with_pickle

SECONDS = 1.0
MOST_MEMORY = 200 * 2**20


def same(net, other):
    ours, theirs = net.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    made = hostile(folder)
    for number, (content, _) in enumerate(made.values()):
        (folder / f"{number:02d}.weights").write_bytes(content)
    return folder, {name: (folder / f"{n:02d}.weights", reason) for n, (name, (_, reason)) in enumerate(made.items())}


def test_hostile_files_are_refused_by_name_at_once_and_nothing_runs(files):
    folder, made = files
    assert len(made) >= 60
    net = striate.build("lenet5")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    threads = set(Path("/proc/self/task").iterdir())
    wrong = []
    for name, (path, reason) in made.items():
        began, memory = time.perf_counter(), resident()
        try:
            load_weights(net, path)
        except DataError as error:
            said = str(error)
            if str(path) not in said or not re.search(reason, said) or "\n" in said:
                wrong.append(f"{name}: {said}")
        except BaseException as error:
            wrong.append(f"{name}: {type(error).__name__}: {error}")
        else:
            wrong.append(f"{name} was accepted")
        if time.perf_counter() - began > SECONDS:
            wrong.append(f"{name}: {time.perf_counter() - began:.1f} s")
        if resident() - memory > MOST_MEMORY:
            wrong.append(f"{name}: {(resident() - memory) / 2**20:.0f} MiB")
    assert not wrong, "\n".join(wrong)
    assert not (folder / CANARY).exists()
    assert set(Path("/proc/self/task").iterdir()) == threads
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_the_canary_sings_where_a_pickle_is_run(files):
    """The payloads work: read as they ask to be read, one of them makes the file."""
    folder, made = files
    path, _ = made["eval"]
    torch.load(path, weights_only=False)
    assert (folder / CANARY).exists()
    (folder / CANARY).unlink()


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), os.mkfifo, lambda p: p.symlink_to("/dev/zero"), lambda p: None])
def test_what_is_no_file_is_not_opened(tmp_path, make):
    path = tmp_path / "weights.pt"
    make(path)
    with pytest.raises(DataError, match=r"is not a file|does not exist"):
        load_weights(striate.build("lenet5"), path)


def test_whatever_happens_to_a_byte_it_is_refused_or_read(tmp_path):
    """The pickle's bytes are changed and the checksums made right again: no other error, and nothing runs."""
    net, path = striate.build("lenet5"), tmp_path / "w.pth"
    pickled = members(saved(lenet()))[0][1]
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        changed = np.frombuffer(pickled, np.uint8).copy()
        changed[generator.integers(len(pickled), size=generator.integers(1, 4))] = generator.integers(256)
        path.write_bytes(with_pickle(changed.tobytes()))
        try:
            load_weights(net, path)
        except DataError:
            refused += 1
    assert 200 < refused < 300


def test_a_checkpoint_of_a_stranger_is_judged_too(files, tmp_path):
    for name in ("eval", "bomb", "bytearray bomb", "longer storage"):
        path, reason = files[1][name]
        with path.open("rb") as file, pytest.raises(DataError, match=reason):
            read_saved(file, path)


# ------------------------------------------------------------------------------------------- what is accepted


FAMILIES = [
    "lenet5", "lenet5-1998", "lenet5-bn", "lenet5-tutorial", "alexnet-native", "vgg11-native", "nin-native",
    "googlenet-native", "resnet20", "resnet18-native", "preresnet20", "densenet40-k12",
]  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_every_familys_weights_come_back(tmp_path, name, form):
    torch.manual_seed(1)
    net = striate.build(name)
    path = tmp_path / "weights"
    save_file(net.state_dict(), path) if form == "safetensors" else torch.save(net.state_dict(), path)
    torch.manual_seed(2)
    other = striate.build(name)
    assert not same(net, other)
    loaded = load_weights(other, path)
    assert same(net, other)
    assert loaded.notes == ("it begins with the weights in weights",)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_other_floats_become_the_nets(tmp_path, kind, form):
    net, other = striate.build("lenet5-bn"), striate.build("lenet5-bn")
    state = {
        name: tensor.to(kind) if tensor.is_floating_point() else tensor for name, tensor in net.state_dict().items()
    }
    path = tmp_path / "weights"
    save_file(state, path) if form == "safetensors" else torch.save(state, path)
    load_weights(other, path)
    for name, tensor in other.state_dict().items():
        assert tensor.dtype == net.state_dict()[name].dtype
        assert torch.equal(tensor, state[name].to(tensor.dtype))


WRAPPINGS = {
    "DataParallel": lambda net: torch.nn.DataParallel(net).state_dict(),
    "a checkpoint": lambda net: {"epoch": 3, "state_dict": net.state_dict(), "best": 0.5, "names": ["a", None]},
    "with its optimizer": lambda net: {
        "model_state_dict": net.state_dict(), "optimizer": torch.optim.Adam(net.parameters()).state_dict(),
    },
    "compiled and parallel": lambda net: {"model": {f"module._orig_mod.{k}": v for k, v in net.state_dict().items()}},
    "as Lightning has it": lambda net: {"state_dict": {f"model.{k}": v for k, v in net.state_dict().items()}},
    "parameters": lambda net: dict(net.named_parameters()) | dict(net.named_buffers()),
    "without counts": lambda net: {k: v for k, v in net.state_dict().items() if "num_batches" not in k},
    "one memory for all": lambda net: _in_one_storage(net.state_dict()),
}  # fmt: skip


def _in_one_storage(state):
    values = torch.cat([tensor.flatten().float() for tensor in state.values()])
    parts = values.split([tensor.numel() for tensor in state.values()])
    return {
        name: part.view(tensor.shape) if tensor.is_floating_point() else tensor
        for (name, tensor), part in zip(state.items(), parts, strict=True)
    }


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_as_others_save_them(tmp_path, wrapping):
    net, other = striate.build("lenet5-bn"), striate.build("lenet5-bn")
    torch.save(WRAPPINGS[wrapping](net), tmp_path / "w.pth")
    load_weights(other, tmp_path / "w.pth")
    assert same(net, other)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("resnet18", "resnet18"),
        ("densenet121", "densenet121"),
        pytest.param("vgg11-bn", "vgg11_bn", marks=pytest.mark.slow),
    ],
)
def test_torchvisions_names(tmp_path, name, theirs):
    module = torchvision.models.get_model(theirs, weights=None, num_classes=3)
    torch.save({f"module.{key}": value for key, value in module.state_dict().items()}, tmp_path / "w.pth")
    net = striate.build(name, classes=3)
    notes = load_weights(net, tmp_path / "w.pth").notes
    assert notes[1:] == ("the prefix module. was removed from its names", "its tensors have torchvision's names")
    wanted = module.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in under_their_names(net).items())


@pytest.mark.parametrize("name", ["resnet20", "nin-native", "vgg11-native", "googlenet-native"])
def test_a_classifier_for_other_classes_begins_anew_where_that_is_wanted(tmp_path, name):
    donor, net = striate.build(name, classes=7), striate.build(name, classes=3)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    save_file(donor.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(DataError, match=r"has the shape \(7, .*the net's is \(3, "):
        load_weights(net, tmp_path / "w.safetensors")
    notes = load_weights(net, tmp_path / "w.safetensors", new_classifier=True).notes
    assert notes[1:] == ("the classifier of 7 classes is replaced by a new one of 3",)
    own, theirs = net.state_dict(), donor.state_dict()
    for key in own:
        expected = theirs[key] if own[key].shape == theirs[key].shape else before[key]
        assert torch.equal(own[key], expected)


def test_a_runs_weights_say_what_pictures_they_know(tmp_path):
    net = striate.build("lenet5")
    preprocessing = {"size": [28, 28], "channels": 1, "mean": [0.25], "std": [0.5]}
    config = RunConfig.from_dict(run_config.config(preprocessing=preprocessing))
    save_weights(net, tmp_path / "run.safetensors", config)
    loaded = load_weights(net, tmp_path / "run.safetensors")
    assert (loaded.mean, loaded.std) == ((0.25,), (0.5,))
    save_file(net.state_dict(), tmp_path / "plain.safetensors")
    assert load_weights(net, tmp_path / "plain.safetensors").mean is None


@pytest.mark.parametrize("std", [[0.0], [float("nan")], "x", [[1]], None, [0.5, 0.5], [10**400]])
def test_figures_of_channels_that_make_no_sense_are_left_aside(tmp_path, std):
    net = striate.build("lenet5")
    config = {"net": {"name": "lenet5"}, "preprocessing": {"mean": [0.25], "std": std}}
    save_file(net.state_dict(), tmp_path / "run.safetensors", {"striate": json.dumps(config)})
    assert load_weights(net, tmp_path / "run.safetensors").std is None


def test_a_link_to_a_file_is_followed(tmp_path):
    (tmp_path / "w.pth").write_bytes(saved(lenet()))
    (tmp_path / "link.pth").symlink_to(tmp_path / "w.pth")
    load_weights(striate.build("lenet5"), tmp_path / "link.pth")
