"""External nets become modules and Nets in one place. Run: pytest tests/nets/test_external.py"""

import hashlib
import importlib
import os
import sys
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn

import striate
from striate.anatomy.targets import check_fit, describe
from striate.errors import StriateError, UsageError
from striate.nets import external
from striate.nets.external import adapt, inner, make
from striate.nets.sources import read_source
from striate.runforms.config import Origin
from striate.trust import trust, trusted_source

OWN = """
from torch import nn

class Own(nn.Module):
    def __init__(self, in_channels, num_classes, width=4):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))

fixed = Own(1, 7)
def maps(): return nn.Conv2d(1, 10, 3)
def flat(): return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
def needs(width): return Own(1, 10, width)
def broken(): raise ZeroDivisionError("by zero")
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def logits(target, channels, classes, side=28):
    module = make(target, channels=channels, classes=classes).module.eval()
    with torch.no_grad():
        return module(torch.rand(2, channels, side, side))


def test_a_class_in_a_file_gets_the_datas_channels_and_classes(own):
    assert logits(f"{own}:Own", 3, 6).shape == (2, 6)
    assert logits(f"{own}:Own", 1, 2).shape == (2, 2)
    assert make(f"{own}:fixed", channels=3, classes=6).module.fc.out_features == 7


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("needs", "needs the arguments width: give them defaults"),
        ("broken", "could not be built: ZeroDivisionError: by zero"),
        ("", "Write .*OBJECT"),
        ("owm", "no object in .*own.py named 'owm'"),
    ],
)
def test_an_object_that_gives_no_net_is_said(own, name, message):
    with pytest.raises(UsageError, match=message):
        make(f"{own}:{name}", channels=1, classes=10)
    if name == "":
        with pytest.raises(UsageError, match="say --classes and --input"):
            make(f"{own}:Own")


@pytest.fixture
def imported(own, monkeypatch):
    """The file as a module that the user imported."""
    monkeypatch.syspath_prepend(own.parent)
    monkeypatch.delitem(sys.modules, "own", raising=False)
    return importlib.import_module("own")


def test_what_is_hashed_is_what_is_run(own, imported):
    """Python takes compiled code from __pycache__ if time and size of the source agree; a hash must not vouch for that."""
    assert imported.fixed
    before = own.stat()
    own.write_text(OWN.replace("fixed = Own(1, 7)", "fixed = Own(1, 8)"))
    os.utime(own, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert own.stat().st_size == before.st_size
    assert make(f"{own}:fixed").module.fc.out_features == 8
    assert read_source(own).sha256 == hashlib.sha256(own.read_bytes()).hexdigest()


def test_a_file_is_run_only_if_it_is_the_one_that_was_trained_and_came_not_with_the_run(own, tmp_path):
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    kept = Origin(target=f"{own}:Own", file=str(own), sha256=read_source(own).sha256)
    trust(own, kept.sha256, kept.target)
    assert trusted_source(kept, run, False).code == own.read_bytes()
    inside = run / "own.py"
    inside.write_bytes(own.read_bytes())
    for path in (inside, tmp_path / "linked" / "one" / "own.py"):
        (tmp_path / "linked").exists() or (tmp_path / "linked").symlink_to(tmp_path / "runs")
        with pytest.raises(UsageError, match=r"run's own folder(.|\n)*trust_code=True"):
            trusted_source(replace(kept, file=str(path)), run, False)
    assert trusted_source(replace(kept, file=str(inside)), run, True).path == inside.resolve()
    own.write_text(OWN + "\n")
    with pytest.raises(UsageError, match=r"has changed since(.|\n)*trust_code=True"):
        trusted_source(kept, run, False)
    assert trusted_source(kept, run, True).code == own.read_bytes()
    own.unlink()
    with pytest.raises(UsageError, match="no longer there"):
        trusted_source(kept, run, True)


def test_facts_are_found_by_running_on_shapes(own):
    found = describe(f"{own}:Own")
    assert (found.input, found.min_size, found.title) == ((3, 224, 224), 3, "Own in own.py")
    assert describe(f"{own}:fixed").input == (1, 224, 224)
    assert (describe(f"{own}:flat").input, describe(f"{own}:flat").min_size) == ((1, 28, 28), 28)
    assert describe("torchvision:squeezenet1_1").min_size == 17
    assert describe("torchvision:inception_v3").input == (3, 299, 299)
    assert describe("lenet5") is striate.CATALOGUE["lenet5"]


def fitted(target, classes, size=(28, 28)):
    row = describe(target)
    made = row.make(1, classes, False)
    net = adapt(made.module, row, external.input_channels(made.module) or row.input[0], classes)
    return check_fit(net, size, classes, "clothes")


def test_a_net_that_does_not_fit_the_data_is_told_which_layer_to_change(own):
    assert fitted(f"{own}:Own", 10) == ()
    with pytest.raises(
        UsageError, match=r"gives 7 classes, and clothes has 10: give its last layer, fc \(Linear\), 10 out"
    ):
        fitted(f"{own}:fixed", 10)
    with pytest.raises(UsageError, match="must give logits"):
        fitted(f"{own}:maps", 10)
    with pytest.raises(UsageError, match="built for 784 features and gets 1,024"):
        fitted(f"{own}:flat", 10, size=(32, 32))


@pytest.mark.full
def test_auxiliary_logits_are_left_aside_and_that_is_said():
    module = torchvision.models.googlenet(num_classes=5, init_weights=False, aux_logits=True)
    net = adapt(module, describe(module), 3, 5)
    assert check_fit(net, (32, 32), 5, "five") == ("its aux_logits2, aux_logits1 are ignored",)
    assert net.train()(torch.rand(2, 3, 32, 32)).shape == (2, 5)
    assert inner(net) is module
    made = make("torchvision:googlenet", classes=5, without_weights=True)
    assert made.notes == ("built without its auxiliary heads",)


def test_torchvisions_weights_on_grey_pictures_of_other_classes(monkeypatch):
    """Three equal channels into the published net are one channel into ours."""
    theirs = torchvision.models.squeezenet1_1().eval()
    monkeypatch.setattr(external, "published", lambda name, progress: ("Test.V1", dict(theirs.state_dict())))
    made = make("torchvision:squeezenet1_1", channels=1, classes=10, pretrained=True)
    assert (made.mean, made.std) == ((pytest.approx(0.449),), (pytest.approx(0.226),))
    assert [note.split(":")[0] for note in made.notes] == [
        "it starts from torchvision's weights Test.V1",
        "initialised anew, because the number of classes differs",
        "its first convolution takes 1 channel",
    ]
    grey = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        expected = theirs.features(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(made.module.eval().features(grey), expected, rtol=1e-4, atol=1e-5)
    same = make("torchvision:squeezenet1_1", pretrained=True)
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in same.module.state_dict().items())


def test_timm_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"striate\[timm\]"):
        make("timm:resnet18")


def test_timm_takes_channels_and_classes_and_says_what_it_lacks():
    pytest.importorskip("timm")
    assert logits("timm:test_resnet", 1, 6).shape == (2, 6)
    with pytest.raises(UsageError, match="Did you mean test_resnet"):
        make("timm:test_resnt")
    with pytest.raises(StriateError, match="could not load the weights that timm publishes"):
        make("timm:test_resnet.no_such_weights", pretrained=True)


def test_timms_weights_come_with_their_mean_and_deviation(monkeypatch):
    timm = pytest.importorskip("timm")
    asked = []

    def offline(name, pretrained, **options):
        asked.append(pretrained)
        return create(name, pretrained=False, **options)

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", offline)
    made = make("timm:test_resnet", channels=1, classes=6, pretrained=True)
    assert asked == [True]
    assert (made.input, made.mean, made.std) == ((1, 160, 160), (pytest.approx(0.5),), (pytest.approx(0.5),))
    assert made.notes == ("it starts from timm's weights test_resnet.r160_in1k",)


def test_a_module_is_found_again_by_its_file_only_where_that_makes_the_same_net(own, imported):
    assert describe(imported.Own(3, 5)).origin["file"] == str(own)
    assert "file" not in describe(imported.Own(3, 5, width=8)).origin
    strided = imported.Own(3, 5)
    strided.conv.stride = (2, 2)
    assert "file" not in describe(strided).origin
    assert describe(nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())).origin["given"]
