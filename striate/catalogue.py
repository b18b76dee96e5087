"""The catalogue's facts without its nets, so that listing them does not load torch.

`catalogue.json` is written by scripts/make_docs.py from striate/nets, and a test compares the two.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from striate.errors import unknown_name

Facts = dict[str, Any]
"""The facts of a net, in plain types."""
FILE = Path(__file__).with_name("catalogue.json")


@cache
def rows() -> dict[str, Facts]:
    """Name -> facts of each net in plain types, as `NetSpec.as_dict` gives them, in the catalogue's order."""
    facts: dict[str, Facts] = _content()["rows"]
    return facts


def card(name: str) -> Facts:
    """Everything that is known of a net: its row, and what its family brought.

    Raises:
        UsageError: no net has that name; the nearest names are given.
    """
    if name not in rows():
        raise unknown_name("net", name, rows(), "striate nets")
    row = rows()[name]
    return {**row, **_content()["families"][row["family"]]}


@cache
def _content() -> dict[str, Facts]:
    content: dict[str, Facts] = json.loads(FILE.read_text(encoding="utf-8"))
    return content
