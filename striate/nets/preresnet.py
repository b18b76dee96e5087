"""Identity mappings: He, Zhang, Ren, Sun 2016, "Identity mappings in deep residual networks", arXiv:1603.05027 (ECCV 2016).

The residual nets for CIFAR-10 with other shortcuts (Fig. 2, Table 1) and other orders of batch norm, ReLU and addition
(Fig. 4, Table 2). Tensors are N C H W; three groups of blocks:

    conv1 16@32   conv2 @32   conv3 @16   conv4 @8   average   10        16, 32, 64 channels; a bottleneck leaves 4 times as many

Depth is 6n+2 with blocks of two 3x3 convolutions, 9n+2 with bottlenecks of 1x1, 3x3, 1x1.
In the two pre-activation orders the first activation of the first block is conv1's, what comes ahead of a projection feeds
both paths, and the last addition has an activation of its own behind it (appendix).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from striate.errors import UsageError
from striate.nets.blocks import Scale, conv_chain, conv_norm_relu, global_head, he_init, named, repeats
from striate.nets.net import Net
from striate.nets.netspec import Family, NetSpec, variant
from striate.nets.residual import ZeroPadShortcut, convolutions

Order = Literal["original", "bn-after-addition", "relu-before-addition", "relu-preactivation", "full-preactivation"]
Shortcut = Literal["identity", "constant-scaling", "exclusive-gating", "shortcut-gating", "conv", "dropout"]


@dataclass(frozen=True, kw_only=True, slots=True)
class IdentityMappingForm:
    """The options of the paper's nets. The defaults are ResNet-110 as it was."""

    depth: int = 110
    """Layers with weights: 6n+2, or 9n+2 with bottlenecks."""
    bottleneck: bool = False
    """Blocks of 1x1, 3x3 and 1x1 for two 3x3."""
    order: Order = "original"
    """Fig. 4 a to e."""
    shortcut: Shortcut = "identity"
    """Fig. 2 a to f, on the original order."""


