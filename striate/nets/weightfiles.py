"""Weights from untrusted files, which are checked before they are opened, and opened without running anything.

Two forms are read: safetensors, and what `torch.save` has written of a state dict since PyTorch 1.6 (see `savedfiles`). Sizes and
shapes are compared with the file and with the net before memory is taken.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor, nn

from striate.errors import DataError
from striate.nets.external import inner
from striate.nets.net import Net
from striate.nets.savedfiles import LARGEST_HEADER, read_saved, refuse
from striate.nets.torchvision import TWINS, Pretrained, difference, their_names
from striate.texts import with_article

ROOM = 3 * 8
"""Bytes a value that a file of a net may have: float64, and an optimizer's two moments beside each weight."""
SPARE = 16 * 2**20
"""Bytes that a file may have besides: names, alignment, a report of its training."""
_ITEM_SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
_NESTED = ("state_dict", "model_state_dict", "model", "net")
"""Names under which the checkpoints of other programs keep their state dict, in the order in which they are looked for."""
_SIGNS = (
    (b"\x80", "is a bare pickle, as torch.save wrote it before PyTorch 1.6: reading one can run any code"),
    (b"\x1f\x8b", "is packed with gzip"),
    (b"\xfd7zXZ", "is packed with xz"),
    (b"BZh", "is packed with bzip2"),
    (b"7z\xbc\xaf", "is a 7z archive"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes it"),
    (b"\x93NUMPY", "is a NumPy array"),
    (b"\x08", "looks like an ONNX file, which is a program, not a set of weights"),
)
"""How files begin that are often taken for weights, and what to say of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded(Pretrained):
    """What is known of the weights of a file.

    Attributes:
        classes: the names of its classes; None where the file does not say.
        new_classifier: whether the file's is for another number of classes, and was left aside.
    """

    classes: tuple[str, ...] | None = None
    new_classifier: bool = False


def load_weights(net: nn.Module, path: str | Path, *, new_classifier: bool = False) -> Loaded:
    """Puts the weights of a file into a net. The file need not be trusted: nothing in it is run, and a net that it does not
    fit stays as it is.

    Its tensors may have the net's own names or torchvision's of the same net, each behind one prefix, such as the `module.` of
    DataParallel, and may lie in a dict that has them as `state_dict`, `model_state_dict`, `model` or `net`. They are float16,
    bfloat16, float32 or float64 where the net's are floats, and become what the net's are.

    Args:
        path: a safetensors file, or one that torch.save wrote of a state dict; `docs/sharing.md` has more.
        new_classifier: leave those tensors of the net as they are which the file has for another number of classes.

    Raises:
        DataError: the file is refused: its form, what it names, its size; or it is that of another net: tensors missing, left
            over, of another shape or kind, or with values that are not finite.
    """
    path = Path(path)
    module = inner(net)
    own = module.state_dict()
    most = ROOM * sum(tensor.numel() for tensor in own.values()) + SPARE
    given, metadata = read_weights(path, most=most)
    names, notes = _matched(net, own, list(given), path)
    replaced = [name for name in names if new_classifier and _other_classes(net, own[name], given[names[name]])]
    if replaced:
        count = len(given[names[replaced[0]]])
        notes.append(f"the classifier of {count} classes is replaced by a new one of {len(own[replaced[0]])}")
    fitting = {
        name: _fitting(own[name], given[theirs], theirs, path) for name, theirs in names.items() if name not in replaced
    }
    module.load_state_dict(own | fitting)
    said = (f"it begins with the weights in {path.name}", *notes)
    mean, std, classes = _noted(metadata, getattr(net, "channels", None))
    return Loaded(mean=mean, std=std, notes=said, classes=classes, new_classifier=bool(replaced))


def read_weights(path: Path, *, most: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors by name, the file's own notes) of a file, which stays mapped: of its tensors nothing is in memory yet.

    Args:
        most: bytes that the file may have.

    Raises:
        DataError: it is refused.
    """
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise DataError(f"{path} {what}: give a file of weights, .safetensors, .pt or .pth")
    size = path.stat().st_size
    if size > most:
        reason = f"it has {size:,} bytes, and one with the weights of this net at most {most:,}"
        refuse(path, reason, "Take the net's own")
    with path.open("rb") as file:
        begin = file.read(16)
        if begin.startswith(b"PK\x03\x04"):
            return _state_dict(read_saved(file, path, mapped=True), path), {}
        if begin[8:9] == b"{":
            metadata = _check_safetensors(file, path, size)
        else:
            sign = next((words for sign, words in _SIGNS if begin.startswith(sign)), None)
            file.seek(257)
            if file.read(5) == b"ustar":
                sign = "is a tar archive"
            refuse(path, f"it {sign or 'is neither safetensors nor a file of torch.save'}")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path), metadata
    except (SafetensorError, ValueError, RuntimeError) as error:
        refuse(path, f"it is damaged ({error})")


