"""Export: a run's net for those who have not Striate. Every export is checked against the run before it is kept."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from striate.arguments import checked
from striate.errors import CheckError, UsageError, param, unknown_name
from striate.exporting.checking import (
    LIMIT,
    CheckPictures,
    Comparison,
    compare,
    opened,
    pictures_of,
    reference,
    require_numbers,
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """A form in which a net is handed over.

    Attributes:
        endings: of its files' names, the first where none was asked for; with an empty one also a folder.
        inside: what of the way from an image to its class is in the file.
        beside: what is not, and whoever uses it has to do.
        use: how one begins, with `{name}` for the file's name.
    """

    endings: tuple[str, ...]
    inside: str
    beside: str
    use: str


FORMS: dict[str, Form] = {
    "onnx": Form(
        endings=(".onnx",),
        inside="normalisation, net, softmax; class names and preprocessing as metadata",
        beside="decoding and scaling of files, as --to zip has it in pictures.py",
        use='onnxruntime.InferenceSession("{name}").run(None, {{"pixels": pixels}})',
    ),
    "pt2": Form(
        endings=(".pt2",),
        inside="normalisation, net, softmax; class names and preprocessing in about.json",
        beside="decoding and scaling of files, as --to zip has it in pictures.py",
        use='torch.export.load("{name}").module()(pixels)',
    ),
    "safetensors": Form(
        endings=(".safetensors",),
        inside="the weights; net, class names and preprocessing as metadata",
        beside="the net's code, normalisation, decoding and scaling: Striate has them",
        use='net.load_state_dict(safetensors.torch.load_file("{name}"))',
    ),
    "torchvision": Form(
        endings=(".safetensors", ".pth"),
        inside="the weights under torchvision's names; in .safetensors class names and preprocessing as metadata",
        beside="torchvision's net, normalisation, decoding and scaling",
        use="torchvision.models.get_model(..., weights=None, num_classes=...).load_state_dict(...) with the weights in {name}",
    ),
    "zip": Form(
        endings=(".zip", ""),
        inside="all: model.onnx, predict.py with decoding and scaling, class names, card, licence note",
        beside="Python with onnxruntime, numpy and Pillow",
        use="there: pip install -r requirements.txt, then python predict.py IMAGE",
    ),
}


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

    def __str__(self) -> str:
        found = self.check
        return (
            f"{self.path}: {storage(self.bytes)}, checked on {found.pictures} {self.checked_on}: largest difference "
            f"{found.difference:.1e} of the largest logit, same class in {found.same}"
        )


@checked
def export(run: Run, *, to: str, path: str | Path | None = None, pictures: int = 64) -> Exported:
    """Writes a run's net in another form and keeps it if, opened again, it answers as the run does.

    The answers are compared on images of the run's data, one alone and seven at a time. What the check found is also kept
    in the run, as exports/<name>.json.

    Args:
        run: a finished run.
        to: a key of `FORMS`.
        path: the file to write; the run's exports/<run>.<ending> if None. For `zip` a path without ending is a folder.
        pictures: how many to compare on.

    Raises:
        UsageError: no such form, a path that is taken or has another ending, or a net that has no such form.
        CheckError: what was written does not answer as the run does, or could not be opened again; it is not kept. The net itself
            gives no number for some image.
        DataError: the run has no weights, or they are damaged.
    """
    target = _target(run, to, path)
    model = model_of(run)
    if to == "torchvision":
        torchvision_name(model)
    chosen = pictures_of(run, model.classifier.preprocessing, pictures)
    require_numbers(model, chosen)
    with naming(target):
        check = _written(run, to, model, target, chosen)
    files = [target] if target.is_file() else list(target.iterdir())
    exported = Exported(
        form=to,
        path=target,
        bytes=sum(file.stat().st_size for file in files),
        sha256=_sha256(target) if target.is_file() else None,
        checked_on=chosen.source,
        check=check,
    )
    write_json(run.path / "exports" / f"{target.name}.json", {**exported.as_dict(), "path": target.name})
    return exported


def _written(run: Run, to: str, model: Model, target: Path, chosen: CheckPictures) -> Comparison:
    """Writes the export beside its place, checks it, and puts it there; whatever fails leaves nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=target.parent, prefix=f".{target.name}.", ignore_cleanup_errors=True
    ) as temporary:
        # Under its own name, which PyTorch writes into a .pt2.
        written = Path(temporary) / target.name
        check = _WRITERS[to](run, model, written, chosen)
        if not check.passed:
            raise CheckError(
                f"not kept: {target.name} does not answer as {run.name} does. On {check.pictures} {chosen.source} the largest "
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
        raise unknown_name("form of export", to, FORMS, ", ".join(FORMS))
    endings = FORMS[to].endings
    marked = "-torchvision" if to == "torchvision" else ""
    target = run.path / "exports" / f"{run.name}{marked}{endings[0]}" if path is None else Path(path)
    if target.suffix not in endings:
        expected = " or ".join(ending or "a folder's name without a dot" for ending in endings)
        raise UsageError(f"what {param('to', to)} writes is called *{expected}, got {target.name!r}")
    if target.exists():
        raise _taken(target)
    return target


def _taken(target: Path) -> UsageError:
    return UsageError(f"{target} exists already: remove it, or name another with {param('path')}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _graph(form: str, write: Callable[[Model, Path], None]) -> Callable[[Run, Model, Path, CheckPictures], Comparison]:
    def write_and_check(run: Run, model: Model, path: Path, pictures: CheckPictures) -> Comparison:
        write(model, path)
        (answers,) = opened([{"form": form, "file": str(path), "pictures": pictures.pixels}])
        return compare(reference(model, pictures.pixels), answers)

    return write_and_check


def _torchvision(run: Run, model: Model, path: Path, pictures: CheckPictures) -> Comparison:
    write_torchvision(model, path)
    job = {
        "form": "torchvision",
        "file": str(path),
        "pictures": pictures.pixels,
        "net": torchvision_name(model),
        "classes": model.classifier.net.classes,
        "mean": model.classifier.preprocessing.mean,
        "std": model.classifier.preprocessing.std,
        "temperature": model.classifier.temperature,
    }
    return compare(reference(model, pictures.pixels), opened([job])[0])


def _safetensors(run: Run, model: Model, path: Path, pictures: CheckPictures) -> Comparison:
    from safetensors.torch import load_file

    write_safetensors(model, path)
    net = build_net(run)
    inner(net).load_state_dict(load_file(path))
    again = replace(model, classifier=replace(model.classifier, net=net))
    probabilities, outputs = reference(again, pictures.pixels)
    return compare(reference(model, pictures.pixels), {"probabilities": probabilities, "logits": outputs})


def _zip(run: Run, model: Model, path: Path, pictures: CheckPictures) -> Comparison:
    folder = path.with_suffix("")
    write_folder(model, run, folder)
    with tempfile.TemporaryDirectory() as temporary:
        files = [str(file) for file in pictures.as_files(Path(temporary))]
        of_net, of_script = opened(
            [
                {"form": "onnx", "file": str(folder / "model.onnx"), "pictures": pictures.pixels},
                {"form": "folder", "file": str(folder), "pictures": files},
            ]
        )
    if not (of_script["pixels"] == pictures.pixels).all():
        raise CheckError(f"not kept: pictures.py reads other pixels than the run does, of {pictures.source}")
    expected = reference(model, pictures.pixels)
    if path.suffix:
        write_zip(folder, path)
    by_files = compare(expected, of_script)
    return compare(expected, of_net) if by_files.passed else by_files


_WRITERS: dict[str, Callable[[Run, Model, Path, CheckPictures], Comparison]] = {
    "onnx": _graph("onnx", write_onnx),
    "pt2": _graph("pt2", write_program),
    "safetensors": _safetensors,
    "torchvision": _torchvision,
    "zip": _zip,
}
