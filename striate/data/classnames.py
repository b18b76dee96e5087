"""Names of classes that one would take for the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from striate.errors import DataError


def require_distinct(names: Iterable[str], where: str) -> None:
    """Raises DataError for two classes that differ only in capitals, in spaces or signs between words, in what cannot be seen, or
    in how a letter or number is written.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(folded(name), name)
        if other != name:
            raise DataError(
                f"{where}: the classes {other!r} and {name!r} differ only in {_difference(other, name)}: "
                "give both the same name, or clearly different ones"
            )


def folded(name: str) -> str:
    """A name as a reader takes it: without regard to capitals, spaces at its ends, what stands between words, letters that cannot
    be seen, or how letters and numbers are written.
    """
    text = " ".join(unicodedata.normalize("NFKC", _seen(name)).casefold().split())
    text = re.sub(r"(?<=[^\W_])[-_ ]+(?=[^\W\d_])", " ", text)
    try:
        return repr(float(text)) if re.fullmatch(r"[+-]?\d+(\.\d*)?", text) and len(text) < 16 else text
    except ValueError:
        return text


def _seen(name: str) -> str:
    return "".join(letter for letter in name if unicodedata.category(letter) != "Cf")


def _difference(one: str, other: str) -> str:
    if _seen(one) == _seen(other):
        return "invisible characters (such as a zero-width space)"
    composed = [unicodedata.normalize("NFC", name) for name in (one, other)]
    if composed[0] == composed[1]:
        return "the encoding of an accent (Unicode NFC and NFD)"
    if composed[0].casefold() == composed[1].casefold():
        return "capitals"
    if "".join(composed[0].split()).casefold() == "".join(composed[1].split()).casefold():
        return "spaces"
    return "their spelling"
