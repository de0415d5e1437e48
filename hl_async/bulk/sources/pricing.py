"""Internal. Prices of a document in the arithmetic of the API.

The API knows unit prices, one discount on the whole document and exclusive taxes in percent
(`docs/api-facts.md#api-totals`). Sources also know discounts of a line, taxes as amounts and prices with tax inside.
Each is converted so that the document's total stays the same to the cent; what cannot be is refused.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import UNSET

from hl_async.bulk.sources.credits import BelowZero, has_more_than_credits, without_credits
from hl_async.bulk.sources.document import (
    Document,
    DocumentCharge,
    DocumentDiscount,
    DocumentLine,
    DocumentTax,
)
from hl_async.bulk.sources.taxing import (
    NO_DISCOUNT,
    WITHHELD,
    PricedDiscount,
    PricedTax,
    RequestLine,
    Taxing,
    sound,
    tax_of,
    unit_price,
)
from hl_async.errors import InvalidRequest
from hl_async.models.money import discount_amount, document_total, minor_units, rounded

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
_HUNDRED: Final = Decimal(100)


class Prices(msgspec.Struct):
    """The priced document; ``notes`` names every conversion."""

    lines: list[RequestLine]
    discount: PricedDiscount
    total: Decimal
    notes: list[str]


def prices_of(document: Document, currency: str) -> Prices:
    """Price a document.

    Raises:
        InvalidRequest: A number is not usable, or the source's arithmetic cannot be expressed in the API's.
    """
    notes: list[str] = []
    try:
        return _priced(document, currency, notes)
    except BelowZero as error:
        # a document of credits alone has nothing they could be taken from
        if not has_more_than_credits(document):
            problem = f"{error.problem}; a credit note is not an estimate or invoice, so leave it out (skip)"
            raise InvalidRequest(error.field, problem) from None
        # rare, so that only documents that need it pay for looking at every sign
        notes.clear()
        return _priced(without_credits(document, currency, notes), currency, notes)


def _priced(document: Document, currency: str, notes: list[str]) -> Prices:
    # charges become lines: their taxes then follow the arithmetic of every other line
    entries: list[DocumentLine | DocumentCharge] = [*document.lines]
    for charge in document.charges:
        if sound(f"charge {charge.name!r}", charge.amount) < 0:
            raise BelowZero(f"charge {charge.name!r}", f"{charge.amount} is negative")
        # exports state a shipping of 0.00 on every document
        if charge.amount:
            entries.append(charge)
    if not entries:
        raise InvalidRequest("lines", "the document has no lines")
    lines = [_named_line(entry, index, currency, notes) for index, entry in enumerate(entries)]
    # most documents end here: everything below searches rates and shares
    if document.discount is None and not document.taxes and _rated(entries, lines):
        return Prices(lines, NO_DISCOUNT, document_total(lines, currency), notes)
    # rounded per line, as the API does (docs/api-facts.md#api-totals)
    bare = [rounded(line.amount * line.qty, currency) for line in lines]
    discount = _discount(document, entries, bare)
    # systems discount the goods, not their shipping; the API knows no such difference
    if discount.value and document.discount is not None and len(bare) > len(document.lines):
        discount = _on_lines_only(document, discount, lines, bare, currency, notes)
    if not document.taxes and not any(entry.taxes for entry in entries):
        return Prices(lines, discount, document_total(lines, currency, discount), notes)
    Taxing(document, entries, lines, bare, discount, currency, notes).apply()
    total = document_total(lines, currency, discount)
    return Prices(lines, discount, total, notes)


def _rated(entries: list[DocumentLine | DocumentCharge], lines: list[RequestLine]) -> bool:
    """Put taxes on the lines if all are plain rates. Return whether they are."""
    for entry in entries:
        for tax in entry.taxes:
            if entry.tax_inclusive or tax.amount is not None or not tax.rate:
                return False
    for index, entry in enumerate(entries):
        if entry.taxes:
            try:
                lines[index].taxes = [_plain_tax(tax) for tax in entry.taxes]
            except InvalidRequest as error:
                raise InvalidRequest(f"line {index + 1} {error.field}", error.problem) from None
    return True


@lru_cache(4096)
def _plain_tax(tax: DocumentTax) -> PricedTax:
    rate = sound("tax", tax.rate or _ZERO)
    if rate < 0:
        raise InvalidRequest("tax", f"{rate} is negative{WITHHELD}")
    return tax_of(tax.name or "Tax", rate)


def _named_line(
    entry: DocumentLine | DocumentCharge, index: int, currency: str, notes: list[str]
) -> RequestLine:
    try:
        return _line(entry, currency, notes)
    except InvalidRequest as error:
        # built here alone: naming every field of every line costs more than pricing it
        at = f"line {index + 1}" if isinstance(entry, DocumentLine) else f"charge {entry.name.strip()!r}"
        raise type(error)(f"{at} {error.field}", error.problem) from None


def _line(entry: DocumentLine | DocumentCharge, currency: str, notes: list[str]) -> RequestLine:
    """Return one line before taxes: its own discount is taken out of the unit price."""
    name = entry.name.strip()
    qty = _ONE if isinstance(entry, DocumentCharge) else sound("qty", entry.qty)
    amount = sound("amount", entry.amount)
    if not name:
        raise InvalidRequest("name", "is empty")
    if qty < 0 or amount < 0:
        # minus times minus would be a charge, and no export means that: the sign of one column is wrong
        if qty < 0 and amount < 0:
            raise InvalidRequest("qty", f"{qty} is negative, and so is the amount of {amount}")
        raise (
            BelowZero("qty", f"{qty} is negative")
            if qty < 0
            else BelowZero("amount", f"{amount} is negative")
        )
    line = RequestLine(name, currency, amount, qty, "one_time")
    if isinstance(entry, DocumentLine):
        if entry.description:
            line.description = entry.description
        if entry.product_id:
            line.product_id = entry.product_id
        if entry.price_id:
            line.price_id = entry.price_id
        if entry.discount is not None and entry.discount.value:
            _discounted(line, entry.discount, notes)
        if entry.total is not None:
            _agree(line, entry.total)
    return line


def _agree(line: RequestLine, stated: Decimal) -> None:
    """Take the source's sum of a line if it differs by rounding only, else refuse it."""
    ours = rounded(line.amount * line.qty, line.currency)
    theirs = rounded(sound("total", stated), line.currency)
    if ours == theirs:
        return
    # systems round a line's sum from more digits than they export
    if abs(ours - theirs) > _ONE.scaleb(-minor_units(line.currency)):
        raise InvalidRequest("total", f"the source says {stated}, its price gives {ours}")
    line.amount = unit_price(theirs, line.qty, line.currency, "total")


