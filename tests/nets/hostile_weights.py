"""Weight files that somebody might send: malicious ones and malformed ones, and the reason that is to be given for each.

Each file is for LeNet-5 (61,706 values). Whatever would run, if anything ran it, makes the file `CANARY` in the folder.
"""

from __future__ import annotations

import argparse
import codecs
import gzip
import io
import json
import os
import pickle
import stat
import struct
import subprocess
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

import striate

CANARY = "canary"


def lenet() -> dict[str, torch.Tensor]:
    return striate.build("lenet5").state_dict()


class Reduced:
    """Is pickled as a call of `function` with `arguments`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def members(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(member.filename, archive.read(member)) for member in archive.infolist()]


def zipped(
    parts: list[tuple[str, bytes]],
    packing: int = zipfile.ZIP_STORED,
    prepare: Callable[[zipfile.ZipInfo], zipfile.ZipInfo] = lambda info: info,
) -> bytes:
    """A ZIP of (name, content), each as `prepare` makes its entry."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, content in parts:
            info = zipfile.ZipInfo(name)
            info.compress_type = packing
            archive.writestr(prepare(info), content)
    return buffer.getvalue()


def with_pickle(pickled: bytes, state: dict[str, torch.Tensor] | None = None) -> bytes:
    """A file of torch.save with another pickle in it."""
    return zipped(
        [
            (name, pickled if name.endswith("data.pkl") else content)
            for name, content in members(saved(lenet() if state is None else state))
        ]
    )


def reduced(function: Callable[..., Any], *arguments: Any) -> bytes:
    return saved({**lenet(), "extra": Reduced(function, *arguments)})


def with_opcodes(code: bytes) -> bytes:
    """The pickle of an empty dict, with `code` before its end."""
    return with_pickle(b"\x80\x02}" + code + b".")


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: list[Any], begin: int, end: int, kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


