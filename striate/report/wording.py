"""`striate.texts` with spaces that do not break between a number and its unit, for text that is broken into lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

from striate import texts

Given = ParamSpec("Given")
SPACE = "\u00a0"
INTERVAL = f"95{SPACE}% interval"


def _unbroken(said: Callable[Given, str]) -> Callable[Given, str]:
    return lambda *args, **named: said(*args, **named).replace(" ", SPACE)


percent, share, points = _unbroken(texts.percent), _unbroken(texts.share), _unbroken(texts.points)
large, duration, counted = _unbroken(texts.large), _unbroken(texts.duration), _unbroken(texts.counted)
