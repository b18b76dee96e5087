"""AlexNet: Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks", NIPS.

Section 3.5 and Fig. 2. Tensors are N C H W. Sizes of the two-tower net at 227x227:

    conv1 96@55   pool1 27   conv2 256@27   pool2 13   conv3 384@13   conv4 384@13   conv5 256@13   pool5 6   4096   4096

The text says 224, which 11x11 at stride 4 does not divide; 227 without padding gives the sizes of Fig. 2.
A ReLU follows every layer; normalisation, where there is any, comes after it, then overlapping pooling (3x3, stride 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import nn

from striate.nets.blocks import hidden_head, named, normal_init, response_norm
from striate.nets.net import Net
from striate.nets.netspec import Family, NetSpec, variant


@dataclass(frozen=True, kw_only=True, slots=True)
class AlexNetForm:
    """The options of the forms of AlexNet. The defaults are the paper's."""

    widths: tuple[int, int, int, int, int] = (96, 256, 384, 384, 256)
    """Channels of conv1 to conv5."""
    hidden: int = 4096
    """Units of fc6 and fc7."""
    towers: int = 2
    """Groups of conv2, conv4 and conv5, which see the channels of one GPU only."""
    response_norm: bool = True
    """Local response normalisation after conv1 and conv2."""
    stem: tuple[int, int, int] = (11, 4, 0)
    """Kernel, stride and padding of conv1."""
    side: int = 6
    """Height and width of the map that fc6 sees."""
    dropout_first: bool = False
    """Dropout in front of fc6 and fc7 and not behind them."""


def alexnet(channels: int, classes: int, form: AlexNetForm) -> Net:
    """Five convolutions and three fully connected layers."""
    c1, c2, c3, c4, c5 = form.widths
    kernel, stride, padding = form.stem

    def layer(conv: nn.Conv2d, norm: bool = False) -> nn.Sequential:
        return named({"conv": conv, "relu": nn.ReLU(), "norm": response_norm() if norm else None})

    stages = {
        "conv1": layer(nn.Conv2d(channels, c1, kernel, stride, padding), form.response_norm),
        "pool1": nn.MaxPool2d(3, 2),
        "conv2": layer(nn.Conv2d(c1, c2, 5, padding=2, groups=form.towers), form.response_norm),
        "pool2": nn.MaxPool2d(3, 2),
        "conv3": layer(nn.Conv2d(c2, c3, 3, padding=1)),
        "conv4": layer(nn.Conv2d(c3, c4, 3, padding=1, groups=form.towers)),
        "conv5": layer(nn.Conv2d(c4, c5, 3, padding=1, groups=form.towers)),
        "pool5": nn.MaxPool2d(3, 2),
    }
    head = hidden_head(c5, classes, side=form.side, hidden=form.hidden, dropout_first=form.dropout_first)
    return Net(stages, head)


def paper_init(net: nn.Module) -> None:
    """Section 5: weights N(0, 0.01); biases of 1 give the ReLUs of these layers positive inputs at first, the others are 0.

    With it the loss stands still for the first epochs; with He's it does not.
    """
    normal_init(net, 0.01)
    for name, parameter in net.named_parameters():
        if name.endswith("bias") and any(layer in name for layer in ("conv2", "conv4", "conv5", "fc6", "fc7")):
            nn.init.ones_(parameter)


