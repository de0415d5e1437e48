"""Internal. E-mail addresses in cells: several, with names, or words instead."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_ADDRESS: Final = re.compile(r"[^@\s<>,;\"]+@[^@\s<>,;\"]+\.[^@\s<>,;\"]+")
_PLAIN: Final = re.compile(r"[^@\s<>,;\"]+@[^@\s<>,;\"]+\.[^@\s<>,;\"]+\Z")


def emails_in(text: str) -> tuple[str, list[str]]:
    """Return a cell's first address and the others, or its text if it has none."""
    # links of web pages carry their scheme
    text = text.removeprefix("mailto:")
    # the usual case, before the search through the whole cell
    if not text or _PLAIN.match(text):
        return text, []
    found = list(dict.fromkeys(_ADDRESS.findall(text)))
    # text without an address is kept, so that the plan can name it
    return (found[0], found[1:]) if found else (text, [])


@lru_cache(4096)
def is_email(text: str) -> bool:
    """Return whether a text looks like one address."""
    return _PLAIN.match(text) is not None
