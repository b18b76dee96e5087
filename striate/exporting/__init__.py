"""Exports of a run's net, for use without Striate. Each one is reopened and compared with the run before it is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from striate.arguments import checked
from striate.errors import CheckError, UsageError, param, unknown_name
from striate.exporting.checking import (
    LIMIT,
    Answers,
    CheckPictures,
    Comparison,
    compare,
    opened,
    pictures_of,
    reference,
)
from striate.exporting.folder import write_folder, write_zip
from striate.exporting.graphs import write_onnx, write_program
from striate.exporting.model import Model, model_of
from striate.exporting.tensors import torchvision_name, write_safetensors, write_torchvision
from striate.files import naming, write_json
from striate.inference import build_net
from striate.nets.external import inner
from striate.run import Run
from striate.texts import storage

__all__ = ["FORMS", "Exported", "Form", "export"]

Writer = Callable[[Run, Model, Path, CheckPictures], Sequence[Answers]]
"""Writes an export and gives what it answers when reopened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """An export format.

    Attributes:
        endings: file name suffixes, the default first; an empty one stands for a folder.
        inside: the steps from an image to its class that the file contains.
        beside: the steps that its user has to add.
        use: a first line of code, with `{name}` for the file's name.
        write: writes the file and gives what it answers when reopened.
    """

    endings: tuple[str, ...]
    inside: str
    beside: str
    use: str
    write: Writer


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """An export that passed its check.

    Attributes:
        form: a key of `FORMS`.
        path: the file or folder.
        bytes: of the file, or of all files of the folder.
        sha256: of the file; None for a folder.
        checked_on: the images of the check, in words.
        check: how its answers compare with the run's.
    """

    form: str
    path: Path
    bytes: int
    sha256: str | None
    checked_on: str
    check: Comparison

    def as_dict(self) -> dict[str, object]:
        """The export in plain types."""
        return {**asdict(self), "path": str(self.path), "limit": LIMIT}

    @property
    def verdict(self) -> str:
        """What the check found, in words."""
        found = self.check
        return (
            f"on {found.pictures} {self.checked_on}: largest difference {found.difference:.1e} of the largest logit, same "
            f"class in {found.same} of {found.pictures}"
        )

    def __str__(self) -> str:
        return f"{self.path}: {storage(self.bytes)}, checked {self.verdict}"


@checked
def export(run: Run, *, to: str, path: str | Path | None = None, pictures: int = 64) -> Exported:
    """Writes a run's net in an export format, and keeps the file if it answers as the run does when reopened.

    The answers are compared on images of the run's data, one alone and seven at a time. What the check found is also kept
    in the run, as exports/<name>.json.

    Args:
        run: a finished run.
        to: a key of `FORMS`.
        path: the file to write; the run's exports/<run>.<ending> if None. For `zip` a path without ending is a folder.
        pictures: how many to compare on.

    Raises:
        UsageError: no such format, a path that exists or has another ending, or a net that cannot be written in the format.
        CheckError: the file does not answer as the run does, or could not be reopened; it is not kept. Or the net itself gives no
            number for some image.
        DataError: the run has no weights, or they are damaged.
    """
    target = _target(run, to, path)
    model = model_of(run)
    if to == "torchvision":
        torchvision_name(model)
    chosen = pictures_of(run, model.classifier.preprocessing, pictures)
    with naming(target):
        check = _written(run, to, model, target, chosen)
    files = [target] if target.is_file() else list(target.iterdir())
    exported = Exported(
        form=to,
        path=target,
        bytes=sum(file.stat().st_size for file in files),
        sha256=hashlib.sha256(target.read_bytes()).hexdigest() if target.is_file() else None,
        checked_on=chosen.source,
        check=check,
    )
    write_json(run.path / "exports" / f"{target.name}.json", {**exported.as_dict(), "path": target.name})
    return exported


