"""What is in an image?  python predict.py IMAGE ...  Needs onnxruntime, numpy and Pillow; see README.md."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from pictures import read  # type: ignore[import-not-found]

net = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"))
facts = net.get_modelmeta().custom_metadata_map
classes, how = json.loads(facts["classes"]), json.loads(facts["preprocessing"])


def predict(path: str | Path) -> dict[str, float]:
    """{class: probability} of an image's file, the likeliest first."""
    probabilities = net.run(["probabilities"], {"pixels": read(path, how)[None]})[0][0]
    return {classes[i]: float(probabilities[i]) for i in np.argsort(-probabilities)}


if __name__ == "__main__":
    for path in sys.argv[1:]:
        print(path, *(f"{100 * value:6.2f} %  {name}" for name, value in [*predict(path).items()][:3]), sep="\n")
