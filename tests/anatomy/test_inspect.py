"""Rows, totals, table and targets. Run: pytest tests/anatomy/test_inspect.py"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from striate.anatomy import inspect, resolve, trace
from striate.errors import UsageError
from striate.nets import CATALOGUE, build
from tests.anatomy.fast_rows import FAST, ROWS

# parameters and MACs counted by others: torchvision's own tables
PUBLISHED = {
    "alexnet": (61_100_840, 714_188_480),
    "vgg16": (138_357_544, 15_470_264_320),
    "googlenet": (6_624_904, 1_498_376_192),
    "resnet50": (25_557_032, 4_089_184_256),
    "densenet121": (7_978_856, 2_834_161_664),
    "mobilenet_v2": (3_504_872, 300_774_272),
}


def counted(module: nn.Module, shape: tuple[int, ...]) -> int:
    """MACs by torch's own counter."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        module.eval()(torch.empty(shape))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", PUBLISHED)
def test_torchvision_nets_have_the_published_numbers(name: str) -> None:
    anatomy = inspect(f"torchvision:{name}")
    assert (anatomy.totals.parameters, anatomy.totals.macs) == PUBLISHED[name]


@pytest.mark.parametrize("name", ROWS)
def test_rows_add_up(name: str) -> None:
    anatomy, spec = inspect(name), CATALOGUE[name]
    assert sum(row.parameters for row in anatomy.rows) == anatomy.totals.parameters
    assert sum(row.macs for row in anatomy.rows) == anatomy.totals.macs
    assert sum(row.activation_bytes for row in anatomy.rows) == anatomy.totals.activation_bytes
    with torch.device("meta"):
        net = build(name)
    assert anatomy.totals.macs == counted(net, (1, *spec.input))
    assert anatomy.totals.parameters + anatomy.totals.parameters_unused == sum(p.numel() for p in net.parameters())
    assert anatomy.rows[-1].shape == (spec.classes,)


class Odd(nn.Module):
    """What module counters miss: functional layers, a tied weight, an in-place write through a view, a matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.ones(8, 3, 3, 3))
        self.same = nn.Conv2d(8, 8, 1)
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2, groups=2)
        self.spare = nn.Linear(5, 5)
        self.mask = torch.ones(8, 3, 3, 3)  # no buffer: stays on the CPU

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, H, W) -> (N, 4, 4)
        x = F.conv2d(x, self.kernel * self.mask, padding=1).relu_()
        y = self.same(self.same(x)) + x
        y[:, :2] = 0 * x[:, :2]
        z = self.up(y).flatten(2)
        return z @ z.transpose(1, 2)


def test_functional_and_tied_layers_are_counted() -> None:
    module = Odd()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    anatomy = inspect(module, (3, 10, 12))
    assert anatomy.totals.macs == (216 * 120 + 2 * 64 * 120 + 8 * 2 * 9 * 120 + 4 * 21 * 25 * 4)
    assert anatomy.totals.parameters == 216 + 72 + (8 * 2 * 9 + 4)
    assert anatomy.totals.parameters_unused == 30
    assert set(anatomy.unused) == {"spare.weight", "spare.bias"}
    assert [row.operation for row in anatomy.rows if row.path.startswith("same")] == ["Conv2d", "Conv2d"]
    assert module.training
    assert all(part.training for part in module.modules())
    assert not module._forward_hooks
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_the_graph_has_the_skip_and_the_in_place_write() -> None:
    graph = trace(Odd(), (1, 3, 10, 12))
    add = next(node for node in graph.nodes if node.operation == "add")
    relu = next(node for node in graph.nodes if node.operation == "relu_")
    assert add.inputs[1] == relu.index
    up = next(node for node in graph.nodes if node.attributes.get("transposed"))
    write = graph.nodes[up.inputs[0]]
    assert write.operation == "write"
    assert add.index in write.inputs


def test_kernels_of_one_and_three_dimensions_are_named_by_all_their_sides() -> None:
    class Lines(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.volume, self.line = nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1)), nn.Conv1d(4, 4, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.line(self.volume(x.unsqueeze(2)).flatten(2)).mean(2)

    anatomy = inspect(Lines(), (3, 8, 10))
    settings = [row.setting for row in anatomy.rows if row.operation.startswith("Conv")]
    assert settings == ["1x3x3, pad 0x1x1", "5"]
    assert "depth: floor((1 - 1 + 2*0) / 1) + 1 = 1" in anatomy.explain()
    assert "width: floor((10 - 3 + 2*1) / 1) + 1 = 10" in anatomy.explain()


def test_dropout_has_a_row() -> None:
    rows = inspect("torchvision:alexnet").rows
    assert [row.path for row in rows if row.operation == "Dropout"] == ["classifier.0", "classifier.3"]


def test_the_table_is_at_most_100_columns_and_adds_up() -> None:
    for name in ("lenet5", "vgg19", "googlenet", "torchvision:densenet121"):
        anatomy = inspect(name)
        text = anatomy.table()
        lines = text.splitlines()
        assert max(map(len, lines)) <= 100
        total = next(line for line in lines if line.startswith("total"))
        assert f"{anatomy.totals.parameters:,}" in total
        assert f"{anatomy.totals.macs:,}" in total


def test_no_weights_are_allocated() -> None:
    anatomy = resolve("torchvision:vgg19")
    assert {parameter.device.type for parameter in anatomy.module.parameters()} == {"meta"}


def test_a_net_that_computes_while_it_is_built() -> None:
    """RegNet reads its widths off a tensor, which has no values on the meta device."""
    assert inspect("torchvision:regnet_y_400mf").totals.parameters == 4_344_144


def test_a_net_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mynet.py"
    path.write_text(
        "from torch import nn\nfrom beside import WIDTH\n"
        "def make():\n    return nn.Sequential(nn.Conv2d(1, WIDTH, 3), nn.Flatten(), nn.Linear(WIDTH * 36, 10))\n"
        "net = make()\nnumber = 3\ndef needs(width):\n    return make()\n"
    )
    (tmp_path / "beside.py").write_text("WIDTH = 4\n")
    for name in ("make", "net"):
        assert inspect(f"{path}:{name}", (1, 8, 8)).totals.parameters == 40 + 1450
    for name, message in (
        ("nett", "Did you mean net"),
        ("number", "must be a net"),
        ("needs", "needs the arguments width"),
        ("", "Write .*OBJECT"),
    ):
        with pytest.raises(UsageError, match=message):
            inspect(f"{path}:{name}", (1, 8, 8))
    with pytest.raises(UsageError, match="no default input"):
        inspect(f"{path}:net")
    path.write_text("import nothing_of_that_name")
    with pytest.raises(UsageError, match="failed when it was imported"):
        inspect(f"{path}:net", (1, 8, 8))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("lenet6", "Did you mean"),
        ("torchvision:resnet51", "resnet50"),
        ("keras:vgg16", "names no net"),
        ("nowhere.py:net", "no file"),
        ("net.py", "OBJECT"),
    ],
)
def test_unknown_targets(target: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        inspect(target)


def test_the_fast_rows_are_rows() -> None:
    assert set(CATALOGUE) >= FAST
