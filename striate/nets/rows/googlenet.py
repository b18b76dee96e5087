"""Rows of GoogLeNet and BN-Inception."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from striate.nets.googlenet import GoogLeNetForm, bn_inception, googlenet, inception_mnist
from striate.nets.netspec import NetSpec

CITATION = "C. Szegedy et al.: Going deeper with convolutions. CVPR 2015, arXiv:1409.4842"

PAPER = NetSpec(
    name="googlenet",
    title="GoogLeNet",
    family="googlenet",
    year=2014,
    citation=CITATION,
    source="Table 1, Fig. 3, section 5 (auxiliary heads)",
    deviations=(
        "response normalisation by AlexNet's formula; the paper gives no constants",
        "conv1 is a plain 7x7; the parameters and operations that Table 1 gives for it fit a separable one",
    ),
    geometry="paper",
    input=(3, 224, 224),
    min_size=79,
    classes=1000,
    params=6_998_552,
    params_training=13_378_280,
    macs=1_582_671_872,
    builder=partial(googlenet, form=GoogLeNetForm()),
)

NATIVE_FORM = GoogLeNetForm(
    batch_norm="all",
    conv_bias=False,
    response_norm=False,
    auxiliary=False,
    stem=(3, 1),
    pool2=False,
    ceil_pools=False,
)
NATIVE = replace(
    PAPER,
    name="googlenet-native",
    title="GoogLeNet with batch norm for small pictures",
    year=2015,
    source="Table 1",
    deviations=(
        "stem: conv1 is 3x3 at stride 1 for 7x7 at stride 2, and there is no pool2: stride 2 for 8",
        "batch norm between convolution and ReLU, no biases there, no response normalisation, no auxiliary heads",
    ),
    geometry="native",
    input=(1, 28, 28),
    min_size=1,
    classes=10,
    params=5_982_250,
    params_training=None,
    macs=308_253_440,
    builder=partial(googlenet, form=NATIVE_FORM),
)

ROWS = (
    PAPER,
    replace(
        PAPER,
        name="googlenet-torchvision",
        title="GoogLeNet, torchvision's",
        year=2015,
        source="torchvision's googlenet",
        deviations=(
            "batch norm (epsilon 0.001) between convolution and ReLU, no biases there, no response normalisation",
            "the 5x5 branch is 3x3: a known mistake, kept because the published weights were trained with it",
            "pool4 is 2x2; dropout 0.2 in the head; the auxiliary heads average to 4x4",
        ),
        min_size=15,
        params=6_624_904,
        params_training=13_004_888,
        macs=1_498_376_192,
        builder=partial(
            googlenet,
            form=GoogLeNetForm(
                batch_norm="all",
                conv_bias=False,
                norm_epsilon=1e-3,
                response_norm=False,
                average_first=False,
                large_kernel=3,
                pool4=2,
                dropout=0.2,
            ),
        ),
    ),
    replace(
        PAPER,
        name="googlenet-bn-tutorial",
        title="GoogLeNet with batch norm, two linear layers in the head",
        year=2015,
        source="A tutorial's Inception v1 for a folder of pictures",
        deviations=(
            "batch norm in the blocks, whose convolutions keep their biases; none in the stem, no response normalisation",
            "no auxiliary heads; a hidden layer of 1024 units in the head; four outputs",
            "logits; the tutorial puts a softmax there, ahead of the cross-entropy, and its loss cannot fall below 0.744",
        ),
        geometry="tutorial",
        min_size=1,
        classes=4,
        params=7_041_172,
        params_training=None,
        macs=1_582_700_544,
        known_findings=("bias-before-batchnorm",),
        biases_before_norm=("stages.inception*.conv.bias",),
        builder=partial(
            googlenet,
            form=GoogLeNetForm(
                batch_norm="blocks", response_norm=False, auxiliary=False, ceil_pools=False, hidden=1024
            ),
        ),
    ),
    replace(
        PAPER,
        name="googlenet-d2l",
        title="GoogLeNet, one channel",
        source="Dive into Deep Learning 1.0.3, section 8.4",
        deviations=(
            "one channel, ten classes, 96x96",
            "no response normalisation, no auxiliary heads, no dropout; max pooling pads by 1",
        ),
        geometry="tutorial",
        input=(1, 96, 96),
        min_size=1,
        classes=10,
        params=5_977_530,
        params_training=None,
        macs=276_066_304,
        builder=partial(
            googlenet, form=GoogLeNetForm(response_norm=False, auxiliary=False, ceil_pools=False, dropout=0)
        ),
    ),
    replace(
        PAPER,
        name="inception-mnist",
        title="Two Inception blocks for MNIST",
        source="A tutorial's net after Fig. 2 of the paper",
        deviations=(
            "two blocks of 88 maps, each behind a 5x5 convolution and max pooling; flattens 88@4x4",
            "two 3x3 in a row for the larger kernel, average pooling in the block, no activation inside it",
        ),
        geometry="tutorial",
        input=(1, 28, 28),
        min_size=16,
        classes=10,
        params=97_298,
        params_training=None,
        macs=6_019_200,
        known_findings=("missing-activation",),
        builder=inception_mnist,
    ),
    NATIVE,
    replace(
        NATIVE,
        name="googlenet-native-light",
        title="GoogLeNet with batch norm for small pictures, a quarter of the work",
        deviations=("stem: conv1 is 3x3 at stride 1 for 7x7 at stride 2: stride 4 for 8", NATIVE.deviations[1]),
        macs=104_789_504,
        builder=partial(googlenet, form=replace(NATIVE_FORM, pool2=True)),
    ),
    replace(
        PAPER,
        name="bn-inception",
        title="BN-Inception",
        year=2015,
        citation="S. Ioffe, C. Szegedy: Batch normalization: accelerating deep network training by reducing internal "
        "covariate shift. ICML 2015, arXiv:1502.03167",
        source="Fig. 5",
        deviations=(
            "4c, 4d and 4e have the maps of Fig. 5, which sum to 608, 608 and 1056; it prints 576, 576 and 1024 beside them",
            "conv1 is a plain 7x7, where the paper has a separable one of depth multiplier 8",
        ),
        min_size=7,
        params=11_285_224,
        params_training=None,
        macs=2_032_600_064,
        builder=bn_inception,
    ),
)
