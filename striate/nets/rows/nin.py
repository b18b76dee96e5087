"""Rows of NiN."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from striate.nets.netspec import NetSpec
from striate.nets.nin import NiNForm, nin

IMAGENET = NiNForm(
    convs=((11, 4, 0), (5, 1, 2), (3, 1, 1), (3, 1, 1)),
    maps=((96, 96, 96), (256, 256, 256), (384, 384, 384), (1024, 1024, 0)),
    dropout_behind=(3,),
)

CIFAR_10 = NetSpec(
    name="nin-cifar10",
    title="Network in Network for CIFAR-10",
    family="nin",
    year=2013,
    citation="M. Lin, Q. Chen, S. Yan: Network in network. ICLR 2014, arXiv:1312.4400",
    source="Fig. 2 and section 4; the author's configuration for CIFAR-10",
    geometry="paper",
    input=(3, 32, 32),
    min_size=4,
    classes=10,
    params=966_986,
    macs=222_486_528,
    builder=partial(nin, form=NiNForm()),
)

ROWS = (
    CIFAR_10,
    replace(
        CIFAR_10,
        name="nin-imagenet",
        title="Network in Network for ImageNet",
        source="The author's Caffe model; not in the paper",
        deviations=("where dropout stands is as ports of the model have it",),
        input=(3, 224, 224),
        min_size=39,
        classes=1000,
        params=7_595_176,
        macs=1_100_188_800,
        builder=partial(nin, form=IMAGENET),
    ),
    replace(
        CIFAR_10,
        name="nin-tutorial",
        title="Network in Network, one channel",
        source="Dive into Deep Learning 1.0.3, section 8.3",
        deviations=(
            "the ImageNet net with one channel and a last block that has a map a class from its first convolution on",
            "pooling rounds its size down: 54, 26, 12, 5",
        ),
        geometry="tutorial",
        input=(1, 224, 224),
        min_size=67,
        params=1_992_166,
        macs=762_297_352,
        builder=partial(
            nin,
            form=replace(IMAGENET, maps=((96, 96, 96), (256, 256, 256), (384, 384, 384), (0, 0, 0)), ceil_pools=False),
        ),
    ),
    replace(
        CIFAR_10,
        name="nin-native",
        title="Network in Network for small pictures",
        source="nin-imagenet",
        deviations=("stem: the first convolution is 5x5 at stride 1 with padding 2, for 11x11 at stride 4",),
        geometry="native",
        input=(1, 28, 28),
        min_size=8,
        params=6_547_978,
        macs=261_627_392,
        builder=partial(nin, form=replace(IMAGENET, convs=((5, 1, 2), *IMAGENET.convs[1:]))),
    ),
)
