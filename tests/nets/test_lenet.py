"""The parts of LeNet-5 of 1998, each against a plain loop or the paper's own figures."""

from __future__ import annotations

import pytest
import torch

from striate.errors import UsageError
from striate.nets import build
from striate.nets.lenet import C3_INPUTS, EuclideanRBF, PartialConv, ScaledTanh, Subsampling, digit_codes

TRAINABLE = {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120}  # section II.B, layer by layer
CONNECTIONS = {"c1": 122_304, "s2": 5_880, "c3": 151_600, "s4": 2_000, "c5": 48_120}


def test_trainable_parameters_and_connections_of_each_layer_are_the_papers() -> None:
    net = build("lenet5-1998")
    x = torch.zeros(1, 1, 32, 32)
    for name, stage in net.stages.items():
        x = stage(x)
        trainable = sum(p.numel() for p in stage.parameters())
        assert trainable == TRAINABLE[name]
        # A map's connections: as many a pixel as it has weights and a bias; sub-sampling has 4 inputs and a bias.
        a_pixel = 5 * x.shape[1] if name.startswith("s") else trainable
        assert a_pixel * x.shape[2] * x.shape[3] == CONNECTIONS[name]
    assert sum(p.numel() for p in net.head.parameters()) == 10_164  # F6
    assert sum(p.numel() for p in net.parameters()) == 60_000


def test_partial_convolution_is_a_loop_over_table_i() -> None:
    assert sum(map(len, C3_INPUTS)) == 60
    torch.manual_seed(1)
    conv, x = PartialConv(), torch.randn(2, 6, 9, 8)
    weights = [w for c in conv.convs for w in c.weight]
    biases = [b for c in conv.convs for b in c.bias]
    expected = torch.stack(
        [
            sum(
                (x[:, source, i : i + 5, j : j + 4] * weight[position, i, j])
                for position, source in enumerate(sources)
                for i in range(5)
                for j in range(5)
            )
            + bias
            for sources, weight, bias in zip(C3_INPUTS, weights, biases, strict=True)
        ],
        dim=1,
    )
    torch.testing.assert_close(conv(x), expected)


def test_subsampling_sums_scales_and_shifts() -> None:
    layer, x = Subsampling(2), torch.arange(32.0).reshape(1, 2, 4, 4)
    with torch.no_grad():
        layer.coefficient.copy_(torch.tensor([0.5, 2.0]).reshape(2, 1, 1))
        layer.bias.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1))
    assert layer(x)[0, :, 0, 0].tolist() == [0.5 * (0 + 1 + 4 + 5) + 1, 2 * (16 + 17 + 20 + 21) - 1]


def test_the_squashing_function_maps_one_to_one() -> None:
    assert ScaledTanh()(torch.tensor([1.0, -1.0, 0.0])).tolist() == pytest.approx([1, -1, 0], abs=1e-4)


def test_logits_are_minus_half_the_squared_distance_to_the_codes() -> None:
    codes = digit_codes()
    assert codes.shape == (10, 84)
    assert set(codes.flatten().tolist()) == {1.0, -1.0}
    assert len({tuple(code.tolist()) for code in codes}) == 10
    x = torch.randn(3, 84)
    torch.testing.assert_close(EuclideanRBF()(x), -torch.cdist(x, codes).square() / 2, rtol=1e-4, atol=1e-4)
    assert (EuclideanRBF()(codes).argmax(1) == torch.arange(10)).all()


def test_the_one_stands_upright_in_its_code() -> None:
    one = digit_codes()[1].reshape(12, 7)
    assert (one[:9, 3:5] == 1).all()  # the stem of the 1 in Fig. 3
    assert (one[9, 1:] == 1).all()  # its foot
    assert (one[10:] == -1).all()


def test_only_ten_classes() -> None:
    with pytest.raises(UsageError, match="exactly 10 classes, got 7"):
        build("lenet5-1998", classes=7)


def test_paper_initialisation_is_uniform_within_its_bound() -> None:
    net = build("lenet5-1998", init="paper")
    conv = net.stages["c5"].conv
    bound = 2.4 / (16 * 25)
    assert conv.weight.abs().max() <= bound
    assert conv.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
