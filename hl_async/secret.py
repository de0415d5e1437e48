"""Secrets that cannot be printed by accident, and a redactor for foreign text."""

from __future__ import annotations

import hmac
import re
from functools import cache
from typing import Final, NoReturn

_SHOWN = 4

_TOKENS: Final = (
    # JSON, form and header spellings of the fields that carry secrets
    (
        r"(?i)((?:access|refresh)_?token|client_?secret|authorization|id_token|password)"  # noqa: ISC004 - one pattern
        r"(\\?[\"']?\s*[:=]\s*\\?[\"']?)(?:bearer\s+)?[^\s\"'&,;}\\]+",
        r"\1\2…",
    ),
    (r"(?i)\b(bearer)(\s+)[A-Za-z0-9._~+/=-]+", r"\1\2…"),
    (r"\bpit-[A-Za-z0-9-]{4,}", "pit-…"),
    (r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?", "…"),
)


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    # Compiled by the first error: compiling them is a fiftieth of the time it takes to import the client.
    return tuple((re.compile(pattern), shown) for pattern, shown in _TOKENS)


class Secret:
    """A string that shows only its last four characters without :meth:`reveal`.

    Compared in constant time, hashable, never picklable; ``str()`` and ``repr()`` are both masked.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself; call it in the last frame before wire or store."""
        return self._value

    def masked(self) -> MaskedText:
        """Return the secret as text whose `repr` stays masked.

        It is for a frame that awaits or may raise.
        """
        return MaskedText(self._value)

    def __repr__(self) -> str:
        return f"Secret({self})"

    def __str__(self) -> str:
        # A short secret shows nothing: four of eight characters would be too much of it.
        return f"…{self._value[-_SHOWN:]}" if len(self._value) >= 3 * _SHOWN else "…"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not picklable; store it through a TokenStore")


class MaskedText(str):
    """Text of a secret on its way to the wire, as a `str`.

    Its `repr` shows only the last four characters. Crash reporters, rich and `traceback` print the local variables
    of every frame with `repr`. A value that has to be plain text for the libraries below us stays masked there, in
    dictionaries and in containers of any kind. An f-string or `+` makes an ordinary string from it: do that in a
    frame that ends before an await.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"'…{self[-_SHOWN:]}'" if len(self) >= 3 * _SHOWN else "'…'"


class MaskedBytes(bytes):
    """Bytes that hold a secret, such as a form or a stored token set.

    Their `repr` shows only their number.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} secret bytes>"


def redact(text: str) -> str:
    """Return ``text`` with ``…`` for all that looks like a token or a client secret."""
    for pattern, shown in _patterns():
        text = pattern.sub(shown, text)
    return text
