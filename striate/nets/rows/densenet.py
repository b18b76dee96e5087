"""Rows of DenseNet."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from striate.nets.densenet import DenseNetForm, cifar_form, densenet
from striate.nets.netspec import NetSpec

DENSENET_121 = NetSpec(
    name="densenet121",
    title="DenseNet-121",
    family="densenet",
    year=2016,
    citation="G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger: Densely connected convolutional networks. "
    "CVPR 2017, arXiv:1608.06993",
    source="Table 1, DenseNet-121 (k = 32)",
    geometry="paper",
    input=(3, 224, 224),
    min_size=29,
    classes=1000,
    params=7_978_856,
    macs=2_834_161_664,
    builder=partial(densenet, form=DenseNetForm()),
)
IMAGENET = (
    DENSENET_121,
    replace(
        DENSENET_121,
        name="densenet161",
        title="DenseNet-161",
        source="The authors' models, DenseNet-161 (k = 48); not in Table 1 of the paper's last version",
        params=28_681_000,
        macs=7_727_907_072,
        builder=partial(densenet, form=DenseNetForm(depths=(6, 12, 36, 24), growth=48, stem_maps=96)),
    ),
    replace(
        DENSENET_121,
        name="densenet169",
        title="DenseNet-169",
        source="Table 1, DenseNet-169 (k = 32)",
        params=14_149_480,
        macs=3_359_843_328,
        builder=partial(densenet, form=DenseNetForm(depths=(6, 12, 32, 32))),
    ),
    replace(
        DENSENET_121,
        name="densenet201",
        title="DenseNet-201",
        source="Table 1, DenseNet-201 (k = 32)",
        params=20_013_928,
        macs=4_291_365_888,
        builder=partial(densenet, form=DenseNetForm(depths=(6, 12, 48, 32))),
    ),
    replace(
        DENSENET_121,
        name="densenet264",
        title="DenseNet-264",
        source="Table 1, DenseNet-264 (k = 32)",
        params=33_337_704,
        macs=5_751_653_376,
        builder=partial(densenet, form=DenseNetForm(depths=(6, 12, 64, 48))),
    ),
)

# depth, growth, bottleneck and compression: (parameters, MACs)
CIFAR_NUMBERS = {
    (40, 12, False): (1_019_722, 264_812_928),
    (100, 12, False): (6_979_642, 1_769_516_448),
    (100, 24, False): (27_249_082, 6_889_347_744),
    (100, 12, True): (769_162, 287_929_692),
    (250, 24, True): (15_324_406, 5_418_785_724),
    (190, 40, True): (25_624_430, 9_301_945_740),
}
CIFAR = tuple(
    replace(
        DENSENET_121,
        name=f"densenet{depth}-{'bc-' if bc else ''}k{growth}",
        title=f"DenseNet{'-BC' if bc else ''} for CIFAR, L = {depth}, k = {growth}",
        source=f"Section 3 and Table 2, DenseNet{'-BC' if bc else ''} (L = {depth}, k = {growth})",
        input=(3, 32, 32),
        min_size=4,
        classes=10,
        params=params,
        macs=macs,
        builder=partial(densenet, form=cifar_form(depth, growth, bc)),
    )
    for (depth, growth, bc), (params, macs) in CIFAR_NUMBERS.items()
)

ROWS = (
    *IMAGENET,
    *CIFAR,
    replace(
        DENSENET_121,
        name="densenet-tutorial",
        title="DenseNet, four blocks of four layers, one channel",
        source="Dive into Deep Learning 1.0.3, section 8.7",
        deviations=(
            "one channel, ten classes, 96x96; four layers in each block, without bottlenecks",
            "the convolutions keep their biases, though each path from them leads into a batch norm",
        ),
        geometry="tutorial",
        input=(1, 96, 96),
        classes=10,
        params=758_226,
        macs=129_077_168,
        known_findings=("bias-before-batchnorm",),
        biases_before_norm=("stages.*.conv*.bias",),
        builder=partial(densenet, form=DenseNetForm(depths=(4, 4, 4, 4), bottleneck=False, conv_bias=True)),
    ),
    replace(
        DENSENET_121,
        name="densenet121-native",
        title="DenseNet-121 for small pictures",
        deviations=(
            "stem: conv0 is 3x3 at stride 1, without batch norm, ReLU and pooling behind it, as in the paper's nets for CIFAR",
        ),
        geometry="native",
        input=(1, 28, 28),
        min_size=8,
        classes=10,
        params=6_955_146,
        macs=672_320_512,
        builder=partial(densenet, form=DenseNetForm(large_stem=False)),
    ),
    replace(
        DENSENET_121,
        name="densenet-native",
        title="DenseNet, four blocks of four layers, for small pictures",
        source="densenet-tutorial",
        deviations=(
            "stem: conv0 is 3x3 at stride 1, without batch norm, ReLU and pooling behind it, for 7x7 at stride 2 with all three",
            "four layers in each block, without bottlenecks",
        ),
        geometry="native",
        input=(1, 28, 28),
        min_size=8,
        classes=10,
        params=754_634,
        macs=165_675_568,
        builder=partial(densenet, form=DenseNetForm(depths=(4, 4, 4, 4), bottleneck=False, large_stem=False)),
    ),
)
