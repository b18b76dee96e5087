"""Nets of the catalogue with weights that mean something, so that an export which goes wrong shows.

Untrained nets say nearly the same of every image, and small logits hide errors.
"""

import copy
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from striate.classifier import Classifier
from striate.data import Preprocessing
from striate.exporting.checking import Comparison, compare, opened, reference
from striate.exporting.graphs import write_onnx, write_program
from striate.exporting.model import About, Model
from striate.exporting.tensors import write_safetensors
from striate.inference import logits
from striate.nets import Net, build
from striate.nets.blocks import he_init
from striate.nets.netspec import NetFacts, NetSpec
from striate.runforms.calibration import Calibration
from tests.run_config import calibration

PICTURES = 8
"""Of a check: a batch of seven and one of one."""


STEADY = 3e-5
"""A net whose float32 logits are further than this from those of float64, as a part of the largest, is no measure of others."""


def rounding(net: Net, preprocessing: Preprocessing, pixels: np.ndarray) -> float:
    """How far the net's logits in float32 are from those in float64, as a part of the largest."""
    x = preprocessing.tensor(pixels)
    with torch.inference_mode():
        exact = copy.deepcopy(net).double()(x.double())
        return float((net(x) - exact).abs().max() / exact.abs().max())


def pass_on(net: Net) -> None:
    """Has each convolution pass its input on, plus a tenth of He's weights.

    In nets of a hundred layers without a clear way through, He's weights make rounding grow from layer to layer: of plain110 the
    float32 logits are 25 % off, and another batch size alone changes them by 0.6 %.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            drawn = module.weight.detach().clone()
            nn.init.dirac_(module.weight)
            with torch.no_grad():
                module.weight.add_(drawn, alpha=0.1)


def pixels_for(row: NetFacts, seed: int, count: int) -> np.ndarray:
    """uint8 (N, H, W, C): smooth patches of random colours with noise, no two alike, of which a few are nearly dark."""
    channels, height, width = row.input
    generator = np.random.default_rng(seed)
    coarse = torch.from_numpy(generator.uniform(0, 255, (count, channels, 5, 5)).astype(np.float32))
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bilinear").permute(0, 2, 3, 1).numpy()
    noisy = smooth * generator.uniform(0.2, 1, (count, 1, 1, 1)) + generator.normal(0, 12, smooth.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def meaningful(name: str, seed: int = 0) -> Model:
    """The row's net: He initialisation (the 1998 net's own, which is for its tanh), batch-norm statistics of two batches, and
    the logits of random images scaled to a standard deviation of 1. Its temperature is 1.3. Where rounding would drown all
    that, the convolutions pass their input on: see `pass_on`.
    """
    torch.manual_seed(seed)
    net = build(name)
    row = net.spec
    assert isinstance(row, NetSpec)
    if name != "lenet5-1998":
        he_init(net)
    preprocessing = Preprocessing(
        size=row.input[1:], channels=row.input[0], mean=(0.45, 0.5, 0.4)[: row.input[0]], std=(0.25,) * row.input[0]
    )
    batches = [pixels_for(row, seed + number, PICTURES) for number in (1, 2)]

    def finish() -> None:
        settle(net, preprocessing, batches)
        if name != "lenet5-1998":  # whose codes are fixed, and whose logits are large already
            scale_logits(net, preprocessing, np.concatenate(batches))

    finish()
    if rounding(net, preprocessing, batches[0]) > STEADY:
        pass_on(net)
        finish()
    about = About(
        classes=tuple(f"class {number}" for number in range(row.classes)),
        preprocessing={**preprocessing.as_dict(), "headroom": 1.7},
        calibration=Calibration.from_dict(calibration(1.3)),
        net={"name": name, "channels": row.input[0], "classes": row.classes, "init": "default"},
        accuracy=None,
        data={},
        licence="none",
        run="",
        made_with="",
    )
    classifier = Classifier(net=net, preprocessing=preprocessing, temperature=1.3)
    return Model(classifier=classifier, about=about)


def settle(net: Net, preprocessing: Preprocessing, batches: list[np.ndarray]) -> None:
    """Batch norm's statistics: the mean over the batches. Dropout stays off."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)]
    net.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of what it has seen
        norm.train()
    with torch.no_grad():
        for batch in batches:
            net(preprocessing.tensor(batch))
    net.eval()


