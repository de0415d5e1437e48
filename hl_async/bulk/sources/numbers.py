"""Internal. A strict reading of numbers, percentages and days in text.

Text with two readings is refused. A spreadsheet, a person and an exporter write the same amount in different ways.
Every way beyond plain digits has to be declared.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from typing import Final, NamedTuple

from hl_async.errors import InvalidRequest
from hl_async.models.money import CURRENCIES, minor_units

_PLAIN: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,10})?", re.ASCII)
# programs write the space of their locale, which looks the same on the screen
_SPACES: Final = " \u00a0\u202f\u2009"
"""Spaces that exporters put between groups of digits: plain, no-break, narrow no-break, thin."""
_SIGNS: Final = "$€£¥₹₩₽₺₫₴₪₱฿₦₡₲₵₸₭₮"
_APOSTROPHES: Final = "'\u2019"
"""Signs between groups in Switzerland: old and new locales write different ones."""
_LOCAL: Final = {
    "USD": ("US$",), "CAD": ("CA$", "C$"), "AUD": ("AU$", "A$"), "NZD": ("NZ$",), "SGD": ("S$",), "HKD": ("HK$",),
    "MXN": ("MX$", "Mex$"), "BRL": ("R$",), "INR": ("Rs.", "Rs"), "SEK": ("kr.", "kr"), "NOK": ("kr.", "kr"),
    "DKK": ("kr.", "kr"), "PLN": ("zł",), "CZK": ("Kč",), "CHF": ("SFr.", "Fr."), "ZAR": ("R",), "MYR": ("RM",),
    "IDR": ("Rp",), "HUF": ("Ft",), "RON": ("lei",),
}  # fmt: skip
"""Signs around the amounts of a currency; several currencies share some of them."""
# a dollar sign stands for any of twenty currencies, these stand for one
_OWN: Final = {"€": "EUR", "£": "GBP", "₹": "INR", "₩": "KRW", "₽": "RUB", "₺": "TRY", "₫": "VND"}
"""Signs that mean one currency."""
_ISO: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ][0-9]{2}:[0-9]{2}.*)?", re.ASCII)
_TIME: Final = re.compile(
    r"[,T ] ?[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?: ?[AaPp]\.?[Mm]\.?)?"
    r"(?: ?(?:Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}))?$",
    re.ASCII,
)
"""A time of day behind a day."""
_NAMED: Final = (
    "%b %d, %Y",
    "%B %d, %Y",
    "%b %d %Y",
    "%d %b %Y",
    "%d %B %Y",
    "%d-%b-%Y",
    "%d/%b/%Y",
    "%d-%b-%y",
    "%d %b %y",
    "%d%b%Y",
    "%a, %d %b %Y",
    "%A, %B %d, %Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
)
"""Forms with one reading: the month has a name, or the year comes first."""
_ORDINAL: Final = re.compile(r"(?<=[0-9])(?:st|nd|rd|th)\b")
DAMAGED: Final = re.compile(r"[0-9](?:[.,][0-9]+)?E\+[0-9]+", re.ASCII)
"""What a spreadsheet makes of a long number: ``1.23457E+11``."""
_SHORTENED: Final = re.compile(r"[+-]?[0-9](?:[.,][0-9]+)?E\+[0-9]{2,}", re.ASCII)
"""An amount in a narrow column, as a spreadsheet saves it: ``1.23E+03`` was any number near 1,230."""


_EPOCH: Final = date(1899, 12, 30)
_COUNTED: Final = {
    "serial": re.compile(r"[2-7][0-9]{4}(?:\.[0-9]+)?", re.ASCII),
    "unix": re.compile(r"[0-9]{9,10}(?:\.[0-9]+)?", re.ASCII),
    "unix_ms": re.compile(r"[0-9]{12,13}", re.ASCII),
}
"""Days as numbers: since 1899-12-30 as spreadsheets count, or seconds or milliseconds since 1970 in UTC."""


class NumberFormat(NamedTuple):
    """The way amounts are written; see :class:`SourceSettings`."""

    decimal: str = "."
    thousands: str = ""
    currency_sign: bool = False
    parentheses: bool = False
    trailing_minus: bool = False

    def check(self) -> None:
        """Refuse signs that contradict each other."""
        point, group = self.decimal, self.thousands
        if len(point) != 1 or len(group) > 1 or point == group or any(map(str.isalnum, (point, group))):
            raise InvalidRequest(
                "decimal", "must be one character, thousands none or another one, such as , and ."
            )

    @property
    def is_plain(self) -> bool:
        """Whether numbers are written as in Python."""
        return self == _DEFAULT


_DEFAULT: Final = NumberFormat()


def read_number(field: str, text: str, how: NumberFormat = _DEFAULT, currency: str = "") -> Decimal:
    """Read an amount.

    Args:
        field: What the error names.
        text: The number as written.
        how: The declared format.
        currency: ISO 4217 code; the only code accepted around an amount.

    Raises:
        InvalidRequest: ``text`` is not a number of this format.
    """
    if how.decimal == "." and how.thousands != "." and (known := plain_number(text)) is not None:
        return known
    plain, minuses = _peeled(text, how, currency)
    if "E+" in plain and _SHORTENED.fullmatch(plain):
        raise InvalidRequest(
            field,
            f"a spreadsheet has shortened the number {text[:40]!r}; export the file again and do not open it",
        )
    pattern, grouped = _pattern(how.decimal, how.thousands)
    # the whole text has to be the number: a part of it has another value
    if not pattern.fullmatch(plain) or minuses > 1 or (minuses and plain[:1] in "+-"):
        raise InvalidRequest(field, _problem(text, how))
    if grouped:
        plain = "".join(one for one in plain if one not in grouped)
    value = Decimal(plain.replace(how.decimal, ".").replace(" ", ""))
    return -value if minuses else value


def _peeled(text: str, how: NumberFormat, currency: str) -> tuple[str, int]:
    """Return a number without signs around it, and how often these negate it."""
    # typographers' minus is what some programs and people write
    plain, minuses = text.strip().replace("\u2212", "-"), 0
    # twice: a currency stands inside or outside of parentheses, behind or before a minus
    for _ in range(2):
        # accountants write a negative amount in parentheses
        if how.parentheses and plain[:1] == "(" and plain[-1:] == ")":
            plain, minuses = plain[1:-1].strip(), minuses + 1
        # accounting programs write the sign behind the amount
        if how.trailing_minus and plain[-1:] == "-":
            plain, minuses = plain[:-1].rstrip(), minuses + 1
        # before the pattern: a sign may stand on either side, with or without a space
        if how.currency_sign:
            plain = _without_sign(plain, currency)
    return plain, minuses


# prices and quantities repeat in every export
@lru_cache(1 << 14)
def plain_number(text: str) -> Decimal | None:
    """Return a number written as in Python, or None."""
    return Decimal(text) if _PLAIN.fullmatch(text) else None


def read_percentage(field: str, text: str, how: NumberFormat = _DEFAULT) -> Decimal:
    """Read a percentage: ``8.25``, ``8.25%`` or ``8.25 %``."""
    plain = text.strip()
    if plain.endswith("%"):
        plain = plain[:-1].rstrip(_SPACES)
    return read_number(field, plain, how)


def in_major_units(value: Decimal, currency: str) -> Decimal:
    """Turn cents (or what the currency has) into major units."""
    return value.scaleb(-minor_units(currency))


def read_day(field: str, text: str, form: str = "%Y-%m-%d") -> date:
    """Read a calendar day in ISO form or in ``form``, whatever offset follows it.

    Args:
        field: What the error names.
        text: The day as written.
        form: A format as for ``strptime``; ``serial``, ``unix`` or ``unix_ms`` for days as numbers.

    Raises:
        InvalidRequest: ``text`` is not a date of the form.
    """
    found = _day(text, form)
    if found is None:
        like = _LIKE.get(form) or date(2024, 12, 31).strftime(form)
        problem = f"{text[:40]!r} is not a date of the form {form}, such as {like}{_date_hint(text, form)}"
        raise InvalidRequest(field, problem)
    return found


def day_text(value: date, form: str) -> str:
    """Write a day so that `read_day` reads it in this form."""
    return value.strftime("%Y-%m-%d" if form in _COUNTED else form)


@lru_cache(4096)
def _day(text: str, form: str) -> date | None:
    if form in _COUNTED and _COUNTED[form].fullmatch(text):
        return _counted(text, form)
    # an ISO day is taken as such, unless the declared form could mean another day by it
    found = None if form.startswith(("%Y-%d", "%y-%d")) else _ISO.fullmatch(text)
    if found is None and "%H" not in form and "%I" not in form:
        text = _TIME.sub("", text)
    try:
        if found is not None:
            return date.fromisoformat(found.group(1))
        return datetime.strptime(text, form).date()  # noqa: DTZ007 - a calendar day has no zone
    except ValueError:
        pass
    # these forms cannot be confused with each other, so that none has to be declared
    text = _ORDINAL.sub("", text)
    for one in _NAMED:
        try:
            return datetime.strptime(text, one).date()  # noqa: DTZ007
        except ValueError:
            continue
    return None


def _counted(text: str, form: str) -> date:
    """Return the day of a number."""
    count = int(Decimal(text))
    if form == "serial":
        return _EPOCH + timedelta(days=count)
    return datetime.fromtimestamp(count // (1000 if form == "unix_ms" else 1), UTC).date()


_LIKE: Final = {"serial": "45657", "unix": "1735603200", "unix_ms": "1735603200000"}


def _date_hint(text: str, form: str) -> str:
    for one, pattern in _COUNTED.items():
        if pattern.fullmatch(text):
            return f'; if it is {_counted(text, one)} as a number, set date_format = "{one}"'
    if _ISO.fullmatch(text):
        return "; this day does not exist"
    if not any(map(str.isdigit, text)):
        return ""
    if re.fullmatch(r"(?:19|20)[0-9]{6}", text, re.ASCII):
        return '; set date_format = "%Y%m%d"'
    if form == "%Y-%m-%d" and (parts := re.match(r"([0-9]{1,2})([/.-])([0-9]{1,2})\2([0-9]{2,4})", text)):
        sign, year = parts.group(2), "%Y" if len(parts.group(4)) == 4 else "%y"
        first, second = (f"%{one}{sign}%{two}{sign}{year}" for one, two in ("dm", "md"))
        return f'; say which is which: date_format = "{first}" or "{second}"'
    return "; set date_format"


def _without_sign(text: str, currency: str) -> str:
    """Drop the currency around an amount, unless it contradicts the document's."""
    minus = text[:1] if text[:1] in "+-" else ""
    plain = text[len(minus) :].strip(_SPACES)
    # a currency that contradicts the document's stays, and then the text is not a number
    accepted = [currency] if currency else []
    accepted += _LOCAL.get(currency, ())
    accepted += (one for one in _SIGNS if currency in ("", _OWN.get(one, currency)))
    for sign in accepted:
        if plain.startswith(sign):
            plain = plain[len(sign) :].lstrip(_SPACES)
            break
        if plain.endswith(sign):
            plain = plain[: -len(sign)].rstrip(_SPACES)
            break
    return text if minus and plain[:1] in ("+", "-") else minus + plain


