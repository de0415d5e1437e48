"""Internal. ``number_of(text)`` in a query: numbers by the source's settings.

The documents' own amounts leave the query as text and are read by the strict parsers. A query that adds or compares
amounts has to know how they are written, and must not know it in another way than the parsers.
"""

from __future__ import annotations

import re
from typing import Final

from hl_async.bulk.sources.numbers import NumberFormat, number_parts

NAME: Final = "number_of"
_INNER: Final = "number_of_plain"
_ANY_SIGN: Final = r"[A-Za-z]{0,3}[.]?[$€£¥₹₩₽₺₫₴₪₱฿₦₡₲₵₸₭₮]|[A-Z]{3}|[A-Z]?[a-z]{1,2}[.]?"


def number_macros(how: NumberFormat) -> str:
    """Return the SQL of ``number_of``: a DECIMAL, or NULL for text parsers refuse."""
    text = "replace(trim(t::VARCHAR), chr(8722), '-')"
    for _ in range(2):
        if how.parentheses:
            text = _replaced(text, r"^\((.*)\)$", r"-\1")
        if how.trailing_minus:
            text = _replaced(text, r"^([^-]*)-$", r"-\1")
        if how.currency_sign:
            text = _replaced(text, rf"^([+-]?)\s*(?:{_ANY_SIGN})\s*", r"\1")
            text = _replaced(text, rf"\s*(?:{_ANY_SIGN})$", "")
    whole, grouped = number_parts(how.decimal, how.thousands)
    plain = _replaced("x", f"[{re.escape(grouped)}]", "", everywhere=True) if grouped else "x"
    if how.decimal != ".":
        plain = f"replace({plain}, {_text(how.decimal)}, '.')"
    matches = f"regexp_full_match(x, {_text(f'[+-]? ?(?:{whole})')})"
    # a macro of its own, because a macro has no other way to name a value
    return (
        f"CREATE MACRO {_INNER}(x) AS CASE WHEN {matches} "
        f"THEN try_cast(replace({plain}, ' ', '') AS DECIMAL(18, 6)) END; "
        f"CREATE MACRO {NAME}(t) AS {_INNER}({text})"
    )


def _replaced(text: str, pattern: str, by: str, *, everywhere: bool = False) -> str:
    return f"regexp_replace({text}, {_text(pattern)}, {_text(by)}{', ' + _text('g') if everywhere else ''})"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