def _discounted(line: RequestLine, discount: DocumentDiscount, notes: list[str]) -> None:
    gross = rounded(line.amount * line.qty, line.currency)
    value = sound("discount", discount.value)
    off = discount_amount(gross, discount, line.currency)
    if value < 0 or off > gross:
        raise InvalidRequest("discount", f"{value} is not a {discount.type} discount of {gross}")
    how = f"{value.normalize():f} %" if discount.type == "percentage" else f"{off}"
    # the customer must still find the old price on the document
    said = f"Price {line.amount} less {how}"
    line.description = said if line.description is UNSET else f"{line.description}\n{said}"
    line.amount = unit_price(gross - off, line.qty, line.currency, "discount")
    notes.append("discounts of lines are in the unit price")


def _discount(
    document: Document, entries: list[DocumentLine | DocumentCharge], bare: list[Decimal]
) -> PricedDiscount:
    """Return the document's discount as the API takes it."""
    found = document.discount
    if found is None or not found.value:
        return NO_DISCOUNT
    taxed = bool(document.taxes) or any(entry.taxes for entry in entries)
    subtotal = sum(bare, _ZERO)
    value = sound("discount", found.value)
    if value < 0 or (value > (_HUNDRED if found.type == "percentage" else subtotal)):
        raise InvalidRequest("discount", f"{value} is not a {found.type} discount of {subtotal}")
    # a discount in percent is the same before and after tax; a fixed one is not
    if found.after_tax and taxed and found.type == "fixed":
        raise InvalidRequest("discount", f"{value} is taken after tax; the API takes discounts before tax")
    if found.type == "fixed" and any(entry.tax_inclusive and entry.taxes for entry in entries):
        # tax is inside the discount as it is inside the prices: a share of both, whatever the rate
        return PricedDiscount((value * _HUNDRED / subtotal).quantize(_ONE.scaleb(-12)), "percentage")
    return PricedDiscount(value, found.type)


def _on_lines_only(
    document: Document,
    discount: PricedDiscount,
    lines: list[RequestLine],
    bare: list[Decimal],
    currency: str,
    notes: list[str],
) -> PricedDiscount:
    """Keep the discount from charges: the API would take it from all lines alike.

    Without tax rates it becomes an amount. With a rate it goes into the unit prices, because the rate has to apply to
    the discounted price of its own line.
    """
    count = len(document.lines)
    subtotal = sum(bare[:count], _ZERO)
    off = discount_amount(subtotal, discount, currency)
    if off > subtotal:
        raise InvalidRequest("discount", f"{off} is more than the lines come to, {subtotal}")
    entries: list[DocumentLine | DocumentCharge] = [*document.lines, *document.charges]
    # taxes that are amounts do not move with a price, so the lines may keep theirs
    if _taxes_are_amounts(document, entries) and not any(one.tax_inclusive for one in entries):
        return PricedDiscount(off, "fixed")
    parts = [rounded(one * off / subtotal, currency) for one in bare[:count]]
    # a cent on the largest line changes its unit price least
    largest = max(range(count), key=lambda index: bare[index])
    # the parts are rounded one by one, the discount as a whole
    parts[largest] += off - sum(parts, _ZERO)
    for index, part in enumerate(parts):
        line = lines[index]
        bare[index] -= part
        line.amount = unit_price(bare[index], line.qty, currency, f"line {index + 1} discount")
    notes.append("the discount is in the unit prices, because shipping and charges are not discounted")
    return NO_DISCOUNT


def _taxes_are_amounts(document: Document, entries: list[DocumentLine | DocumentCharge]) -> bool:
    taxes = [*document.taxes, *(tax for entry in entries for tax in entry.taxes)]
    return all(tax.rate is None for tax in taxes)
