"""Blocks of the families, each against its formula written out; initialisation; forms of any size."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import UsageError
from striate.nets import CATALOGUE, build, densenet, preresnet, resnet
from striate.nets.alexnet import AlexNetForm, alexnet
from striate.nets.blocks import response_norm
from striate.nets.densenet import DenseNetForm
from striate.nets.googlenet import BLOCKS, GoogLeNetForm, googlenet
from striate.nets.nin import NiNForm, nin
from striate.nets.preresnet import IdentityMappingForm, identity_mappings
from striate.nets.resnet import ResNetForm, ZeroPadShortcut
from striate.nets.vgg import VGGForm, vgg


def test_response_norm_is_the_papers_formula() -> None:
    x = torch.randn(2, 7, 3, 3, dtype=torch.float64) * 30
    expected = torch.empty_like(x)
    for i in range(7):
        neighbours = x[:, max(0, i - 2) : min(6, i + 2) + 1]
        expected[:, i] = x[:, i] / (2 + 1e-4 * neighbours.square().sum(1)) ** 0.75
    torch.testing.assert_close(response_norm()(x), expected)


def test_option_a_takes_every_second_pixel_and_appends_zeros() -> None:
    x = torch.randn(1, 2, 5, 4)
    y = ZeroPadShortcut(2, 5, 2)(x)
    assert y.shape == (1, 5, 3, 2)
    assert torch.equal(y[:, :2], x[:, :, ::2, ::2])
    assert (y[:, 2:] == 0).all()


def test_a_residual_unit_adds_its_input() -> None:
    unit = resnet.unit(4, 4, 1, ResNetForm()).eval()
    x = torch.randn(2, 4, 6, 6)
    nn.init.zeros_(unit.body.norm2.weight)
    assert torch.equal(unit(x), x.relu())
    plain = resnet.unit(4, 4, 1, ResNetForm(shortcut="none")).eval()
    nn.init.zeros_(plain.body.norm2.weight)
    assert (plain(x) == 0).all()


def test_the_stride_of_a_bottleneck_is_on_the_first_convolution_or_on_the_3x3() -> None:
    for v15, strides in ((False, (2, 1, 1)), (True, (1, 2, 1))):
        body = resnet.body(8, 4, 2, ResNetForm(bottleneck=True, stride_on_3x3=v15))
        assert (body.conv1.stride[0], body.conv2.stride[0], body.conv3.stride[0]) == strides
        assert body.conv3.out_channels == 16


@pytest.mark.parametrize("name", ["resnet-mnist", "resnet-mnist-constant-scaling", "resnet-mnist-conv-shortcut"])
def test_the_small_residual_net_is_what_its_tutorial_says(name: str) -> None:
    torch.manual_seed(1)
    net = build(name)
    x = torch.randn(2, 1, 28, 28)
    scale = 0.5 if "scaling" in name else 1.0

    def residual(unit: nn.Module, x: Tensor) -> Tensor:
        added = unit.body.conv2(F.relu(unit.body.conv1(x)))
        shortcut = unit.shortcut(x) if "conv" in name else x * scale
        return F.relu(added * scale + shortcut)

    y = F.max_pool2d(F.relu(net.stages["conv1"].conv(x)), 2)
    y = residual(net.stages["residual1"], y)
    y = F.max_pool2d(F.relu(net.stages["conv2"].conv(y)), 2)
    y = residual(net.stages["residual2"], y)
    torch.testing.assert_close(net(x), net.head.classifier(y.flatten(1)))


def first_unit_of_the_second_group(form: IdentityMappingForm) -> nn.Module:
    """The one that changes its shape: 16 maps to 32 (64 to 128 with bottlenecks), half the size."""
    torch.manual_seed(2)
    net = identity_mappings(3, 10, form).eval()
    preresnet.init(net, gate_bias=-1.0)
    unit: nn.Module = next(net.stages["conv3"].children())
    for module in unit.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return unit


@pytest.mark.parametrize("shortcut", get_args(preresnet.Shortcut))
def test_the_six_shortcuts_of_figure_2(shortcut: preresnet.Shortcut) -> None:
    unit = first_unit_of_the_second_group(IdentityMappingForm(depth=8, shortcut=shortcut))
    x = torch.randn(2, 16, 8, 8)
    identity = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 16))
    added = unit.body.norm2(unit.body.conv2(F.relu(unit.body.norm1(unit.body.conv1(x)))))
    if shortcut.endswith("gating"):
        assert (unit.gate.bias == -1).all()
        gate = torch.sigmoid(unit.gate(x))
        expected = (added * gate if shortcut.startswith("exclusive") else added) + identity * (1 - gate)
    elif shortcut == "constant-scaling":
        expected = 0.5 * added + 0.5 * identity
    elif shortcut == "conv":
        expected = added + unit.shortcut.norm(unit.shortcut.conv(x))
    else:
        expected = added + identity  # dropout is off in evaluation mode
    torch.testing.assert_close(unit(x), F.relu(expected))


def test_dropout_shortcut_drops_half_of_the_shortcut() -> None:
    unit = first_unit_of_the_second_group(IdentityMappingForm(depth=8, shortcut="dropout"))
    unit.train()
    dropped = unit.shortcut(torch.ones(4, 16, 32, 32))[:, :16]
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert (dropped == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("order", get_args(preresnet.Order))
def test_the_five_orders_of_figure_4(order: preresnet.Order) -> None:
    """The second unit of a group, where the shortcut is the identity and nothing is moved to a neighbour."""
    torch.manual_seed(3)
    net = identity_mappings(3, 10, IdentityMappingForm(depth=14, order=order)).eval()
    unit = net.stages["conv3"][1]
    for module in unit.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    f, relu, x = unit.body, F.relu, torch.randn(2, 32, 8, 8)
    expected = {
        "original": lambda: relu(x + f.norm2(f.conv2(relu(f.norm1(f.conv1(x)))))),
        "bn-after-addition": lambda: relu(unit.after.norm(x + f.conv2(relu(f.norm1(f.conv1(x)))))),
        "relu-before-addition": lambda: x + relu(f.norm2(f.conv2(relu(f.norm1(f.conv1(x)))))),
        "relu-preactivation": lambda: x + f.norm2(f.conv2(relu(f.norm1(f.conv1(relu(x)))))),
        "full-preactivation": lambda: x + f.conv2(relu(f.norm2(f.conv1(relu(f.norm1(x)))))),
    }[order]()
    torch.testing.assert_close(unit(x), expected)


def test_pre_activation_at_the_ends() -> None:
    """Appendix: the first activation is conv1's; the one ahead of a projection feeds both paths; the last has its own."""
    form = IdentityMappingForm(depth=20, bottleneck=True, order="full-preactivation")
    net = identity_mappings(3, 10, form)
    assert list(net.stages["conv2"][0].body._modules) == ["conv1", "norm2", "relu2", "conv2", "norm3", "relu3", "conv3"]
    assert list(net.stages["conv3"][0].before._modules) == ["norm1", "relu1"]
    assert list(net.stages["conv3"][0].shortcut._modules) == ["conv"]
    assert list(net.stages["conv3"][1].body._modules)[:3] == ["norm1", "relu1", "conv1"]
    assert list(net.stages["conv4"]._modules)[-2:] == ["norm", "relu"]


