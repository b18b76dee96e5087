"""A good run, and three hundred ways to damage a copy of it or to turn it against who opens it."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from striate.run import Run
from striate.training.checkpoint import save_checkpoint

GOLDEN = Path(__file__).parent / "golden"
EVALUATION = "evaluations/stripes-test-centre/evaluation.json"
ESCAPES = "\x1b[2J\x1b]0;mine\x07\r\nstriate: done\x9b31m\u202e"
"""What a terminal would act on: clear, title, a line of its own, colour, direction of writing."""
FILES = ("config.yaml", "data.json", "summary.json", "calibration.json", "split.json", "environment.json", EVALUATION)
MISSING = object()


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


VALUES: tuple[Any, ...] = (
    MISSING, None, True, "", "text", ESCAPES, "../../../etc/passwd", "=1+1", -1, 0, 1, 0.5, 3.7, 99, 20_000, 1_000_000, -(2**63),
    2**70, 10**300, 1e300, float("nan"), float("inf"), -float("inf"), [], {}, [1, 2], [20_000, 20_000], ["a"] * 50, {"a": 1},
    {"": {"": [None]}}, deep(60), "x" * 200_000, [float("nan")], "2026-13-45T99:99:99", "2999-01-01T00:00:00+00:00",
)  # fmt: skip


def good(folder: Path, trusted: Callable[[Path], None] | None = None) -> Path:
    """A copy of the golden run, its net and its data beside it; `trusted` is told the file of its net."""
    place = folder / "home"
    if not place.exists():
        place.mkdir(parents=True)
        for name in ("net.py", "stripes.npz"):
            shutil.copy(GOLDEN / name, place)
    run = folder / "runs" / "good"
    shutil.copytree(GOLDEN / "run", run)
    for path in (run / "config.yaml", run / "summary.json"):
        path.write_text(path.read_text().replace("GOLDEN/", f"{place}/"))
    if trusted is not None:
        trusted(place / "net.py")
    return run


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else json.loads(path.read_text())


def write(path: Path, content: Any) -> None:
    # NaN and infinity as Python's own JSON has them, which other programs may write.
    path.write_text(yaml.safe_dump(content) if path.suffix == ".yaml" else json.dumps(content))


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values lie in nested mappings and lists; of a list its first one."""
    if at:
        yield at
    inside = (
        content.items() if isinstance(content, dict) else enumerate(content[:1]) if isinstance(content, list) else ()
    )
    for key, value in inside:
        yield from places(value, (*at, key))


def changed(file: str, at: tuple[Any, ...], value: Any) -> Callable[[Path], None]:
    """Puts `value` where `at` says in a file, or takes away what is there."""

    def change(run: Path) -> None:
        content = read(run / file)
        holder = content
        for key in at[:-1]:
            holder = holder[key]
        if value is MISSING:
            del holder[at[-1]]
        else:
            holder[at[-1]] = copy.deepcopy(value)
        write(run / file, content)

    return change


def text(file: str, content: str | bytes) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        (run / file).write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def pipe(file: str) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        (run / file).unlink()
        os.mkfifo(run / file)

    return change


def listening(run: Path) -> None:
    (run / "data.json").unlink()
    here = Path.cwd()
    os.chdir(run)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("data.json")
    os.chdir(here)


def link(file: str, target: str) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        path = run / file
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return change


def folder(file: str) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        (run / file).unlink()
        (run / file).mkdir()

    return change


def sparse(file: str, size: int = 2**40) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        with (run / file).open("r+b") as one:
            one.truncate(size)

    return change


