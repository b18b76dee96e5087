"""A mistake in a net, with its place, why it hurts, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A mistake, at all the places where it was seen."""

    name: str
    where: tuple[str, ...]
    """Module paths."""
    why: str
    remedy: str

    def __str__(self) -> str:
        places = ", ".join(self.where[:3]) + (f" and {len(self.where) - 3} more" if len(self.where) > 3 else "")
        return f"{self.name} at {places}: {self.why} {self.remedy}"


def make_finding(name: str, where: Iterable[str], why: str, remedy: str) -> Finding | None:
    """The finding, or None where there is no place."""
    places = tuple(dict.fromkeys(where))
    return Finding(name=name, where=places, why=why, remedy=remedy) if places else None