# fmt: off
_ALEXNET = NetSpec(
    name="alexnet", title="AlexNet", family="alexnet", year=2012,
    citation="A. Krizhevsky, I. Sutskever, G. E. Hinton: ImageNet classification with deep convolutional neural networks. "
    "NIPS 2012",
    source="Section 3.5 and Fig. 2",
    deviations=(
        "227x227 without padding, where the text says 224x224; the sizes in Fig. 2 follow from 227",
        "the paper's formula of response normalisation, alpha is not divided by the number of neighbours",
    ),
    input=(3, 227, 227), min_size=67, params=60_965_224, macs=724_406_816,
    results=(
        "ILSVRC-2010 test, 10 crops: 37.5 % top-1, 17.0 % top-5 error (Krizhevsky et al. 2012, section 6)",
        "ILSVRC-2012 validation, one net, 10 crops: 40.7 % top-1, 18.2 % top-5 error (Krizhevsky et al. 2012, Table 2)",
        "ILSVRC-2012 test, seven nets, two of them pre-trained: 15.3 % top-5 error (Krizhevsky et al. 2012, Table 2)",
    ),
    builder=partial(alexnet, form=AlexNetForm()), paper_init=paper_init,
)
_ONE_TOWER = variant(
    _ALEXNET, "alexnet-owt", "AlexNet, one tower",
    "Body of the text (0.2 % more parameters than two towers); torchvision's alexnet", (61_100_840, 714_188_480), year=2014,
    citation="A. Krizhevsky: One weird trick for parallelizing convolutional neural networks. arXiv:1404.5997, 2014",
    deviations=(
        "conv4 has 256 channels; footnote 1 says 384, which would be 1.4 % more parameters instead of 0.2 %",
        "softmax with cross-entropy instead of 1000 logistic outputs",
    ),
    input=(3, 224, 224), min_size=63, torchvision=("alexnet", 56.522, 79.066), widths=(64, 192, 384, 256, 256), towers=1,
    response_norm=False, stem=(11, 4, 2), dropout_first=True,
)

FAMILY = Family(
    name="alexnet",
    title="AlexNet",
    new="A net of 60 million parameters on 1.2 million photos: ReLU, dropout, heavy augmentation, two GPUs that each hold "
    "half of the channels.",
    mattered="It won ILSVRC-2012 with 15.3 % top-5 error against 26.2 % for the runner-up, and turned computer vision "
    "to deep learning.",
    drawn="alexnet",
    recipe={
        "source": "Krizhevsky et al. 2012, section 5: rate divided by 10 three times; when is not given, equal quarters here",
        "weight_decay": 5e-4, "milestones": ((0.25, 0.1), (0.5, 0.01), (0.75, 0.001)), "augmentation": "flip",
    },
    rows=(
        _ALEXNET,
        _ONE_TOWER,
        variant(
            _ALEXNET, "alexnet-tutorial", "AlexNet, one channel", "Dive into Deep Learning 1.0.3, section 8.1",
            (46_764_746, 938_146_176), geometry="tutorial", input=(1, 224, 224), min_size=65, classes=10,
            deviations=(
                "one tower, no response normalisation",
                "conv1 has padding 1 at 224x224: 54, 26, 12, 5 instead of 55, 27, 13, 6",
            ),
            towers=1, response_norm=False, stem=(11, 4, 1), side=5,
        ),
        variant(
            _ONE_TOWER, "alexnet-halfwidth-tutorial", "AlexNet, one tower at half width",
            "One of the two towers of Fig. 2, as a tutorial on AlexNet builds it", (16_630_440, 311_191_824),
            year=_ALEXNET.year, citation=_ALEXNET.citation, geometry="tutorial",
            deviations=(
                "one tower only: half of all widths",
                "conv1 has padding 2 at 224x224; no response normalisation; dropout before the hidden layers",
            ),
            widths=(48, 128, 192, 192, 128), hidden=2048,
        ),
        variant(
            _ONE_TOWER, "alexnet-native", "AlexNet for small images", "alexnet-owt", (23_468_746, 151_155_712),
            citation=_ALEXNET.citation, geometry="native", input=(1, 28, 28), min_size=15, classes=10,
            deviations=(
                "stem: conv1 is 5x5 at stride 1, padding 2, where alexnet-owt has 11x11 at stride 4",
                "fc6 sees the remaining 2x2 map, not 6x6",
            ),
            stem=(5, 1, 2), side=2,
        ),
    ),
)
# fmt: on
