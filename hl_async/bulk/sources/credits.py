"""Internal. Lines and charges below zero, which the API does not take.

They are refunds, credits and roundings. Without taxes they become a discount. With a tax rate, a credit goes into the
price of a line that is taxed alike, because the rate has to apply to the lower price.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from hl_async.bulk.sources.document import (
    Document,
    DocumentCharge,
    DocumentDiscount,
    DocumentLine,
    DocumentTax,
)
from hl_async.bulk.sources.taxing import sound, unit_price
from hl_async.errors import InvalidRequest
from hl_async.models.money import discount_amount, minor_units, rounded

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
_ROUNDING: Final = Decimal(1)
"""Below this, an untaxed credit is a rounding, which the price of a taxed line may take."""


class BelowZero(InvalidRequest):
    """A line or charge below zero, which cannot be priced in this form."""


class _Credit(NamedTuple):
    name: str
    net: Decimal
    taxes: list[DocumentTax]
    taxable: bool
    inclusive: bool
    is_line: bool


def has_more_than_credits(document: Document) -> bool:
    """Return whether a line stays that is not below zero."""
    return any(one.amount and one.qty and not _is_below(one) for one in document.lines)


def without_credits(document: Document, currency: str, notes: list[str]) -> Document:
    """Return the document without anything below zero, with the same total.

    Raises:
        InvalidRequest: No line can take a credit, or the whole document is one.
    """
    lines = [one for one in document.lines if not _is_below(one)]
    charges = [one for one in document.charges if one.amount >= 0]
    taken = [_credit(one, currency) for one in document.lines if _is_below(one)]
    taken += [
        _Credit(one.name, -one.amount, one.taxes, one.taxable, one.tax_inclusive, is_line=False)
        for one in document.charges
        if one.amount < 0
    ]
    below = sum((one.net for one in taken), _ZERO)
    # a document that comes to nothing is a credit note, and the API has no such document
    if below >= sum((_net(one, currency) for one in lines), _ZERO) + sum(
        (one.amount for one in charges), _ZERO
    ):
        raise InvalidRequest(
            "total",
            f"lines of -{below} leave nothing to pay: a credit note is not an estimate or invoice, "
            "so leave it out (skip)",
        )
    kept = msgspec.structs.replace(document, lines=lines, charges=charges)
    # a discount keeps the lines visible, so it is preferred where no tax rate depends on the prices
    if _needs_no_rate(document):
        notes.append("negative lines and charges are a discount")
        return msgspec.structs.replace(kept, discount=_discount(document, lines, taken, currency))
    for credit in taken:
        _absorb(lines, credit, currency, is_spread=bool(document.taxes))
    notes.append("negative lines are taken off the price of a line that is taxed alike")
    return kept


def _is_below(line: DocumentLine) -> bool:
    # exactly one of the two is negative; returns are stated as a negative quantity or as a negative price
    return (sound("amount", line.amount) < 0) is not (sound("qty", line.qty) < 0) and bool(
        line.amount and line.qty
    )


def _net(line: DocumentLine, currency: str) -> Decimal:
    net = rounded(abs(line.amount * line.qty), currency)
    if line.discount is not None:
        net -= discount_amount(net, line.discount, currency)
    if line.total is None:
        return net
    # the source's own rounding of a line counts, as it does where the line is priced
    stated = rounded(abs(sound("total", line.total)), currency)
    if abs(stated - net) > _ONE.scaleb(-minor_units(currency)):
        raise InvalidRequest(
            "total", f"the source says {line.total} for {line.name!r}, its price gives {net}"
        )
    return stated


def _credit(line: DocumentLine, currency: str) -> _Credit:
    return _Credit(
        line.name, _net(line, currency), line.taxes, line.taxable, line.tax_inclusive, is_line=True
    )


def _needs_no_rate(document: Document) -> bool:
    """Return whether all taxes are amounts of the document, whatever the prices are."""
    entries: list[DocumentLine | DocumentCharge] = [*document.lines, *document.charges]
    if any(one.taxes or one.tax_inclusive for one in entries):
        return False
    return all(tax.rate is None for tax in document.taxes)


def _discount(
    document: Document, lines: Sequence[DocumentLine], taken: Sequence[_Credit], currency: str
) -> DocumentDiscount:
    """Return one fixed discount: the document's own one plus all credits."""
    below = sum((one.net for one in taken), _ZERO)
    if document.discount is None:
        return DocumentDiscount(value=below, type="fixed")
    base = sum((_net(one, currency) for one in lines), _ZERO)
    # a discount in percent is taken from lines and their credits, but not from adjustments below them
    base -= sum((one.net for one in taken if one.is_line), _ZERO)
    off = discount_amount(base, document.discount, currency)
    return DocumentDiscount(value=off + below, type="fixed", after_tax=document.discount.after_tax)