@cache
def _pattern(decimal: str, thousands: str) -> tuple[re.Pattern[str], str]:
    """Return the pattern of a number, and the characters to drop."""
    number, grouped = number_parts(decimal, thousands)
    # sheets write very small numbers with an exponent
    return re.compile(rf"[+-]? ?(?:{number})(?:[eE][+-]?[0-9]{{1,3}})?", re.ASCII), grouped


def number_parts(decimal: str, thousands: str) -> tuple[str, str]:
    """Return a pattern of numbers without sign and exponent, and their group signs."""
    point, grouped = re.escape(decimal), thousands
    for alike in (_SPACES, _APOSTROPHES):
        if thousands and thousands in alike:
            grouped = alike
    whole = "[0-9]+"
    if grouped:
        sign = f"[{re.escape(grouped)}]"
        # 1,234,567 and the Indian 12,34,567: the last group has three digits in both, so neither has two readings
        whole = rf"[0-9]{{1,3}}(?:{sign}[0-9]{{3}})+|[0-9]{{1,2}}(?:{sign}[0-9]{{2}})+{sign}[0-9]{{3}}|[0-9]+"
    return rf"(?:{whole})(?:{point}[0-9]*)?|{point}[0-9]+", grouped


def _problem(text: str, how: NumberFormat) -> str:
    """Return why a text is not a number, with the setting that would read it."""
    shown = f"{text[:40]!r} is not a number"
    if not any(map(str.isdigit, text)):
        is_dash = _without_any_sign(text) in ("-", "") and "-" in text
        return f"{shown}; a spreadsheet shows zero so: write 0, or nothing" if is_dash else shown
    plain = text.strip()
    if plain.endswith("%"):
        return f"{shown}: it is a percentage"
    if "(" in plain[:4] and not how.parentheses:
        return f"{shown}; set parentheses = true if it is negative"
    if plain[-1:] == "-" and not how.trailing_minus:
        return f"{shown}; set trailing_minus = true if it is negative"
    if not how.currency_sign and (any(one in plain for one in _SIGNS) or _code(plain)):
        return f"{shown}; set currency_sign = true to read amounts with a currency"
    return (
        f"{shown}, with {how.decimal!r} as its decimal sign and "
        f"{repr(how.thousands) if how.thousands else 'nothing'} between groups{_other_format(plain, how)}"
    )


