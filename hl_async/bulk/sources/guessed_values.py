"""Internal. The contents that a column's cells show: numbers, days, a currency."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final

from hl_async.bulk.sources.numbers import read_day
from hl_async.errors import InvalidRequest
from hl_async.models.money import CURRENCIES

# ordered by how often exports have them; a form that every cell fits is taken
_FORMS: Final = (
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d.%m.%y",
    "%Y%m%d",
)
_AMOUNT: Final = re.compile(
    r"[-+(]?\s*(?:[A-Z]{2,3}|[A-Z]{0,2}[$€£¥₹])?\s*-?[0-9][0-9.,' \u00a0\u202f\u2009]*(?:[A-Z]{3}|[$€£¥₹%])?\s*[)-]?"
)
# a dollar or a yen sign belongs to several currencies
_SIGNS: Final = {"€": "EUR", "£": "GBP", "₹": "INR"}


def is_number(cell: str) -> bool:
    """Return whether a cell looks like an amount, a quantity or a percentage."""
    return _AMOUNT.fullmatch(cell.strip()) is not None


def is_text(cell: str) -> bool:
    """Return whether a cell has a letter, so that it is not a number alone."""
    return any(map(str.isalpha, cell))


def is_day(cell: str) -> bool:
    """Return whether a cell is a day in some common form."""
    return day_words(cell) or any(_reads(cell, form) for form in _FORMS)


def day_words(cell: str) -> bool:
    """Return whether a cell is a day with one reading: ISO, or a month by name."""
    return _reads(cell, "%Y-%m-%d")


def day_forms(samples: Sequence[str]) -> list[str]:
    """Return the forms in which every sample is a day."""
    return [form for form in _FORMS if samples and all(_reads(one, form) for one in samples)]


def _reads(cell: str, form: str) -> bool:
    try:
        found: date = read_day("date", cell, form)
    except InvalidRequest:
        return False
    return found.year > 0


def currency_of(cells: Iterable[str]) -> str:
    """Return the one currency that amounts name by sign or code, or an empty text."""
    found = set()
    for cell in cells:
        found |= {code for sign, code in _SIGNS.items() if sign in cell}
        found |= {code for code in re.findall(r"[A-Z]{3}", cell) if code in CURRENCIES}
    # two currencies in one column need a column that says which
    return found.pop() if len(found) == 1 else ""


def number_settings(cells: Iterable[str]) -> list[str]:
    """Return the settings of ``[line]`` by which these amounts are numbers."""
    samples = [one for one in cells if one]
    plain = [re.sub(r"[^0-9.,' \u00a0\u202f\u2009]", "", one).strip() for one in samples]
    found = []
    is_comma = any(re.search(r",[0-9]{1,2}$", one) or re.fullmatch(r"[0-9]+,[0-9]+", one) for one in plain)
    # 1,234.50 has a comma too, and its last sign is the point
    is_comma = is_comma and not any(re.search(r"\.[0-9]{1,2}$", one) for one in plain)
    if is_comma:
        found.append('decimal = ","')
    groups = [sign for sign in (".", "'", " ") if any(sign in re.sub(r"\s", " ", one) for one in plain)]
    if is_comma and groups:
        found.append(f'thousands = "{groups[0]}"')
    elif not is_comma and any("," in one for one in plain):
        found.append('thousands = ","')
    elif not is_comma and (groups := [one for one in groups if one != "."]):
        found.append(f'thousands = "{groups[0]}"')
    if any(re.search(r"[$€£¥₹]|[A-Z]{3}", one) for one in samples):
        found.append("currency_sign = true")
    if any(one.startswith("(") for one in samples):
        found.append("parentheses = true")
    if any(re.fullmatch(r".*[0-9]-", one) for one in samples):
        found.append("trailing_minus = true")
    return found
