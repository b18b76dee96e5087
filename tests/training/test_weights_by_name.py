"""A net that begins with weights of a run or a file: the classifier's rows follow the names of classes."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import striate
from striate.errors import DataError
from striate.experiment.initial_net import begin_with
from striate.inference import save_weights
from striate.nets import CATALOGUE, build
from striate.nets.classifier import classifier
from striate.nets.external import adapt
from striate.nets.metadevice import on_meta_device
from striate.nets.netspec import NetFacts
from striate.runforms.config import RunConfig
from striate.training import Progress
from tests import run_config

QUIET = Progress(quiet=True)
PREPROCESSING = {"size": [28, 28], "channels": 1, "mean": [0.5], "std": [0.25]}


def saved(net, path, classes=()):
    save_weights(net, path, RunConfig.from_dict(run_config.config(preprocessing=PREPROCESSING)), classes)
    return path


def grey(count=3, side=28, channels=1):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def test_the_same_classes_in_another_order_get_their_own_rows(tmp_path):
    donor, net = build("lenet5", classes=4).eval(), build("lenet5", classes=4).eval()
    path = saved(donor, tmp_path / "w.safetensors", ["cat", "dog", "eel", "fox"])
    notes = begin_with(net, path, ("fox", "cat", "eel", "dog"), (28, 28)).notes
    assert notes[-1] == "the rows of its classifier are reordered by class name"
    assert torch.allclose(net(grey()), donor(grey())[:, [3, 0, 2, 1]], atol=1e-6)


def test_other_classes_begin_anew_and_the_rest_is_kept(tmp_path):
    donor, net = build("lenet5", classes=2), build("lenet5", classes=2)
    drawn = {name: one.clone() for name, one in net.state_dict().items()}
    path = saved(donor, tmp_path / "w.safetensors", ["cat", "dog"])
    notes = begin_with(net, path, ("dog", "eel"), (28, 28)).notes
    assert notes[-1] == "its classifier is initialised anew: its classes were cat, dog, and are dog, eel"
    head = set(classifier(net, (28, 28)))
    assert len(head) == 2
    for name, one in net.state_dict().items():
        assert torch.equal(one, (drawn if name in head else donor.state_dict())[name]), name


def test_the_same_classes_in_the_same_order_need_no_word_and_a_file_without_names_says_so(tmp_path):
    donor, net = build("lenet5", classes=2), build("lenet5", classes=2)
    path = saved(donor, tmp_path / "w.safetensors", ["cat", "dog"])
    assert begin_with(net, path, ("cat", "dog"), (28, 28)).notes == ("it begins with the weights in w.safetensors",)
    save_file(donor.state_dict(), tmp_path / "plain.safetensors")
    notes = begin_with(net, tmp_path / "plain.safetensors", ("cat", "dog"), (28, 28)).notes
    assert notes[-1] == (
        "the file does not name its classes: its classifier is kept by position, so its rows are used for cat, dog, "
        "in this order"
    )
    assert all(torch.equal(one, donor.state_dict()[name]) for name, one in net.state_dict().items())
    for odd in ([], ["cat"], ["cat", "cat"], ["cat", 3], "cat"):
        saved(donor, tmp_path / "odd.safetensors", odd)
        assert "kept by position" in begin_with(net, tmp_path / "odd.safetensors", ("cat", "dog"), (28, 28)).notes[-1]


def test_a_run_and_its_file_and_what_it_exported_name_their_classes(tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 28, 28, 1), dtype=np.uint8)

    def data(name, *classes):
        np.savez(f"{name}.npz", images=images, labels=np.arange(40) % 2, classes=np.array(classes))
        return f"{name}.npz"

    given = {"epochs": 0.5, "threads": 1, "report": False, "layout": "nchw", "progress": QUIET}
    first = striate.train("lenet5", data("a", "cat", "dog"), name="first", **given)
    last = first.path / "weights" / "last.safetensors"
    before = load_file(last)
    code, _, _ = call("export", first.path, "--to", "safetensors", "--output", "out.safetensors")
    assert code == 0
    # A run of before, whose file does not name its classes: what lies beside it does.
    old = tmp_path / "runs" / "old"
    (old / "weights").mkdir(parents=True)
    for name in ("config.yaml", "data.json"):
        (old / name).write_bytes((first.path / name).read_bytes())
    save_file(before, old / "weights" / "last.safetensors")
    name = next(key for key, one in before.items() if len(one) == 2 and one.dim() == 2)
    for weights in (first.path, last, "out.safetensors", old, old / "weights" / "last.safetensors"):
        net = build("lenet5", classes=2)
        note = begin_with(net, weights, ("dog", "cat"), (28, 28)).notes[-1]
        assert note.startswith("the rows of its classifier are reordered"), weights
        assert torch.equal(net.state_dict()[name], before[name].flip(0))
    run = striate.train("lenet5", data("b", "dog", "cat"), weights=first.path, lr=1e-9, **given)
    assert run.config.net.pretrained[-1] == note
    assert torch.allclose(load_file(run.path / "weights" / "last.safetensors")[name], before[name].flip(0), atol=1e-4)
    assert f"--weights {first.path.resolve()}" in run.summary.command
    (old / "weights" / "last.safetensors").unlink()
    with pytest.raises(DataError, match="has no finished weights"):
        begin_with(build("lenet5", classes=2), old, ("dog", "cat"), (28, 28))


class Odd(nn.Module):
    """A hidden layer as wide as there are classes; logits of a matrix that lies the other way round, or of a norm."""

    def __init__(self, kind):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.hidden = nn.Linear(3, 3)
        self.kind, self.out = kind, nn.Parameter(torch.randn(3, 3))
        self.norm = nn.BatchNorm1d(3)
        self.norm.running_mean.copy_(torch.tensor([0.1, -0.2, 0.3]))
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, x):
        x = torch.relu(self.hidden(self.body(x)) + 1)
        if self.kind == "turned":
            return x @ self.out * self.scale
        x = nn.functional.linear(nn.functional.normalize(x), nn.functional.normalize(self.out))
        return self.norm(x) * self.scale


def adapted(module):
    return adapt(module, NetFacts(name="odd", title="odd", family="external", input=(1, 28, 28), min_size=3), 1, 3)


def test_the_classifier_is_right_or_none():
    net = adapted(Odd("cosine"))
    before = {name: one.clone() for name, one in net.state_dict().items()}
    turned, generator = adapted(Odd("turned")), torch.get_rng_state()
    assert set(classifier(net, (28, 28))) == {
        "out", "scale", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
    }  # fmt: skip
    assert classifier(turned, (28, 28)) == ()
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(one, before[name]) for name, one in net.state_dict().items())
    assert all(one.grad is None for one in net.parameters())


def test_a_net_whose_classifier_cannot_be_told_keeps_it_by_position_and_says_so(tmp_path):
    donor = Odd("turned")
    path = saved(donor, tmp_path / "w.safetensors", ["a", "b", "c"])
    notes = begin_with(adapted(Odd("turned")), path, ("c", "b", "a"), (28, 28)).notes
    assert notes[-1].startswith(
        "its classes are a, b, c, and which of its tensors belong to them is not known: its classifier is kept"
    )


SMALL = ("lenet5", "lenet5-bn", "nin-native", "vgg11-native", "resnet20", "googlenet-native")


@pytest.mark.parametrize(
    "name", [*SMALL, *(pytest.param(one, marks=pytest.mark.slow) for one in CATALOGUE if one not in SMALL)]
)
def test_the_classifier_of_a_catalogue_net_is_what_another_number_of_classes_changes(name):
    row = CATALOGUE[name]
    if name.endswith("1998"):
        return  # it has the ten digits and no others
    channels, height, width = row.input
    with on_meta_device():
        one, other = (build(name, channels=channels, classes=count).state_dict() for count in (11, 12))
    wanted = {key for key in one if one[key].shape != other[key].shape}
    if (
        name == "nin-tutorial"
    ):  # all of its last block has as many channels as classes, and only the last layer's are classes
        wanted = {"stages.mlpconv4.mlp2.weight", "stages.mlpconv4.mlp2.bias"}
    assert set(classifier(build(name, channels=channels, classes=11), (height, width))) == wanted