def checkpoint(alter: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """The newest checkpoint, changed, with the checksum that belongs to it."""

    def change(run: Path) -> None:
        path = run / "checkpoints" / "step-000000008.pt"
        state = torch.load(path, weights_only=True)
        alter(state)
        step = state.get("step", 8)
        save_checkpoint(Run(run), {**state, "step": 8})
        if step != 8:
            save_checkpoint(Run(run), {**state, "step": 8})

    return change


def from_elsewhere(file: str) -> Callable[[Path], None]:
    """A net of a file that nobody trusts, with the right hash; `file` is what the run calls it."""

    def change(run: Path) -> None:
        import hashlib

        code = b"from pathlib import Path\nPath('canary').touch()\n" + (GOLDEN / "net.py").read_bytes()
        for place in (run / "theirs.py", Path("theirs.py")):
            place.write_bytes(code)
        content = read(run / "config.yaml")
        content["net"]["origin"] |= {
            "file": file.format(run=run), "target": "theirs.py:Small", "sha256": hashlib.sha256(code).hexdigest(),
        }  # fmt: skip
        write(run / "config.yaml", content)

    return change


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
CALIBRATION, WEIGHTS, NEWEST = "calibration.safetensors", "weights/last.safetensors", "checkpoints/step-000000008.pt"
PREDICTIONS = "evaluations/stripes-test-centre/predictions.csv"
CHECKPOINTS = (NEWEST, "checkpoints/step-000000008.sha256")
TEXTS = (*FILES, "metrics.csv")
READ = (*TEXTS, WEIGHTS, CALIBRATION)
SPECIAL: dict[str, Callable[[Path], None]] = {
    **{f"pipe {file}": pipe(file) for file in (*READ, *CHECKPOINTS)},
    **{f"folder {file}": folder(file) for file in READ},
    **{f"device {file}": link(file, "/dev/zero") for file in ("config.yaml", "data.json", "metrics.csv", CALIBRATION, WEIGHTS)},
    **{f"device {file}": link(file, "/dev/zero") for file in CHECKPOINTS},
    **{f"link {file}": link(file, "/etc/passwd") for file in (*TEXTS, WEIGHTS, "samples.png", PREDICTIONS)},
    **{f"link of the folder {file}": link(file, "/tmp") for file in ("evaluations", "weights", "checkpoints", "exports")},
    **{f"dangling {file}": link(file, "/nowhere/at/all") for file in ("config.yaml", "data.json", "weights")},
    **{f"sparse {file}": sparse(file) for file in (*READ, *CHECKPOINTS, PREDICTIONS)},
    **{f"empty {file}": text(file, "") for file in READ},
    **{f"no UTF-8 {file}": text(file, b"\xff\xfe\x00{") for file in TEXTS},
    **{f"deep {file}": text(file, "[" * 100_000) for file in FILES},
    **{f"control characters {file}": text(file, ESCAPES) for file in TEXTS},
    "a bomb of aliases": text("config.yaml", BOMB),
    "an alias of itself": text("config.yaml", "a: &a [*a]"),
    "YAML that makes an object": text("config.yaml", "!!python/object/apply:os.system ['touch canary']"),
    "a later format": changed("config.yaml", ("format",), 2),
    "a format of many digits": changed("config.yaml", ("format",), 10**4000),
    "a socket": listening,
    "many columns": text("metrics.csv", ",".join("abc" * 100_000) + "\n" + "1\n" * 1000),
    "many rows": text("metrics.csv", "epoch\n" + "1\n" * 3_000_000),
    "many lists": text("split.json", '{"content": {"a": [' + ",".join(["[]"] * 2_000_000) + "]}}"),
    "predictions that are none": text("evaluations/stripes-test-centre/predictions.csv", "index,path\n1,2,3\n"),
    "views that are none": text("evaluations/stripes-test-views.json", '{"rows": [{"key": 1}]}'),
    "robustness that is none": text("evaluations/stripes-test-centre/robustness.json", '{"corruptions": 3}'),
    "a checkpoint of nothing": checkpoint(lambda state: state.clear()),
    "a checkpoint of another net": checkpoint(lambda state: state.update(net={"a": torch.zeros(3)})),
    "a checkpoint with NaN": checkpoint(lambda state: next(iter(state["net"].values())).fill_(float("nan"))),
    "a checkpoint of other moments": checkpoint(
        lambda state: state["optimizer"]["state"].update({0: {"momentum_buffer": torch.ones(2)}})
    ),
    "a checkpoint of a later step": checkpoint(lambda state: state.update(seconds=-5.0)),
    "a checkpoint whose rows are text": checkpoint(lambda state: state.update(rows="rows")),
    "a checkpoint in no parts": checkpoint(lambda state: state.update(parts=0)),
    "a checkpoint without totals": checkpoint(lambda state: state.update(totals=torch.zeros(4))),
    "code beside the run": from_elsewhere("theirs.py"),
    "code through /proc": from_elsewhere("/proc/self/cwd/theirs.py"),
    "code in the run": from_elsewhere("{run}/theirs.py"),
    "a catalogue net of absurd size": changed("config.yaml", ("net",), {"name": "vgg19", "channels": 1, "classes": 3}),
    "a net that there is not": changed("config.yaml", ("net",), {"name": "resnet9000", "channels": 1, "classes": 3}),
    "a small image for a large net": changed("config.yaml", ("net",), {"name": "alexnet", "channels": 1, "classes": 3}),
    "a net from a hub": changed("config.yaml", ("net", "origin", "target"), "timm:hf-hub:evil/model"),
    "a torchvision net that is none": changed("config.yaml", ("net", "origin", "target"), "torchvision:os.system"),
}  # fmt: skip


def damages(count: int = 300, seed: int = 0) -> dict[str, Callable[[Path], None]]:
    """`count` damages by name, `SPECIAL` first; the others put a value of `VALUES` somewhere into a file."""
    found = dict(SPECIAL)
    generator = random.Random(seed)
    spots = [(file, at) for file in FILES for at in places(read(GOLDEN / "run" / file))]
    while len(found) < count:
        (file, at), value = generator.choice(spots), generator.choice(VALUES)
        shown = "missing" if value is MISSING else repr(value)[:40]
        found[f"{Path(file).name} {'.'.join(map(str, at))} = {shown}"] = changed(file, at, value)
    return found
