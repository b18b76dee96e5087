"""One NVIDIA GPU: MNIST to 99 %, CIFAR-10, and ResNet-50 at 224 pixels against a plain loop with torchvision's model.

Runs are `striate train` in processes of their own. The first is the cold one: it meets kernels that nothing has loaded yet. The
loops of ResNet-50 train on random images that lie on the device, so that no disk and no decoder are measured. An image
of a training step is taken as three times its forward pass, two operations a MAC; the peak is that of a large matrix product in
bfloat16, timed in the same process.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchvision

from bench.cache import unpacked
from bench.record import append, conditions
from bench.startup import STRIATE
from striate.anatomy import inspect
from striate.data import ImageData
from striate.data.preprocessing import preprocessing_for
from striate.namedrecipes import FAST_NORM
from striate.nets import build
from striate.training import Execution, make_job, measure

SEEDS, LOOK = 3, 60.0
"""`LOOK`: a budget that makes `measure` take a good look, 4.8 s."""
RUNS = {
    "mnist": "resnet-mnist --data mnist --epochs 0.94 --resize-schedule 20,28@0.5",
    "cifar10": "resnet18-native --size 32 --epochs 30 --augment flip,shift=4",
}
"""The first is that of the CPU (LOG.md). The second has not been tuned."""
EXECUTIONS = {
    "nchw": Execution(1, "nchw"),
    "nhwc": Execution(1, "nhwc"),
    "nchw, bf16": Execution(1, "nchw", "bf16"),
    "nhwc, bf16": Execution(1, "nhwc", "bf16"),
    "nhwc, bf16, compiled": Execution(1, "nhwc", "bf16", True),
}


@dataclass(frozen=True)
class Scene:
    """A net of the catalogue that torchvision has too, on random images."""

    net: str
    torchvision: str
    side: int
    batch: int
    device: torch.device


def runs(name: str) -> None:
    """The runs of `RUNS[name]`, one a seed; a row."""
    with tempfile.TemporaryDirectory() as folder:
        data = ["--data", str(unpacked("cifar10", Path(folder)))] if name == "cifar10" else []
        whole = [STRIATE, "train", *RUNS[name].split(), *data, "--validation", "0", "--json", "--out", folder]
        found = []
        for seed in range(SEEDS):
            done = subprocess.run([*whole, "--seed", str(seed)], check=True, stdout=subprocess.PIPE)
            found.append(json.loads(done.stdout))
    training = [sum(run["seconds"][part] for part in ("augment", "forward", "backward", "optimizer")) for run in found]
    total = [run["seconds"]["total"] for run in found]
    accuracies = [run["accuracy"] for run in found]
    append(
        "gpu-runs",
        {
            **conditions(),
            "gpu": torch.cuda.get_device_name(),
            "run": name,
            "command": RUNS[name],
            "accuracy": round(statistics.mean(accuracies), 4),
            "accuracy_range": f"{min(accuracies):.4f} to {max(accuracies):.4f}",
            "training_seconds_cold": round(training[0], 2),
            "training_seconds_warm": round(statistics.mean(training[1:]), 2),
            "command_seconds_cold": round(total[0], 2),
            "command_seconds_warm": round(statistics.mean(total[1:]), 2),
            "seeds": SEEDS,
        },
    )


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def a_call(device: torch.device, what: Callable[[], object], repeats: int = 20) -> float:
    """Seconds of `what`, the mean of `repeats` after three that warm up."""
    for _ in range(3):
        what()
    wait(device)
    begin = time.perf_counter()
    for _ in range(repeats):
        what()
    wait(device)
    return (time.perf_counter() - begin) / repeats


def plain_step(scene: Scene) -> float:
    """Seconds of a step as everybody writes it: torchvision's net in channels_last, autocast to bfloat16, SGD, a batch that lies
    ready, normalised. Frozen: nothing here is ever made faster.
    """
    net = getattr(torchvision.models, scene.torchvision)().to(scene.device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    x = torch.randn(scene.batch, 3, scene.side, scene.side, device=scene.device).to(memory_format=torch.channels_last)
    y = torch.randint(1000, (scene.batch,), device=scene.device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(scene.device.type, torch.bfloat16):
            loss = F.cross_entropy(net(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return a_call(scene.device, step)


def our_step(scene: Scene, execution: Execution, look: float = LOOK) -> float:
    """Seconds of a step of ours, which gathers its images and normalises them too; `measure` waits for each."""
    pixels = np.random.default_rng(0).integers(0, 256, (2 * scene.batch, scene.side, scene.side, 3), np.uint8)
    labels = np.arange(2 * scene.batch, dtype=np.int64) % 1000
    data = ImageData(pixels, labels, tuple(f"class {number}" for number in range(1000)))
    preprocessing = preprocessing_for(data, (scene.side, scene.side), None)
    recipe = replace(FAST_NORM, batch_size=scene.batch, budget=look)
    job = make_job(recipe, preprocessing, (data, None), scene.device, build(scene.net, channels=3, classes=1000))
    return measure(job, [execution]).step


def peak(device: torch.device, side: int) -> float:
    """Operations a second of a product of two bfloat16 matrices of side x side."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / a_call(device, lambda: a @ b)


def steps(scene: Scene, side: int = 8192) -> list[dict[str, Any]]:
    """The plain loop, then ours in each of `EXECUTIONS`, three times over; of each arm the median."""
    arms: dict[str, Callable[[], float]] = {"torchvision, plain loop: nhwc, bf16": lambda: plain_step(scene)}
    for name, execution in EXECUTIONS.items():
        arms[name] = lambda execution=execution: our_step(scene, execution)  # type: ignore[misc]
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(3):
        for name, arm in arms.items():
            seconds[name].append(arm())
    macs = inspect(build(scene.net, channels=3, classes=1000), (3, scene.side, scene.side)).totals.macs_counted
    operations, most = 3 * 2 * macs * scene.batch, peak(scene.device, side)
    return [
        {
            "net": scene.net,
            "side": scene.side,
            "batch": scene.batch,
            "arm": name,
            "step_ms": round(1000 * statistics.median(taken), 3),
            "pictures_per_second": round(scene.batch / statistics.median(taken)),
            "share_of_peak": round(operations / statistics.median(taken) / most, 4),
            "peak_tflops": round(most / 1e12, 1),
        }
        for name, taken in seconds.items()
    ]


def main(*parts: str) -> None:
    """`mnist`, `cifar10` and `resnet50`, or those that are named."""
    if not torch.cuda.is_available():
        print("gpu: no NVIDIA GPU is at hand here, nothing was measured")
        return
    for part in parts or (*RUNS, "resnet50"):
        if part in RUNS:
            runs(part)
            continue
        rows = steps(Scene("resnet50-v1.5", "resnet50", 224, 256, torch.device("cuda")))
        for row in rows:
            append("gpu-steps", {**conditions(), "gpu": torch.cuda.get_device_name(), **row})


if __name__ == "__main__":
    main()
