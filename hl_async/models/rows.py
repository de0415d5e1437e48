"""Internal. Documents as flat rows, for data frames, warehouses and spreadsheets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal

from hl_async.errors import InvalidRequest
from hl_async.models.estimates import Estimate
from hl_async.models.invoices import Invoice
from hl_async.models.lines import Item

DOCUMENT_COLUMNS: Final[dict[str, type]] = {
    "kind": str,
    "id": str,
    "location_id": str,
    "number": str,
    "status": str,
    "name": str,
    "title": str,
    "currency": str,
    "total": Decimal,
    "amount_paid": Decimal,
    "amount_due": Decimal,
    "issue_date": date,
    "last_date": date,
    "contact_id": str,
    "contact_name": str,
    "contact_email": str,
    "contact_phone": str,
    "lines": int,
    "created_at": datetime,
    "updated_at": datetime,
    "live_mode": bool,
}
"""The columns of a row per document, each with the type of its cells."""

LINE_COLUMNS: Final[dict[str, type]] = {
    "line": int,
    "line_name": str,
    "line_description": str,
    "line_qty": Decimal,
    "line_amount": Decimal,
    "line_currency": str,
    "line_product_id": str,
    "line_tax_rate": Decimal,
}
"""The further columns of a row per line, each with the type of its cells."""


def columns_of(per: Literal["document", "line"]) -> dict[str, type]:
    """Return the columns of rows, each with the type of its cells."""
    return DOCUMENT_COLUMNS if per == "document" else {**DOCUMENT_COLUMNS, **LINE_COLUMNS}


def to_rows(
    documents: Iterable[Estimate | Invoice], *, per: Literal["document", "line"] = "document"
) -> Iterator[dict[str, Any]]:
    """Yield flat rows of estimates or invoices.

    All rows have the same columns. A cell is one value: amounts are `Decimal` in major units, days are `date`, times
    are `datetime` in UTC. ``None`` marks unknown values. Data frames accept the rows:
    ``pandas.DataFrame(to_rows(estimates))``, ``polars.DataFrame(list(to_rows(estimates)))``.

    Args:
        documents: Estimates or invoices, such as a collected pager.
        per: ``document`` for one row per document, ``line`` for one row per line, which repeats the document's
            columns. A document without lines then has no row.

    Raises:
        InvalidRequest: `per` has another value. It is raised by the first row, not by the call.

    Example:
        ``rows = list(to_rows(await shop.invoices.list().collect(), per="line"))``
    """
    if per not in ("document", "line"):
        raise InvalidRequest("per", f"{per!r} is not a kind of row; choose document or line")
    for document in documents:
        row = _document_row(document)
        if per == "document":
            yield row
            continue
        lines = document.items if isinstance(document, Estimate) else document.invoice_items
        for number, line in enumerate(lines or (), 1):
            yield {**row, **_line_row(number, line)}


def _document_row(document: Estimate | Invoice) -> dict[str, Any]:
    contact = document.contact_details
    number: object
    if isinstance(document, Estimate):
        prefix, number = document.estimate_number_prefix, document.estimate_number
        last_day = document.expiry_date
        paid = due = None
        lines = document.items
    else:
        prefix, number = document.invoice_number_prefix, document.invoice_number
        last_day = document.due_date
        paid, due = document.amount_paid, document.amount_due
        lines = document.invoice_items
    return {
        "kind": "estimate" if isinstance(document, Estimate) else "invoice",
        "id": document.id,
        "location_id": document.alt_id,
        # The document shows the customer prefix and number together.
        "number": None if number is None else f"{prefix or ''}{number}",
        "status": None if document.status is None else str(document.status),
        "name": document.name,
        "title": document.title,
        "currency": document.currency,
        "total": document.total,
        "amount_paid": paid,
        "amount_due": due,
        "issue_date": document.issue_date,
        "last_date": last_day,
        "contact_id": contact.id if contact else None,
        "contact_name": contact.name if contact else None,
        "contact_email": contact.email if contact else None,
        "contact_phone": contact.phone_no if contact else None,
        # Missing lines are unknown, not zero.
        "lines": None if lines is None else len(lines),
        "created_at": document.created_at,
        "updated_at": document.updated_at,
        "live_mode": document.live_mode,
    }


def _line_row(number: int, line: Item) -> dict[str, Any]:
    return {
        "line": number,
        "line_name": line.name,
        "line_description": line.description,
        "line_qty": line.qty,
        "line_amount": line.amount,
        "line_currency": line.currency,
        "line_product_id": line.product_id,
        "line_tax_rate": _tax_rate(line),
    }


def _tax_rate(line: Item) -> Decimal | None:
    """Return the sum of a line's tax rates in percent; None if one is unknown."""
    if line.taxes is None:
        return None
    rates = [tax.rate for tax in line.taxes]
    known = [rate for rate in rates if isinstance(rate, Decimal)]
    # The sum of the known rates alone would be too small, and look exact.
    return sum(known, start=Decimal(0)) if len(known) == len(rates) else None
