"""Rows of ResNet."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from striate.nets.netspec import NetSpec
from striate.nets.resnet import ResNetForm, cifar_form, resnet, resnet_mnist

CITATION = "K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition. CVPR 2016, arXiv:1512.03385"
FORM_34 = ResNetForm(depths=(3, 4, 6, 3))
FORM_50 = ResNetForm(depths=(3, 4, 6, 3), bottleneck=True)
FORM_101 = replace(FORM_50, depths=(3, 4, 23, 3))
FORM_152 = replace(FORM_50, depths=(3, 8, 36, 3))

RESNET_18 = NetSpec(
    name="resnet18",
    title="ResNet-18",
    family="resnet",
    year=2015,
    citation=CITATION,
    source="Table 1, 18-layer; shortcut option B",
    geometry="paper",
    input=(3, 224, 224),
    min_size=1,
    classes=1000,
    params=11_689_512,
    macs=1_814_073_344,
    builder=partial(resnet, form=ResNetForm()),
)
IMAGENET = (
    RESNET_18,
    replace(
        RESNET_18,
        name="resnet34",
        title="ResNet-34",
        source="Table 1, 34-layer; shortcut option B",
        params=21_797_672,
        macs=3_663_761_408,
        builder=partial(resnet, form=FORM_34),
    ),
    replace(
        RESNET_18,
        name="resnet50",
        title="ResNet-50",
        source="Table 1, 50-layer",
        params=25_557_032,
        macs=3_857_973_248,
        builder=partial(resnet, form=FORM_50),
    ),
    replace(
        RESNET_18,
        name="resnet101",
        title="ResNet-101",
        source="Table 1, 101-layer",
        params=44_549_160,
        macs=7_570_194_432,
        builder=partial(resnet, form=FORM_101),
    ),
    replace(
        RESNET_18,
        name="resnet152",
        title="ResNet-152",
        source="Table 1, 152-layer",
        params=60_192_808,
        macs=11_282_415_616,
        builder=partial(resnet, form=FORM_152),
    ),
)

RESNET_50_V15 = replace(
    RESNET_18,
    name="resnet50-v1.5",
    title="ResNet-50 v1.5",
    source="Table 1, 50-layer; torchvision's resnet50",
    deviations=("a bottleneck that halves the size does it in its 3x3 convolution, not in its first 1x1",),
    params=25_557_032,
    macs=4_089_184_256,
    builder=partial(resnet, form=replace(FORM_50, stride_on_3x3=True)),
)
V15 = (
    RESNET_50_V15,
    replace(
        RESNET_50_V15,
        name="resnet101-v1.5",
        title="ResNet-101 v1.5",
        source="Table 1, 101-layer; torchvision's resnet101",
        params=44_549_160,
        macs=7_801_405_440,
        builder=partial(resnet, form=replace(FORM_101, stride_on_3x3=True)),
    ),
    replace(
        RESNET_50_V15,
        name="resnet152-v1.5",
        title="ResNet-152 v1.5",
        source="Table 1, 152-layer; torchvision's resnet152",
        params=60_192_808,
        macs=11_513_626_624,
        builder=partial(resnet, form=replace(FORM_152, stride_on_3x3=True)),
    ),
)

OPTIONS = (
    replace(
        RESNET_18,
        name="plain18",
        title="Plain net of 18 layers",
        source="Table 1, 18-layer, without shortcuts; Table 2",
        params=11_515_688,
        macs=1_794_805_760,
        builder=partial(resnet, form=ResNetForm(shortcut="none")),
    ),
    replace(
        RESNET_18,
        name="plain34",
        title="Plain net of 34 layers",
        source="Table 1, 34-layer, without shortcuts; Fig. 3 and Table 2",
        params=21_623_848,
        macs=3_644_493_824,
        builder=partial(resnet, form=replace(FORM_34, shortcut="none")),
    ),
    replace(
        RESNET_18,
        name="resnet18-a",
        title="ResNet-18, shortcut option A",
        source="Table 1, 18-layer; Table 2; shortcut option A",
        params=11_515_688,
        macs=1_794_805_760,
        builder=partial(resnet, form=ResNetForm(shortcut="A")),
    ),
    replace(
        RESNET_18,
        name="resnet18-c",
        title="ResNet-18, shortcut option C",
        source="Table 1, 18-layer; shortcut option C",
        params=12_043_816,
        macs=1_878_298_624,
        builder=partial(resnet, form=ResNetForm(shortcut="C")),
    ),
    replace(
        RESNET_18,
        name="resnet34-a",
        title="ResNet-34, shortcut option A",
        source="Table 1, 34-layer; Table 3, ResNet-34 A",
        params=21_623_848,
        macs=3_644_493_824,
        builder=partial(resnet, form=replace(FORM_34, shortcut="A")),
    ),
    replace(
        RESNET_18,
        name="resnet34-c",
        title="ResNet-34, shortcut option C",
        source="Table 1, 34-layer; Table 3, ResNet-34 C",
        params=22_716_840,
        macs=3_830_747_136,
        builder=partial(resnet, form=replace(FORM_34, shortcut="C")),
    ),
)

# depth: (parameters, MACs). Zeros for new maps cost nothing, so the plain net of a depth has the same.
CIFAR_NUMBERS = {
    20: (269_722, 40_551_040),
    32: (464_154, 68_862_592),
    44: (658_586, 97_174_144),
    56: (853_018, 125_485_696),
    110: (1_727_962, 252_887_680),
    1202: (19_421_274, 2_829_238_912),
}
CIFAR = tuple(
    replace(
        RESNET_18,
        name=f"resnet{depth}",
        title=f"ResNet-{depth} for CIFAR",
        source=f"Section 4.2 and Table 6, n = {(depth - 2) // 6}; shortcut option A",
        input=(3, 32, 32),
        classes=10,
        params=params,
        macs=macs,
        builder=partial(resnet, form=cifar_form(depth)),
    )
    for depth, (params, macs) in CIFAR_NUMBERS.items()
)
PLAIN_1202 = (
    "the paper has no plain net of this depth; its first gradients are near 1e88 and need float64, in float32 they "
    "overflow: what shortcuts cure",
)
CIFAR_PLAIN = tuple(
    replace(
        RESNET_18,
        name=f"plain{depth}",
        title=f"Plain net of {depth} layers for CIFAR",
        source=f"Section 4.2 and Fig. 6, n = {(depth - 2) // 6}, without shortcuts",
        deviations=PLAIN_1202 if depth == 1202 else (),
        input=(3, 32, 32),
        classes=10,
        params=params,
        macs=macs,
        builder=partial(resnet, form=cifar_form(depth, "none")),
    )
    for depth, (params, macs) in CIFAR_NUMBERS.items()
)

D2L_18 = replace(
    RESNET_18,
    name="resnet18-d2l",
    title="ResNet-18, one channel",
    source="Dive into Deep Learning 1.0.3, section 8.6",
    deviations=(
        "one channel, ten classes, 96x96",
        "the convolutions keep their biases before batch norm",
        "a projection has no batch norm",
    ),
    geometry="tutorial",
    input=(1, 96, 96),
    classes=10,
    params=11_178_378,
    macs=318_657_536,
    known_findings=("bias-before-batchnorm",),
    biases_before_norm=("stages.conv1.conv.bias", "stages.conv?.*.body.conv?.bias"),
    builder=partial(resnet, form=ResNetForm(conv_bias=True, shortcut_norm=False)),
)
MNIST = replace(
    D2L_18,
    name="resnet-mnist",
    title="A small residual net for MNIST",
    source="A tutorial's net after section 3.3 of the paper",
    deviations=("no batch norm; two units only, each behind a 5x5 convolution and max pooling; flattens 32@4x4",),
    input=(1, 28, 28),
    min_size=16,
    params=41_514,
    macs=2_013_184,
    known_findings=(),
    biases_before_norm=(),
    builder=resnet_mnist,
)
TUTORIALS = (
    D2L_18,
    MNIST,
    replace(
        MNIST,
        name="resnet-mnist-constant-scaling",
        title="A small residual net for MNIST, constant scaling",
        source="The tutorial's exercise, after He et al. 2016 (arXiv:1603.05027), Fig. 2b",
        deviations=(*MNIST.deviations, "the input and what is added to it are both halved"),
        builder=partial(resnet_mnist, scale=0.5),
    ),
    replace(
        MNIST,
        name="resnet-mnist-conv-shortcut",
        title="A small residual net for MNIST, 1x1 convolution on the shortcut",
        source="The tutorial's exercise, after He et al. 2016 (arXiv:1603.05027), Fig. 2e",
        deviations=(*MNIST.deviations, "a 1x1 convolution on both shortcuts"),
        params=42_842,
        macs=2_066_432,
        builder=partial(resnet_mnist, conv_shortcut=True),
    ),
)

NATIVE_18 = replace(
    RESNET_18,
    name="resnet18-native",
    title="ResNet-18 for small pictures",
    deviations=("stem: conv1 is 3x3 at stride 1, without pooling, for 7x7 at stride 2 with pooling at stride 2",),
    geometry="native",
    input=(1, 28, 28),
    classes=10,
    params=11_172_810,
    macs=455_800_832,
    builder=partial(resnet, form=ResNetForm(large_stem=False)),
)
NATIVES = (
    NATIVE_18,
    replace(
        NATIVE_18,
        name="resnet18-native-light",
        title="ResNet-18 for small pictures, a quarter of the work",
        deviations=("stem: conv1 is 3x3 at stride 2, without pooling, for 7x7 at stride 2 with pooling at stride 2",),
        macs=121_818_368,
        builder=partial(resnet, form=ResNetForm(large_stem=False, stem_stride=2)),
    ),
    replace(
        NATIVE_18,
        name="resnet34-native",
        title="ResNet-34 for small pictures",
        source="Table 1, 34-layer; shortcut option B",
        params=21_280_970,
        macs=935_917_568,
        builder=partial(resnet, form=replace(FORM_34, large_stem=False)),
    ),
    replace(
        NATIVE_18,
        name="resnet50-native",
        title="ResNet-50 for small pictures",
        source="Table 1, 50-layer",
        params=23_519_690,
        macs=990_983_168,
        builder=partial(resnet, form=replace(FORM_50, large_stem=False)),
    ),
    replace(
        NATIVE_18,
        name="resnet12-native",
        title="ResNet-12 for small pictures, thin",
        source="After Table 1 and section 4.2; shortcut option B",
        deviations=(
            NATIVE_18.deviations[0],
            "five groups of one unit, with 16, 32, 64, 128 and 256 maps, for four of two with 64 to 512",
        ),
        params=1_228_858,
        macs=16_687_872,
        builder=partial(resnet, form=ResNetForm(depths=(1, 1, 1, 1, 1), width=16, large_stem=False)),
    ),
)

ROWS = (*IMAGENET, *V15, *OPTIONS, *CIFAR, *CIFAR_PLAIN, *TUTORIALS, *NATIVES)
