"""GoogLeNet: Szegedy et al. 2014, "Going deeper with convolutions", arXiv:1409.4842 (CVPR 2015).

Table 1 and Fig. 3. Tensors are N C H W. Sizes at 224x224:

    conv1 64@112   pool1 56   conv2 192@56   pool2 28   3a 256   3b 480@28   pool3 14   4a 512 ... 4e 832@14   pool4 7
    5a 832   5b 1024@7   average   1000

An Inception block runs four branches over the same map and puts what they found side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import nn

from striate.nets.blocks import Branches, branch, conv_norm_relu, global_head, named, response_norm, xavier_init
from striate.nets.bninception import BN_INCEPTION
from striate.nets.net import Net
from striate.nets.netspec import Family, NetSpec, variant

# Table 1: channels of 1x1 | 1x1 ahead of 3x3, 3x3 | 1x1 ahead of 5x5, 5x5 | 1x1 behind the pooling.
BLOCKS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class GoogLeNetForm:
    """The options of the forms of GoogLeNet. The defaults are the paper's."""

    batch_norm: Literal["none", "blocks", "all"] = "none"
    """Where batch norm stands between convolution and ReLU: nowhere, in the Inception blocks, everywhere."""
    conv_bias: bool = True
    """Biases in the convolutions."""
    norm_epsilon: float = 1e-5
    """Epsilon of batch norm."""
    response_norm: bool = True
    """Response normalisation behind pool1 and conv2."""
    auxiliary: bool = True
    """Two more heads, on 4a and 4d, with weight 0.3 in the loss."""
    average_first: bool = True
    """An auxiliary head begins with 5x5 average pooling at stride 3; without, it averages to 4x4 whatever the size."""
    large_kernel: int = 5
    """Kernel of the branch with the larger kernel."""
    stem: tuple[int, int] = (7, 2)
    """Kernel and stride of conv1."""
    pool2: bool = True
    """Max pooling behind conv2; with it and conv1's stride of 2 the stem has stride 8."""
    ceil_pools: bool = True
    """Max pooling rounds its size up, without padding; else it pads by 1."""
    pool4: int = 3
    """Kernel of pool4."""
    dropout: float = 0.4
    """Dropout rate before the classifier."""
    hidden: int = 0
    """Units of a hidden layer in the head; 0 is none."""