def changed(**tensors: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """LeNet-5's state with other tensors under some names; `__` stands for a dot, None for leaving one out."""
    state = lenet()
    for name, tensor in tensors.items():
        if tensor is None:
            del state[name.replace("__", ".")]
        else:
            state[name.replace("__", ".")] = tensor
    return state


def first(value: Any, **options: Any) -> dict[str, torch.Tensor]:
    """LeNet-5's state with `value` as the first value of its first tensor."""
    state = lenet()
    name = next(iter(state))
    state[name] = state[name].clone().to(**options)
    state[name].view(-1)[0] = value
    return state


def lying_numel() -> bytes:
    """A storage that says to be longer than its member."""
    name, pickled = members(saved(lenet()))[0]
    assert name.endswith("data.pkl")
    at = pickled.index(b"K\x06t")  # the last number of the name of a storage of six values
    return with_pickle(pickled[:at] + b"M\xff\xff" + pickled[at + 2 :])


def overlapping() -> bytes:
    """A ZIP with two entries of one place, as a bomb has thousands of them."""
    content = bytearray(saved(lenet()))
    directory = content.rindex(b"PK\x01\x02")
    begin = content.index(b"PK\x01\x02")
    content[directory + 42 : directory + 46] = content[begin + 42 : begin + 46]
    return bytes(content)


def flipped(content: bytes, place: int) -> bytes:
    damaged = bytearray(content)
    damaged[place] ^= 0x40
    return bytes(damaged)


def tar(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("pickle")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def link(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def good_parts() -> list[tuple[str, bytes]]:
    return members(saved(lenet()))


def folder_of(parts: list[tuple[str, bytes]]) -> str:
    return parts[0][0].split("/")[0]


def with_member(name: str, content: bytes = b"x") -> bytes:
    parts = good_parts()
    return zipped([*parts, (name.format(folder=folder_of(parts)), content)])


def tensor_of(state: dict[str, torch.Tensor]) -> bytes:
    return save({name: tensor.contiguous() for name, tensor in state.items()})


WHOLE = torch.nn.Sequential(torch.nn.Linear(3, 3))


def hostile(folder: Path) -> dict[str, tuple[bytes, str]]:
    """{name: (content, pattern of the reason)} of all of them."""
    canary = folder / CANARY
    touch = f"open({str(canary)!r}, 'w').close()"
    lenet_bytes = tensor_of(lenet())
    torch_bytes = saved(lenet())
    stem = next(iter(lenet()))
    under = stem.replace(".", "__")
    legacy = saved(lenet(), _use_new_zipfile_serialization=False)
    return {
        # Calls.
        "os.system": (reduced(os.system, f"touch {canary}"), r"would call or make posix\.system"),
        "eval": (reduced(eval, touch), r"would call or make (__builtin__|builtins)\.eval"),
        "exec": (reduced(exec, touch), r"would call or make (__builtin__|builtins)\.exec"),
        "open": (reduced(open, str(canary), "w"), r"would call or make (io|_io|__builtin__)\.open"),
        "subprocess": (
            reduced(subprocess.check_output, ["touch", str(canary)]),
            r"call or make (subprocess|commands)\.check_output",
        ),
        "getattr": (reduced(getattr, "x", "y"), r"would call or make .*getattr"),
        "import": (reduced(__import__, "antigravity"), r"would call or make .*__import__"),
        "nested torch.load": (
            reduced(torch.storage._load_from_bytes, pickle.dumps(Reduced(eval, touch))),
            r"would call or make torch\.storage\._load_from_bytes",
        ),
        "nested pickle": (
            reduced(pickle.loads, pickle.dumps(Reduced(eval, touch))),
            r"would call or make _?pickle\.loads",
        ),
        "numpy.load": (reduced(np.load, "x.npy", None, True), r"would call or make numpy\.load"),
        "bytearray bomb": (reduced(bytearray, 2**40), r"would call or make .*bytearray"),
        "codecs": (reduced(codecs.encode, "x", "rot13"), r"would call or make _codecs\.encode"),
        "torch.hub": (reduced(torch.hub.load, "somebody/repository", "x"), r"would call or make torch\.hub\.load"),
        "whole net": (saved(WHOLE), r"would call or make torch\.nn\.modules\.container\.Sequential.*state_dict"),
        "whole net inside": (saved({"model": WHOLE}), r"would call or make torch\.nn\.modules"),
        "training arguments": (
            saved({"state_dict": lenet(), "args": argparse.Namespace(a=1)}),
            r"would call or make argparse\.Namespace",
        ),
        "sparse": (saved({"w": torch.eye(3).to_sparse()}), r"would call or make torch\._utils\._rebuild_sparse_tensor"),
        # Pickles that no torch.save writes.
        "stack global": (with_opcodes(b"\x8c\x08builtins\x8c\x04eval\x93"), r"uses SHORT_BINUNICODE"),
        "inst": (with_opcodes(b"(S'touch x'\nios\nsystem\n"), r"uses STRING|uses INST"),
        "obj": (with_opcodes(b"(c__builtin__\neval\nS'1'\no"), r"would call or make __builtin__\.eval"),
        "extension": (with_opcodes(b"\x82\x01"), r"uses EXT1"),
        "newobj": (with_opcodes(b"ccollections\nOrderedDict\n)\x81"), r"uses NEWOBJ"),
        "long integer": (with_opcodes(b"\x8b" + struct.pack("<i", 2**20) + b"\x7f" * 2**20), r"uses LONG4"),
        "string that is not there": (
            with_opcodes(b"X" + struct.pack("<I", 2**31 - 1) + b"short"),
            r"damaged or cut off",
        ),
        "a million opcodes": (with_opcodes(b"N" * 1_000_000), r"as number 300000"),
        "no end": (with_pickle(b"\x80\x02}q\x00"), r"damaged or cut off"),
        "empty pickle": (with_pickle(b""), r"data\.pkl has 0 bytes"),
        "pickle behind the pickle": (with_opcodes(b".cos\nsystem\n(S'x'\ntR"), r"follows the end of its pickle"),
        "large pickle": (
            with_opcodes(b"X" + struct.pack("<I", 5 * 2**20) + b"a" * 5 * 2**20),
            r"at most 4,194,304 are read",
        ),
        "storage of nothing": (with_opcodes(b"(NtQ"), r"tensor on nothing"),
        "longer storage": (lying_numel(), r"should have 65,535 values of 4 bytes"),
        "no dict": (saved([1, 2, 3]), r"holds a list, not names and tensors"),
        "numbers": (saved({"epoch": 3, "loss": 0.5}), r"holds a dict with 'epoch', 'loss'"),
        # ZIPs.
        "bare pickle": (pickle.dumps(Reduced(eval, touch)), r"is a bare pickle"),
        "legacy": (legacy, r"is a bare pickle, as torch\.save wrote it before PyTorch 1\.6"),
        "tar": (tar(pickle.dumps(Reduced(eval, touch))), r"is a tar archive"),
        "gzip": (gzip.compress(torch_bytes), r"is packed with gzip"),
        "packed": (zipped(good_parts(), zipfile.ZIP_DEFLATED), r"is packed, and would grow"),
        "bomb": (
            zipped([*good_parts(), (f"{folder_of(good_parts())}/data/99", bytes(2**27))], zipfile.ZIP_DEFLATED),
            r"is packed, and would grow to",
        ),
        "nested archive": (
            with_member("{folder}/inner.zip", torch_bytes),
            r"inner\.zip', which is not part of a state dict",
        ),
        "path out of it": (with_member("{folder}/../../../etc/cron.d/x"), r"which is not part of a state dict"),
        "absolute path": (with_member("/etc/passwd"), r"which is not part of a state dict"),
        "backslashes": (with_member("{folder}\\data\\..\\..\\x"), r"which is not part of a state dict"),
        "link": (zipped(good_parts(), prepare=link), r"is a link or encrypted"),
        "a member twice": (_twice(good_parts()), r"twice"),
        "overlapping members": (overlapping(), r"overlaps another|is damaged"),
        "100,000 members": (_many(), r"has 100,003 members|100,0"),
        "TorchScript": (_script(), r"is a program \(TorchScript"),
        "NumPy archive": (_npz(), r"which is not part of a state dict"),
        "cut off": (torch_bytes[: len(torch_bytes) // 2], r"is cut off"),
        "something behind it": (torch_bytes + b"PK\x03\x04 and more", r"cut off, or something follows"),
        "something before it": (b"PK\x03\x04MZ\x90" + torch_bytes, r"refused"),
        "a flipped bit": (flipped(torch_bytes, len(torch_bytes) // 2), r"is damaged"),
        # safetensors.
        "header longer than the file": (safetensors(b"{}", length=10**6), r"header should have 1,000,000 bytes"),
        "huge header length": (safetensors(b"{}", length=2**63), r"header should have 9,223,372,036,854,775,808 bytes"),
        "header no JSON": (safetensors(b"{'a': 1}"), r"its header is damaged"),
        "header not UTF-8": (safetensors(b'{"\xff\xfe": 1}'), r"its header is damaged"),
        "deep header": (safetensors(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), r"its header is damaged"),
        "name twice": (
            safetensors(
                b'{"a":'
                + json.dumps(entry([1], 0, 4)).encode()
                + b',"a":'
                + json.dumps(entry([1], 0, 4)).encode()
                + b"}",
                bytes(4),
            ),
            r"a name occurs twice",
        ),
        "beyond the end": (
            safetensors({"a": entry([1000], 0, 4000)}, bytes(4)),
            r"tensors have 4,000 bytes, and 4 follow",
        ),
        "overlapping tensors": (
            safetensors({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)),
            r"does not begin where the tensor before it ends",
        ),
        "hole": (safetensors({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)), r"does not begin where"),
        "bytes behind the tensors": (lenet_bytes + b"PK\x03\x04", r"bytes, and .* follow its header"),
        "shape larger than its bytes": (
            safetensors({"a": entry([2**31, 2**31], 0, 4)}, bytes(4)),
            r"has the shape \[2147483648",
        ),
        "negative shape": (safetensors({"a": entry([-1, -1], 0, 4)}, bytes(4)), r"no whole number"),
        "overflowing shape": (safetensors({"a": entry([2**62, 4], 0, 0)}), r"has the shape"),
        "broken number": (safetensors({"a": entry([1.5], 0, 6)}, bytes(6)), r"no whole number"),
        "unknown type": (safetensors({"a": entry([4], 0, 4, "F8_E4M3")}, bytes(4)), r"of the type F8_E4M3"),
        "no place": (safetensors({"a": {"dtype": "F32", "shape": [1]}}), r"does not say type, shape and place"),
        "notes that are no text": (safetensors({"__metadata__": {"a": {"b": 1}}}), r"its metadata are not text"),
        "safetensors cut off": (lenet_bytes[:-100], r"bytes, and .* follow its header"),
        # Those of another net.
        "wrong shape": (tensor_of(changed(**{under: torch.zeros(6, 3, 5, 5)})), r"has the shape \(6, 3, 5, 5\)"),
        "missing": (tensor_of(changed(**{under: None})), r"1 tensors are missing"),
        "left over": (tensor_of(changed(extra=torch.zeros(3))), r"1 left over \(extra\)"),
        "another net": (
            tensor_of(striate.build("lenet5-bn").state_dict()),
            r"does not hold the weights of lenet5",
        ),
        "whole numbers": (
            tensor_of({name: tensor.long() for name, tensor in lenet().items()}),
            r"of torch\.int64, and the net's of",
        ),
        "complex": (
            saved({name: tensor.to(torch.complex64) for name, tensor in lenet().items()}),
            r"ComplexFloatStorage",
        ),
        "NaN": (tensor_of(first(float("nan"))), r"1 of \d+ values of .* are not finite"),
        "infinite": (saved(first(float("inf"))), r"1 of \d+ values of .* are not finite"),
        "too large for float32": (tensor_of(first(1e300, dtype=torch.float64)), r"not finite"),
        "stretched": (
            saved({**lenet(), stem: torch.zeros(1).expand(2**20, 2**20)}),
            r"has the shape \(1048576, 1048576\)",
        ),
        "too large a file": (tensor_of({**lenet(), "bulk": torch.zeros(2**23)}), r"at most 18,258,160"),
        "empty": (b"", r"is neither safetensors nor a file of torch\.save"),
        "text": (b"version https://git-lfs.github.com/spec/v1\n", r"is neither safetensors nor"),
        "Keras": (b"\x89HDF\r\n\x1a\n" + bytes(100), r"HDF5"),
    }


def _twice(parts: list[tuple[str, bytes]]) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return zipped([*parts, parts[0]])


def _many() -> bytes:
    parts = good_parts()
    return zipped([*parts, *((f"{folder_of(parts)}/data/{number + 100}", b"") for number in range(100_000))])


def _script() -> bytes:
    parts = good_parts()
    return zipped([*parts, (f"{folder_of(parts)}/code/__torch__.py", b"import os")])


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()
