"""Internal. Exact amounts: limits of a Decimal on the wire, rounding of a total.

A line is ``amount * qty``, rounded half up to the currency's minor unit. The discount on the sum of the lines, and
each exclusive tax of each line, are rounded the same way. The total is the sum of the rounded parts. The API's own
rounding is known for few cases (docs/api-facts.md#api-totals).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal
from typing import Any, Final, Protocol

from hl_async.errors import InvalidRequest

MAX_DIGITS: Final = 28
# This context raises for an amount that it would have to round, and for one that is too large or too small.
_EXACT: Final = Context(
    prec=MAX_DIGITS, Emax=15, Emin=-12, traps=[Inexact, InvalidOperation, Overflow, Subnormal]
)
_plus: Final = _EXACT.plus
# The product of two numbers of 28 digits has at most 56, so that products stay exact.
_ROOMY: Final = Context(prec=80)

# Active codes of ISO 4217, by the decimal places of the minor unit.
_TWO: Final = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF "
    "CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF "
    "IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN "
    "MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS "
    "SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
)
_ZERO: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR: Final = "CLF UYW"

CURRENCIES: Final[dict[str, int]] = {
    code: digits
    for digits, codes in ((2, _TWO), (0, _ZERO), (3, _THREE), (4, _FOUR))
    for code in codes.split()
}
"""Active ISO 4217 codes, with the decimal places of their minor unit."""


_NOTHING: Final = Decimal(0)
_UNITS: Final = {code: Decimal(1).scaleb(-digits) for code, digits in CURRENCIES.items()}


def _unit(currency: str) -> Decimal:
    return Decimal(1).scaleb(-minor_units(currency))


def is_sound(value: Decimal) -> bool:
    """Return whether a number is finite, of at most 28 digits and of usual size.

    It is 0, or its magnitude is at least 1e-12 and below 1e16. Without these limits ``Decimal("1e999999")``, a few
    bytes on the wire, would keep ``int()`` busy for minutes.
    """
    try:
        return _plus(value).is_finite()
    except ArithmeticError:
        return False


_UNSOUND: Final = "is not finite, has more than 28 digits, or has an exponent out of range"


def guard(*values: Decimal | None) -> None:
    """Raise unless :func:`is_sound` accepts every Decimal.

    Other types pass: building a request converts and checks the caller's floats and text.

    Raises:
        InvalidRequest: A Decimal is out of the limits. As a ValueError, it makes msgspec refuse an answer.
    """
    if not _all_sound(values):
        raise InvalidRequest("number", _UNSOUND)


def _all_sound(values: Iterable[Decimal | None]) -> bool:
    try:
        for value in values:
            if type(value) is Decimal and not _plus(value).is_finite():
                return False
    except ArithmeticError:
        return False
    return True


class _Taxed(Protocol):
    @property
    def rate(self) -> Any: ...


class _Line(Protocol):
    @property
    def amount(self) -> Any: ...

    @property
    def qty(self) -> Any: ...

    @property
    def taxes(self) -> Iterable[_Taxed] | None: ...


class _Reduction(Protocol):
    @property
    def value(self) -> Any: ...


def guard_document(
    items: Iterable[_Line] | None, discount: _Reduction | None, *amounts: Decimal | None
) -> None:
    """Check all amounts of a document like :func:`guard`. The error names the line.

    One pass covers the document, because a check in each line and tax took a fifth of the time of decoding. It calls
    no other function, because every decoded document passes here.
    """
    try:
        for value in amounts:
            if value is not None and not _plus(value).is_finite():
                raise InvalidOperation
        if discount is not None and discount.value is not None and not _plus(discount.value).is_finite():
            raise InvalidOperation
        for item in items or ():
            # A line without amount or quantity is rare, so it may take the second pass.
            if not (_plus(item.amount).is_finite() and _plus(item.qty).is_finite()):
                raise InvalidOperation
            for tax in item.taxes or ():
                if not _plus(tax.rate).is_finite():
                    raise InvalidOperation
        return
    except (ArithmeticError, TypeError):
        pass  # an amount is missing or out of the limits, or a caller built the document with another type
    if discount is not None:
        amounts = (*amounts, discount.value)
    for index, item in enumerate(items or ()):
        if not _all_sound((item.amount, item.qty, *(tax.rate for tax in item.taxes or ()))):
            raise InvalidRequest(f"items[{index}]", f"a number {_UNSOUND}")
    guard(*amounts)


def minor_units(currency: str) -> int:
    """Return the decimal places of a currency's minor unit; 2 if it is unknown."""
    return CURRENCIES.get(currency.upper(), 2)


