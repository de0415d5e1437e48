"""Invoices against the payments that the location recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum, unique
from typing import TYPE_CHECKING

import msgspec

from hl_async.models import Invoice, Transaction
from hl_async.reports.receivables import places_of

if TYPE_CHECKING:
    from hl_async.client import HighLevel


@unique
class FindingKind(StrEnum):
    """What does not agree."""

    NOT_BOOKED = "paid, not booked"
    """The invoice says that it was paid; the location has no transaction for it."""
    NOT_PAID = "booked, not paid"
    """The location has transactions for it; the invoice says that nothing was paid."""
    DIFFERS = "amounts differ"
    REFUNDED = "refunded"
    """Money went back, so the invoice may say more than was kept."""
    NO_INVOICE = "no such invoice"
    """A transaction names an invoice that the list does not hold."""
    UNKNOWN = "unknown"
    """An amount or a currency is missing, so nothing can be said."""


class Finding(msgspec.Struct, frozen=True):
    """One disagreement.

    Attributes:
        kind: What does not agree.
        location: The location's id.
        invoice_id: The invoice's id.
        number: Its number, empty if there is no such invoice.
        customer: The customer's name.
        currency: ISO 4217, empty if unknown.
        invoice_paid: What the invoice says was paid; None if unknown.
        booked: The sum of its transactions, refunds taken off; None if unknown.
        refunded: The sum of its refunds.
        transactions: The ids of its transactions.
    """

    kind: FindingKind
    location: str
    invoice_id: str
    number: str
    customer: str
    currency: str
    invoice_paid: Decimal | None
    booked: Decimal | None
    refunded: Decimal
    transactions: tuple[str, ...]


class Reconciliation(msgspec.Struct, frozen=True):
    """The disagreements of one or more locations, and how much was compared.

    Attributes:
        locations: The ids of the locations that were read.
        invoices: Invoices that were compared.
        transactions: Payments that were compared.
        findings: What does not agree.
    """

    locations: tuple[str, ...]
    invoices: int
    transactions: int
    findings: tuple[Finding, ...]

    @property
    def agrees(self) -> bool:
        """Whether every invoice agrees with its transactions."""
        return not self.findings


_COUNTED = frozenset({"succeeded", "success", "paid", "completed", "refunded", "partially_refunded"})


async def reconcile(hl: HighLevel, *, locations: Sequence[str] | None = None) -> Reconciliation:
    """Compare what invoices say was paid with the location's transactions. Only reads.

    Needs the scope payments/transactions.readonly, and a location token.

    Args:
        hl: An open client.
        locations: The ids of the locations to read; the client's own location if left out.

    Raises:
        InvalidRequest: `locations` is empty, or the client has no location of its own.
        CallError: A list cannot be read; nothing is said then.
    """
    places = places_of(hl, locations)
    found: list[Finding] = []
    invoices = payments = 0
    for place in places:
        booked: dict[str, list[Transaction]] = {}
        async for transaction in place.transactions.list():
            payments += 1
            if transaction.entity_id and "invoice" in str(transaction.entity_type or "invoice").lower():
                booked.setdefault(transaction.entity_id, []).append(transaction)
        async for invoice in place.invoices.list():
            invoices += 1
            finding = compared(place.id, invoice, booked.pop(invoice.id, ()))
            if finding is not None:
                found.append(finding)
        found += [without_invoice(place.id, name, left) for name, left in sorted(booked.items())]
    return Reconciliation(tuple(place.id for place in places), invoices, payments, tuple(found))


def compared(location: str, invoice: Invoice, booked: Sequence[Transaction]) -> Finding | None:
    """Compare one invoice with its transactions; None if they agree."""
    counted = [one for one in booked if counts(one)]
    kept, refunded = sums_of(counted)
    paid = invoice.amount_paid
    currencies = {one.currency for one in counted if one.currency} | ({invoice.currency} - {None})
    if paid is None or kept is None or len(currencies) > 1:
        kind = FindingKind.UNKNOWN
    elif refunded:
        kind = FindingKind.REFUNDED
    elif paid == kept:
        return None
    elif not counted:
        kind = FindingKind.NOT_BOOKED
    elif paid == 0:
        kind = FindingKind.NOT_PAID
    else:
        kind = FindingKind.DIFFERS
    contact = invoice.contact_details
    return Finding(
        kind=kind,
        location=location,
        invoice_id=invoice.id,
        number=f"{invoice.invoice_number_prefix or ''}{invoice.invoice_number or ''}",
        customer=(contact.name if contact else None) or "",
        currency=invoice.currency or "",
        invoice_paid=paid,
        booked=kept,
        refunded=refunded,
        transactions=tuple(one.id for one in booked),
    )


def without_invoice(location: str, invoice_id: str, booked: Sequence[Transaction]) -> Finding:
    """Describe transactions of an invoice that the list does not hold."""
    kept, refunded = sums_of([one for one in booked if counts(one)])
    return Finding(
        kind=FindingKind.NO_INVOICE,
        location=location,
        invoice_id=invoice_id,
        number="",
        customer=booked[0].contact_name or "",
        currency=booked[0].currency or "",
        invoice_paid=None,
        booked=kept,
        refunded=refunded,
        transactions=tuple(one.id for one in booked),
    )


def counts(transaction: Transaction) -> bool:
    """Whether the payment went through; one without a status counts."""
    return transaction.status is None or str(transaction.status).lower() in _COUNTED


def sums_of(transactions: Iterable[Transaction]) -> tuple[Decimal | None, Decimal]:
    """Return what was kept, None if an amount is missing, and what was refunded."""
    kept: Decimal | None = Decimal(0)
    refunded = Decimal(0)
    for one in transactions:
        back = one.amount_refunded or Decimal(0)
        refunded += back
        kept = None if kept is None or one.amount is None else kept + one.amount - back
    return kept, refunded