def _other_format(text: str, how: NumberFormat) -> str:
    """Return the settings that would read a number, for each of its values one."""
    bare = _without_any_sign(text)
    if _pattern(how.decimal, how.thousands)[0].fullmatch(bare):
        # not the number is unreadable, but the text around it
        return ""
    found: dict[Decimal, str] = {}
    for decimal, thousands in ((".", ","), (",", ""), (",", "."), (",", " "), (".", " "), (".", "'")):
        pattern, grouped = _pattern(decimal, thousands)
        if pattern.fullmatch(bare):
            plain = "".join(one for one in bare if one not in grouped).replace(decimal, ".")
            pairs = (("decimal", decimal, how.decimal), ("thousands", thousands, how.thousands))
            changed = [f'{name} = "{sign}"' for name, sign, own in pairs if sign != own]
            found.setdefault(Decimal(plain.replace(" ", "")), " and ".join(changed))
    if not found:
        return ""
    return (
        f"; set {' or '.join(found.values())}"
        if len(found) == 1
        else f"; say which: {' or '.join(found.values())}"
    )


def _without_any_sign(text: str) -> str:
    return re.sub(r"^[^0-9.,+-]+|[^0-9.,]+$", "", text)


def _code(text: str) -> bool:
    return text[:3] in CURRENCIES or text[-3:] in CURRENCIES