def _absorb(lines: list[DocumentLine], credit: _Credit, currency: str, *, is_spread: bool) -> None:
    """Take a credit off the largest line that is taxed like it."""
    fitting = [index for index, line in enumerate(lines) if _is_alike(line, credit, is_spread=is_spread)]
    # systems round a total to whole units and state the cents as an untaxed adjustment
    is_rounding = not fitting and not credit.taxes and credit.net < _ROUNDING
    if is_rounding:
        fitting = list(range(len(lines)))
    # the largest line stays above zero most easily, and its unit price moves least
    index = max(fitting, key=lambda one: _net(lines[one], currency), default=-1)
    if index < 0 or _net(lines[index], currency) <= credit.net:
        what = "line" if credit.is_line else "charge"
        raise InvalidRequest(
            f"{what} {credit.name!r}",
            f"-{credit.net} is negative, and no line that is taxed alike can take it; "
            "it would change the taxes, so correct it in the source or give their sum as tax_amount of the document",
        )
    line = lines[index]
    net = _net(line, currency)
    taxes = [_lowered(tax, credit, net, currency, is_rounding=is_rounding) for tax in line.taxes]
    said = f"Less {credit.name} {credit.net}" if credit.name else f"Less {credit.net}"
    qty = line.qty if line.qty > 0 else -line.qty
    lines[index] = msgspec.structs.replace(
        line,
        amount=unit_price(net - credit.net, qty, currency, credit.name or "line"),
        qty=qty,
        # the new price is net of the line's own discount already
        discount=None,
        total=None,
        taxes=taxes,
        description=f"{line.description}\n{said}" if line.description else said,
    )


def _is_alike(line: DocumentLine, credit: _Credit, *, is_spread: bool) -> bool:
    if line.tax_inclusive is not credit.inclusive:
        return False
    # taxes of the document are spread over the taxable lines: a credit must lower the base that it belongs to
    if is_spread and not line.taxes and line.taxable is not credit.taxable:
        return False
    if all(tax.rate is None for tax in (*line.taxes, *credit.taxes)):
        # amounts can be lowered one by one, as long as the line has them all
        return {tax.name for tax in credit.taxes} <= {tax.name for tax in line.taxes}
    # with another rate the credit would change the tax by a wrong amount
    return _rates(line.taxes) == _rates(credit.taxes)


def _rates(taxes: Sequence[DocumentTax]) -> list[tuple[str, Decimal]]:
    return sorted((tax.name, tax.rate or _ZERO) for tax in taxes)


def _lowered(
    tax: DocumentTax, credit: _Credit, net: Decimal, currency: str, *, is_rounding: bool
) -> DocumentTax:
    if is_rounding:
        # the tax stays what it was on the whole price, so that only the price moves
        amount = tax.amount if tax.amount is not None else rounded(net * (tax.rate or _ZERO) / 100, currency)
        return msgspec.structs.replace(tax, rate=None, amount=amount)
    if tax.amount is None:
        return tax
    off = sum((abs(one.amount or _ZERO) for one in credit.taxes if one.name == tax.name), _ZERO)
    return msgspec.structs.replace(tax, amount=tax.amount - off)
