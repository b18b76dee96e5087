"""What is not known is said to be unknown, and what is computed anywhere is counted.

Run: pytest tests/anatomy/test_operations.py
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import DeformConv2d

from striate.anatomy import Anatomy, inspect


class Middle(nn.Module):
    """A 3x3 convolution, something, another one: the field of `b` says what is known of it."""

    def __init__(self, run: Any, **parts: Any) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 10)
        for name, part in parts.items():
            setattr(self, name, part)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.run(self, self.a(x).relu())).relu().mean((2, 3)))


def read(run: Any, **parts: Any) -> Anatomy:
    return inspect(Middle(run, **parts).to("meta"), (3, 65, 65))


def field(anatomy: Anatomy) -> Any:
    return next(row.field for row in anatomy.rows if row.path == "b")


def test_a_deformed_window_has_no_field_but_macs() -> None:
    anatomy = read(
        lambda net, x: net.d(x, net.o(x)), o=nn.Conv2d(8, 18, 3, padding=1), d=DeformConv2d(8, 8, 3, padding=1)
    )
    assert field(anatomy) is None
    assert next(row.macs for row in anatomy.rows if row.path == "d") == 2_433_600
    assert "?" in anatomy.table()


def test_a_fourier_transform_reads_everything() -> None:
    assert field(read(lambda net, x: torch.fft.fft2(x).abs())).whole


@pytest.mark.parametrize(
    "run",
    [
        lambda net, x: torch.einsum("bchw,cd->bdhw", x, net.w),
        lambda net, x: torch.bmm(net.w.expand(len(x), 8, 8), x.flatten(2)).view(x.shape),
        lambda net, x: (x.permute(0, 2, 3, 1) @ net.w).permute(0, 3, 1, 2),
        lambda net, x: F.linear(x.flatten(2).transpose(1, 2), net.w).transpose(1, 2).reshape(x.shape),
    ],
)
def test_a_pointwise_convolution_by_other_names(run: Any) -> None:
    assert field(read(run, w=nn.Parameter(torch.ones(8, 8)))).largest == (5, 5)


def test_macs_that_are_not_known_are_said_to_be_missing() -> None:
    anatomy = read(lambda net, x: x * net.m(x.mean((2, 3)), x.amax((2, 3)))[..., None, None], m=nn.Bilinear(8, 8, 8))
    totals = anatomy.as_dict()["totals"]
    assert totals["macs"] is totals["flops"] is None
    assert totals["not_counted"] == {"_trilinear": 1}
    assert totals["macs_counted"] == 65 * 65 * (216 + 576) + 80
    assert "and what 1 _trilinear computes" in anatomy.table()
    assert "MACs: unknown" in anatomy.explain()
    assert "_trilinear" in anatomy.diagram()
    assert anatomy.maps()
    assert anatomy._repr_html_()


def test_an_operation_of_somebody_else_is_not_atens() -> None:
    @torch.library.custom_op("striate_tests::relu", mutates_args=())
    def relu(x: Tensor) -> Tensor:
        return x.flip(2)

    relu.register_fake(torch.empty_like)
    anatomy = read(lambda net, x: relu(x))
    assert field(anatomy) is None
    assert anatomy.totals.macs is not None  # it reads one tensor and no parameter


class Sequential(nn.Sequential):
    """An own class of torch's name, which computes."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 3))
        self.mix = nn.Parameter(torch.randn(8, 8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(self[0](x), self.mix)


class Hooked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(3, 8, 3))
        self.w = nn.Parameter(torch.randn(8, 8, 1, 1))
        self.f.register_forward_hook(lambda _, __, output: F.conv2d(output, self.w))

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x)


@pytest.mark.parametrize("make", [Sequential, Hooked])
def test_own_sequentials_and_hooks_are_counted(make: Any) -> None:
    anatomy = inspect(nn.Sequential(make(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)), (3, 32, 32))
    assert (anatomy.totals.parameters, anatomy.totals.macs) == (378, 252_080)
    assert sum(row.macs or 0 for row in anatomy.rows) == 252_080


class Queries(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Conv2d(3, 32, 8, 8)
        self.d = nn.TransformerDecoderLayer(32, 4, 64, batch_first=True)
        self.q = nn.Parameter(torch.randn(1, 5, 32))
        self.h = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.p(x).flatten(2).transpose(1, 2)
        return self.h(self.d(self.q.expand(len(x), -1, -1), x).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.l = nn.LSTM(96, 32, 2, batch_first=True, bidirectional=True)
        self.h = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.h(self.l(x.permute(0, 2, 1, 3).flatten(2))[0][:, -1])


@pytest.mark.parametrize(("make", "macs"), [(Queries, 189_312), (Recurrent, 1_835_648)])
def test_products_that_read_no_pixel_are_counted(make: Any, macs: int) -> None:
    with torch.device("meta"):
        net = make().eval()
    anatomy = inspect(net, (3, 32, 32))
    assert anatomy.totals.macs == macs
    assert anatomy.totals.parameters == sum(p.numel() for p in net.parameters())
    assert [row.operation for row in anatomy.rows if row.path == "l"] in ([], ["LSTM"])
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, 3, 32, 32, device="meta"))
    assert counter.get_total_flops() // 2 == macs


def test_the_statistics_of_a_norm_read_everything_and_the_rest_keeps_its_field() -> None:
    found = field(read(lambda net, x: F.group_norm(x, 2)))
    assert found.whole
    assert found.smallest == (5, 5)
    assert found.stride == (1, 1)
