"""Internal. Compares invoices with the payments that the location recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

import msgspec

from hl_async.errors import NotFound
from hl_async.models import Invoice, Transaction
from hl_async.reports.reading import every, invoices_of
from hl_async.reports.receivables import places_of

if TYPE_CHECKING:
    from hl_async.client import HighLevel, Location


@unique
class FindingKind(StrEnum):
    """The kinds of disagreements."""

    NOT_BOOKED = "paid, not booked"
    """The invoice says that it was paid; the location has no transaction for it."""
    NOT_PAID = "booked, not paid"
    """The location has transactions for it; the invoice says that nothing was paid."""
    DIFFERS = "amounts differ"
    REFUNDED = "refunded"
    """Money went back, so the amount paid on the invoice may exceed the amount kept."""
    NO_INVOICE = "no such invoice"
    """A transaction names an invoice that is not in the list."""
    UNKNOWN = "unknown"
    """An amount or a currency is missing, so the two cannot be compared."""


class Finding(msgspec.Struct, frozen=True):
    """One disagreement.

    Attributes:
        kind: The kind of the disagreement.
        location: The location's id.
        invoice_id: The invoice's id.
        number: Its number, empty if the invoice is not in the list.
        customer: The customer's name.
        currency: ISO 4217, empty if unknown.
        invoice_paid: The amount paid by the invoice; None if unknown.
        booked: The sum of its transactions, refunds taken off; None if unknown.
        refunded: The sum of its refunds, as far as their amounts are known.
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
    """The disagreements in one or more locations, and how much was compared.

    Attributes:
        locations: The ids of the locations that were read.
        invoices: Invoices that were compared.
        transactions: Payments that were compared.
        findings: The disagreements.
    """

    locations: tuple[str, ...]
    invoices: int
    transactions: int
    findings: tuple[Finding, ...]

    @property
    def agrees(self) -> bool:
        """Whether every invoice agrees with its transactions."""
        return not self.findings


_WENT_BACK: Final = frozenset({"refunded", "partially_refunded"})
_COUNTED: Final = _WENT_BACK | {"succeeded", "success", "paid", "completed"}


async def reconcile(hl: HighLevel, *, locations: Sequence[str] | None = None) -> Reconciliation:
    """Compare paid amounts of invoices with a location's transactions. Only reads.

    Needs the scope payments/transactions.readonly, and a location token. The transactions are read before and after the
    invoices. An invoice whose transactions changed meanwhile is read once more by itself.

    Args:
        hl: An open client.
        locations: The ids of the locations to read; the client's own location if left out.

    Raises:
        InvalidRequest: `locations` is empty, or the client has no location of its own.
        CallError: A list cannot be read; nothing is reported then.
    """
    places = places_of(hl, locations)
    found: list[Finding] = []
    invoices = payments = 0
    for place in places:
        findings, count, transactions = await _reconciled(place)
        found += findings
        invoices += count
        payments += transactions
    return Reconciliation(tuple(place.id for place in places), invoices, payments, tuple(found))


async def _reconciled(place: Location) -> tuple[list[Finding], int, int]:
    """Return one location's findings, and its numbers of invoices and transactions."""
    # Two lists are not read at one moment. A payment between them would look like a disagreement.
    before, _ = await _booked(place)
    findings: dict[str, Finding | None] = {}
    async for invoice in invoices_of(place):
        findings[invoice.id] = compared(place.id, invoice, before.get(invoice.id, ()))
    invoices = len(findings)
    booked, transactions = await _booked(place)
    for name in sorted(set(booked) - set(findings)):
        findings[name] = without_invoice(place.id, name, booked[name])
    for name in sorted({*before, *booked}):
        if _moment(before.get(name, ())) != _moment(booked.get(name, ())):
            findings[name] = await _again(place, name)
    return [one for one in findings.values() if one is not None], invoices, transactions


async def _booked(place: Location) -> tuple[dict[str, list[Transaction]], int]:
    """Return a location's transactions by invoice, and the number of all of them."""
    booked: dict[str, list[Transaction]] = {}
    count = 0
    async for one in every(lambda offset: place.transactions.list(offset=offset), "transactions"):
        count += 1
        # A transaction may belong to something other than an invoice, such as an order.
        if one.entity_id and "invoice" in str(one.entity_type or "invoice").lower():
            booked.setdefault(one.entity_id, []).append(one)
    return booked, count


async def _again(place: Location, invoice_id: str) -> Finding | None:
    """Compare one invoice whose transactions changed while the lists were read."""
    own = await place.transactions.list(invoice_id=invoice_id).collect()
    try:
        return compared(place.id, await place.invoices.get(invoice_id), own)
    except NotFound:
        return without_invoice(place.id, invoice_id, own) if own else None


def _moment(booked: Sequence[Transaction]) -> set[tuple[object, ...]]:
    return {(one.id, str(one.status), one.amount, one.amount_refunded) for one in booked}


def compared(location: str, invoice: Invoice, booked: Sequence[Transaction]) -> Finding | None:
    """Compare one invoice with its transactions; None if they agree."""
    counted = [one for one in booked if counts(one)]
    kept, refunded = sums_of(counted)
    paid = invoice.amount_paid
    currencies = {(one.currency or "").upper() for one in counted}
    if counted or paid:
        currencies.add((invoice.currency or "").upper())
    # Amounts of different or unknown currencies cannot be compared, so they count as unknown and not as equal.
    if paid is None or kept is None or "" in currencies or len(currencies) > 1:
        kind = FindingKind.UNKNOWN
    # How a refund changes the paid amount of the invoice is unknown, so it is reported even if the amounts agree.
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
    """Describe transactions of an invoice that is not in the list."""
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
    """Return whether the payment went through; one without a status counts."""
    return transaction.status is None or str(transaction.status).lower() in _COUNTED


def sums_of(transactions: Iterable[Transaction]) -> tuple[Decimal | None, Decimal]:
    """Return the sum kept, None if an amount is missing, and the sum refunded."""
    kept: Decimal | None = Decimal(0)
    refunded = Decimal(0)
    for one in transactions:
        back = one.amount_refunded
        if back is None and str(one.status).lower() not in _WENT_BACK:
            back = Decimal(0)  # the API leaves the amount out where nothing went back
        refunded += back or Decimal(0)
        kept = None if kept is None or one.amount is None or back is None else kept + one.amount - back
    return kept, refunded
