"""Internal. The values of a page that shows a document as its customer sees it.

They are parties, lines, discount, taxes and total.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from hl_async.sandbox.arithmetic import places, reckon
from hl_async.sandbox.console.rendering import render
from hl_async.sandbox.zones import day_at

Document = Mapping[str, Any]

_TAGS: Final = re.compile(r"<[^>]*>")


KINDS: Final = ("estimates", "invoices", "estimate_templates", "invoice_templates", "schedules")
"""The kinds of documents of a location, as attributes of its state."""


class Foot(NamedTuple):
    """A line below the items of a document, such as the total."""

    name: str
    value: str
    strong: bool = False


def document_counts(place: Any) -> dict[str, int]:
    """Return the number of a location's documents, by kind."""
    return {one: len(getattr(place, one)) for one in KINDS}


def money(value: Any, currency: str) -> str:
    """Return an amount such as ``1,234.50 GBP``, with the currency's decimals."""
    digits = places(currency)
    # Through text, because Decimal(0.1) has 55 digits.
    exact = Decimal(str(value or 0)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{exact:,.{digits}f} {currency}"


def words(markup: Any) -> str:
    """Return the text of a description, without its HTML."""
    # Tags are removed before entities are decoded, because an escaped tag is text.
    return html.unescape(_TAGS.sub(" ", str(markup or ""))).strip()


def sums(document: Document) -> list[tuple[str, Decimal]]:
    """Return subtotal, discount and taxes of a document, rounded, with their names."""
    added = reckon(document)
    found = [("Subtotal", added.subtotal)]
    if added.discount:
        found.append(("Discount", -added.discount))
    return found + list(added.taxes.items())


def line_amounts(document: Document) -> list[Decimal]:
    """Return the rounded amount of every line."""
    return list(reckon(document).lines)


def paper(document: Document, kind: str, zone: ZoneInfo | None = None) -> dict[str, Any]:
    """Return the values of the template ``paper.html``.

    Args:
        document: The document as the API answers it.
        kind: One of ``KINDS``. A template or schedule looks like its document, without number, dates and payments.
        zone: The location's time zone, in which the document's dates are shown.
    """
    currency = str(document.get("currency") or "USD")
    lines = [
        {
            "name": line.get("name") or "",
            "description": words(line.get("description")),
            # normalize() removes trailing zeros, and makes 1E+3 of 1000; the format writes that as digits.
            "quantity": f"{Decimal(str(line.get('qty') or 0)).normalize():f}",
            "price": money(line.get("amount"), currency),
            "amount": money(amount, currency),
        }
        for line, amount in zip(_lines(document), line_amounts(document), strict=True)
    ]
    # The sums are computed again here, so that the page shows a total that does not add up.
    feet = [Foot(name, money(value, currency)) for name, value in sums(document)]
    feet.append(Foot("Total", money(document.get("total"), currency), True))
    if kind == "invoices":  # only an invoice can be paid
        feet.append(Foot("Paid", money(document.get("amountPaid"), currency)))
        feet.append(Foot("Due", money(document.get("amountDue"), currency), True))
    number = document.get("estimateNumber") or document.get("invoiceNumber") or ""
    prefix = document.get("estimateNumberPrefix") or document.get("invoiceNumberPrefix") or ""
    days = {"Date": "issueDate", "Valid until": "expiryDate", "Due": "dueDate"}
    parties = {
        "From": _party(document.get("businessDetails")),
        "To": _party(document.get("contactDetails")),
    }
    return {
        "heading": f"{document.get('title') or kind[:-1].replace('_', ' ').upper()} {prefix}{number}".strip(),
        "about": [str(document[key]) for key in ("name", "estimateStatus", "status") if document.get(key)],
        "days": [f"{label} {_day(document[key], zone)}" for label, key in days.items() if document.get(key)],
        "parties": {label: found for label, found in parties.items() if found},
        "lines": lines,
        "feet": feet,
        "terms": words(document.get("termsNotes")),
    }


def document_view(document: Document, kind: str) -> str:
    """Return a document as HTML; see `paper`."""
    return render("paper.html", paper=paper(document, kind))


def _day(value: Any, zone: ZoneInfo | None) -> str:
    text = str(value or "")
    return day_at(text, zone) if text and zone is not None else text[:10]


def _lines(document: Document) -> list[Document]:
    return document.get("items") or document.get("invoiceItems") or []


_ADDRESS: Final = ("addressLine1", "addressLine2", "postalCode", "city", "state", "countryCode")


def _party(party: Any) -> list[str]:
    found: Document = party if isinstance(party, Mapping) else {}
    address = found.get("address")
    if isinstance(address, Mapping):
        known = [address.get(name) for name in _ADDRESS]
        parts = [*known, *(value for name, value in address.items() if name not in _ADDRESS)]
    else:
        parts = [address]
    shown = [found.get("name"), *parts, found.get("phoneNo"), found.get("email"), found.get("website")]
    return [str(one) for one in shown if one]
