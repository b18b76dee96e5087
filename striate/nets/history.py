"""What each family brought, and the results that its papers published: the words of `striate nets NAME`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from striate.nets.netspec import NetSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A paper in two sentences."""

    title: str
    """The net's name as the paper writes it."""
    new: str
    """What it did that had not been done."""
    mattered: str
    """What came of it."""


FAMILIES = {
    "lenet": Family(
        title="LeNet-5",
        new="Learned local filters, shared over the picture and alternating with sub-sampling, trained end to end by "
        "gradients where others wrote feature extractors by hand.",
        mattered="It read bank cheques, gave the field MNIST, and every later convolutional net keeps its plan: "
        "maps that shrink and multiply, then fully connected layers.",
    ),
    "alexnet": Family(
        title="AlexNet",
        new="A net of 60 million parameters on 1.2 million photos: ReLU, dropout, heavy augmentation, two GPUs that each hold "
        "half of the maps.",
        mattered="It won ILSVRC-2012 with 15.3 % top-5 error against 26.2 % for the second, and turned computer vision to "
        "deep learning.",
    ),
    "vgg": Family(
        title="VGG",
        new="Depth alone varied, from 11 to 19 layers, with nothing but 3x3 convolutions: two in a row see 5x5, three see 7x7, "
        "with fewer weights and more ReLUs than one large filter.",
        mattered="The simplest plan that works; its features served detection, segmentation and style transfer for years.",
    ),
    "nin": Family(
        title="Network in Network",
        new="1x1 convolutions, a small fully connected net at each pixel, and global average pooling in place of fully "
        "connected layers.",
        mattered="Both ideas are in nearly every net that followed, from GoogLeNet and ResNet on.",
    ),
    "googlenet": Family(
        title="GoogLeNet",
        new="Branches of several filter sizes side by side, made affordable by 1x1 convolutions ahead of them, and auxiliary "
        "classifiers on the way.",
        mattered="It won ILSVRC-2014 with 7 million parameters where AlexNet had 61, and batch norm was first shown "
        "on it, in BN-Inception.",
    ),
    "resnet": Family(
        title="ResNet",
        new="Layers learn what to add to their input. Plain nets get worse with depth, in training error too; residual nets "
        "get better.",
        mattered="It won ILSVRC-2015 at 152 layers, made 1000 layers trainable, and the addition of a shortcut is in most "
        "deep nets since, transformers among them.",
    ),
    "preresnet": Family(
        title="Identity mappings in ResNet",
        new="Ablations of the shortcut and of the order of batch norm, ReLU and addition: a path that nothing touches, with "
        "the activations ahead of the convolutions, trains best.",
        mattered="Pre-activation trained 1001 layers on CIFAR-10; blocks with the normalisation ahead and a clean "
        "path beside them are the rule in transformers too.",
    ),
    "densenet": Family(
        title="DenseNet",
        new="Each layer reads all maps made before it in its block and appends a few of its own.",
        mattered="The same accuracy as ResNets with less than half of the parameters, and the use of features again as a "
        "principle of design.",
    ),
}

_ALEX12 = "Krizhevsky et al. 2012"
_VGG = "Simonyan and Zisserman 2014"
_RN = "He et al. 2015"
_PA = "He et al. 2016"
_DN = "Huang et al. 2016"
_TORCHVISION = "torchvision's IMAGENET1K_V1 weights"


def _ten_crop(top1: float, top5: float) -> str:
    return f"ImageNet validation, 10 crops: {top1} % top-1, {top5} % top-5 error ({_RN}, Table 3)"


def _cifar(error: str, table: str) -> str:
    return f"CIFAR-10: {error} % error ({table})"


def _one_crop(top1: float, top5: float) -> str:
    return f"ImageNet validation, centre crop: {top1} % top-1, {top5} % top-5 accuracy ({_TORCHVISION})"


def _dense_table_3(top1: float, top5: float, scale: str) -> str:
    return f"ImageNet validation, dense, one scale, trained at {scale}: {top1} % top-1, {top5} % top-5 error ({_VGG}, Table 3)"


