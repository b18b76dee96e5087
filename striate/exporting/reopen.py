"""Opens exports as their recipient would: in a separate process, with what the format needs and without Striate.

`python -I -B reopen.py JOBS`: a JSON file with a list of jobs, each `form`, `file`, `pictures` (an .npy of pixels, or a list of
files) and `answers`, the .npz that is written. In batches of seven, the last of one where the number allows it.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 7
Arrays = dict[str, np.ndarray[Any, Any]]
Job = dict[str, Any]


def onnx(file: str, pixels: np.ndarray[Any, Any], job: Job) -> list[Arrays]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(names, {"pixels": part}), strict=True)) for part in batches(pixels)]


def pt2(file: str, pixels: np.ndarray[Any, Any], job: Job) -> list[Arrays]:
    import torch

    net = torch.export.load(file).module()
    with torch.inference_mode():
        found = [net(torch.from_numpy(part)) for part in batches(pixels)]
    return [{"probabilities": probabilities.numpy(), "logits": logits.numpy()} for probabilities, logits in found]


def torchvision(file: str, pixels: np.ndarray[Any, Any], job: Job) -> list[Arrays]:
    import torch
    from safetensors.torch import load_file
    from torchvision.models import get_model

    weights = torch.load(file, weights_only=True) if file.endswith(".pth") else load_file(file)
    options = {}
    if job["net"] in ("googlenet", "inception_v3"):
        options = {"init_weights": False, "aux_logits": any(name.lower().startswith("aux") for name in weights)}
    net = get_model(job["net"], weights=None, num_classes=job["classes"], **options).eval()
    net.load_state_dict(weights)
    mean, std = (torch.tensor(job[key]).view(-1, 1, 1) for key in ("mean", "std"))
    answers = []
    with torch.inference_mode():
        for part in batches(pixels):
            logits = net((torch.from_numpy(part).permute(0, 3, 1, 2) / 255 - mean) / std)
            answers.append(
                {"logits": logits.numpy(), "probabilities": (logits / job["temperature"]).softmax(1).numpy()}
            )
    return answers


def folder(file: str, pictures: list[str], job: Job) -> list[Arrays]:
    """The script's probabilities of files, in the order of the classes, and the pixels that it read."""
    sys.path.insert(0, file)
    from pictures import read  # type: ignore[import-not-found, unused-ignore]
    from predict import classes, how, predict  # type: ignore[import-not-found, unused-ignore]

    answers = []
    for picture in pictures:
        found = predict(picture)
        answers.append(
            {"probabilities": np.array([[found[name] for name in classes]]), "pixels": read(picture, how)[None]}
        )
    assert "torch" not in sys.modules
    return answers


def batches(pixels: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    return [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]


FORMS: dict[str, Callable[[str, Any, Job], list[Arrays]]] = {
    "onnx": onnx,
    "pt2": pt2,
    "torchvision": torchvision,
    "folder": folder,
}


def main(jobs: str) -> None:
    for job in json.loads(Path(jobs).read_text()):
        pictures = job["pictures"] if job["form"] == "folder" else np.load(job["pictures"])
        answers = FORMS[job["form"]](job["file"], pictures, job)
        whole: Job = {key: np.concatenate([answer[key] for answer in answers]) for key in answers[0]}
        np.savez(job["answers"], **whole)
    assert "striate" not in sys.modules


if __name__ == "__main__":
    main(sys.argv[1])