def rounded(value: Decimal, currency: str) -> Decimal:
    """Return ``value`` rounded half up to the currency's minor unit."""
    return value.quantize(_UNITS.get(currency) or _unit(currency), ROUND_HALF_UP, _ROOMY)


class PricedLine(Protocol):
    """A line that :func:`document_total` can add up: unit price and quantity.

    It may have ``taxes``, each with a ``rate`` in percent.
    """

    @property
    def amount(self) -> Any: ...

    @property
    def qty(self) -> Any: ...


def line_total(line: PricedLine, currency: str) -> Decimal:
    """Return the price of one line without tax, rounded to the minor unit."""
    return _line_sum(line, _UNITS.get(currency) or _unit(currency))


def _line_sum(line: PricedLine, unit: Decimal) -> Decimal:
    amount, qty = line.amount, line.qty
    if amount.__class__ is not Decimal or qty.__class__ is not Decimal:
        amount, qty = Decimal(amount or 0), Decimal(qty or 0)
    return _ROOMY.multiply(amount, qty).quantize(unit, ROUND_HALF_UP, _ROOMY)


def document_total(items: Iterable[PricedLine], currency: str, discount: Any = None) -> Decimal:
    """Return a document's total in major units, at least 0.

    Args:
        items: The lines.
        currency: The ISO 4217 code, in capitals.
        discount: An object with ``value`` and ``type`` (percentage or fixed). It lowers the sum before tax, and each
            line's tax in proportion.
    """
    unit = _UNITS.get(currency) or _unit(currency)
    lines = list(items)
    bare = [_line_sum(line, unit) for line in lines]
    subtotal = sum(bare, _NOTHING)
    off = discount_amount(subtotal, discount, currency) if discount is not None else _NOTHING
    # The discount lowers each line's tax in proportion: docs/api-facts.md#api-totals
    share = _ROOMY.divide(subtotal - off, subtotal) if subtotal and off else None
    tax = _NOTHING
    for line, amount in zip(lines, bare, strict=True):
        taxes = getattr(line, "taxes", None)
        if not taxes or getattr(line, "tax_inclusive", False) is True:
            continue
        base = amount if share is None else _ROOMY.multiply(amount, share)
        for entry in taxes:
            rate = entry.rate
            if rate.__class__ is not Decimal:
                rate = Decimal(rate or 0)
            tax += (_ROOMY.multiply(base, rate) / 100).quantize(unit, ROUND_HALF_UP, _ROOMY)
    # Below 0 only if the rule discount_within_subtotal is off, and a fixed discount exceeds the lines.
    total = (subtotal - off + tax).quantize(unit, ROUND_HALF_UP, _ROOMY)
    return total if total >= 0 else rounded(_NOTHING, currency)


def expected_total(document: Any) -> Decimal | None:
    """Return the total that a new document should have, by the rules of this package.

    Args:
        document: A request with items, currency and discount.

    Returns:
        The total in major units. None with automatic taxes, which only the API knows
        (docs/api-facts.md#api-automatic-taxes).
    """
    if getattr(document, "automatic_taxes_enabled", False) is True:
        return None
    return document_total(document.items, document.currency, document.discount)


def discount_amount(subtotal: Decimal, discount: Any, currency: str) -> Decimal:
    """Return the discount on ``subtotal``, rounded; 0 without one."""
    value = getattr(discount, "value", None)
    if not value:
        return rounded(Decimal(0), currency)
    if getattr(discount, "type", None) == "fixed":
        return rounded(Decimal(value), currency)
    return rounded(_ROOMY.multiply(subtotal, Decimal(value)) / 100, currency)
