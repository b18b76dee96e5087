"""Random command lines over all commands and options, with values that nobody should give: a seed makes the same ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import typer

from striate.cli import app

LEFT_OUT = {"--pretrained", "--help", "--install-completion", "--show-completion", "--version", "--data-dir"}
"""What asks the network, or prints and ends."""
NUMBERS = (
    "",
    "0",
    "-1",
    "1",
    "2",
    "0.5",
    "1e9",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "1000000000000",
    "1" + "0" * 30,
    "٣",
    "0x10",
    "1_0",
)
WORDS = (
    "", " ", "-", "--", "none", "all", "test", "train", "validation", "lenet5", "lenet5-bn", "nin", "fast", "中文", "\x1b[31mred",
    "a" * 300, "../x", "missing", "missing.png", "a,b", "1x28x28", "0x0x0", "1x100000x100000", "112,168@0.5", "flip,shift=4",
    "flip,shift=-1", "[", "(?P<", "*", "onnx", "zip", "safetensors", "torchvision:nope", "timm:nope", "x.py:y", "nan", "1h30m",
    "90s", "owner/name", "cpu", "cuda:99", "nchw", "bf16", "\\", "%s", "{}", "'",
)  # fmt: skip
FILES = (
    "pictures",
    "pictures/dark/00.png",
    "run",
    "run/config.yaml",
    "empty",
    "note.txt",
    "no/such/place",
    "/dev/null",
    "/",
)


def command_lines(seed: int, count: int) -> Iterator[list[str]]:
    """So many argument lists. They name the files of `FILES`, which the caller makes."""
    draw = random.Random(seed)
    commands = dict(_commands(typer.main.get_command(app)))
    for _ in range(count):
        name = draw.choice(sorted(commands))
        yield [*name.split(), *_arguments(draw, name, commands[name])]


def _commands(group: Any, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


def _arguments(draw: random.Random, name: str, command: Any) -> list[str]:
    line = []
    for parameter in command.params:
        if parameter.param_type_name == "argument" and (draw.random() < 0.85 or not parameter.required):
            line += [_usual(draw, name, parameter.name)] if draw.random() < 0.6 else [_odd(draw, parameter)]
    options = [one for one in command.params if one.param_type_name == "option" and not LEFT_OUT & set(one.opts)]
    chosen = draw.sample(options, min(len(options), draw.randint(0, 3)))
    if name == "train":
        line += ["--data", "pictures", "--threads", "1", "--epochs", draw.choice(("0.5", "1", "2"))]
    if name == "export":
        line += ["--to", draw.choice(("onnx", "safetensors", "nope", "torchvision"))]
    for option in chosen:
        line.append(option.opts[0])
        if not option.is_flag:
            line.append(_odd(draw, option))
    if any("--json" in option.opts for option in options) and draw.random() < 0.5:
        line.append("--json")
    return line


def _usual(draw: random.Random, name: str, argument: str) -> str:
    """What one might give."""
    if argument == "run" or (name in ("look",) and argument == "subject"):
        return "run"
    if argument in ("net", "target"):
        return draw.choice(("lenet5", "lenet5-bn", "resnet20"))
    if name == "nets":
        return "lenet5"
    return draw.choice(("pictures/dark/00.png", "pictures"))


def _odd(draw: random.Random, parameter: Any) -> str:
    described = getattr(parameter, "type_descriptor", None)
    kind = str(parameter.type if described is None else described.annotation).lower()
    if any(word in kind for word in ("int", "float")):
        return draw.choice(NUMBERS) if draw.random() < 0.85 else draw.choice(WORDS)
    pools = (FILES, WORDS) if "path" in kind else (WORDS, FILES)
    return draw.choice(pools[0] if draw.random() < 0.7 else pools[1] if draw.random() < 0.7 else NUMBERS)
