"""Internal. The amounts that customers owe, by age."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hl_async.errors import ApiError, InvalidRequest
from hl_async.models import Invoice
from hl_async.models.dates import today
from hl_async.reports.reading import invoices_of

if TYPE_CHECKING:
    from hl_async.client import HighLevel, Location

AGES: Final = ("not due", "1-30", "31-60", "61-90", "over 90")
"""The columns of the report: days after the due date."""

_NOT_OWED: Final = frozenset({"draft", "void", "paid", "deleted"})


class Owed(msgspec.Struct, frozen=True):
    """One invoice that is not paid in full.

    Attributes:
        location: The location's id.
        invoice_id: The invoice's id.
        number: Its number, as text.
        contact_id: The customer's id; empty if the invoice names none.
        customer: The customer's name.
        currency: ISO 4217; empty if the invoice names none.
        due_date: The last day for payment; None if unknown.
        amount_due: The unpaid amount; None if unknown.
        days_overdue: Days since the due date, 0 on it and before; None if unknown.
        age: The column of ``AGES``, or ``unknown``.
    """

    location: str
    invoice_id: str
    number: str
    contact_id: str
    customer: str
    currency: str
    due_date: date | None
    amount_due: Decimal | None
    days_overdue: int | None
    age: str

    @property
    def is_known(self) -> bool:
        """Whether the sums contain the invoice: amount, currency and due date are known."""
        return self.amount_due is not None and bool(self.currency) and self.age != "unknown"


class Receivables(msgspec.Struct, frozen=True):
    """The invoices that are open on one day.

    Attributes:
        as_of: The day; the earliest of the locations' days if none was given.
        locations: The ids of the locations that were read.
        invoices: Every open invoice, the longest overdue first.
    """

    as_of: date
    locations: tuple[str, ...]
    invoices: tuple[Owed, ...]

    def totals(self) -> dict[str, dict[str, Decimal]]:
        """Sum the amounts due by currency and age."""
        return _summed((owed.currency, owed) for owed in self.invoices if owed.is_known)

    def by_customer(self) -> list[dict[str, Any]]:
        """Sum the amounts due by customer and currency, the largest of a currency first."""
        known = [owed for owed in self.invoices if owed.is_known]
        names = {(owed.location, owed.contact_id, owed.currency): owed.customer for owed in known}
        sums = _summed(((owed.location, owed.contact_id, owed.currency), owed) for owed in known)
        rows = [
            {
                "location": key[0],
                "contact_id": key[1],
                "customer": names[key],
                "currency": key[2],
                **ages,
                "total": sum(ages.values(), Decimal(0)),
            }
            for key, ages in sums.items()
        ]
        return sorted(rows, key=lambda row: (str(row["currency"]), -row["total"], str(row["customer"])))

    @property
    def unknown(self) -> tuple[Owed, ...]:
        """Open invoices outside all sums: an amount, currency or due date is unknown."""
        return tuple(owed for owed in self.invoices if not owed.is_known)


async def receivables(
    hl: HighLevel, *, locations: Sequence[str] | None = None, as_of: date | None = None
) -> Receivables:
    """Report all invoices that are sent and not paid in full. Only reads.

    Args:
        hl: An open client.
        locations: The ids of the locations to read; the client's own location if left out.
        as_of: The day by which ages are counted; each location's own today if left out.

    Raises:
        InvalidRequest: `locations` is empty, or the client has no location of its own.
        CallError: A list cannot be read; no figure is returned then.

    Example:
        ``print((await receivables(hl)).totals())``
    """
    now = datetime.now(UTC)
    places = places_of(hl, locations)
    days: list[date] = []
    found: list[Owed] = []
    for place in places:
        with contextlib.suppress(ApiError):
            # Due dates need the location's time zone. A token without this scope gets a report without it.
            await place.details()
        days.append(as_of or today(place.timezone, now))
        async for invoice in invoices_of(place):
            owed = owed_of(place.id, invoice, days[-1])
            if owed is not None:
                found.append(owed)
    # Ties end with the id, so that two reports over the same invoices have the same order.
    found.sort(key=lambda one: (-(one.days_overdue or 0), one.due_date or date.max, one.invoice_id))
    # Locations in other time zones may have another today.
    return Receivables(min(days), tuple(place.id for place in places), tuple(found))


def places_of(hl: HighLevel, locations: Sequence[str] | None) -> list[Location]:
    """Return the locations to read.

    Raises:
        InvalidRequest: `locations` is not a list, or is empty.
    """
    if locations is None:
        return [hl.location()]
    if isinstance(locations, str) or not locations:
        raise InvalidRequest("locations", "must be a list of one or more location ids")
    return [hl.location(name) for name in dict.fromkeys(locations)]


def owed_of(location: str, invoice: Invoice, day: date) -> Owed | None:
    """Return the entry of one invoice; None if nothing is owed for it."""
    if str(invoice.status or "") in _NOT_OWED:
        return None
    # An answer may lack the amount due: docs/api-facts.md#api-answer-fields
    due = invoice.amount_due
    if due is None and invoice.total is not None and invoice.amount_paid is not None:
        due = invoice.total - invoice.amount_paid
    if due is not None and due <= 0:
        return None
    contact = invoice.contact_details
    days = None if invoice.due_date is None else max(0, (day - invoice.due_date).days)
    return Owed(
        location=location,
        invoice_id=invoice.id,
        number=f"{invoice.invoice_number_prefix or ''}{invoice.invoice_number or ''}",
        contact_id=(contact.id if contact else None) or "",
        customer=(contact.name if contact else None) or "",
        currency=invoice.currency or "",
        due_date=invoice.due_date,
        amount_due=due,
        days_overdue=days,
        age=age_of(days),
    )


def age_of(days: int | None) -> str:
    """Return the column for so many days after the due date."""
    if days is None:
        return "unknown"
    if days == 0:
        return AGES[0]
    # Columns of 30 days after the first, which holds the invoices that are not due.
    return AGES[min(4, 1 + (days - 1) // 30)]


def _summed(entries: Iterable[tuple[Any, Owed]]) -> dict[Any, dict[str, Decimal]]:
    sums: dict[Any, dict[str, Decimal]] = {}
    for key, owed in entries:
        row = sums.setdefault(key, dict.fromkeys(AGES, Decimal(0)))
        row[owed.age] += owed.amount_due or Decimal(0)
    return sums
