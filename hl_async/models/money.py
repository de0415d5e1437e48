"""Internal. Exact amounts: limits of a Decimal on the wire, rounding of a total.

Rules of the total: a line is ``amount * qty``, rounded half up to the currency's minor unit. The discount and each
exclusive tax are rounded the same way, once, on the sum they apply to. The total is the sum of the rounded parts
(docs/api-facts.md#api-money).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal
from typing import Any, Final, Protocol

from hl_async.errors import InvalidRequest

MAX_DIGITS: Final = 28
# This context traps amounts that would be rounded, or are too large or too small.
_EXACT: Final = Context(
    prec=MAX_DIGITS, Emax=15, Emin=-12, traps=[Inexact, InvalidOperation, Overflow, Subnormal]
)
_plus: Final = _EXACT.plus
# Two numbers of 28 digits multiply to 56, so intermediate results stay exact.
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
    """Return whether a number is finite and has at most 28 digits.

    Its magnitude must also be between 1e-12 and 1e16. Without these limits ``Decimal("1e999999")``, a few bytes on
    the wire, costs minutes of work in ``int()``.
    """
    try:
        return _plus(value).is_finite()
    except ArithmeticError:
        return False


_UNSOUND: Final = "is not finite, has more than 28 digits, or has an exponent out of range"


def guard(*values: Decimal | None) -> None:
    """Raise :class:`InvalidRequest` for a Decimal that :func:`is_sound` refuses.

    The error is a ValueError. Other types pass: floats and text of a caller are converted when the request is
    built.
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

    It is one pass over the whole document: checks in each line and tax took a fifth of the decoding time.
    """
    try:
        if _document_is_sound(items, discount, amounts):
            return
    except (ArithmeticError, TypeError):
        pass  # an amount is unsound, or has a wrong type in a document that was not decoded
    if discount is not None:
        amounts = (*amounts, discount.value)
    for index, item in enumerate(items or ()):
        if not _all_sound((item.amount, item.qty, *(tax.rate for tax in item.taxes or ()))):
            raise InvalidRequest(f"items[{index}]", f"a number {_UNSOUND}")
    guard(*amounts)


def _document_is_sound(
    items: Iterable[_Line] | None, discount: _Reduction | None, amounts: Iterable[Any]
) -> bool:
    """Check a document without extra calls and lists: each decoded one passes here."""
    for value in amounts:
        if value is not None and not _plus(value).is_finite():
            return False
    if discount is not None:
        value = discount.value
        if value is not None and not _plus(value).is_finite():
            return False
    for item in items or ():
        value = item.amount
        if value is not None and not _plus(value).is_finite():
            return False
        value = item.qty
        if value is not None and not _plus(value).is_finite():
            return False
        for tax in item.taxes or ():
            value = tax.rate
            if value is not None and not _plus(value).is_finite():
                return False
    return True


def minor_units(currency: str) -> int:
    """Return the decimal places of a currency, 2 if it is unknown."""
    return CURRENCIES.get(currency.upper(), 2)


def rounded(value: Decimal, currency: str) -> Decimal:
    """Round ``value`` half up to the currency's minor unit."""
    return value.quantize(_UNITS.get(currency) or _unit(currency), ROUND_HALF_UP, _ROOMY)


class PricedLine(Protocol):
    """A line with unit price and quantity, as the total needs it.

    ``taxes`` with a percentage ``rate`` are optional.
    """

    @property
    def amount(self) -> Any: ...

    @property
    def qty(self) -> Any: ...


def line_total(line: PricedLine, currency: str) -> Decimal:
    """Return the rounded sum of one line without tax."""
    return _line_sum(line, _UNITS.get(currency) or _unit(currency))


def _line_sum(line: PricedLine, unit: Decimal) -> Decimal:
    amount, qty = line.amount, line.qty
    if amount.__class__ is not Decimal or qty.__class__ is not Decimal:
        amount, qty = Decimal(amount or 0), Decimal(qty or 0)
    return _ROOMY.multiply(amount, qty).quantize(unit, ROUND_HALF_UP, _ROOMY)


def document_total(items: Iterable[PricedLine], currency: str, discount: Any = None) -> Decimal:
    """Return a document's total, at least 0.

    Args:
        items: The lines.
        currency: ISO 4217 code.
        discount: Has ``value`` and ``type`` (percentage or fixed). It lowers the sum before tax, and each line's tax
            in proportion.
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
    total = (subtotal - off + tax).quantize(unit, ROUND_HALF_UP, _ROOMY)
    return total if total >= 0 else rounded(_NOTHING, currency)


def expected_total(document: Any) -> Decimal | None:
    """Return the total that a document to be created should have.

    Args:
        document: A request with items, currency and discount.

    Returns:
        The total, or None with automatic taxes, whose amount is unknown in advance
        (docs/api-facts.md#api-automatic-taxes).
    """
    if getattr(document, "automatic_taxes_enabled", False) is True:
        return None
    return document_total(document.items, document.currency, document.discount)


def discount_amount(subtotal: Decimal, discount: Any, currency: str) -> Decimal:
    """Return the rounded discount on ``subtotal``, 0 without a discount."""
    value = getattr(discount, "value", None)
    if not value:
        return rounded(Decimal(0), currency)
    if getattr(discount, "type", None) == "fixed":
        return rounded(Decimal(value), currency)
    return rounded(_ROOMY.multiply(subtotal, Decimal(value)) / 100, currency)
