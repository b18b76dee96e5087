"""The command that a run keeps is true when it is pasted into a shell, in whatever folder, or absent with the reason."""

import shlex
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from test_exactness import QUIET, same_bits

import striate
from striate.cli import main
from striate.data.augmentation import Augmentation
from striate.experiment.repeat import repeat_command, why_none
from striate.namedrecipes import FAST_SMALL, TUTORIAL
from striate.recipe import Milestones, ResizeSchedule
from striate.runforms.config import Origin

pytestmark = pytest.mark.usefixtures("no_charts")
ODD = "it's two words; $HOME & `x`"


@pytest.fixture
def photos(tmp_path):
    """Images of two classes in a folder whose name a shell would take apart."""
    generator = np.random.default_rng(0)
    for label, level in (("dark one", 60), ("light's", 180)):
        folder = tmp_path / ODD / label
        folder.mkdir(parents=True)
        for number in range(14):
            pixels = np.clip(level + generator.integers(-40, 41, (30, 34, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"p{number // 2}-{number:02d} [x].png")
    return tmp_path / ODD


def bits(run):
    return load_file(run.path / "weights" / "last.safetensors")


def pasted(run, tmp_path, monkeypatch):
    """What the command of a run makes in another, empty folder."""
    place = tmp_path / "another place"
    place.mkdir()
    monkeypatch.chdir(place)
    for line in run.summary.command.splitlines():
        words = shlex.split(line)
        assert words[:2] == ["striate", "train"]
        with pytest.raises(SystemExit) as exited:
            main(words[1:])
        assert not exited.value.code
    (made,) = (place / "runs").iterdir()
    return striate.load(made)


NET = """import torch
from torch import nn
net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2))
"""

SETTINGS = {
    "a folder with an odd name, globs and groups": {
        "exclude": ["dark one/p0-0*", "*06 [[]x[]].png"], "group_by": "p([0-9]+)", "lr": 1 / 3000, "threads": 1,
    },
    "floats that take all their digits": {"lr": 0.1 / 3, "ema": 1 - 1 / 7, "freeze": 1 / 3, "epochs": 7 / 3},
    "an augmentation and sizes made in Python": {
        "augment": Augmentation(flip=True, colour=1 / 3), "resize_schedule": ((0.0, 28), (float(Fraction(1, 3)), 32)),
    },
    "a recipe with fields that --set alone reaches": {
        "recipe": replace(
            TUTORIAL, name="mine", optimizer="sgd", momentum=1 / 3, nesterov=True, schedule="step", weight_decay=1e-5,
            milestones=((1 / 3, 0.5), (0.75, 1 / 30)), label_smoothing=0.1, decay_all=True,
        ),
    },
    "a recipe that options can give": {"recipe": replace(TUTORIAL, lr=0.002, seed=4, batch_size=6), "epochs": 2},
    "weights of a file": {"weights": "begin with.safetensors"},
    "a net in a file": {"net": "my net.py:net", "recipe": "tutorial"},
    "parts, smoothing, classes that count alike": {"micro_batches": 2, "balance": "weights", "keep": "best", "patience": 3},
    "a sampler, padding": {"balance": "sampler", "fit": "pad", "layout": "nhwc"},
    "a budget": {"budget": 40.0, "epochs": None},
    "images that are not square": {"data": "wide.npz", "size": None},
    "two processes": {"processes": 2, "threads": 1, "batch_size": 8},
    "the paper's draw of the weights": {"init": "paper", "seed": 3, "validation": 0.3},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_pasted_makes_the_same_weights_to_the_bit(name, photos, tmp_path, monkeypatch):
    repeats(SETTINGS[name], photos, tmp_path, monkeypatch)


def test_the_command_of_a_folder_with_an_odd_name_is_true(photos, tmp_path, monkeypatch):
    repeats(SETTINGS["a folder with an odd name, globs and groups"], photos, tmp_path, monkeypatch)


def repeats(settings, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my net.py").write_text(NET)
    generator = np.random.default_rng(1)
    np.savez("wide.npz", images=generator.integers(0, 256, (60, 32, 40, 3), dtype=np.uint8), labels=np.arange(60) % 2)
    given = {
        "net": "lenet5",
        "data": photos.name,
        "epochs": 1.5,
        "batch_size": 5,
        "size": 32,
        "report": False,
        **settings,
    }
    if "weights" in given:
        first = striate.train("lenet5", photos.name, epochs=1, size=32, name="first", report=False, progress=QUIET)
        (tmp_path / given["weights"]).write_bytes((first.path / "weights" / "last.safetensors").read_bytes())
    run = striate.train(name="original", progress=QUIET, **given)
    command = run.summary.command
    if "budget" in given and command is None:  # this machine kept another pace than was measured
        assert "moved during training" in run.summary.no_command
        return
    assert "--budget" not in command
    run = striate.load((tmp_path / run.path).resolve())
    again = pasted(run, tmp_path, monkeypatch)
    assert same_bits(bits(run), bits(again)), command


def test_what_no_option_can_give_has_no_command_and_says_why(tmp_path, photos):
    def train(**given):
        return striate.train(
            "lenet5",
            photos,
            epochs=0.5,
            size=32,
            threads=1,
            layout="nchw",
            out=tmp_path / "runs",
            progress=QUIET,
            **given,
        )

    own = train(recipe=replace(FAST_SMALL, momentum=0.5, warmup=0.4)).config
    assert own.settings["set"] == {"momentum": 0.5, "warmup": 0.4}
    assert repeat_command(replace(own, settings={}, only_in_python="made in Python")) is None
    for changed, reason in (
        ({"net": replace(own.net, origin=Origin(given=True))}, "given as a module"),
        ({"plan": replace(own.plan, parts=4)}, "memory ran out"),
        ({"plan": replace(own.plan, resumed_in=3)}, "started with 1 processes and resumed with 3"),
    ):
        assert reason in why_none(replace(own, **changed))
        assert repeat_command(replace(own, **changed)) is None


def test_a_command_that_names_private_folders_is_not_in_what_is_handed_out(tmp_path, photos):
    run = striate.train("lenet5", photos, epochs=0.5, size=32, threads=1, layout="nchw", out=tmp_path, progress=QUIET)
    assert shlex.quote(str(photos)) in run.summary.command
    for file in ("README.md", "report.html"):
        text = (run.path / file).read_text()
        assert "striate train lenet5 --data" not in text
        assert "is in summary.json; it is not shown here because it names folders of the machine it ran on" in text


def test_sizes_and_augmentations_are_read_as_they_were_written():
    sizes = ((0.0, 28), (1 / 3, 32), (0.75, 40))
    assert ResizeSchedule.parse(str(ResizeSchedule(sizes))) == sizes
    factors = ((0.0, 1 / 3), (0.1 + 0.2, 1e-3))
    assert Milestones.parse(str(Milestones(factors))) == factors
    altered = Augmentation(flip=True, colour=1 / 3, rotate=10 / 7)
    assert Augmentation.parse(str(altered)) == altered
