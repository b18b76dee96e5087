"""Network in Network: Lin, Chen, Yan 2013, arXiv:1312.4400 (ICLR 2014).

Section 3 and the author's published configurations. Tensors are N C H W. A block ("mlpconv") is a convolution and two 1x1
convolutions, a small fully connected net at each pixel; the last block has a map a class, and the average of each map is
its class's logit. A ReLU follows every convolution, the last one too.

    CIFAR-10   mlpconv1 192-160-96@32   pool1 16   mlpconv2 192-192-192@16   pool2 8   mlpconv3 192-192-10@8   average
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import nn

from striate.nets.blocks import he_init, named, normal_init
from striate.nets.net import Net
from striate.nets.netspec import Family, NetSpec, variant


@dataclass(frozen=True, kw_only=True, slots=True)
class NiNForm:
    """The options of the forms of NiN. The defaults are the paper's net for CIFAR-10."""

    convs: tuple[tuple[int, int, int], ...] = ((5, 1, 2), (5, 1, 2), (3, 1, 1))
    """Kernel, stride and padding of each block's first convolution."""
    channels: tuple[tuple[int, int, int], ...] = ((192, 160, 96), (192, 192, 192), (192, 192, 0))
    """Channels of each block's three convolutions; 0 is one for each class."""
    dropout_behind: tuple[int, ...] = (1, 2)
    """The poolings with dropout 0.5 behind them."""
    ceil_pools: bool = True
    """Pooling rounds its size up, as Caffe and cuda-convnet do."""


def mlpconv(inputs: int, channels: tuple[int, int, int], conv: tuple[int, int, int]) -> nn.Sequential:
    """A convolution and two of 1x1, with ReLUs."""
    first, second, third = channels
    kernel, stride, padding = conv
    return named(
        {
            "conv": nn.Conv2d(inputs, first, kernel, stride, padding),
            "relu1": nn.ReLU(),
            "mlp1": nn.Conv2d(first, second, 1),
            "relu2": nn.ReLU(),
            "mlp2": nn.Conv2d(second, third, 1),
            "relu3": nn.ReLU(),
        }
    )


def nin(channels: int, classes: int, form: NiNForm) -> Net:
    """Blocks with 3x3 max pooling at stride 2 between them; the head only averages."""
    stages: dict[str, nn.Module] = {}
    inputs = channels
    for number, (conv, widths) in enumerate(zip(form.convs, form.channels, strict=True), 1):
        first, second, third = (width or classes for width in widths)
        stages[f"mlpconv{number}"] = mlpconv(inputs, (first, second, third), conv)
        if number < len(form.convs):
            stages[f"pool{number}"] = named(
                {
                    "pool": nn.MaxPool2d(3, 2, ceil_mode=form.ceil_pools),
                    "dropout": nn.Dropout(0.5) if number in form.dropout_behind else None,
                }
            )
        inputs = third
    return Net(stages, named({"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}))


def init(net: Net) -> None:
    """He's, which does not depend on the widths, and all logits start at 1, since a ReLU comes behind them.

    At 0 the first large step would shut off classes for good, for a ReLU at 0 passes no gradient.
    """
    last = f"{[name for name in net.stages if name.startswith('mlpconv')][-1]}.mlp2"
    he_init(net, last=last)
    nn.init.ones_(net.stages.get_parameter(f"{last}.bias"))


# fmt: off
# The paper's initialisation is that of the author's configuration for CIFAR-10.
_CIFAR_10 = NetSpec(
    name="nin-cifar10", title="Network in Network for CIFAR-10", family="nin", year=2013,
    citation="M. Lin, Q. Chen, S. Yan: Network in network. ICLR 2014, arXiv:1312.4400",
    source="Fig. 2 and section 4; the author's configuration for CIFAR-10", input=(3, 32, 32), min_size=4, classes=10,
    params=966_986, macs=222_486_528,
    results=(
        "CIFAR-10: 10.41 % error (Lin et al. 2013, Table 1)",
        "CIFAR-10, with shifts and flips: 8.81 % error (Lin et al. 2013, Table 1)",
    ),
    builder=partial(nin, form=NiNForm()), init=init, paper_init=partial(normal_init, std=0.05),
)
_IMAGENET = variant(
    _CIFAR_10, "nin-imagenet", "Network in Network for ImageNet", "The author's Caffe model; not in the paper",
    (7_595_176, 1_100_188_800), input=(3, 224, 224), min_size=39, classes=1000,
    deviations=("dropout is placed as in ports of the model",),
    results=("ImageNet validation, centre crop: 59.36 % top-1 accuracy (the author's Caffe model)",),
    convs=((11, 4, 0), (5, 1, 2), (3, 1, 1), (3, 1, 1)), dropout_behind=(3,),
    channels=((96, 96, 96), (256, 256, 256), (384, 384, 384), (1024, 1024, 0)),
)

FAMILY = Family(
    name="nin",
    title="Network in Network",
    new="1x1 convolutions, a small fully connected net at each pixel, and global average pooling in place of fully "
    "connected layers.",
    mattered="Nearly every later net uses both ideas, starting with GoogLeNet and ResNet.",
    drawn="nin-cifar10",
    recipe={
        "source": "Lin et al. 2013, section 4.1: batch 128, rate divided by 10 twice; rate, epochs and times are not given, "
        "0.1 and AlexNet's 90 here",
        "lr": 0.1, "weight_decay": 5e-4, "milestones": ((0.5, 0.1), (0.75, 0.01)), "augmentation": "flip",
    },
    rows=(
        _CIFAR_10,
        variant(_CIFAR_10, "nin-cifar100", "Network in Network for CIFAR-100", "Fig. 2 and section 4; Table 3",
                (984_356, 223_592_448), classes=100, results=("CIFAR-100: 35.68 % error (Lin et al. 2013, Table 3)",)),
        _IMAGENET,
        variant(_IMAGENET, "nin-tutorial", "Network in Network, one channel", "Dive into Deep Learning 1.0.3, section 8.3",
                (1_992_166, 762_297_352), geometry="tutorial", input=(1, 224, 224), min_size=67, classes=10,
                deviations=(
                    "the ImageNet net with one input channel, and a last block with one feature map per class from "
                    "its first convolution on",
                    "pooling rounds its size down: 54, 26, 12, 5",
                ),
                channels=((96, 96, 96), (256, 256, 256), (384, 384, 384), (0, 0, 0)), ceil_pools=False),
        variant(_IMAGENET, "nin-native", "Network in Network for small images", "nin-imagenet", (6_547_978, 261_627_392),
                geometry="native", input=(1, 28, 28), min_size=8, classes=10,
                deviations=("stem: the first convolution is 5x5 at stride 1 with padding 2, instead of 11x11 at stride 4",),
                convs=((5, 1, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1))),
    ),
)
# fmt: on
