"""A net is a function of one image: what is none is refused by the name of the cause, and what is one passes."""

import copy
import importlib.util
import time

import pytest
import torch
import torch.nn.functional as F
from anatomy import unsound
from torch import nn

from striate.anatomy import inspect
from striate.anatomy.asking import ask, fixed_images, images_as_fed, reproduces
from striate.anatomy.soundness import NAMES, unsound_causes
from striate.data import Preprocessing
from striate.nets import CATALOGUE, build
from striate.nets.external import make


def images_for(channels, height, width):
    preprocessing = Preprocessing(
        size=(height, width), channels=channels, mean=(0.45, 0.4, 0.35)[:channels], std=(0.25, 0.24, 0.23)[:channels]
    )
    return images_as_fed(preprocessing, torch.device("cpu"))


def fault_of(net, again=None, size=(3, 28, 28)):
    return ask(net, images_for(*size), again=again).fault


@pytest.mark.parametrize("kind", unsound.CASES, ids=lambda kind: kind.__name__)
def test_what_is_no_function_of_one_image_is_refused_by_its_cause(kind):
    torch.manual_seed(0)
    net = kind()
    before, generator = copy.deepcopy(net), torch.get_rng_state()
    fault = fault_of(net, again=kind)
    name, place = unsound.CASES[kind]
    assert fault is not None
    assert fault.name == name
    assert any(place in where for where in fault.where), fault.where
    assert torch.equal(torch.get_rng_state(), generator)
    assert net.training
    assert getattr(net, "calls", 0) == 0
    for key, tensor in net.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[key])


@pytest.mark.parametrize("kind", [k for k in unsound.CASES if k not in unsound.UNSEEN], ids=lambda kind: kind.__name__)
def test_the_anatomy_shows_the_cause_without_data(kind):
    name, place = unsound.CASES[kind]
    causes = {cause.name: cause for cause in unsound_causes(kind(), (3, 28, 28))}
    assert name in causes
    assert any(place in where for where in causes[name].where), causes[name].where


def test_inspect_says_it():
    names = [finding.name for finding in inspect(unsound.DropoutAlwaysOn(), (3, 28, 28)).findings]
    assert "draws-in-evaluation" in names
    names = [finding.name for finding in inspect(unsound.SoftmaxOverTheBatch(), (3, 28, 28)).findings]
    assert "softmax-over-batch" in names
    assert "softmax-before-loss" not in names


class Head(unsound.Base):
    def __init__(self, last):
        super().__init__()
        self.last = last

    def forward(self, x):
        return self.last(self.head(self.features(x)))


@pytest.mark.parametrize(
    ("last", "name", "floor"),
    [
        (torch.sigmoid, "sigmoid-before-loss", "0.551"),
        (nn.Hardsigmoid(), "sigmoid-before-loss", "0.551"),
        (torch.tanh, "tanh-before-loss", "0.240"),
        (torch.relu, "relu-before-loss", ""),
        (nn.Hardtanh(), "clamp-before-loss", "0.240"),
        (lambda x: x.clamp(0, 1), "clamp-before-loss", "0.551"),
        (nn.ReLU6(), "relu-before-loss", ""),
        (lambda x: x.clamp(min=0), "relu-before-loss", ""),
        (nn.Softmax(1), "softmax-before-loss", "0.551"),
        (nn.Softmax(-1), "softmax-before-loss", "0.551"),
    ],
)
def test_last_activations_that_the_cross_entropy_does_not_go_with(last, name, floor):
    net = Head(last)
    (finding,) = inspect(net, (3, 28, 28)).findings
    assert finding.name == name
    assert floor in finding.why
    assert fault_of(net) is None
    if floor:  # the loss at the best that such outputs can be
        ends = (1.0, -1.0) if isinstance(last, nn.Hardtanh) or last is torch.tanh else (1.0, 0.0)
        best = torch.tensor([[ends[0], ends[1], ends[1]]])
        assert float(F.cross_entropy(best, torch.tensor([0]))) == pytest.approx(float(floor), abs=6e-4)


@pytest.mark.parametrize("last", [nn.LogSoftmax(1), nn.Identity(), lambda x: 10 * torch.tanh(x), nn.LeakyReLU()])
def test_harmless_ends(last):
    assert inspect(Head(last), (3, 28, 28)).findings == ()