def scale_logits(net: Net, preprocessing: Preprocessing, pixels: np.ndarray) -> None:
    """Scales the logits of these images to deviation 1, and centres each class's, in the last layer that has weights.

    NiN's last layer is a convolution with ReLU behind it, of which nothing would be left after centring.
    """
    auxiliary = {id(module) for module in net.auxiliary_heads.modules()}
    layers = [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    last = next(module for module in reversed(layers) if id(module) not in auxiliary)
    outputs = logits(net, preprocessing, pixels, torch.device("cpu"), batch_size=PICTURES)
    mean = outputs.mean(0)
    scale = 1 / float((outputs - mean).std())
    with torch.no_grad():
        last.weight.mul_(scale)
        if last.bias is not None:
            last.bias.sub_(mean if isinstance(last, nn.Linear) else 0).mul_(scale)


class Checked(NamedTuple):
    """What was found of one form of one row: how it compares, its bytes, and the seconds that writing it took."""

    comparison: Comparison
    bytes: int
    seconds: float


def check_rows(names: Sequence[str], folder: Path) -> dict[str, dict[str, Checked]]:
    """The rows' ONNX, .pt2 and safetensors, written into `folder`, opened in fresh processes and compared: name -> form -> what
    was found. The files are removed.
    """
    jobs: dict[str, list[dict[str, Any]]] = {"without": [], "with": []}
    written, expected = {}, {}
    for name in names:
        model = meaningful(name)
        pictures = pixels_for(model.classifier.net.spec, 99, PICTURES)
        expected[name] = reference(model, pictures)
        for form, write in (("onnx", write_onnx), ("pt2", write_program), ("safetensors", write_safetensors)):
            path = folder / f"{name}.{form}"
            begin = time.perf_counter()
            write(model, path)
            written[path] = (path.stat().st_size, time.perf_counter() - begin)
            jobs["with" if form == "safetensors" else "without"].append(
                {"form": form, "file": str(path), "pictures": pictures}
            )
    answers = [*opened(jobs["without"]), *opened_weights(jobs["with"], folder)]
    found: dict[str, dict[str, Checked]] = {name: {} for name in names}
    for job, answer in zip([*jobs["without"], *jobs["with"]], answers, strict=True):
        path = Path(job["file"])
        found[path.stem][job["form"]] = Checked(compare(expected[path.stem], answer), *written[path])
        path.unlink()
    return found


WITH_STRIATE = """
import json, sys
import numpy as np, torch
from safetensors import safe_open
import striate

for file, images, answers in json.load(open(sys.argv[1])):
    with safe_open(file, "pt") as weights:
        about = json.loads(weights.metadata()["striate"])
        net = striate.build(about["net"]["name"], channels=about["net"]["channels"], classes=about["net"]["classes"])
        net.load_state_dict({name: weights.get_tensor(name) for name in weights.keys()})
    preprocessing = striate.Preprocessing.from_dict(about["preprocessing"])
    net.eval()
    with torch.inference_mode():
        logits = torch.cat([net(preprocessing.tensor(part)) for part in np.split(np.load(images), [7])])
    probabilities = (logits / about["calibration"]["temperature"]).softmax(1)
    np.savez(answers, logits=logits.numpy(), probabilities=probabilities.numpy())
"""
"""What docs/export.md says of a .safetensors: the file alone is enough."""


def opened_weights(jobs: list[dict[str, Any]], folder: Path) -> list[dict[str, np.ndarray]]:
    """The answers of nets that a fresh process builds and gives the weights of the jobs' files."""
    rows = []
    for number, job in enumerate(jobs):
        np.save(folder / f"{number}.npy", job["pictures"])
        rows.append((job["file"], str(folder / f"{number}.npy"), str(folder / f"{number}.npz")))
    (folder / "jobs.json").write_text(json.dumps(rows))
    subprocess.run([sys.executable, "-c", WITH_STRIATE, str(folder / "jobs.json")], check=True)
    return [dict(np.load(answers)) for *_, answers in rows]
