"""`check_net` finds what is wrong with a net, by name, and finds nothing where nothing is. Run: pytest tests/test_testing.py"""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import striate
from striate.errors import CheckError, UsageError
from striate.testing import CHECKS, check_net


class Small(nn.Module):
    """Convolution, batch norm, pooling, a linear layer; the parts that are wrong are changed below."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 5, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.classifier = nn.Linear(24, 4)

    def maps(self, x):
        return self.norm(self.conv(x)).relu()

    def forward(self, x):
        return self.classifier(nn.functional.adaptive_avg_pool2d(self.maps(x), 2).flatten(1))


class Random(Small):
    def forward(self, x):
        return super().forward(x) + torch.rand(1)


class OverImages(Small):
    def forward(self, x):
        return super().forward(x).softmax(0)


class Divides(Small):
    def maps(self, x):
        return self.conv((x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True))


class Idle(Small):
    def __init__(self):
        super().__init__()
        self.idle = nn.Linear(3, 3)


class Unowned(Small):
    def __init__(self):
        super().__init__()
        self.scales = [torch.rand(1, 6, 1, 1) + 0.5]

    def maps(self, x):
        return super().maps(x) * self.scales[0]


class Detached(Small):
    def forward(self, x):
        return super().forward(x).detach()


class Explodes(Small):
    def forward(self, x):
        logits = super().forward(x)
        return logits * 1e38 * 10 if self.training else logits


class Refuses(Small):
    """Cannot be exported."""

    def forward(self, x):
        if torch.compiler.is_exporting():
            raise ValueError("not for export")
        return super().forward(x)


def test_a_sound_net_passes_as_a_class_and_as_a_module():
    check_net(Small, (1, 12, 12))
    check_net(Small().eval(), classes=4)


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (Random, "answers"),
        (OverImages, "answers"),
        (Divides, "answers"),
        (Idle, "gradients: idle.weight gets no gradient"),
        (Explodes, "gradients: the gradient of conv.weight is not finite"),
        (Unowned, "saving"),
        (Detached, "fit"),
        (Refuses, "export: ValueError: not for export"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_wrong_is_named(kind, check):
    with pytest.raises(CheckError) as caught:
        check_net(kind, (1, 12, 12))
    assert any(line.startswith(check) for line in caught.value.args[1:]), caught.value


def test_a_bias_ahead_of_batch_norm_may_learn_nothing_and_no_other():
    net = Small()
    check_net(net, (1, 12, 12))  # its convolution has one
    net.norm = nn.Identity()
    with torch.no_grad():
        net.conv.bias.fill_(-1e6)  # all maps are dead
    with pytest.raises(CheckError, match=r"gradients: the gradient of conv\.weight is zero everywhere"):
        check_net(net, (1, 12, 12), skip=("saving",))


def test_checks_are_left_out_by_name_and_a_wrong_number_of_classes_is_said():
    check_net(Random, (1, 12, 12), skip=("answers", "saving", "export"))
    with pytest.raises(UsageError, match=r"there is no check named 'answer'. Did you mean answers or unchanged\?"):
        check_net(Small, skip=("answer",))
    with pytest.raises(UsageError, match=r"must return a torch\.nn\.Module, got int"):
        check_net(lambda: 7)
    with pytest.raises(CheckError, match="gives 4 classes, and the check has 7"):
        check_net(Small, (1, 12, 12), classes=7)


def test_a_net_that_is_given_and_the_generator_stay_as_they_were():
    net = Small().train()
    net.conv.weight.grad = torch.ones_like(net.conv.weight)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    check_net(net, (1, 12, 12))
    assert torch.equal(torch.rand(3), expected)
    assert net.training
    assert torch.equal(net.conv.weight.grad, torch.ones_like(net.conv.weight))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_every_check_is_described():
    for name in CHECKS:
        assert f"- `{name}`: " in check_net.__doc__
    assert striate.testing.check_net is check_net


def test_the_example_of_the_page_holds(tmp_path, monkeypatch):
    page = (Path(__file__).parents[1] / "docs" / "elsewhere.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    (tmp_path / "mynet.py").write_text(next(block for block in blocks if "class MyNet" in block))
    monkeypatch.syspath_prepend(tmp_path)
    names = {}
    exec(next(block for block in blocks if "check_net(" in block), names)
    names["test_my_net"]()
    for name in CHECKS:
        assert f"| `{name}` | " in page
