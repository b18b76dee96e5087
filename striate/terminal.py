"""Text from outside on its way to a terminal: names of files, classes and runs, and what files say."""

from __future__ import annotations

import re

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters, line breaks, what turns the direction of writing or takes no room, and halves of characters, as Python
keeps the bytes of names that are no UTF-8."""
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def plain(text: object) -> str:
    """`text` on one line, with escapes such as `\\x1b` for whatever a terminal would act on instead of showing it."""
    return _UNSAFE.sub(lambda found: _SHORT.get(found[0]) or _escape(found[0]), str(text))


def plain_json(text: str) -> str:
    """JSON that says the same without such characters; the line breaks between its values stay."""
    return _UNSAFE.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