RESULTS: dict[str, tuple[str, ...]] = {
    "lenet5-1998": ("MNIST: 0.95 % error; 0.8 % with distorted training pictures (LeCun et al. 1998, section III)",),
    "alexnet": (
        f"ILSVRC-2010 test, 10 crops: 37.5 % top-1, 17.0 % top-5 error ({_ALEX12}, section 6)",
        f"ILSVRC-2012 validation, one net, 10 crops: 40.7 % top-1, 18.2 % top-5 error ({_ALEX12}, Table 2)",
        f"ILSVRC-2012 test, seven nets, two of them pre-trained: 15.3 % top-5 error ({_ALEX12}, Table 2)",
    ),
    "alexnet-owt": (_one_crop(56.522, 79.066),),
    "vgg11": (_dense_table_3(29.6, 10.4, "256"), _one_crop(69.02, 88.628)),
    "vgg11-lrn": (_dense_table_3(29.7, 10.5, "256"),),
    "vgg13": (_dense_table_3(28.7, 9.9, "256"), _one_crop(69.928, 89.246)),
    "vgg16-1x1": (_dense_table_3(28.1, 9.4, "256"), _dense_table_3(27.3, 8.8, "256 to 512")),
    "vgg16": (
        _dense_table_3(27.0, 8.8, "256"),
        _dense_table_3(25.6, 8.1, "256 to 512"),
        f"ImageNet validation, dense and multi-crop, three scales: 24.4 % top-1, 7.2 % top-5 error ({_VGG}, Table 5)",
        _one_crop(71.592, 90.382),
    ),
    "vgg19": (
        _dense_table_3(27.3, 9.0, "256"),
        _dense_table_3(25.5, 8.0, "256 to 512"),
        f"ImageNet validation, dense and multi-crop, three scales: 24.4 % top-1, 7.1 % top-5 error ({_VGG}, Table 5)",
        _one_crop(72.376, 90.876),
    ),
    "vgg11-bn": (_one_crop(70.37, 89.81),),
    "vgg13-bn": (_one_crop(71.586, 90.374),),
    "vgg16-bn": (_one_crop(73.36, 91.516),),
    "vgg19-bn": (_one_crop(74.218, 91.842),),
    "nin-cifar10": (
        _cifar("10.41", "Lin et al. 2013, Table 1"),
        _cifar("8.81", "with shifts and flips; Lin et al. 2013, Table 1"),
    ),
    "nin-imagenet": ("ImageNet validation, centre crop: 59.36 % top-1 accuracy (the author's Caffe model)",),
    "googlenet": (
        "ImageNet validation, one net, one crop: 10.07 % top-5 error (Szegedy et al. 2014, Table 3)",
        "ILSVRC-2014 test, seven nets, 144 crops: 6.67 % top-5 error (Szegedy et al. 2014, Table 2)",
    ),
    "googlenet-torchvision": (_one_crop(69.778, 89.53),),
    "googlenet-bn-tutorial": ("two classes of skin pictures: 87.6 % best, 85.5 % last test accuracy (its tutorial)",),
    "bn-inception": ("ImageNet validation, one crop: 74.8 % top-1 accuracy, BN-x30 (Ioffe and Szegedy 2015, Fig. 3)",),
    "plain18": (f"ImageNet validation, 10 crops: 27.94 % top-1 error ({_RN}, Table 2)",),
    "plain34": (_ten_crop(28.54, 10.02),),
    "resnet18-a": (f"ImageNet validation, 10 crops: 27.88 % top-1 error ({_RN}, Table 2)",),
    "resnet18": (_one_crop(69.758, 89.078),),
    "resnet34-a": (_ten_crop(25.03, 7.76),),
    "resnet34": (_ten_crop(24.52, 7.46), _one_crop(73.314, 91.42)),
    "resnet34-c": (_ten_crop(24.19, 7.40),),
    "resnet50": (_ten_crop(22.85, 6.71),),
    "resnet101": (_ten_crop(21.75, 6.05),),
    "resnet152": (_ten_crop(21.43, 5.71),),
    "resnet50-v1.5": (_one_crop(76.13, 92.862),),
    "resnet101-v1.5": (_one_crop(77.374, 93.546),),
    "resnet152-v1.5": (_one_crop(78.312, 94.046),),
    "resnet20": (_cifar("8.75", f"{_RN}, Table 6"),),
    "resnet32": (_cifar("7.51", f"{_RN}, Table 6"),),
    "resnet44": (_cifar("7.17", f"{_RN}, Table 6"),),
    "resnet56": (_cifar("6.97", f"{_RN}, Table 6"),),
    "resnet110": (_cifar("6.43 (6.61 +- 0.16 over five runs)", f"{_RN}, Table 6"),),
    "resnet1202": (_cifar("7.93", f"{_RN}, Table 6"),),
    "plain110": (_cifar("more than 60", f"{_RN}, Fig. 6"),),
    "resnet-mnist": ("MNIST: 98.7 to 99.0 % test accuracy, epochs 6 to 10 (its tutorial)",),
    "resnet110-constant-scaling": (_cifar("12.35", f"{_PA}, Table 1"),),
    "resnet110-exclusive-gating": (_cifar("8.70", f"{_PA}, Table 1"),),
    "resnet110-shortcut-gating": (_cifar("6.91", f"{_PA}, Table 1"),),
    "resnet110-conv-shortcut": (_cifar("12.22", f"{_PA}, Table 1"),),
    "resnet110-dropout-shortcut": (_cifar("more than 20", f"fails; {_PA}, Table 1"),),
    "resnet110-bn-after-addition": (_cifar("8.17", f"{_PA}, Table 2"),),
    "resnet110-relu-before-addition": (_cifar("7.84", f"{_PA}, Table 2"),),
    "resnet110-relu-preactivation": (_cifar("6.71", f"{_PA}, Table 2"),),
    "preresnet110": (_cifar("6.37", f"{_PA}, Table 2"),),
    "resnet164": (_cifar("5.93", f"{_PA}, Table 2"),),
    "resnet164-bn-after-addition": (_cifar("6.50", f"{_PA}, Table 2"),),
    "resnet164-relu-before-addition": (_cifar("6.14", f"{_PA}, Table 2"),),
    "resnet164-relu-preactivation": (_cifar("5.91", f"{_PA}, Table 2"),),
    "preresnet164": (
        _cifar("5.46", f"{_PA}, Table 2"),
        f"CIFAR-100: 24.33 % error ({_PA}, Table 3)",
    ),
    "preresnet1001": (
        _cifar("4.92; 4.62 at batch 64", f"{_PA}, Table 4"),
        f"CIFAR-100: 22.71 % error ({_PA}, Table 3)",
    ),
    "densenet121": (
        f"ImageNet validation, one crop: 25.02 % top-1, 7.71 % top-5 error ({_DN}, Table 3)",
        _one_crop(74.434, 91.972),
    ),
    "densenet161": (
        "ImageNet validation, one crop: 22.2 % top-1 error (the authors' models)",
        _one_crop(77.138, 93.56),
    ),
    "densenet169": (
        f"ImageNet validation, one crop: 23.80 % top-1, 6.85 % top-5 error ({_DN}, Table 3)",
        _one_crop(75.6, 92.806),
    ),
    "densenet201": (
        f"ImageNet validation, one crop: 22.58 % top-1, 6.34 % top-5 error ({_DN}, Table 3)",
        _one_crop(76.896, 93.37),
    ),
    "densenet264": (f"ImageNet validation, one crop: 22.15 % top-1, 6.12 % top-5 error ({_DN}, Table 3)",),
    "densenet40-k12": (_cifar("5.24 with augmentation, 7.00 without", f"{_DN}, Table 2"),),
    "densenet100-k12": (_cifar("4.10 with augmentation, 5.77 without", f"{_DN}, Table 2"),),
    "densenet100-k24": (_cifar("3.74 with augmentation, 5.83 without", f"{_DN}, Table 2"),),
    "densenet100-bc-k12": (_cifar("4.51 with augmentation, 5.92 without", f"{_DN}, Table 2"),),
    "densenet250-bc-k24": (_cifar("3.62 with augmentation, 5.19 without", f"{_DN}, Table 2"),),
    "densenet190-bc-k40": (_cifar("3.46 with augmentation", f"{_DN}, Table 2"),),
}


def card(row: NetSpec) -> dict[str, Any]:
    """Everything that is known of a net, in plain types: its row, what its family brought, and published results."""
    family = FAMILIES[row.family]
    return {**row.as_dict(), "new": family.new, "mattered": family.mattered, "results": list(RESULTS.get(row.name, ()))}
