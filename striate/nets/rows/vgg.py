"""Rows of VGG."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from striate.nets.netspec import NetSpec
from striate.nets.vgg import B, C, D, E, VGGForm, vgg

CITATION = (
    "K. Simonyan, A. Zisserman: Very deep convolutional networks for large-scale image recognition. "
    "ICLR 2015, arXiv:1409.1556"
)

NET_A = NetSpec(
    name="vgg11",
    title="VGG-11 (net A)",
    family="vgg",
    year=2014,
    citation=CITATION,
    source="Table 1, column A",
    geometry="paper",
    input=(3, 224, 224),
    min_size=32,
    classes=1000,
    params=132_863_336,
    macs=7_609_090_048,
    builder=partial(vgg, form=VGGForm()),
)
PAPER = (
    NET_A,
    replace(
        NET_A,
        name="vgg11-lrn",
        title="VGG-11 with response normalisation (net A-LRN)",
        source="Table 1, column A-LRN",
        deviations=("AlexNet's formula of response normalisation, alpha not divided by the neighbours",),
        builder=partial(vgg, form=VGGForm(response_norm=True)),
    ),
    replace(
        NET_A,
        name="vgg13",
        title="VGG-13 (net B)",
        source="Table 1, column B",
        params=133_047_848,
        macs=11_308_466_176,
        builder=partial(vgg, form=VGGForm(kernels=B)),
    ),
    replace(
        NET_A,
        name="vgg16-1x1",
        title="VGG-16 with 1x1 convolutions (net C)",
        source="Table 1, column C",
        params=133_638_952,
        macs=11_770_888_192,
        builder=partial(vgg, form=VGGForm(kernels=C)),
    ),
    replace(
        NET_A,
        name="vgg16",
        title="VGG-16 (net D)",
        source="Table 1, column D",
        params=138_357_544,
        macs=15_470_264_320,
        builder=partial(vgg, form=VGGForm(kernels=D)),
    ),
    replace(
        NET_A,
        name="vgg19",
        title="VGG-19 (net E)",
        source="Table 1, column E",
        params=143_667_240,
        macs=19_632_062_464,
        builder=partial(vgg, form=VGGForm(kernels=E)),
    ),
)

WITH_BATCH_NORM = NetSpec(
    name="vgg11-bn",
    title="VGG-11 with batch norm",
    family="vgg",
    year=2015,
    citation=CITATION,
    source="Table 1, column A; torchvision's vgg11_bn",
    deviations=("batch norm between each convolution and its ReLU; the biases of the convolutions stay",),
    geometry="paper",
    input=(3, 224, 224),
    min_size=32,
    classes=1000,
    params=132_868_840,
    macs=7_609_090_048,
    known_findings=("bias-before-batchnorm",),
    biases_before_norm=("stages.conv*.conv*.bias",),
    builder=partial(vgg, form=VGGForm(batch_norm=True)),
)
BATCH_NORM = (
    WITH_BATCH_NORM,
    replace(
        WITH_BATCH_NORM,
        name="vgg13-bn",
        title="VGG-13 with batch norm",
        source="Table 1, column B; torchvision's vgg13_bn",
        params=133_053_736,
        macs=11_308_466_176,
        builder=partial(vgg, form=VGGForm(kernels=B, batch_norm=True)),
    ),
    replace(
        WITH_BATCH_NORM,
        name="vgg16-1x1-bn",
        title="VGG-16 with 1x1 convolutions and batch norm",
        source="Table 1, column C",
        params=133_647_400,
        macs=11_770_888_192,
        builder=partial(vgg, form=VGGForm(kernels=C, batch_norm=True)),
    ),
    replace(
        WITH_BATCH_NORM,
        name="vgg16-bn",
        title="VGG-16 with batch norm",
        source="Table 1, column D; torchvision's vgg16_bn",
        params=138_365_992,
        macs=15_470_264_320,
        builder=partial(vgg, form=VGGForm(kernels=D, batch_norm=True)),
    ),
    replace(
        WITH_BATCH_NORM,
        name="vgg19-bn",
        title="VGG-19 with batch norm",
        source="Table 1, column E; torchvision's vgg19_bn",
        params=143_678_248,
        macs=19_632_062_464,
        builder=partial(vgg, form=VGGForm(kernels=E, batch_norm=True)),
    ),
)

# One convolution a group: what a tutorial calls VGG-11.
ONE_EACH = ((3,), (3,), (3,), (3,), (3,))
BIAS_FREE = VGGForm(kernels=D, batch_norm=True, conv_bias=False)
TUTORIAL_16 = replace(
    NET_A,
    name="vgg16-tutorial",
    title="VGG-16 with batch norm, one channel",
    source="Table 1, column D, as a tutorial on Fashion-MNIST builds it",
    deviations=("one channel, ten classes", "batch norm after each convolution, which has no bias"),
    geometry="tutorial",
    input=(1, 224, 224),
    classes=10,
    params=134_304_586,
    macs=15_408_406_528,
    builder=partial(vgg, form=BIAS_FREE),
)
D2L_11 = replace(
    TUTORIAL_16,
    name="vgg11-d2l",
    title="VGG-11, one channel",
    source="Dive into Deep Learning 1.0.3, section 8.2",
    deviations=("one channel, ten classes",),
    params=128_806_154,
    macs=7_547_232_256,
    builder=partial(vgg, form=VGGForm()),
)
TUTORIALS = (
    replace(
        TUTORIAL_16,
        name="vgg8-tutorial",
        title="Five convolutions with batch norm, called VGG-11",
        source="A tutorial's VGG-11",
        deviations=(
            *TUTORIAL_16.deviations,
            "one convolution a group, five in all: 8 layers with weights, not the paper's net A",
        ),
        params=123_497_930,
        macs=3_385_434_112,
        builder=partial(vgg, form=replace(BIAS_FREE, kernels=ONE_EACH)),
    ),
    replace(
        TUTORIAL_16,
        name="vgg13-tutorial",
        title="VGG-13 with batch norm, one channel",
        source="Table 1, column B, as a tutorial on Fashion-MNIST builds it",
        params=128_993_610,
        macs=11_246_608_384,
        builder=partial(vgg, form=replace(BIAS_FREE, kernels=B)),
    ),
    TUTORIAL_16,
    replace(
        TUTORIAL_16,
        name="vgg19-tutorial",
        title="VGG-19 with batch norm, one channel",
        source="Table 1, column E, as a tutorial on Fashion-MNIST builds it",
        params=139_615_562,
        macs=19_570_204_672,
        builder=partial(vgg, form=replace(BIAS_FREE, kernels=E)),
    ),
    replace(
        TUTORIAL_16,
        name="vgg16-eighth-tutorial",
        title="VGG-16 with batch norm at 1/8 width, one channel",
        deviations=(*TUTORIAL_16.deviations, "1/8 of all widths, the hidden layers' too"),
        params=2_104_882,
        macs=243_921_920,
        builder=partial(vgg, form=replace(BIAS_FREE, width=1 / 8, hidden=512)),
    ),
    D2L_11,
    replace(
        D2L_11,
        name="vgg11-quarter-d2l",
        title="VGG-11 at 1/4 width, one channel",
        deviations=("one channel, ten classes", "1/4 of the maps: 16 to 128; the hidden layers stay at 4096"),
        params=43_093_322,
        macs=512_155_648,
        builder=partial(vgg, form=VGGForm(width=1 / 4)),
    ),
)

SMALL = VGGForm(first_pool=False, side=1)
NATIVE_11 = NetSpec(
    name="vgg11-native",
    title="VGG-11 for small pictures",
    family="vgg",
    year=2014,
    citation=CITATION,
    source="Table 1, column A",
    deviations=(
        "stem: no pooling behind the first group, so that conv5 works at 3x3 (4x4 for 32x32) and not at 1x1; "
        "stride of the stem 1, not 2",
        "fc6 sees the average of what is left, 512 values and not 512x7x7",
    ),
    geometry="native",
    input=(1, 28, 28),
    min_size=16,
    classes=10,
    params=28_142_858,
    macs=466_453_504,
    builder=partial(vgg, form=SMALL),
)
NATIVES = (
    NATIVE_11,
    replace(
        NATIVE_11,
        name="vgg11-quarter-native",
        title="VGG-11 at a quarter of its width for small pictures",
        source="vgg11-quarter-d2l",
        deviations=(
            NATIVE_11.deviations[0],
            "a quarter of the maps: 16 to 128",
            "fc6 sees the average of what is left, 128 values and not 128x7x7",
        ),
        params=17_927_498,
        macs=45_398_272,
        builder=partial(vgg, form=replace(SMALL, width=0.25)),
    ),
    replace(
        NATIVE_11,
        name="vgg11-bn-native",
        title="VGG-11 with batch norm for small pictures",
        year=2015,
        deviations=(*NATIVE_11.deviations, *WITH_BATCH_NORM.deviations),
        params=28_148_362,
        macs=466_453_504,
        known_findings=WITH_BATCH_NORM.known_findings,
        biases_before_norm=WITH_BATCH_NORM.biases_before_norm,
        builder=partial(vgg, form=replace(SMALL, batch_norm=True)),
    ),
    replace(
        NATIVE_11,
        name="vgg16-native",
        title="VGG-16 for small pictures",
        source="Table 1, column D",
        params=33_637_066,
        macs=863_405_056,
        builder=partial(vgg, form=replace(SMALL, kernels=D)),
    ),
    replace(
        NATIVE_11,
        name="vgg16-bn-native",
        title="VGG-16 with batch norm for small pictures",
        year=2015,
        source="Table 1, column D",
        deviations=(*NATIVE_11.deviations, *WITH_BATCH_NORM.deviations),
        params=33_645_514,
        macs=863_405_056,
        known_findings=WITH_BATCH_NORM.known_findings,
        biases_before_norm=WITH_BATCH_NORM.biases_before_norm,
        builder=partial(vgg, form=replace(SMALL, kernels=D, batch_norm=True)),
    ),
)

ROWS = (*PAPER, *BATCH_NORM, *TUTORIALS, *NATIVES)