def _check_safetensors(file: BinaryIO, path: Path, size: int) -> dict[str, str]:
    """The notes in a safetensors file; refuses it unless its tensors fill the file, one behind the other."""
    file.seek(0)
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(LARGEST_HEADER, size - 8):
        more = f"more than the file, or than the {LARGEST_HEADER:,} that are read"
        refuse(path, f"its header should have {length:,} bytes: {more}")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        refuse(path, f"its header is damaged ({error})")
    if not isinstance(header, dict):
        refuse(path, "its header is not a list of tensors")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        refuse(path, "its metadata are not text")
    spans = []
    for name, entry in header.items():
        try:
            kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
            numbers = [*shape, begin, end]
        except (KeyError, TypeError, ValueError):
            refuse(path, f"its header does not say type, shape and place of {name[:80]!r}")
        if not all(type(number) is int and number >= 0 for number in numbers):
            refuse(path, f"its header gives {name[:80]!r} a shape or a place that is no whole number")
        if str(kind) not in _ITEM_SIZES:
            refuse(path, f"{name[:80]!r} in it is of the type {str(kind)[:20]}, which no net here has")
        if math.prod(shape) * _ITEM_SIZES[kind] != end - begin:
            refuse(path, f"{name[:80]!r} in it has the shape {shape} of {kind}, and {end - begin:,} bytes")
        spans.append((begin, end, name))
    place = 0
    for begin, end, name in sorted(spans):
        if begin != place:
            refuse(path, f"{name[:80]!r} in it does not begin where the tensor before it ends")
        place = end
    if place != size - 8 - length:
        refuse(path, f"its tensors have {place:,} bytes, and {size - 8 - length:,} follow its header")
    return metadata


def _once(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _state_dict(saved: Any, path: Path) -> dict[str, Tensor]:
    """The dict of names and tensors in what was saved, which may be that, or have it under a usual name."""
    what = with_article(type(saved).__name__)
    if isinstance(saved, dict):
        for found in (saved, *(saved[key] for key in _NESTED if key in saved)):
            if isinstance(found, dict) and found and all(map(_is_entry, found, found.values())):
                return dict(found)
        what = f"a dict with {', '.join(map(repr, list(saved)[:5])) or 'nothing'}"
    refuse(path, f"it holds {what}, not names and tensors, nor a dict of them under {' or '.join(_NESTED)}")


def _is_entry(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)


def _matched(
    net: nn.Module, own: Mapping[str, Tensor], given: list[str], path: Path
) -> tuple[dict[str, str], list[str]]:
    """({the net's name of a tensor: the file's}, what to say of it).

    Batch norm's `num_batches_tracked`, which files from before PyTorch 0.4.1 lack, may be missing.
    """
    layouts = {"": {name: name for name in own}}
    if isinstance(net, Net) and net.spec.name in TWINS:
        layouts["its tensors have torchvision's names"] = their_names(net)
    prefix = ""
    notes: list[str] = []
    while True:
        there = {name.removeprefix(prefix): name for name in given}
        for note, names in layouts.items():
            found = {ours: there[theirs] for ours, theirs in names.items() if theirs in there}
            lacking = [name for name in names if name not in found and not name.endswith("num_batches_tracked")]
            if len(found) == len(given) and not lacking:
                return found, [*notes, *([note] if note else [])]
        heads = {name.partition(".")[0] for name in there if "." in name}
        if len(heads) != 1 or not all("." in name for name in there):
            break
        prefix += f"{heads.pop()}."
        notes = [f"the prefix {prefix} was removed from its names"]
    name = net.spec.name if isinstance(net, Net) else f"this {type(net).__name__}"
    raise DataError(
        f"{path} does not hold the weights of {name}: {difference(own, given)}: name the net that they belong to "
        f"(striate nets)"
    )


def _other_classes(net: nn.Module, own: Tensor, given: Tensor) -> bool:
    """Whether a tensor is one of the net's classifiers, and the file's is for another number of classes."""
    return (
        isinstance(net, Net)
        and own.dim() > 0
        and len(own) == net.classes
        and given.dim() == own.dim()
        and given.shape[1:] == own.shape[1:]
        and len(given) != len(own)
    )


def _fitting(own: Tensor, given: Tensor, name: str, path: Path) -> Tensor:
    """A tensor of the file as one of the net's.

    Raises:
        DataError: another shape, another kind of number, or values that are not finite.
    """
    if given.shape != own.shape:
        raise DataError(
            f"{path} is not for this net: {name} has the shape {tuple(given.shape)}, but the net's is "
            f"{tuple(own.shape)}. Build the net for the same channels, classes and size"
        )
    if given.is_floating_point() != own.is_floating_point() or given.is_complex():
        raise DataError(f"{path} is not for this net: {name} is of {given.dtype}, and the net's of {own.dtype}")
    tensor = given.to(own.dtype, copy=True)
    if own.is_floating_point() and (odd := int((~tensor.isfinite()).sum())):
        raise DataError(
            f"{path} is not "
            f"usable: {odd:,} of {tensor.numel():,} values of {name} are not finite numbers (NaN, infinite, or too "
            f"large for {own.dtype}). The training that wrote it failed: use an earlier file"
        )
    return tensor


def _noted(
    metadata: Mapping[str, str], channels: int | None
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None, tuple[str, ...] | None]:
    """(mean and deviation of the net's channels, the names of its classes), as the weights of a run, or those that it exported,
    say them; None for what makes no sense.
    """
    try:
        notes = json.loads(metadata["striate"])
        names = notes.get("classes")
    except (AttributeError, KeyError, ValueError, RecursionError):
        return None, None, None
    named = isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    classes = tuple(names) if named else None
    try:
        mean, std = (tuple(float(value) for value in notes["preprocessing"][key]) for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None, None, classes
    sound = len(mean) == len(std) == channels and all(map(math.isfinite, mean + std)) and min(std) > 0
    return (mean, std, classes) if sound else (None, None, classes)
