"""The folder, or ZIP, for people without Striate: the net as ONNX, a script, the model card and the licence."""

from __future__ import annotations

import re
import zipfile
from importlib.metadata import version
from pathlib import Path

from striate.data import values
from striate.exporting.graphs import write_onnx
from striate.exporting.model import Model
from striate.run import Run
from striate.strictjson import to_json

BUNDLE = Path(__file__).parent / "bundle"
"""The scripts that are for the folder alone."""
SCRIPTS = (BUNDLE / "predict.py", BUNDLE / "pictures.py", Path(values.__file__))
"""All scripts in the folder."""
PACKAGES = ("numpy", "onnxruntime", "pillow")
"""All that the scripts need."""
_FOR_TOOLS = re.compile(r"  # (type: ignore\[import-not-found\]|fmt: skip)")
_LEFT_OUT = ("How to use it", "How to repeat it", "Environment")
"""Sections of a run's card that are of use beside the run only, and may name folders of this machine."""
_ABSOLUTE = re.compile(r"(?<![\w:/.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\`\"'|<>()]+[/\\])+([^\s/\\`\"'|<>()]*)")
_PICTURE = re.compile(r"!\[[^\]]*\]\((?!https?:)[^)]*\)\n*")
_SENTENCE_WITH_LINK = re.compile(r"[^.\n]*\[[^\]]*\]\((?!https?:)[^)\s]+\)[^.\n]*(?:\.(?=\s|$)|$)", re.M)


def write_folder(model: Model, run: Run, folder: Path) -> None:
    """Makes `folder`, with model.onnx, predict.py, pictures.py and what explains them. Raises as `write_onnx`."""
    folder.mkdir()
    write_onnx(model, folder / "model.onnx")
    write_scripts(folder)
    for name in ("classes", "preprocessing"):
        (folder / f"{name}.json").write_text(to_json(model.about.as_dict()[name], indent=1) + "\n", encoding="utf-8")
    (folder / "requirements.txt").write_text("".join(f"{name}=={version(name)}\n" for name in PACKAGES))
    (folder / "LICENCE.txt").write_text(model.about.licence + "\n", encoding="utf-8")
    card = run.path / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else f"# {run.name}\n"
    (folder / "README.md").write_text(readme(text, model), encoding="utf-8")


def write_scripts(folder: Path) -> None:
    """Copies the scripts into a folder."""
    for script in SCRIPTS:
        text = script.read_text(encoding="utf-8")
        (folder / script.name).write_text(_FOR_TOOLS.sub("", text), encoding="utf-8")


def write_zip(folder: Path, path: Path) -> None:
    """Packs a folder into a ZIP that unpacks into one folder; the same files make the same ZIP."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(f"{folder.name}/{file.name}", (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            # Weights hardly compress, and trying takes time.
            entry.compress_type = zipfile.ZIP_STORED if file.suffix == ".onnx" else zipfile.ZIP_DEFLATED
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while portion := source.read(2**20):
                    target.write(portion)


def readme(card: str, model: Model) -> str:
    """A model card without the run: how to use the folder, without paths or links into the run."""
    front = found.group() if (found := re.match(r"---\n.*?\n---\n+", card, re.S)) else ""
    first, *sections = re.split(r"\n(?=## )", card.removeprefix(front))
    kept = [part for part in sections if part.removeprefix("## ").split("\n", 1)[0].strip() not in _LEFT_OUT]
    text = "\n\n".join(part.strip() for part in (first, _use(model), *kept))
    text = _SENTENCE_WITH_LINK.sub("", _PICTURE.sub("", text))
    text = re.sub(r"\n{3,}", "\n\n", re.sub(r" +\n", "\n", text))
    return front + _ABSOLUTE.sub(r"\1", text).strip() + "\n"


def _use(model: Model) -> str:
    height, width = model.classifier.preprocessing.size
    channels = model.classifier.preprocessing.channels
    kind = "grey" if channels == 1 else "RGB"
    return f"""## How to use it

In this folder, with Python 3.11 or later:

```sh
python -m venv .venv && . .venv/bin/activate
pip install -r requirements.txt
python predict.py image.jpg
```

| file | |
|:---|:---|
| `model.onnx` | the net: uint8 {kind} pixels `pixels` (N, {height}, {width}, {channels}) to `probabilities` and `logits` (N, \
{len(model.about.classes)}). Normalisation and softmax are inside, and in its metadata all of the JSON files here |
| `predict.py` | reads images, asks the net, prints the likeliest classes; `from predict import predict` in a program |
| `pictures.py`, `values.py` | from a file to the very pixels that the net learned from: orientation, modes, values, scaling |
| `classes.json`, `preprocessing.json` | the classes in the order of the outputs; size, channels, fit and range of the images |
| `LICENCE.txt` | what is known of what it may be used for |

Any other program that can run ONNX can use `model.onnx`, if it brings images to {height}x{width} as `pictures.py` does."""