def test_an_inception_block_puts_its_branches_side_by_side() -> None:
    net = build("googlenet").eval()
    block, x = net.stages["inception3a"], torch.randn(1, 192, 6, 6)
    parts = block(x).split([BLOCKS["3a"][i] for i in (0, 2, 4, 5)], 1)
    branches = block.branches
    torch.testing.assert_close(parts[0], F.relu(branches.conv1x1.conv(x)))
    torch.testing.assert_close(parts[2], F.relu(branches.conv5x5.conv.conv(F.relu(branches.conv5x5.reduce.conv(x)))))
    torch.testing.assert_close(parts[3], F.relu(branches.pool.project.conv(F.max_pool2d(x, 3, 1, 1))))


def test_the_forward_pass_of_googlenet_leaves_its_auxiliary_heads_alone() -> None:
    net = build("googlenet", classes=5)
    assert list(net.auxiliary) == ["inception4a", "inception4d"]
    assert [weight for weight, _ in net.auxiliary.values()] == [0.3, 0.3]
    net(torch.randn(1, 3, 79, 79)).sum().backward()
    assert all(parameter.grad is None for parameter in net.auxiliary_heads.parameters())


def test_a_dense_layer_keeps_its_input_and_appends_k_maps() -> None:
    layer = densenet.dense_layer(10, DenseNetForm(growth=4)).eval()
    x = torch.randn(2, 10, 5, 5)
    y = layer(x)
    f = layer.layers
    assert torch.equal(y[:, :10], x)
    torch.testing.assert_close(y[:, 10:], f.conv2(F.relu(f.norm2(f.conv1(F.relu(f.norm1(x)))))))


def test_the_outputs_of_stages_are_not_changed_behind_them() -> None:
    """What a hook sees on a stage stays what it was: no later operation writes into it."""
    for name in ("lenet5", "vgg16-eighth-tutorial", "preresnet20", "densenet40-k12", "googlenet-native", "resnet20"):
        net = build(name).eval()
        x = torch.randn(1, *CATALOGUE[name].input)
        outputs, copies = [], []
        with torch.no_grad():
            for stage in (*net.stages.values(), net.head):
                x = stage(x)
                outputs.append(x)
                copies.append(x.clone())
        assert all(torch.equal(output, copy) for output, copy in zip(outputs, copies, strict=True))


