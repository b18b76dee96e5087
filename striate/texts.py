"""Numbers as words, in one way wherever striate prints them: on a terminal, in reports, model cards, charts and drawings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any


def percent(fraction: float, digits: int = 1) -> str:
    """0.8936 -> `89.4 %`. Rounding never claims all or nothing: 0.9999 -> `>99.9 %`, 0.0001 -> `<0.1 %`."""
    shown, smallest = f"{100 * fraction:.{digits}f}", 10.0**-digits
    if fraction < 1 and float(shown) >= 100:
        shown = f">{100 - smallest:.{digits}f}"
    elif fraction > 0 and float(shown) == 0:
        shown = f"<{smallest:.{digits}f}"
    return f"{shown} %"


def digits_for(count: int) -> int:
    """Decimals of a percentage that `count` images can bear: one, or two from 10,000 on."""
    return 2 if count >= 10_000 else 1


def share(found: Any, name: str) -> str:
    """An evaluation's share of that name, such as `accuracy` or `low`, with the decimals that its `n` images can bear."""
    return percent(getattr(found, name), digits_for(found.n))


def interval(found: Any, low: str = "low", high: str = "high") -> str:
    """An evaluation's interval: `88.7 % to 90.1 %`."""
    return f"{share(found, low)} to {share(found, high)}"


def points(difference: float) -> str:
    """A difference of two shares in percentage points, without its sign: -0.0213 -> `2.1 points`."""
    return f"{abs(100 * difference):.1f} points"


def thousands(number: float) -> str:
    """61706 -> `61,706`."""
    return f"{number:,.0f}"


def large(number: float) -> str:
    """416520 -> `0.42 million`; below 100,000 the number itself."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if number >= size / 10:
            return f"{number / size:.3g} {word}"
    return thousands(number)


def counted(number: float, noun: str) -> str:
    """`1 pair`, `1,200 pairs`, `2 classes`, `11.4 epochs`."""
    shown = f"{number:,.0f}" if number == int(number) else f"{number:.4g}"
    return f"{shown} {noun if number == 1 else noun + ('es' if noun.endswith('s') else 's')}"


def listed(names: Sequence[str], most: int) -> str:
    """The first `most` names: `a, b and 3 more`."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def duration(seconds: float) -> str:
    """0.45 -> `0.45 s`, 8.13 -> `8.1 s`, 53.4 -> `53 s`, 192 -> `3 min 12 s`, 3780 -> `1 h 03 min`."""
    if seconds < 59.5:
        return f"{seconds:.{2 if seconds < 0.95 else 1 if seconds < 9.95 else 0}f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def storage(count: float) -> str:
    """Bytes in binary units with three significant digits: `1.53 MiB`."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        count /= 1024
        if count < 999.5 or unit == "TiB":
            break
    return f"{count:.{max(0, 3 - len(str(int(count))))}f} {unit}"


def dimensions(shape: Sequence[int]) -> str:
    """(28, 28, 1) -> `28x28x1`."""
    return "x".join(map(str, shape)) or "scalar"


def value(item: Any) -> str:
    """A value of a configuration as one reads it: `none`, `yes`, `0.1307, 0.3081`."""
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


def with_article(noun: str) -> str:
    """`a tuple`, `an OrderedDict`."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
