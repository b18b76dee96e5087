"""Rows of AlexNet."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from striate.nets.alexnet import AlexNetForm, alexnet
from striate.nets.netspec import NetSpec

CITATION = "A. Krizhevsky, I. Sutskever, G. E. Hinton: ImageNet classification with deep convolutional neural networks. NIPS 2012"
ONE_WEIRD_TRICK = AlexNetForm(
    widths=(64, 192, 384, 256, 256), towers=1, response_norm=False, stem=(11, 4, 2), dropout_first=True
)

TWO_TOWERS = NetSpec(
    name="alexnet",
    title="AlexNet",
    family="alexnet",
    year=2012,
    citation=CITATION,
    source="Section 3.5 and Fig. 2",
    deviations=(
        "227x227 without padding where the text says 224x224; Fig. 2's sizes follow from 227",
        "the paper's formula of response normalisation, alpha not divided by the neighbours",
    ),
    geometry="paper",
    input=(3, 227, 227),
    min_size=67,
    classes=1000,
    params=60_965_224,
    macs=724_406_816,
    builder=partial(alexnet, form=AlexNetForm()),
)

ROWS = (
    TWO_TOWERS,
    replace(
        TWO_TOWERS,
        name="alexnet-owt",
        title="AlexNet, one tower",
        year=2014,
        citation="A. Krizhevsky: One weird trick for parallelizing convolutional neural networks. arXiv:1404.5997, 2014",
        source="Body of the text (0.2 % more parameters than two towers); torchvision's alexnet",
        deviations=(
            "conv4 has 256 maps; footnote 1 says 384, which would be 1.4 % more parameters and not 0.2 %",
            "softmax with cross-entropy for 1000 logistic outputs",
        ),
        input=(3, 224, 224),
        min_size=63,
        params=61_100_840,
        macs=714_188_480,
        builder=partial(alexnet, form=ONE_WEIRD_TRICK),
    ),
    replace(
        TWO_TOWERS,
        name="alexnet-tutorial",
        title="AlexNet, one channel",
        source="Dive into Deep Learning 1.0.3, section 8.1",
        deviations=(
            "one tower, no response normalisation",
            "conv1 has padding 1 at 224x224: 54, 26, 12, 5 in place of 55, 27, 13, 6",
        ),
        geometry="tutorial",
        input=(1, 224, 224),
        min_size=65,
        classes=10,
        params=46_764_746,
        macs=938_146_176,
        builder=partial(alexnet, form=AlexNetForm(towers=1, response_norm=False, stem=(11, 4, 1), side=5)),
    ),
    replace(
        TWO_TOWERS,
        name="alexnet-halfwidth-tutorial",
        title="AlexNet, one tower at half width",
        source="One of the two towers of Fig. 2, as a tutorial on AlexNet builds it",
        deviations=(
            "one tower alone: half of all widths",
            "conv1 has padding 2 at 224x224; no response normalisation; dropout in front of the hidden layers",
        ),
        geometry="tutorial",
        input=(3, 224, 224),
        min_size=63,
        params=16_630_440,
        macs=311_191_824,
        builder=partial(alexnet, form=replace(ONE_WEIRD_TRICK, widths=(48, 128, 192, 192, 128), hidden=2048)),
    ),
    replace(
        TWO_TOWERS,
        name="alexnet-native",
        title="AlexNet for small pictures",
        year=2014,
        source="alexnet-owt",
        deviations=(
            "stem: conv1 is 5x5 at stride 1, padding 2, where alexnet-owt has 11x11 at stride 4",
            "fc6 sees the 2x2 map that is left, not 6x6",
        ),
        geometry="native",
        input=(1, 28, 28),
        min_size=15,
        classes=10,
        params=23_468_746,
        macs=151_155_712,
        builder=partial(alexnet, form=replace(ONE_WEIRD_TRICK, stem=(5, 1, 2), side=2)),
    ),
)
