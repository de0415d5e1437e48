"""Internal. Values of a query's rows, such as text, exact numbers and days."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from hl_async.bulk.sources.document import DocumentDiscount, DocumentTax
from hl_async.bulk.sources.numbers import (
    DAMAGED,
    in_major_units,
    plain_number,
    read_day,
    read_number,
    read_percentage,
)
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.tables import cell_problem
from hl_async.errors import InvalidRequest

TAX_KEYS: Final = (("tax_name", "tax_rate", "tax_amount"), ("tax2_name", "tax2_rate", "tax2_amount"))
_MANY: Final = 1000


def text_of(at: str, value: Any) -> str:
    """Return a value as text; refuse spreadsheet errors and floating-point numbers."""
    if value is None:
        return ""
    if value.__class__ is str:
        # an error of a spreadsheet would become the customer's name
        if value[:1] in ("#", "=") and (problem := cell_problem(value)):
            raise InvalidRequest(at, f"holds {problem}")
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        exact_of(at, value)
    return str(value)


def exact_of(at: str, value: Any) -> Decimal:
    """Return a number as Decimal; refuse floating-point numbers."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    # a double has lost the amount already: 0.1 + 0.2 is not 0.3
    if isinstance(value, float):
        raise InvalidRequest(
            at, f"{value!r} is a floating-point number; cast the column to VARCHAR or DECIMAL"
        )
    raise InvalidRequest(at, f"{value!r} is not a number")


def id_of(at: str, value: str) -> str:
    """Return an id; refuse one that a spreadsheet has shortened."""
    # the sign is rare, and the pattern costs a call per document
    if "E+" in value and DAMAGED.fullmatch(value):
        raise InvalidRequest(
            at, f"a spreadsheet has shortened the number {value!r}; export the file again and do not open it"
        )
    return value


def flag_of(at: str, value: Any) -> bool:
    """Return a truth value."""
    if isinstance(value, bool):
        return value
    found = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}.get(
        str(value).lower()
    )
    if found is None:
        raise InvalidRequest(at, f"{value!r} is not true or false")
    return found


def one_of(at: str, value: Any, allowed: tuple[str, ...]) -> Any:
    """Return a value that is one of a few."""
    if value not in allowed:
        raise InvalidRequest(at, f"{value!r} is not {' or '.join(allowed)}")
    return value


class ValueReader:
    """A reader of values by settings: strict parsers for text, numbers as they are."""

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._numbers = settings.numbers
        # digits with a point have one reading, unless the point stands between groups
        self._are_plain = self._numbers.decimal == "." and self._numbers.thousands != "."
        self._rates: dict[tuple[Any, Any], DocumentTax] = {}

    def discount(self, at: str, one: dict[str, Any], currency: str) -> DocumentDiscount | None:
        """Return the discount, or None."""
        value = one.get("discount_value")
        if value is None or value == "":
            return None
        kind = one_of(f"{at} type", one.get("discount_type") or "percentage", ("percentage", "fixed"))
        read = self.percentage(at, value) if kind == "percentage" else self.needed(at, value, currency)
        after = flag_of(f"{at} after_tax", one.get("discount_after_tax", False))
        return DocumentDiscount(value=read, type=kind, after_tax=after) if read else None

    def taxes(self, at: str, one: dict[str, Any], currency: str, nested: Any = None) -> list[DocumentTax]:
        """Return the taxes that columns and a list state."""
        found: list[DocumentTax] = []
        for name, rate, amount in TAX_KEYS:
            if (given := one.get(rate)) is not None or one.get(amount) is not None:
                self.add_tax(found, at, one.get(name), given, one.get(amount), currency)
        for each in nested or ():
            self.add_tax(found, at, each.get("name"), each.get("rate"), each.get("amount"), currency)
        return found

    def add_tax(
        self, found: list[DocumentTax], at: str, name: Any, rate: Any, amount: Any, currency: str
    ) -> None:
        """Add a tax to those found, unless it is empty or zero."""
        # rates repeat in nearly every row, taxes as amounts do not
        known = self._rates.get((name, rate)) if amount is None else None
        if known is not None:
            found.append(known)
            return
        read = None if rate is None or rate == "" else self.percentage(at, rate)
        money = self.amount(at, amount, currency)
        # exports state a tax of zero where none is due
        if read or money:
            tax = DocumentTax(name=text_of(at, name).strip() or "Tax", rate=read, amount=money)
            if amount is None and len(self._rates) < _MANY:
                self._rates[(name, rate)] = tax
            found.append(tax)

    def percentage(self, at: str, value: Any) -> Decimal:
        """Return a percentage."""
        return read_percentage(at, value, self._numbers) if isinstance(value, str) else exact_of(at, value)

    def number(self, at: str, value: Any) -> Decimal:
        """Return a number that is not money."""
        if value.__class__ is str:
            known = plain_number(value) if self._are_plain else None
            return read_number(at, value, self._numbers) if known is None else known
        return exact_of(at, value)

    def needed(self, at: str, value: Any, currency: str) -> Decimal:
        """Return an amount that has to be there."""
        found = self.amount(at, value, currency)
        if found is None:
            raise InvalidRequest(at, "is missing")
        return found

    def amount(self, at: str, value: Any, currency: str) -> Decimal | None:
        """Return an amount in major units, or None."""
        if value is None:
            return None
        known = plain_number(value) if self._are_plain and value.__class__ is str else None
        if known is not None:
            found = known
        elif isinstance(value, str):
            text = value.strip()
            if not text:
                return None
            if text[0] in "#=" and (problem := cell_problem(text)):
                raise InvalidRequest(at, f"holds {problem}")
            found = read_number(at, text, self._numbers, currency)
        else:
            found = exact_of(at, value)
        # a currency without cents has minor units of one
        return in_major_units(found, currency) if self._settings.minor_units else found

    def day(self, at: str, value: Any) -> date | None:
        """Return a calendar day, or None."""
        if value is None or value == "":
            return None
        if value.__class__ is str:
            return read_day(at, text_of(at, value).strip(), self._settings.date_format)
        if isinstance(value, datetime):
            return value.date()
        if isinstance(value, date):
            return value
        return read_day(at, text_of(at, value).strip(), self._settings.date_format)
