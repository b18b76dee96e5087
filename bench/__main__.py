"""python -m bench [NAME ...]: all measurements, or the named ones; `fashion:alexnet` is one race of `fashion`.

Close other programs first: they share the cores.
"""

from __future__ import annotations

import sys
from importlib import import_module

BENCHMARKS = {
    "startup": "striate --help, striate nets, the first accuracy; startup:CHECKOUT in turns with another one (a minute)",
    "fashion": "native nets against the tutorials at 224 and 96 pixels, seven races; time to 88, 92 and 93 % (about 6 hours)",
    "tricks": "recipe fast without one of its parts, LeNet-5 with batch norm, three seeds (about 15 minutes)",
    "inspect": "reading VGG, DenseNet-264 and ResNet-1202 without weights (about 20 seconds)",
    "budget": "LeNet-5 on Fashion-MNIST in 60 s, three seeds, in 3 and in 10 minutes (about 16 minutes)",
    "cache": "folders of photos against ImageFolder and DataLoader; CIFAR-10 as files (about 5 minutes)",
    "checkup": "planted copies, other pairs and time of the check-up on CIFAR-10; the odd ant (about 3 minutes)",
    "export": "every row of the catalogue as ONNX, pt2 and safetensors, compared with the net (about an hour)",
    "intervals": "how often forms of interval cover a macro F1 (about 5 minutes)",
    "calibration": "what a temperature of 5 to 1,000 images does to the loss on new ones (about 2 minutes)",
    "lenet": "LeNet-5 on Fashion-MNIST against the plain tutorial loop (about 6 minutes)",
    "ood": "scores to abstain by: LeNet-5 on Fashion-MNIST against digits and photos, three seeds (about 5 minutes)",
    "predict": "striate predict on 10,000 JPEG files: memory, and the rate against decoding and net alone (about 2 minutes)",
    "mnist": "MNIST to 99.0 % against the tutorial loop with its residual net (about 8 minutes)",
    "loop": "our loop against a plain one with the same settings, seconds of a step (about 1 minute)",
    "gpu": "one NVIDIA GPU: MNIST, CIFAR-10, steps of ResNet-50 against a plain loop; passed over without one (some minutes)",
    "torture": "50 killed runs and a chain of 10 kills, resumed and compared with unbroken ones (about 10 minutes)",
}


def main(names: list[str]) -> None:
    if unknown := [name for name in names if name.partition(":")[0] not in BENCHMARKS]:
        lines = "\n".join(f"  {name:<8} {what}" for name, what in BENCHMARKS.items())
        sys.exit(f"there is no benchmark {unknown[0]!r}. There are:\n{lines}")
    for name in names or BENCHMARKS:
        module, _, part = name.partition(":")
        import_module(f"bench.{module}").main(*([part] if part else []))


main(sys.argv[1:])