class Unit(nn.Module):
    """after(body(y) + shortcut(y)) with y = before(x). (N, C, H, W) -> (N, C', H/stride, W/stride)."""

    def __init__(self, before: nn.Module, body: nn.Module, shortcut: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.before = before
        self.body = body
        self.shortcut = shortcut
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        y: Tensor = self.after(self.body(x) + self.shortcut(x))
        return y


class GatedUnit(nn.Module):
    """Section 3.1: relu(body(x) * g(x) + shortcut(x) * (1 - g(x))), g(x) = sigmoid(1x1 convolution of x), as in highway nets.

    With `exclusive` off, body(x) is not gated. Where the size changes, the gate's convolution has the block's
    stride and channels.
    """

    def __init__(self, body: nn.Module, shortcut: nn.Module, gate: nn.Conv2d, exclusive: bool) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.gate = gate
        self.exclusive = exclusive
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        added = self.body(x)
        y: Tensor = self.relu((added * gate if self.exclusive else added) + self.shortcut(x) * (1 - gate))
        return y


# The layers of a convolution in each order.
LAYERS: dict[Order, tuple[str, ...]] = {
    "original": ("conv", "norm", "relu"),
    "bn-after-addition": ("conv", "norm", "relu"),
    "relu-before-addition": ("conv", "norm", "relu"),
    "relu-preactivation": ("relu", "conv", "norm"),
    "full-preactivation": ("norm", "relu", "conv"),
}
# How many of the last convolution's come behind the addition.
BEHIND = {"original": 1, "bn-after-addition": 2}


def body(inputs: int, width: int, stride: int, form: IdentityMappingForm) -> dict[str, nn.Module]:
    """F(x): the convolutions with batch norms and ReLUs in the form's order, by name."""
    layers = conv_chain(inputs, convolutions(width, stride, form.bottleneck), LAYERS[form.order])
    for _ in range(BEHIND.get(form.order, 0)):
        layers.popitem()
    return layers


def path(inputs: int, channels: int, stride: int, form: IdentityMappingForm) -> nn.Module:
    """The shortcut: the identity; where the shape changes, zeros for new channels (two 3x3) or a projection (bottleneck).

    A projection has a batch norm of its own unless one follows the addition or comes ahead of the block.
    """
    if form.shortcut != "conv" and stride == 1 and inputs == channels:
        return nn.Identity()
    if form.shortcut != "conv" and not form.bottleneck:
        return ZeroPadShortcut(inputs, channels, stride)
    norm = form.shortcut == "conv" or form.order not in ("bn-after-addition", "full-preactivation")
    return conv_norm_relu(nn.Conv2d(inputs, channels, 1, stride, bias=False), norm=norm, relu=False)


# What an order has ahead of its first convolution, and behind the addition of the last block.
AHEAD = {"full-preactivation": ("norm1", "relu1"), "relu-preactivation": ("relu1",)}


def unit(inputs: int, width: int, stride: int, form: IdentityMappingForm, first: bool) -> nn.Module:
    """A residual block of the form; `first` is the one behind conv1."""
    channels = 4 * width if form.bottleneck else width
    layers, shortcut = body(inputs, width, stride, form), path(inputs, channels, stride, form)
    if form.shortcut.endswith("gating"):
        gate = nn.Conv2d(inputs, channels, 1, stride)
        return GatedUnit(named(layers), shortcut, gate, form.shortcut == "exclusive-gating")
    if form.shortcut == "constant-scaling":
        layers |= {"scale": Scale(0.5)}
        shortcut = named({"path": shortcut, "scale": Scale(0.5)})
    elif form.shortcut == "dropout":
        shortcut = named({"path": shortcut, "dropout": nn.Dropout(0.5)})

    before: dict[str, nn.Module] = {}
    if first or "conv" in dict(shortcut.named_children()):
        ahead = {name: layers.pop(name) for name in AHEAD.get(form.order, ())}
        before = {} if first else ahead
    after: dict[str, nn.Module] = {}
    if form.order == "bn-after-addition":
        after["norm"] = nn.BatchNorm2d(channels)
    if form.order in BEHIND:
        after["relu"] = nn.ReLU()
    return Unit(named(before), named(layers), shortcut, named(after))


def identity_mappings(channels: int, classes: int, form: IdentityMappingForm) -> Net:
    """A residual net for CIFAR-10 with any of the paper's shortcuts or orders, of any depth.

    Raises:
        UsageError: a depth that is no 6n+2 (9n+2 with bottlenecks), or a shortcut with another order than the original.
    """
    units = repeats(form.depth, 9 if form.bottleneck else 6, 2)
    if form.shortcut != "identity" and form.order != "original":
        raise UsageError(f"shortcut {form.shortcut!r} goes with the original order, got {form.order!r}")
    stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
    stages: dict[str, nn.Module] = {"conv1": conv_norm_relu(stem)}
    inputs = 16
    for group, width in enumerate((16, 32, 64)):
        members: dict[str, nn.Module] = {}
        for number in range(units):
            first = group == 0 and number == 0
            members[str(number)] = unit(inputs, width, 2 if group and number == 0 else 1, form, first)
            inputs = 4 * width if form.bottleneck else width
        if group == 2:
            closing = {"norm1": nn.BatchNorm2d(inputs), "relu1": nn.ReLU()}
            members |= {name.removesuffix("1"): closing[name] for name in AHEAD.get(form.order, ())}
        stages[f"conv{group + 2}"] = named(members)
    return Net(stages, global_head(inputs, classes))


def init(net: Net, gate_bias: float = -6.0) -> None:
    """The paper's, which is He's. The biases of gates start at `gate_bias`: it searched 0 to -10, and -6 did best."""
    he_init(net)
    for name, parameter in net.named_parameters():
        if name.endswith("gate.bias"):
            nn.init.constant_(parameter, gate_bias)


# fmt: off
_164 = NetSpec(
    name="resnet164", title="ResNet-164 for CIFAR", family="preresnet", year=2016,
    citation="K. He, X. Zhang, S. Ren, J. Sun: Identity mappings in deep residual networks. ECCV 2016, arXiv:1603.05027",
    source="Table 2, original block, bottlenecks", input=(3, 32, 32), min_size=1, classes=10, params=1_704_154,
    macs=244_500_992, results=("CIFAR-10: 5.93 % error (He et al. 2016, Table 2)",),
    builder=partial(identity_mappings, form=IdentityMappingForm(depth=164, bottleneck=True)), init=init,
)
_GATES = ("where the size changes, the gate takes the block's stride and channels; the paper does not say",)
# What a shortcut or an order adds to the name and the title, and where in the paper it stands.
_KINDS = {
    "constant-scaling": ("resnet{}-constant-scaling", "constant scaling",
                         "Fig. 2b, Table 1: shortcut and residual both times 0.5"),
    "exclusive-gating": ("resnet{}-exclusive-gating", "exclusive gating", "Fig. 2c, Table 1: biases of the gates start at -6"),
    "shortcut-gating": ("resnet{}-shortcut-gating", "shortcut-only gating", "Fig. 2d, Table 1: biases of the gates start at -6"),
    "conv": ("resnet{}-conv-shortcut", "1x1 convolution shortcut", "Fig. 2e, Table 1"),
    "dropout": ("resnet{}-dropout-shortcut", "dropout shortcut", "Fig. 2f, Table 1: rate 0.5"),
    "bn-after-addition": ("resnet{}-bn-after-addition", "batch norm after the addition", "Fig. 4b, Table 2"),
    "relu-before-addition": ("resnet{}-relu-before-addition", "ReLU before the addition", "Fig. 4c, Table 2"),
    "relu-preactivation": ("resnet{}-relu-preactivation", "ReLU-only pre-activation", "Fig. 4d, Table 2"),
    "full-preactivation": ("preresnet{}", "full pre-activation", "Fig. 4e, Table 2"),
}


def _row(depth: int, kind: str, params: int, macs: int, *errors: str) -> NetSpec:
    name, words, source = _KINDS[kind]
    small = () if depth >= 110 else (f"depth {depth}; the paper has 110 and more",)
    changed = {"order": kind} if kind in LAYERS else {"shortcut": kind}
    return variant(_164, name.format(depth), f"ResNet-{depth} for CIFAR, {words}", source, (params, macs),
                   deviations=(*small, *(_GATES if "gating" in kind else ())), results=errors, depth=depth,
                   bottleneck=depth >= 164, **changed)


def _error(error: str, table: int, of: int = 10) -> str:
    return f"CIFAR-{of}: {error} (He et al. 2016, Table {table})"


FAMILY = Family(
    name="preresnet",
    title="Identity mappings in ResNet",
    new="Ablations of the shortcut and of the order of batch norm, ReLU and addition: an unobstructed shortcut, with "
    "the activations before the convolutions, trains best.",
    mattered="Pre-activation trained 1001 layers on CIFAR-10. Blocks with normalisation first and a clean shortcut "
    "are the rule in transformers too.",
    drawn="preresnet164",
    recipe={
        "source": "He et al. 2016, appendix: as He et al. 2015, section 4.2, at a tenth of the rate for the first 400 steps",
        "epochs": 182, "lr": 0.1, "weight_decay": 1e-4, "augmentation": "flip,shift=4",
        "milestones": ((0.0, 0.1), (400 / 64_000, 1.0), (0.5, 0.1), (0.75, 0.01)),
    },
    rows=(
        _164,
        _row(20, "constant-scaling", 269_722, 40_551_040),
        _row(20, "exclusive-gating", 283_626, 42_648_192),
        _row(20, "shortcut-gating", 283_626, 42_648_192),
        _row(20, "conv", 283_962, 42_648_192),
        _row(20, "dropout", 269_722, 40_551_040),
        _row(110, "constant-scaling", 1_727_962, 252_887_680, _error("12.35 % error", 1)),
        _row(110, "exclusive-gating", 1_824_186, 266_781_312, _error("8.70 % error", 1)),
        _row(110, "shortcut-gating", 1_824_186, 266_781_312, _error("6.91 % error", 1)),
        _row(110, "conv", 1_826_202, 266_781_312, _error("12.22 % error", 1)),
        _row(110, "dropout", 1_727_962, 252_887_680, _error("fails, with more than 20 % error", 1)),
        _row(20, "bn-after-addition", 269_722, 40_551_040),
        _row(20, "relu-before-addition", 269_722, 40_551_040),
        _row(20, "relu-preactivation", 269_722, 40_551_040),
        _row(20, "full-preactivation", 269_722, 40_551_040),
        _row(110, "bn-after-addition", 1_727_962, 252_887_680, _error("8.17 % error", 2)),
        _row(110, "relu-before-addition", 1_727_962, 252_887_680, _error("7.84 % error", 2)),
        _row(110, "relu-preactivation", 1_727_962, 252_887_680, _error("6.71 % error", 2)),
        _row(110, "full-preactivation", 1_727_962, 252_887_680, _error("6.37 % error", 2)),
        _row(164, "bn-after-addition", 1_703_258, 244_500_992, _error("6.50 % error", 2)),
        _row(164, "relu-before-addition", 1_704_154, 244_500_992, _error("6.14 % error", 2)),
        _row(164, "relu-preactivation", 1_704_154, 244_500_992, _error("5.91 % error", 2)),
        _row(164, "full-preactivation", 1_703_258, 244_500_992, _error("5.46 % error", 2), _error("24.33 % error", 3, 100)),
        _row(1001, "full-preactivation", 10_327_706, 1_487_849_984, _error("4.92 % error, 4.62 % at batch 64", 4),
               _error("22.71 % error", 3, 100)),
    ),
)
# fmt: on
