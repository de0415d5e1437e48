"""Internal. The sandbox's own arithmetic of a document's sums.

It computes in whole minor units and exact fractions. It shares no code with `hl_async.models.money`, so equal totals
check both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple, TypeAlias

_TWO: Final = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF "
    "CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD "
    "HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT "
    "MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR "
    "SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU "
    "UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
)
_NONE: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR: Final = "CLF UYW"
_WITHOUT_CENTS: Final = frozenset(_NONE.split())
_THOUSANDTHS: Final = frozenset(_THREE.split())
_TEN_THOUSANDTHS: Final = frozenset(_FOUR.split())
ISO_4217: Final = frozenset(_TWO.split()) | _WITHOUT_CENTS | _THOUSANDTHS | _TEN_THOUSANDTHS
"""The active currency codes of ISO 4217."""

Minor: TypeAlias = int | Fraction
"""An amount in minor units of a currency; an int after rounding."""

_HALF: Final = Fraction(1, 2)
# Amounts have up to 40 digits and lines multiply two of them, so the default 28 digits would round.
_ROOMY: Final = Context(prec=160)
_UNITS: Final = {10**digits: Decimal(1).scaleb(-digits) for digits in range(5)}


class Sums(NamedTuple):
    """The sums of a document in major units; `taxes` by name and rate."""

    lines: tuple[Decimal, ...]
    subtotal: Decimal
    discount: Decimal
    taxes: dict[str, Decimal]
    tax: Decimal
    total: Decimal


def places(currency: str) -> int:
    """Return the decimal places of a currency's minor unit; 2 if it is unknown."""
    if currency in _WITHOUT_CENTS:
        return 0
    if currency in _THOUSANDTHS:
        return 3
    return 4 if currency in _TEN_THOUSANDTHS else 2


def reckon(
    document: Mapping[str, Any],
    *,
    rounding: str = "parts",
    by_product: bool = False,
    automatic_rate: Decimal = Decimal(0),
) -> Sums:
    """Return the sums of a document.

    Args:
        document: Lines under `items` or `invoiceItems`, with `currency`, `discount` and `automaticTaxesEnabled`.
        rounding: `parts` rounds every line, the discount and every tax; `total` rounds only the results.
        by_product: Whether a percentage discount applies only to the products in `discount.validOnProductIds`.
        automatic_rate: The tax in percent on a document with automatic taxes, in place of its lines' taxes.
    """
    scale = 10 ** places(str(document.get("currency") or "USD"))
    each = rounding == "parts"
    lines: Sequence[Mapping[str, Any]] = document.get("items") or document.get("invoiceItems") or ()
    amounts = [
        _settle(_exact(line.get("amount")) * _exact(line.get("qty")) * scale, each=each) for line in lines
    ]
    subtotal = sum(amounts)
    discount: Mapping[str, Any] = document.get("discount") or {}
    # A percentage applies to the chosen products only; a fixed discount ignores them.
    base = subtotal
    only = discount.get("validOnProductIds") if by_product else None
    if only:
        meant = zip(lines, amounts, strict=True)
        base = sum(amount for line, amount in meant if line.get("productId") in only)
    off = _discount(discount, base, scale, each=each)
    # The discount lowers every line in proportion, and tax is due on the rest: docs/api-facts.md#api-totals
    rest = Fraction(subtotal - off) / subtotal if off and subtotal else 1
    taxes: dict[str, Minor] = {}
    # Automatic taxes replace those of the lines: docs/api-facts.md#api-automatic-taxes
    if document.get("automaticTaxesEnabled") is True:
        if automatic_rate:
            taxes["Automatic taxes"] = _settle((subtotal - off) * _exact(automatic_rate) / 100, each=each)
    else:
        for line, amount in zip(lines, amounts, strict=True):
            for name, rate in _exclusive(line):
                added = _settle(amount * rest * rate / 100, each=each)
                taxes[name] = taxes.get(name, 0) + added
    tax = sum(taxes.values())
    total = max(subtotal - off + tax, 0)
    return Sums(
        tuple(_decimal(amount, scale) for amount in amounts),
        _decimal(subtotal, scale),
        _decimal(off, scale),
        {name: _decimal(value, scale) for name, value in taxes.items()},
        _decimal(tax, scale),
        _decimal(total, scale),
    )


def _exclusive(line: Mapping[str, Any]) -> list[tuple[str, Fraction]]:
    """Return the names and rates in percent of the taxes that are added to a line."""
    if line.get("taxInclusive") is True:
        return []
    return [
        (f"{tax.get('name') or 'Tax'} {_plain(tax.get('rate'))} %", _exact(tax.get("rate")))
        for tax in line.get("taxes") or ()
    ]


def _discount(discount: Mapping[str, Any], base: Minor, scale: int, *, each: bool) -> Minor:
    value = _exact(discount.get("value"))
    if discount.get("type") == "fixed":
        return _settle(value * scale, each=each)
    return _settle(base * value / 100, each=each)


def _exact(value: Any) -> Fraction:
    if value is None:
        return Fraction(0)
    # str() is the shortest text of a float, so 0.1 counts as one tenth, not as the nearest binary fraction.
    return Fraction(str(value)) if isinstance(value, float) else Fraction(value)


def _settle(minor: Minor, *, each: bool) -> Minor:
    return _nearest(minor) if each else minor


def _nearest(minor: Minor) -> int:
    """Round to a whole minor unit; a half goes away from zero."""
    if isinstance(minor, int):
        return minor
    whole = int(abs(minor) + _HALF)
    return -whole if minor < 0 else whole


def _decimal(minor: Minor, scale: int) -> Decimal:
    return _ROOMY.divide(Decimal(_nearest(minor)), scale).quantize(_UNITS[scale], context=_ROOMY)


def _plain(rate: Any) -> str:
    return f"{Decimal(str(rate or 0)).normalize():f}"
