"""The values of a whole set that are wider than 8 bits: what they reach, what is black and white, and what has to be asked."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from striate.data.values import SIXTEEN, UNUSED, Found, Range, in_doubt, plain
from striate.errors import UsageError, param
from striate.texts import percent

ASKED = "--range"
"""Occurs in the reason why an image cannot be read, where a stated range would mend it."""
_STRAYS = 0.1
"""Share of a set's wide images up to which those without a known range are strays, to be left out and named."""


@dataclass(frozen=True, slots=True)
class Values:
    """Images of a set whose values are of one kind and range.

    Attributes:
        kind: `16-bit`, `floating`, `whole-number` or `16-bit colour`.
        count: how many images.
        least, most: over all of them.
        low, high: black and white.
        outside: how many images hold values below `low` or above `high`, which become black and white.
    """

    kind: str
    count: int
    least: float
    most: float
    low: float
    high: float
    outside: int

    @property
    def whole(self) -> Found:
        """All of them as if they were one image."""
        return Found(self.kind, self.least, self.most, self.low, self.high)

    def __str__(self) -> str:
        return (
            f"{self.count:,} {self.kind} from {plain(self.least)} to {plain(self.most)}, read as {plain(self.low)} (black) to "
            f"{plain(self.high)} (white)"
        )

    def as_dict(self) -> dict[str, object]:
        """The values in plain types."""
        return asdict(self)


def gathered(found: Iterable[Found]) -> tuple[Values, ...]:
    """A row a kind and range, the most frequent first."""
    groups = defaultdict[tuple[str, float, float], list[Found]](list)
    for one in found:
        groups[one.kind, one.low, one.high].append(one)
    rows = []
    for (kind, low, high), ones in groups.items():
        least, most = min(one.least for one in ones), max(one.most for one in ones)
        outside = sum(one.least < low or one.most > high for one in ones)
        rows.append(Values(kind, len(ones), least, most, low, high, outside))
    return tuple(sorted(rows, key=lambda row: -row.count))


def doubt(values: Sequence[Values], reasons: Iterable[str]) -> str | None:
    """What has to be asked of a set before it is trained on without a stated range, or None: by the values of the images that
    could be read, and the reasons why others could not.
    """
    asked = [reason for reason in reasons if ASKED in reason]
    if len(asked) > _STRAYS * (len(asked) + sum(row.count for row in values)):
        return f"{len(asked):,} of its images have values of unknown range; the first: {asked[0]}"
    dark = next((row for row in values if row.whole.dark), None)
    return None if dark is None else f"{dark.count:,} of its images hold {in_doubt(dark.whole)}"


def fills_sixteen(values: Sequence[Values]) -> bool:
    """Whether there are values of 16 bits that fill their range."""
    return any(row.kind == SIXTEEN and row.high == 65535 and not row.whole.dark for row in values)


def unused(values: Values) -> str | None:
    """The message if nine tenths or more of the range are unused."""
    if values.whole.used > UNUSED:
        return None
    return (
        f"{values.count:,} {values.kind} images use {percent(values.whole.used)} of their range: {plain(values.least)} to "
        f"{plain(values.most)} of {plain(values.low)} to {plain(values.high)}"
    )


def range_of(wanted: str | Sequence[float] | None) -> Range | None:
    """(black, white) of `0,4095` or of two numbers; None of None. Raises UsageError unless they are finite and in order."""
    if wanted is None:
        return None
    try:
        low, high = (float(part) for part in (wanted.split(",") if isinstance(wanted, str) else wanted))
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"{param('range')} must be the values of black and white, as in 0,4095, got {wanted!r}")
    return low, high
