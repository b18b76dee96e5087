"""Rows of LeNet-5."""

from __future__ import annotations

from functools import partial

from torch import nn

from striate.nets.lenet import lenet5, lenet5_1998
from striate.nets.netspec import NetSpec

CITATION = (
    "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition. "
    "Proceedings of the IEEE 86(11), 1998"
)

ROWS = (
    NetSpec(
        name="lenet5",
        title="LeNet-5",
        family="lenet",
        year=1998,
        citation=CITATION,
        source="Section II.B, Fig. 2, in the form that is drawn today",
        deviations=(
            "C3 sees all maps of S2 (the paper: a table of 60 links)",
            "sub-sampling is average pooling, with nothing to learn and no squashing after it",
            "ReLU for the scaled tanh",
            "linear output with cross-entropy for the distances to fixed codes",
            "padding 2 on C1 takes 28x28 pictures (the paper pads the pictures to 32x32)",
        ),
        geometry="paper",
        input=(1, 28, 28),
        min_size=12,
        classes=10,
        params=61_706,
        macs=416_520,
        builder=lenet5,
    ),
    NetSpec(
        name="lenet5-1998",
        title="LeNet-5 as published",
        family="lenet",
        year=1998,
        citation=CITATION,
        source="Section II.B, Fig. 2 and 3, Table I, appendix A",
        deviations=(
            "logits are -1/2 of the paper's outputs, so that the largest is the answer and cross-entropy applies "
            "(the paper: eq. 9, with a rubbish class)",
        ),
        geometry="paper",
        input=(1, 32, 32),
        min_size=32,
        classes=10,
        params=60_000,
        macs=325_680,
        builder=lenet5_1998,
    ),
    NetSpec(
        name="lenet5-tutorial",
        title="LeNet-5 with sigmoids",
        family="lenet",
        year=1998,
        citation=CITATION,
        source="Dive into Deep Learning 1.0.3, section 7.6",
        deviations=(
            "C3 sees all maps of S2, sub-sampling is average pooling, the output is linear",
            "sigmoid for the scaled tanh; Glorot initialisation",
            "padding 2 on C1 takes 28x28 pictures",
        ),
        geometry="tutorial",
        input=(1, 28, 28),
        min_size=12,
        classes=10,
        params=61_706,
        macs=416_520,
        builder=partial(lenet5, activation=nn.Sigmoid),
    ),
    NetSpec(
        name="lenet5-bn",
        title="LeNet-5 with batch norm",
        family="lenet",
        year=2015,
        citation=CITATION,
        source="Dive into Deep Learning 1.0.3, section 8.5",
        deviations=(
            "as lenet5-tutorial, with batch norm after every layer but the last",
            "no padding on C1: S4 is 16@4x4 at 28x28",
        ),
        geometry="tutorial",
        input=(1, 28, 28),
        min_size=16,
        classes=10,
        params=44_878,
        macs=281_640,
        known_findings=("bias-before-batchnorm",),
        biases_before_norm=("stages.c1.conv.bias", "stages.c3.conv.bias", "head.c5.bias", "head.f6.bias"),
        builder=partial(lenet5, activation=nn.Sigmoid, norm=True, padding=0),
    ),
)
