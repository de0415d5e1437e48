"""Internal. The source's figures beside the lines: its total, sums paid and due.

A total that differs from ours makes a reject, because the document would be wrong. The sums paid
and due do not change the document: they are only named where they contradict each other.
"""

from __future__ import annotations

from decimal import Decimal

from hl_async.bulk.sources.document import Document
from hl_async.bulk.sources.taxing import sound
from hl_async.errors import InvalidRequest
from hl_async.models.money import minor_units, rounded


def compare_total(document: Document, total: Decimal, currency: str) -> None:
    """Refuse a total that differs from the source's.

    Raises:
        InvalidRequest: Names both figures.
    """
    # without a figure of the source the plan is the only figure: the report says so
    if document.total is None:
        return
    stated = rounded(sound("total", document.total), currency)
    # a yen has no cents: such a total is in another currency, or in minor units
    if not minor_units(currency) and document.total != stated:
        raise InvalidRequest("total", f"the source says {document.total}, but {currency} has no smaller unit")
    if stated != total:
        raise InvalidRequest(
            "total", f"the source says {stated} {currency}, the lines give {total} {currency}"
        )


def contradictions(document: Document, total: Decimal, currency: str) -> tuple[tuple[str, str], ...]:
    """Return contradictions between figures about payments, each with its figures."""
    if document.amount_paid is None and document.amount_due is None:
        return ()
    found = []
    paid, due = document.amount_paid, document.amount_due
    received = sum((one.amount for one in document.payments), Decimal(0))
    # many exports list payments without their sum
    if paid is None and document.payments:
        paid = received
    elif paid is not None and document.payments and not _same(paid, received, currency):
        found.append(("amount_paid is not the sum of the payments", f"{paid} paid, payments of {received}"))
    if paid is not None and due is not None and not _same(total - paid, due, currency):
        what = "amount_due is not the total less amount_paid"
        found.append((what, f"total {total}, {paid} paid, {due} due"))
    # an overpayment stays with the customer as a credit, which the API has no field for
    elif paid is not None and paid > total:
        found.append(("more was paid than the total", f"total {total}, {paid} paid"))
    elif due is not None and due > total:
        found.append(("more is due than the total", f"total {total}, {due} due"))
    return tuple(found)


def _same(one: Decimal, other: Decimal, currency: str) -> bool:
    return rounded(sound("amount_paid", one), currency) == rounded(sound("amount_due", other), currency)