def test_papers_initialisation() -> None:
    torch.manual_seed(4)
    alexnet = build("alexnet-halfwidth-tutorial", init="paper")
    assert alexnet.head.fc7.weight.std().item() == pytest.approx(0.01, rel=0.01)
    biases = {name: set(p.tolist()) for name, p in alexnet.named_parameters() if name.endswith("bias")}
    ones = {name.split(".")[1] for name, values in biases.items() if values == {1.0}}
    assert ones == {"conv2", "conv4", "conv5", "fc6", "fc7"}
    assert all(values in ({0.0}, {1.0}) for values in biases.values())

    deep = build("vgg16-eighth-tutorial", init="paper")
    assert deep.head.fc6.weight.std().item() == pytest.approx(0.1, rel=0.01)  # variance 0.01
    small = build("nin-cifar10", init="paper")
    assert small.stages["mlpconv2"].conv.weight.std().item() == pytest.approx(0.05, rel=0.01)
    conv = build("resnet20", init="paper").stages["conv4"][1].body.conv2
    assert conv.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


def test_vgg_of_any_width_and_nets_of_any_depth() -> None:
    with torch.device("meta"):
        wide = vgg(1, 10, VGGForm(width=1.5, hidden=100))
        assert wide.stages["conv1"].conv1.out_channels == 96
        assert wide(torch.zeros(1, 1, 32, 32)).shape == (1, 10)
        for bottleneck, depth in ((False, 26), (True, 29)):
            net = identity_mappings(1, 10, IdentityMappingForm(depth=depth, bottleneck=bottleneck))
            weights = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
            projections = sum(isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) for m in weights)
            assert len(weights) - (3 if bottleneck else projections) == depth


COUNTED = {
    "AlexNet with all maps seen by all": (partial(alexnet, 3, 1000, AlexNetForm(towers=1)), 62_378_344),
    "AlexNet at 224 with padding 2": (partial(alexnet, 3, 1000, AlexNetForm(stem=(11, 4, 2))), 60_965_224),
    "one weird trick, 384 maps in conv4 as its footnote says": (
        partial(
            alexnet,
            3,
            1000,
            replace(CATALOGUE["alexnet-owt"].builder.keywords["form"], widths=(64, 192, 384, 384, 256)),
        ),
        61_838_248,
    ),
    "NiN for CIFAR-100": (partial(nin, 3, 100, NiNForm()), 984_356),
    "GoogLeNet with batch norm and true 5x5": (
        partial(
            googlenet,
            3,
            1000,
            GoogLeNetForm(batch_norm="all", conv_bias=False, response_norm=False, auxiliary=False),
        ),
        7_005_832,
    ),
    **{
        f"ResNet-{depth} for CIFAR, option B": (
            partial(resnet.resnet, 3, 10, resnet.cifar_form(depth, "B")),
            params,
        )
        for depth, params in {20: 272_474, 32: 466_906, 44: 661_338, 56: 855_770, 110: 1_730_714}.items()
    },
    "DenseNet (L = 40, k = 12) behind 24 maps": (
        partial(densenet.densenet, 3, 10, replace(densenet.cifar_form(40, 12, False), stem_channels=24)),
        1_059_298,
    ),
    "DenseNet-264 with k = 48": (
        partial(densenet.densenet, 3, 1000, DenseNetForm(depths=(6, 12, 64, 48), growth=48, stem_channels=96)),
        72_686_632,
    ),
}


@pytest.mark.parametrize("form", COUNTED)
def test_forms_without_a_row_have_the_counts_of_their_sources(form: str) -> None:
    make, params = COUNTED[form]
    with torch.device("meta"):
        net = make()
    assert sum(p.numel() for p in net.parameters()) == params


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: resnet.cifar_form(21), "depth must be 6n.2 with n at least 1, got 21: use 20"),
        (lambda: densenet.cifar_form(42, 12, False), "depth must be 3n.4 with n at least 1, got 42: use 40"),
        (lambda: densenet.cifar_form(101, 12, True), "depth must be 6n.4 with n at least 1, got 101: use 100"),
        (
            lambda: identity_mappings(3, 10, IdentityMappingForm(depth=112, bottleneck=True)),
            "depth must be 9n.2 with n at least 1, got 112: use 110",
        ),
        (
            lambda: identity_mappings(3, 10, IdentityMappingForm(order="full-preactivation", shortcut="conv")),
            "shortcut 'conv' goes with the original order, got 'full-preactivation'",
        ),
        (lambda: build("lenet5", init="best"), "init must be default or paper, got 'best'"),
    ],
)
def test_forms_that_cannot_be(make: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    "name", ["lenet5", "alexnet-native", "vgg11-quarter-native", "nin-native", "googlenet-d2l", "resnet20"]
)
def test_a_net_begins_undecided(name: str) -> None:
    torch.manual_seed(0)
    net = build(name).train()  # with dropout, which doubles the variance twice in AlexNet and VGG
    channels, height, width = CATALOGUE[name].input
    logits = net(torch.randn(8, channels, height, width))
    loss = F.cross_entropy(logits, torch.arange(8))
    assert loss.item() == pytest.approx(math.log(10), rel=0.15)