class Sound(unsound.Base):
    """Everything that looks like a fault and is none."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(8)
        self.instance = nn.InstanceNorm2d(8)
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
        self.recurrent = nn.LSTM(8, 8, batch_first=True, dropout=0.5, num_layers=2)
        self.weighted = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
        self.spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))
        self.tied = nn.Linear(8, 8)
        self.tied.weight = self.weighted.parametrizations.weight.original1
        self.drop, self.leaky = nn.Dropout(0.9), nn.RReLU()
        self.register_buffer("scale", torch.full((8,), 2.0))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64), persistent=False)
        self.all = [self.norm, self.drop]  # owned elsewhere
        self.unused = [nn.Linear(2, 2)]
        self.table = None
        self.constant = torch.linspace(0, 1, 8)

    def forward(self, x):
        self.seen += 1
        if self.table is None:
            self.table = torch.arange(8, device=x.device, dtype=x.dtype)
        x = self.instance(self.all[0](self.a(x)))
        both = torch.cat([x, x.flip(3)]).relu()  # the batch twice, and taken apart again
        left, right = both.chunk(2)
        rows = (left + right).mean(3).transpose(1, 2)
        rows = self.attention(rows, rows, rows)[0] + self.recurrent(rows)[0]
        each = torch.stack([one.mean(0) for one in rows])  # a loop over images
        f = self.spectral(self.tied(self.weighted(self.leaky(self.drop(each))))) * self.scale
        return self.head(f + self.table + self.constant)


def test_what_only_looks_like_a_fault_passes():
    torch.manual_seed(0)
    assert fault_of(Sound(), again=Sound) is None
    assert [c for c in unsound_causes(Sound(), (3, 28, 28)) if c.name in NAMES] == []


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_extreme_answers_are_answers(factor):
    class Extreme(unsound.Base):
        def forward(self, x):
            return self.head(self.features(x)) * factor

    assert fault_of(Extreme()) is None


class Overflows(unsound.Base):
    """Fresh weights, whose maps overflow float32 before the statistics of batch norm are known."""

    def forward(self, x):
        f = self.features(x)
        for _ in range(20):
            f = f * 1e3
        return self.head(f)


def test_float32_that_overflows_before_training_is_no_fault():
    assert not ask(Overflows(), images_for(3, 28, 28)).logits.isfinite().all()
    assert fault_of(Overflows()) is None


def test_the_images_are_the_same_everywhere():
    images = fixed_images(3, 5, 4)
    assert images.dtype == torch.uint8
    assert images.shape == (4, 5, 4, 3)
    assert not images[0].any()
    assert len(images.flatten(1).unique(dim=0)) == 4
    assert images[1, 0, 0].tolist() == fixed_images(3, 5, 4)[1, 0, 0].tolist()


def test_kept_answers():
    kept = torch.tensor([[1.0, float("nan")], [2.0, 3.0]])
    assert reproduces(kept, kept + 1e-3)
    assert not reproduces(kept, kept + 0.1)
    assert not reproduces(kept, kept.nan_to_num())
    assert not reproduces(kept, kept[:1])


FAST = ("lenet5", "lenet5-1998", "inception-mnist", "resnet20-dropout-shortcut", "preresnet20")
SIDE = 64
"""Pixels at most, so that a row takes no long time."""


def row_fault(name, init):
    spec = CATALOGUE[name]
    channels, height, width = spec.input
    sides = (max(spec.min_size, min(height, SIDE)), max(spec.min_size, min(width, SIDE)))
    torch.manual_seed(0)
    net = build(name, channels=channels, classes=10, init=init)
    return ask(net, images_for(channels, *sides), heavy=True).fault


@pytest.mark.parametrize("name", [name for name in FAST if name in CATALOGUE])
def test_nets_of_the_catalogue_are_sound(name):
    assert row_fault(name, "default") is None


@pytest.mark.slow
@pytest.mark.parametrize("init", ["default", "paper"])
@pytest.mark.parametrize("name", CATALOGUE)
def test_every_row_of_the_catalogue_is_sound(name, init):
    assert row_fault(name, init) is None


THEIRS = (
    "torchvision:mobilenet_v3_small",
    "torchvision:shufflenet_v2_x0_5",
    "torchvision:squeezenet1_1",
    "timm:mobilenetv3_small_050",
    "timm:test_vit",
    "timm:test_convnext",
)


@pytest.mark.parametrize("target", THEIRS)
def test_nets_of_libraries_are_sound(target):
    if target.startswith("timm") and importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    torch.manual_seed(0)
    made = make(target, classes=10)
    side = made.input[1] if "vit" in target else 64
    again = make(target, classes=10).module
    assert ask(made.module, images_for(3, side, side), again=lambda: again).fault is None
    assert unsound_causes(made.module, (3, side, side)) == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [
        "torchvision:resnet18", "torchvision:swin_t", "torchvision:vit_b_16", "torchvision:efficientnet_b0",
        "torchvision:googlenet", "timm:vit_tiny_patch16_224", "timm:coatnet_0_rw_224", "timm:xcit_nano_12_p16_224",
        "timm:mobilevit_xxs", "timm:lambda_resnet26t", "timm:volo_d1_224",
    ],
)  # fmt: skip
def test_larger_nets_of_libraries_are_sound(target):
    torch.manual_seed(0)
    made = make(target, classes=10)
    assert ask(made.module, images_for(*made.input), heavy=True).fault is None
    assert unsound_causes(made.module, made.input) == ()


def test_it_costs_less_than_a_tenth_of_a_second():
    """Of the processor, so that what else runs on the machine does not count."""
    net, images = build("lenet5", channels=1, classes=10), images_for(1, 28, 28)
    ask(net, images)
    costs = []
    for _ in range(5):
        begin = time.process_time()
        ask(net, images)
        costs.append(time.process_time() - begin)
    assert min(costs) < 0.1
