"""BN-Inception: Ioffe and Szegedy 2015, "Batch normalization: accelerating deep network training by reducing internal covariate
shift", arXiv:1502.03167 (ICML 2015).

Fig. 5. Tensors are N C H W. It belongs to GoogLeNet's family, whose file lists it.
"""

from __future__ import annotations

from torch import nn

from striate.nets.blocks import Branches, branch, conv_norm_relu, global_head, named, xavier_init
from striate.nets.net import Net
from striate.nets.netspec import NetSpec

# Fig. 5: channels of 1x1 | 1x1, 3x3 | 1x1, 3x3, 3x3 | 1x1 behind the pooling; 0 is no such convolution.
# Blocks without 1x1 halve the size. The sums of 4c, 4d and 4e are 608, 608 and 1056; the figure prints 576, 576, 1024.
BLOCKS = {
    "3a": (64, 64, 64, 64, 96, 32),
    "3b": (64, 64, 96, 64, 96, 64),
    "3c": (0, 128, 160, 64, 96, 0),
    "4a": (224, 64, 96, 96, 128, 128),
    "4b": (192, 96, 128, 96, 128, 128),
    "4c": (160, 128, 160, 128, 160, 128),
    "4d": (96, 128, 192, 160, 192, 128),
    "4e": (0, 128, 192, 192, 256, 0),
    "5a": (352, 192, 320, 160, 224, 128),
    "5b": (352, 192, 320, 192, 224, 128),
}


def bn_inception(channels: int, classes: int) -> Net:
    """Two 3x3 for each 5x5 of GoogLeNet, batch norm everywhere, average pooling in most blocks."""

    def make(inputs: int, channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
        return conv_norm_relu(nn.Conv2d(inputs, channels, kernel, stride, kernel // 2, bias=False))

    stages: dict[str, nn.Module] = {
        "conv1": make(channels, 64, 7, 2),
        "pool1": nn.MaxPool2d(3, 2, ceil_mode=True),
        "conv2": branch(make, 64, reduce=(64, 1), conv=(192, 3)),
        "pool2": nn.MaxPool2d(3, 2, ceil_mode=True),
    }
    inputs = 192
    for name, (one, reduce3, three, reduce_double, double, project) in BLOCKS.items():
        stride = 1 if one else 2
        pool = nn.MaxPool2d if name == "5b" or not project else nn.AvgPool2d
        stages[f"inception{name}"] = Branches(
            ({"conv1x1": make(inputs, one, 1)} if one else {})
            | {
                "conv3x3": branch(make, inputs, reduce=(reduce3, 1), conv=(three, 3, stride)),
                "twice3x3": branch(
                    make, inputs, reduce=(reduce_double, 1), conv1=(double, 3), conv2=(double, 3, stride)
                ),
                "pool": named({"pool": pool(3, stride, 1), "project": make(inputs, project, 1) if project else None}),
            }
        )
        inputs = one + three + double + (project or inputs)
    return Net(stages, global_head(inputs, classes))


# fmt: off
# The paper does not say how its weights began: as for GoogLeNet, its initialisation is Glorot's.
BN_INCEPTION = NetSpec(
    name="bn-inception", title="BN-Inception", family="googlenet", year=2015,
    citation="S. Ioffe, C. Szegedy: Batch normalization: accelerating deep network training by reducing internal covariate "
    "shift. ICML 2015, arXiv:1502.03167",
    source="Fig. 5",
    deviations=(
        "4c, 4d and 4e have the channels of Fig. 5, which sum to 608, 608 and 1056; it prints 576, 576 and 1024 beside them",
        "conv1 is a plain 7x7, where the paper has a separable one of depth multiplier 8",
    ),
    input=(3, 224, 224), min_size=7, params=11_285_224, macs=2_032_600_064,
    results=("ImageNet validation, one crop: 74.8 % top-1 accuracy, BN-x30 (Ioffe and Szegedy 2015, Fig. 3)",),
    builder=bn_inception, paper_init=xavier_init,
)
# fmt: on