def _written(run: Run, to: str, model: Model, target: Path, chosen: CheckPictures) -> Comparison:
    """Writes the export to a temporary place, checks it, and moves it to `target`. A failure leaves nothing."""
    expected = reference(model, chosen.pixels)
    if odd := int((~np.isfinite(expected["logits"])).any(1).sum()):
        raise CheckError(
            f"not exported: the net returns NaN or infinity for {odd} of {len(chosen.pixels)} {chosen.source}. "
            "Look for a division by zero in the net"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", ignore_cleanup_errors=True) as temporary:
        # Under its own name, which PyTorch writes into a .pt2.
        written = Path(temporary) / target.name
        checks = [compare(expected, answers) for answers in FORMS[to].write(run, model, written, chosen)]
        check = next((one for one in checks if not one.passed), checks[0])
        if not check.passed:
            raise CheckError(
                f"not kept: {target.name} does not give the same answers as {run.name}. "
                f"On {check.pictures} {chosen.source} the largest "
                f"difference is {check.difference:.1e} of the largest logit (limit {LIMIT:.0e}), and {check.same} "
                "have the same class"
            )
        if target.exists():
            raise _taken(target)
        if written.is_file():
            written.chmod(0o644)  # safetensors creates files that only their owner can read
        written.rename(target)
    return check


def _target(run: Run, to: str, path: str | Path | None) -> Path:
    """The path to write, absolute only if it was given so."""
    if to not in FORMS:
        raise unknown_name("export format", to, FORMS, ", ".join(FORMS))
    endings = FORMS[to].endings
    marked = "-torchvision" if to == "torchvision" else ""
    target = run.path / "exports" / f"{run.name}{marked}{endings[0]}" if path is None else Path(path)
    if target.suffix not in endings:
        expected = " or ".join(ending or "a folder's name without a dot" for ending in endings)
        raise UsageError(f"the name for {param('to', to)} must end in {expected}, got {target.name!r}")
    if target.exists():
        raise _taken(target)
    return target


def _taken(target: Path) -> UsageError:
    return UsageError(f"{target} already exists: remove it, or choose another name with {param('path')}")


def _reopened(form: str, write: Callable[[Model, Path], None]) -> Writer:
    """Writes a file and reopens it in a process without Striate."""

    def answers(run: Run, model: Model, path: Path, pictures: CheckPictures) -> list[Answers]:
        write(model, path)
        job: dict[str, object] = {"form": form, "file": str(path), "pictures": pictures.pixels}
        if form == "torchvision":
            classifier = model.classifier
            job |= {
                "net": torchvision_name(model),
                "classes": classifier.net.classes,
                "temperature": classifier.temperature,
            }
            job |= {"mean": classifier.preprocessing.mean, "std": classifier.preprocessing.std}
        return opened([job])

    return answers


def _safetensors(run: Run, model: Model, path: Path, pictures: CheckPictures) -> list[Answers]:
    from safetensors.torch import load_file

    write_safetensors(model, path)
    net = build_net(run)
    inner(net).load_state_dict(load_file(path))
    return [reference(replace(model, classifier=replace(model.classifier, net=net)), pictures.pixels)]


def _zip(run: Run, model: Model, path: Path, pictures: CheckPictures) -> list[Answers]:
    folder = path.with_suffix("")
    write_folder(model, run, folder)
    with TemporaryDirectory() as temporary:
        files = [str(file) for file in pictures.as_files(Path(temporary))]
        of_net = {"form": "onnx", "file": str(folder / "model.onnx"), "pictures": pictures.pixels}
        answers = opened([of_net, {"form": "folder", "file": str(folder), "pictures": files}])
    if not (answers[1]["pixels"] == pictures.pixels).all():
        raise CheckError(f"not kept: pictures.py does not read the same pixels as the run, for {pictures.source}")
    if path.suffix:
        write_zip(folder, path)
    return answers


FORMS: dict[str, Form] = {
    "onnx": Form(
        endings=(".onnx",),
        inside="normalisation, net, softmax; class names and preprocessing as metadata",
        beside="decoding and resizing of files, as in pictures.py of --to zip",
        use='onnxruntime.InferenceSession("{name}").run(None, {{"pixels": pixels}})',
        write=_reopened("onnx", write_onnx),
    ),
    "pt2": Form(
        endings=(".pt2",),
        inside="normalisation, net, softmax; class names and preprocessing in about.json",
        beside="decoding and resizing of files, as in pictures.py of --to zip",
        use='torch.export.load("{name}").module()(pixels)',
        write=_reopened("pt2", write_program),
    ),
    "safetensors": Form(
        endings=(".safetensors",),
        inside="the weights; net, class names and preprocessing as metadata",
        beside="the net's code, normalisation, decoding and resizing: Striate has them",
        use='net.load_state_dict(safetensors.torch.load_file("{name}"))',
        write=_safetensors,
    ),
    "torchvision": Form(
        endings=(".safetensors", ".pth"),
        inside="the weights under torchvision's names; in .safetensors class names and preprocessing as metadata",
        beside="torchvision's net, normalisation, decoding and resizing",
        use="torchvision.models.get_model(..., weights=None, num_classes=...).load_state_dict(...) with the weights in {name}",
        write=_reopened("torchvision", write_torchvision),
    ),
    "zip": Form(
        endings=(".zip", ""),
        inside="all: model.onnx, predict.py with decoding and scaling, class names, card, licence note",
        beside="Python with onnxruntime, numpy and Pillow",
        use="there: pip install -r requirements.txt, then python predict.py IMAGE",
        write=_zip,
    ),
}