def conv(
    inputs: int, channels: int, kernel: int, stride: int = 1, *, form: GoogLeNetForm, in_block: bool = True
) -> nn.Sequential:
    """Convolution, batch norm where the form has it, ReLU; keeps the size but for the stride."""
    norm = form.batch_norm == "all" or (form.batch_norm == "blocks" and in_block)
    layer = nn.Conv2d(inputs, channels, kernel, stride, kernel // 2, bias=form.conv_bias)
    return conv_norm_relu(layer, norm=norm, eps=form.norm_epsilon)


def inception(inputs: int, channels: tuple[int, ...], form: GoogLeNetForm) -> Branches:
    """Fig. 2b, with the six numbers of a row of Table 1."""
    one, reduce3, three, reduce5, five, project = channels
    make = partial(conv, form=form)
    return Branches(
        {
            "conv1x1": make(inputs, one, 1),
            "conv3x3": branch(make, inputs, reduce=(reduce3, 1), conv=(three, 3)),
            "conv5x5": branch(make, inputs, reduce=(reduce5, 1), conv=(five, form.large_kernel)),
            "pool": named({"pool": nn.MaxPool2d(3, 1, 1), "project": make(inputs, project, 1)}),
        }
    )


def auxiliary_head(inputs: int, classes: int, form: GoogLeNetForm) -> nn.Sequential:
    """Section 5: 4x4 averages, 128 channels, 1024 units, dropout 0.7. (N, inputs, H, W) -> logits (N, classes)."""
    return named(
        {
            "average": nn.AvgPool2d(5, 3) if form.average_first else None,
            "pool": nn.AdaptiveAvgPool2d(4),
            "conv": conv(inputs, 128, 1, form=form),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(128 * 4 * 4, 1024),
            "relu": nn.ReLU(),
            "dropout": nn.Dropout(0.7),
            "classifier": nn.Linear(1024, classes),
        }
    )


def googlenet(channels: int, classes: int, form: GoogLeNetForm) -> Net:
    """A stem, nine Inception blocks, global average pooling, one linear layer."""

    def pool(kernel: int = 3) -> nn.MaxPool2d:
        return nn.MaxPool2d(kernel, 2, ceil_mode=True) if form.ceil_pools else nn.MaxPool2d(kernel, 2, 1)

    def normalised(layers: dict[str, nn.Module]) -> nn.Sequential:
        return named(layers | {"norm": response_norm() if form.response_norm else None})

    stem = partial(conv, form=form, in_block=False)
    stages: dict[str, nn.Module] = {
        "conv1": stem(channels, 64, *form.stem),
        "pool1": normalised({"pool": pool()}),
        "conv2": normalised({"reduce": stem(64, 64, 1), "conv": stem(64, 192, 3)}),
    }
    if form.pool2:
        stages["pool2"] = pool()
    inputs = 192
    auxiliary: dict[str, tuple[float, nn.Module]] = {}
    for name, widths in BLOCKS.items():
        stages[f"inception{name}"] = inception(inputs, widths, form)
        inputs = widths[0] + widths[2] + widths[4] + widths[5]
        if form.auxiliary and name in ("4a", "4d"):
            auxiliary[f"inception{name}"] = (0.3, auxiliary_head(inputs, classes, form))
        if name == "3b":
            stages["pool3"] = pool()
        elif name == "4e":
            stages["pool4"] = pool(form.pool4)
    head = global_head(inputs, classes, dropout=form.dropout)
    if form.hidden:  # made anew: the draws of the first one stay ahead of the initialisation's, as in runs of before
        head = global_head(inputs, classes, dropout=form.dropout, hidden=form.hidden)
    return Net(stages, head, auxiliary)


def inception_mnist(channels: int, classes: int) -> Net:
    """A tutorial's small net for MNIST: two convolutions, with an Inception block of 88 channels behind each.

    There is no activation inside the blocks. Its weights stay as torch draws them, as in the tutorial: He's would double the
    variance at each layer that has no ReLU behind it.
    """

    def make(inputs: int, channels: int, kernel: int) -> nn.Conv2d:
        return nn.Conv2d(inputs, channels, kernel, padding=kernel // 2)

    def block(inputs: int) -> Branches:
        return Branches(
            {
                "conv1x1": make(inputs, 16, 1),
                "conv5x5": branch(make, inputs, reduce=(16, 1), conv=(24, 5)),
                "twice3x3": branch(make, inputs, reduce=(16, 1), conv1=(24, 3), conv2=(24, 3)),
                "pool": named({"pool": nn.AvgPool2d(3, 1, 1), "project": make(inputs, 24, 1)}),
            }
        )

    stages = {
        "conv1": nn.Conv2d(channels, 10, 5),
        "pool1": named({"pool": nn.MaxPool2d(2), "relu": nn.ReLU()}),
        "inception1": block(10),
        "conv2": nn.Conv2d(88, 20, 5),
        "pool2": named({"pool": nn.MaxPool2d(2), "relu": nn.ReLU()}),
        "inception2": block(20),
    }
    return Net(stages, global_head(88, classes, side=4))


# fmt: off
# The paper does not say how its weights began: its initialisation is Glorot's, as in Caffe's reimplementation.
_PAPER = NetSpec(
    name="googlenet", title="GoogLeNet", family="googlenet", year=2014,
    citation="C. Szegedy et al.: Going deeper with convolutions. CVPR 2015, arXiv:1409.4842",
    source="Table 1, Fig. 3, section 5 (auxiliary heads)",
    deviations=(
        "response normalisation by AlexNet's formula; the paper gives no constants",
        "conv1 is a plain 7x7; the parameters and operations that Table 1 gives for it fit a separable one",
    ),
    input=(3, 224, 224), min_size=79, params=6_998_552, params_training=13_378_280, macs=1_582_671_872,
    results=(
        "ImageNet validation, one net, one crop: 10.07 % top-5 error (Szegedy et al. 2014, Table 3)",
        "ILSVRC-2014 test, seven nets, 144 crops: 6.67 % top-5 error (Szegedy et al. 2014, Table 2)",
    ),
    builder=partial(googlenet, form=GoogLeNetForm()), paper_init=xavier_init,
)
_NATIVE = variant(
    _PAPER, "googlenet-native", "GoogLeNet with batch norm for small images", "Table 1", (5_982_250, 308_253_440), year=2015,
    geometry="native", input=(1, 28, 28), min_size=1, classes=10, params_training=None,
    deviations=(
        "stem: conv1 is 3x3 at stride 1 instead of 7x7 at stride 2, and there is no pool2: stride 2 instead of 8",
        "batch norm between convolution and ReLU, no biases there, no response normalisation, no auxiliary heads",
    ),
    batch_norm="all", conv_bias=False, response_norm=False, auxiliary=False, stem=(3, 1), pool2=False, ceil_pools=False,
)

FAMILY = Family(
    name="googlenet",
    title="GoogLeNet",
    new="Parallel branches with several filter sizes, made affordable by 1x1 convolutions before them, and auxiliary "
    "classifiers at intermediate layers.",
    mattered="It won ILSVRC-2014 with 7 million parameters, where AlexNet had 61 million. Batch norm was first "
    "demonstrated on it, in BN-Inception.",
    drawn="googlenet",
    recipe={
        "source": "Szegedy et al. 2014, section 6: momentum 0.9, rate less 4 % every 8 epochs; rate, batch and decay are not "
        "given, those of Caffe's reference solver here",
        "epochs": 250, "batch_size": 32, "weight_decay": 2e-4, "milestones": tuple((8 * i / 250, 0.96**i) for i in range(1, 32)),
        "augmentation": "flip",
    },
    torchvision=(
        (r"\.norm\.", ".bn."),
        (r"^stages\.conv2\.conv\.", "conv3."),
        (r"^stages\.conv2\.reduce\.", "conv2."),
        (r"\.branches\.conv1x1\.", ".branch1."),
        (r"\.branches\.conv3x3\.reduce\.", ".branch2.0."),
        (r"\.branches\.conv3x3\.conv\.", ".branch2.1."),
        (r"\.branches\.conv5x5\.reduce\.", ".branch3.0."),
        (r"\.branches\.conv5x5\.conv\.", ".branch3.1."),
        (r"\.branches\.pool\.project\.", ".branch4.1."),
        (r"^auxiliary_heads\.inception4a\.", "aux1."),
        (r"^auxiliary_heads\.inception4d\.", "aux2."),
        (r"^(aux\d)\.fc\.", r"\1.fc1."),
        (r"^(aux\d)\.classifier\.", r"\1.fc2."),
        (r"^head\.classifier\.", "fc."),
        (r"^stages\.", ""),
    ),
    rows=(
        _PAPER,
        variant(_PAPER, "googlenet-torchvision", "GoogLeNet, torchvision's", "torchvision's googlenet",
                (6_624_904, 1_498_376_192), year=2015, min_size=15, params_training=13_004_888,
                deviations=(
                    "batch norm (epsilon 0.001) between convolution and ReLU, no biases there, no response normalisation",
                    "the 5x5 branch is 3x3: a known mistake, kept because the published weights were trained with it",
                    "pool4 is 2x2; dropout 0.2 in the head; the auxiliary heads average to 4x4",
                ),
                torchvision=("googlenet", 69.778, 89.53), batch_norm="all", conv_bias=False, norm_epsilon=1e-3,
                response_norm=False, average_first=False, large_kernel=3, pool4=2, dropout=0.2),
        variant(_PAPER, "googlenet-bn", "GoogLeNet with batch norm", "Table 1", (7_005_832, 1_582_671_872), year=2015,
                params_training=13_385_816,
                deviations=("batch norm between convolution and ReLU, no biases there, no response normalisation",),
                batch_norm="all", conv_bias=False, response_norm=False),
        variant(_PAPER, "googlenet-bn-tutorial", "GoogLeNet with batch norm, two linear layers in the head",
                "A tutorial's Inception v1 for a folder of images", (7_041_172, 1_582_700_544), year=2015, geometry="tutorial",
                min_size=1, classes=4, params_training=None,
                deviations=(
                    "batch norm in the blocks, whose convolutions keep their biases; none in the stem, no response normalisation",
                    "no auxiliary heads; a hidden layer of 1024 units in the head; four outputs",
                    "logits; the tutorial puts a softmax before the cross-entropy, so its loss cannot fall below 0.744",
                ),
                known_findings=("bias-before-batchnorm",), biases_before_norm=("stages.inception*.conv.bias",),
                results=("two classes of skin images: 87.6 % best, 85.5 % last test accuracy (its tutorial)",),
                batch_norm="blocks", response_norm=False, auxiliary=False, ceil_pools=False, hidden=1024),
        variant(_PAPER, "googlenet-d2l", "GoogLeNet, one channel", "Dive into Deep Learning 1.0.3, section 8.4",
                (5_977_530, 276_066_304), geometry="tutorial", input=(1, 96, 96), min_size=1, classes=10, params_training=None,
                deviations=(
                    "one channel, ten classes, 96x96",
                    "no response normalisation, no auxiliary heads, no dropout; max pooling pads by 1",
                ),
                response_norm=False, auxiliary=False, ceil_pools=False, dropout=0),
        variant(_PAPER, "inception-mnist", "Two Inception blocks for MNIST", "A tutorial's net after Fig. 2 of the paper",
                (97_298, 6_019_200), geometry="tutorial", input=(1, 28, 28), min_size=16, classes=10, params_training=None,
                deviations=(
                    "two blocks of 88 channels, each after a 5x5 convolution and max pooling; flattens 88@4x4",
                    "two 3x3 in a row instead of the larger "
                    "kernel, average pooling in the block, no activation inside it",
                ),
                known_findings=("missing-activation",), builder=inception_mnist, init=None, paper_init=None),
        _NATIVE,
        variant(_NATIVE, "googlenet-native-light", "GoogLeNet with batch norm for small images, a quarter of the work",
                "Table 1", (5_982_250, 104_789_504), pool2=True,
                deviations=("stem: conv1 is 3x3 at stride 1 instead of 7x7 at stride 2: stride 4 instead of 8",
                            _NATIVE.deviations[1])),
        BN_INCEPTION,
    ),
)
# fmt: on
