"""Numbers and values as words, in one way for the report, the card and the charts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

SPACE = "\u00a0"  # keeps a number and its unit on one line


def percent(fraction: float, digits: int = 1) -> str:
    """0.8936 -> `89.4 %`, with a space that does not break. Rounding never claims all or nothing: 0.9999 -> `>99.9 %`,
    0.0001 -> `<0.1 %`."""
    shown = f"{100 * fraction:.{digits}f}"
    smallest = 10.0**-digits
    if fraction < 1 and float(shown) >= 100:
        shown = f">{100 - smallest:.{digits}f}"
    elif fraction > 0 and float(shown) == 0:
        shown = f"<{smallest:.{digits}f}"
    return f"{shown}{SPACE}%"


def points(difference: float) -> str:
    """A difference of two shares in percentage points, without its sign: -0.0213 -> `2.1 points`."""
    return f"{abs(100 * difference):.1f}{SPACE}points"


def digits_for(count: int) -> int:
    """Decimals of a percentage that `count` pictures can bear: one, or two from 10,000 on."""
    return 2 if count >= 10_000 else 1


def thousands(number: float) -> str:
    """61706 -> `61,706`."""
    return f"{number:,.0f}"


def large(number: float) -> str:
    """416520 -> `0.42 million`; below 100,000 the number itself."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if number >= size / 10:
            return f"{number / size:.3g}{SPACE}{word}"
    return thousands(number)


def duration(seconds: float) -> str:
    """0.42 -> `0.42 s`, 48.2 -> `48.2 s`, 192 -> `3 min 12 s`, 3780 -> `1 h 03 min`."""
    if seconds < 59.95:
        return f"{seconds:.2f}{SPACE}s" if seconds < 1 else f"{seconds:.1f}{SPACE}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{SPACE}min{SPACE}{whole % 60:02d}{SPACE}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60}{SPACE}h{SPACE}{minutes % 60:02d}{SPACE}min"


def value(item: Any) -> str:
    """A value of a configuration as one reads it: `none`, `yes`, `28 × 28`, `0.1307, 0.3081`."""
    if item is None or item == "":
        return "none"
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, float):
        return f"{item:.6g}"
    if isinstance(item, list | tuple):
        return ", ".join(value(part) for part in item) or "none"
    if isinstance(item, dict):
        return ", ".join(f"{key}: {value(part)}" for key, part in item.items()) or "none"
    return str(item)


def moment(iso: str) -> str:
    """`2026-11-22T09:40:00+00:00` -> `2026-11-22 09:40 UTC`; anything else as it is."""
    try:
        time = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{time:%Y-%m-%d %H:%M} {time.tzname() or ''}".rstrip()


def epochs(count: float) -> str:
    """`1 epoch`, `12 epochs`, `11.4 epochs`."""
    return f"{count:.4g} {'epoch' if count == 1 else 'epochs'}"
