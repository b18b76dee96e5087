"""Rows of the identity mappings: residual nets for CIFAR-10 with other shortcuts and other orders."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from striate.nets.netspec import NetSpec
from striate.nets.preresnet import IdentityMappingForm, Order, Shortcut, identity_mappings

ORIGINAL_164 = NetSpec(
    name="resnet164",
    title="ResNet-164 for CIFAR",
    family="preresnet",
    year=2016,
    citation="K. He, X. Zhang, S. Ren, J. Sun: Identity mappings in deep residual networks. ECCV 2016, arXiv:1603.05027",
    source="Table 2, original unit, bottlenecks",
    geometry="paper",
    input=(3, 32, 32),
    min_size=1,
    classes=10,
    params=1_704_154,
    macs=244_500_992,
    builder=partial(identity_mappings, form=IdentityMappingForm(depth=164, bottleneck=True)),
)

# shortcut: (end of the name, words, where it stands, deviations)
SHORTCUTS: dict[Shortcut, tuple[str, str, str, tuple[str, ...]]] = {
    "constant-scaling": (
        "constant-scaling",
        "constant scaling",
        "Fig. 2b, Table 1: shortcut and residual both times 0.5",
        (),
    ),
    "exclusive-gating": (
        "exclusive-gating",
        "exclusive gating",
        "Fig. 2c, Table 1: biases of the gates start at -6",
        ("where the size changes, the gate takes the unit's stride and maps; the paper does not say",),
    ),
    "shortcut-gating": (
        "shortcut-gating",
        "shortcut-only gating",
        "Fig. 2d, Table 1: biases of the gates start at -6",
        ("where the size changes, the gate takes the unit's stride and maps; the paper does not say",),
    ),
    "conv": ("conv-shortcut", "1x1 convolution shortcut", "Fig. 2e, Table 1", ()),
    "dropout": ("dropout-shortcut", "dropout shortcut", "Fig. 2f, Table 1: rate 0.5", ()),
}
# order: (start of the name, end of the name, words, where it stands)
ORDERS: dict[Order, tuple[str, str, str, str]] = {
    "bn-after-addition": ("resnet", "-bn-after-addition", "batch norm after the addition", "Fig. 4b, Table 2"),
    "relu-before-addition": ("resnet", "-relu-before-addition", "ReLU before the addition", "Fig. 4c, Table 2"),
    "relu-preactivation": ("resnet", "-relu-preactivation", "ReLU-only pre-activation", "Fig. 4d, Table 2"),
    "full-preactivation": ("preresnet", "", "full pre-activation", "Fig. 4e, Table 2"),
}

# depth, shortcut: (parameters, MACs). Depth 110 is the paper's, 20 the same for a laptop.
SHORTCUT_NUMBERS: dict[tuple[int, Shortcut], tuple[int, int]] = {
    (20, "constant-scaling"): (269_722, 40_551_040),
    (20, "exclusive-gating"): (283_626, 42_648_192),
    (20, "shortcut-gating"): (283_626, 42_648_192),
    (20, "conv"): (283_962, 42_648_192),
    (20, "dropout"): (269_722, 40_551_040),
    (110, "constant-scaling"): (1_727_962, 252_887_680),
    (110, "exclusive-gating"): (1_824_186, 266_781_312),
    (110, "shortcut-gating"): (1_824_186, 266_781_312),
    (110, "conv"): (1_826_202, 266_781_312),
    (110, "dropout"): (1_727_962, 252_887_680),
}
# depth, order: (parameters, MACs). Depths 164 and 1001 have bottlenecks.
ORDER_NUMBERS: dict[tuple[int, Order], tuple[int, int]] = {
    (20, "bn-after-addition"): (269_722, 40_551_040),
    (20, "relu-before-addition"): (269_722, 40_551_040),
    (20, "relu-preactivation"): (269_722, 40_551_040),
    (20, "full-preactivation"): (269_722, 40_551_040),
    (110, "bn-after-addition"): (1_727_962, 252_887_680),
    (110, "relu-before-addition"): (1_727_962, 252_887_680),
    (110, "relu-preactivation"): (1_727_962, 252_887_680),
    (110, "full-preactivation"): (1_727_962, 252_887_680),
    (164, "bn-after-addition"): (1_703_258, 244_500_992),
    (164, "relu-before-addition"): (1_704_154, 244_500_992),
    (164, "relu-preactivation"): (1_704_154, 244_500_992),
    (164, "full-preactivation"): (1_703_258, 244_500_992),
    (1001, "full-preactivation"): (10_327_706, 1_487_849_984),
}


def _depth_deviation(depth: int) -> tuple[str, ...]:
    return () if depth >= 110 else (f"depth {depth}; the paper has 110 and more",)


ROWS = (
    ORIGINAL_164,
    *(
        replace(
            ORIGINAL_164,
            name=f"resnet{depth}-{SHORTCUTS[shortcut][0]}",
            title=f"ResNet-{depth} for CIFAR, {SHORTCUTS[shortcut][1]}",
            source=SHORTCUTS[shortcut][2],
            deviations=(*_depth_deviation(depth), *SHORTCUTS[shortcut][3]),
            params=params,
            macs=macs,
            builder=partial(identity_mappings, form=IdentityMappingForm(depth=depth, shortcut=shortcut)),
        )
        for (depth, shortcut), (params, macs) in SHORTCUT_NUMBERS.items()
    ),
    *(
        replace(
            ORIGINAL_164,
            name=f"{ORDERS[order][0]}{depth}{ORDERS[order][1]}",
            title=f"ResNet-{depth} for CIFAR, {ORDERS[order][2]}",
            source=ORDERS[order][3],
            deviations=_depth_deviation(depth),
            params=params,
            macs=macs,
            builder=partial(
                identity_mappings, form=IdentityMappingForm(depth=depth, order=order, bottleneck=depth >= 164)
            ),
        )
        for (depth, order), (params, macs) in ORDER_NUMBERS.items()
    ),
)
