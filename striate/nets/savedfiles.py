"""Files of torch.save, which are pickles in a ZIP: checked before they are opened, and opened without running anything.

The pickle is walked first, and not executed: it may use the opcodes and the names that tensors, numbers, and dicts and lists of
them need, and no others. Then torch reads it with `weights_only=True`, as a second wall. Sizes are compared before memory is
taken.
"""

from __future__ import annotations

import io
import pickletools
import re
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import torch

from striate.errors import DataError, short_of_means

LARGEST_HEADER = 4 * 2**20
"""Bytes of what describes the tensors. DenseNet-201, 1,000 tensors: 150 KB."""
MOST_MEMBERS = 10_000
MOST_OPCODES = 300_000

AGAIN = "If you trust it, save it again: torch.save(net.state_dict(), FILE), or safetensors.torch.save_file"

_STORAGES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
}  # fmt: skip
_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch Size",
    *(f"torch {storage}" for storage in _STORAGES),
}
"""All that a pickle may name: what makes a dict, and a tensor on a storage."""
_OPCODES = {
    "PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET",
    "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS",
    "EMPTY_DICT", "SETITEM", "SETITEMS",
}  # fmt: skip
_MEMBER = re.compile(
    r"data\.pkl|byteorder|version|\.format_version|\.storage_alignment|\.data/serialization_id|data/\d+"
)


def read_saved(file: BinaryIO, path: Path, mapped: bool = False) -> Any:
    """Reads what `torch.save` wrote: tensors, numbers, strings, and dicts and lists of them; nothing else is ever
    created.

    Args:
        file: its content; as large as memory may become.
        path: its name, for errors.
        mapped: leave the tensors in the file `path`, which must be what `file` reads.

    Raises:
        DataError: it is refused: not the form that torch.save writes, or something in it would be run.
    """
    try:
        records, pickle = _members(file, path)
        _check_pickle(pickle, records, path)
    except (zipfile.BadZipFile, struct.error, EOFError, NotImplementedError, UnicodeError, OSError) as error:
        refuse(path, f"it is damaged or cut off ({error})")
    try:
        if mapped:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch's reader makes of it
        if short_of_means(error):
            raise
        refuse(path, f"its content does not match its header ({type(error).__name__}: {str(error).splitlines()[0]})")


def _members(file: BinaryIO, path: Path) -> tuple[dict[str, int], bytes]:
    """({name of a tensor's storage: its bytes}, the pickle) of a ZIP in the one form that torch.save writes.

    Its members lie one after the other and are not packed: all programs read the same in it, and it holds no more than it has
    bytes.
    """
    _check_directory(file, path)
    with zipfile.ZipFile(file) as archive:
        members = sorted(archive.infolist(), key=lambda member: member.header_offset)
        folder, end, records = members[0].filename.split("/")[0], 0, {}
        for member in members:
            name = member.filename
            inside = name.removeprefix(f"{folder}/")
            if inside in ("constants.pkl", "archive_format") or inside.startswith("code/"):
                refuse(path, "it is a program (TorchScript, or exported), and no state dict")
            if name == inside or not _MEMBER.fullmatch(inside):
                refuse(path, f"it holds {name[:80]!r}, which is not part of a state dict")
            if inside in records:
                refuse(path, f"it holds {name!r} twice")
            if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
                refuse(path, f"{name!r} in it is packed, and would grow to {member.file_size:,} bytes")
            if member.flag_bits & 1 or stat.S_ISLNK(member.external_attr >> 16):
                refuse(path, f"{name!r} in it is a link or encrypted")
            if member.header_offset < end or (end == 0 and member.header_offset):
                refuse(path, f"{name!r} in it overlaps another, or follows unknown data")
            end = member.header_offset + 30 + len(name.encode()) + member.file_size
            records[inside] = member.file_size
        if end > archive.start_dir:
            refuse(path, f"{members[-1].filename!r} in it is longer than the file")
        if not 0 < records.get("data.pkl", 0) <= LARGEST_HEADER:
            refuse(path, f"its data.pkl has {records.get('data.pkl', 0):,} bytes, at most {LARGEST_HEADER:,} are read")
        for member in members:
            with archive.open(member) as stream:
                while stream.read(2**20):  # compares the checksum at the end
                    pass
        return records, archive.read(f"{folder}/data.pkl")


def _check_directory(file: BinaryIO, path: Path) -> None:
    """Refuses a ZIP that does not end in its directory, or with more members than a net has tensors, before they are listed."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 22))
    end = file.read(22)
    if len(end) < 22 or not end.startswith(b"PK\x05\x06") or end[20:] != b"\0\0":
        refuse(path, "it is cut off, or something follows its end")
    count, length = struct.unpack("<HL", end[10:16])
    file.seek(max(0, size - 42 - 56))
    longer = file.read(56)
    if longer.startswith(b"PK\x06\x06"):
        count, length = struct.unpack("<QQ", longer[32:48])
    if not 0 < count <= MOST_MEMBERS or length > 300 * MOST_MEMBERS:
        refuse(path, f"it says that it has {count:,} members, and at most {MOST_MEMBERS:,} are read")


def _check_pickle(pickle: bytes, records: Mapping[str, int], path: Path) -> None:
    """Walks over a pickle, which executes nothing, and refuses it unless all of it is what a state dict needs."""
    memo: dict[int, Any] = {}
    recent: list[Any] = []  # constants since the last mark, of which the name of a storage is made
    last: Any = None
    try:
        for number, (opcode, value, place) in enumerate(pickletools.genops(pickle)):
            name = opcode.name
            if name == "GLOBAL" and value not in _GLOBALS:
                module = str(value)[:100].replace(" ", ".")
                refuse(path, f"it would call or make {module}: that is code, or a whole net instead of its weights")
            if name not in _OPCODES or number >= MOST_OPCODES:
                refuse(path, f"its pickle uses {name} as number {number}, which no state dict of torch.save needs")
            if name == "STOP" and place is not None and place + 1 != len(pickle):
                refuse(path, "something follows the end of its pickle")
            if name in ("BINGET", "LONG_BINGET") and value is not None:
                last = memo.get(int(value))
                recent.append(last)
            elif name in ("BINPUT", "LONG_BINPUT") and value is not None:
                memo[int(value)] = last
            elif name == "MARK":
                recent = []
            elif name == "BINPERSID":
                _check_storage(recent, records, path)
            elif name == "TUPLE":
                last = None
            else:
                last = value
                recent.append(value)
    except ValueError as error:
        refuse(path, f"its pickle is damaged or cut off ({error})")


def _check_storage(said: list[Any], records: Mapping[str, int], path: Path) -> None:
    """Refuses a storage ("storage", type, key, device, values) that is not as long as its member."""
    if len(said) != 5:
        refuse(path, "it has a tensor on nothing that torch.save writes")
    _, kind, key, _, values = said
    size = _STORAGES.get(str(kind).removeprefix("torch "))
    there = records.get(f"data/{key}")
    if size is None or not isinstance(values, int) or there is None:
        refuse(path, f"it has a tensor on the storage {key!r} of the type {kind!r}, which is not there")
    if values * size != there:
        refuse(path, f"data/{key} in it should have {values:,} values of {size} bytes, and has {there:,} bytes")


def refuse(path: Path, reason: str, way: str = AGAIN) -> NoReturn:
    """Raises the DataError that says why a file is not opened, and the way out."""
    raise DataError(f"{path} is refused: {reason}. {way}")
