"""Settings as the options of `striate train`: for the command that repeats a run, and for those that advice gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from striate.settings import Settings


def options(asked: Mapping[str, Any]) -> Iterator[str]:
    """The options that give these settings, without those that are so by default."""
    usual = {item.name: item.default for item in fields(Settings)}
    for name, value in asked.items():
        option = f"--{name.replace('_', '-')}"
        if value is None or value == usual[name] or value == []:
            continue
        if isinstance(value, bool):
            yield option if value else f"--no-{option[2:]}"
            continue
        pairs = [f"{field.replace('_', '-')}={text(one)}" for field, one in value.items()] if name == "set" else None
        for one in pairs if pairs is not None else (value if isinstance(value, list) else [value]):
            yield from (option, text(one))


def text(value: object) -> str:
    """A value so that it is read as the very same: all digits of a float."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(value)
