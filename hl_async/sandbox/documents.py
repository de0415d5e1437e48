"""Internal. Builds the documents of answers from the bodies of requests."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any, Final

from hl_async.sandbox.arithmetic import Sums, reckon
from hl_async.sandbox.ledger import COMPANY, Document, Ledger, LocationState
from hl_async.sandbox.refusals import bad_request
from hl_async.sandbox.zones import day_after, day_begins, day_ends

# Not taken from the body: the server knows the location of a request.
_ENVELOPE: Final = frozenset(("altId", "altType"))
_NOT_STORED: Final = {
    "estimate": _ENVELOPE | {"sendEstimateDetails", "estimateStatus", "userId"},
    "invoice": _ENVELOPE | {"items", "action", "userId", "id", "includeTermsNote", "contactId"},
}
_SYMBOLS: Final = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}


def plain(
    ledger: Ledger, place: LocationState, body: Document, without: frozenset[str] = _ENVELOPE
) -> Document:
    """Return the fields that all kinds share: the body's, ids of lines, total, times."""
    # A copy, because a test may change the body and send it again.
    document: Document = copy.deepcopy({key: value for key, value in body.items() if key not in without})
    for name in ("items", "invoiceItems"):
        if name in document:
            document[name] = [{"_id": ledger.new_id()} | line for line in document[name]]
    # The API computes the total and ignores one in the body: docs/api-facts.md#api-totals
    document["total"] = sums_of(ledger, document).total
    moment = ledger.clock.timestamp()
    return {"altId": place.id, "altType": "location"} | document | {"updatedAt": moment}


def sums_of(ledger: Ledger, document: Document) -> Sums:
    """Return the sums of a document, rounded by the quirks.

    Raises:
        Refusal: The discount is above the subtotal.
    """
    quirks = ledger.quirks
    sums = reckon(
        document,
        rounding=quirks.rounding,
        by_product=quirks.discount_by_product,
        automatic_rate=quirks.automatic_tax_rate,
    )
    if sums.discount > max(sums.subtotal, Decimal(0)) and ledger.rules.is_on("discount_within_subtotal"):
        raise bad_request("amount must not be less than 0")
    return sums


def estimate(ledger: Ledger, place: LocationState, body: Document) -> Document:
    """Return an estimate without number, state and history."""
    document = plain(ledger, place, body, _NOT_STORED["estimate"])
    # Defaults of a measured answer: docs/api-facts.md#api-answer-fields
    document["items"] = [
        {"taxes": [], "taxInclusive": False, "attachments": []} | line for line in document["items"]
    ]
    issued = body.get("issueDate") or ledger.clock.today(place.zone)
    until = body.get("expiryDate") or day_after(issued, place.settings["estimatesExpireAfterXDays"])
    return document | {
        "liveMode": body.get("liveMode", True),
        "automaticTaxesCalculated": False,
        "companyId": COMPANY,
        # Undeclared, seen in live answers: docs/api-facts.md#api-totals
        "configuration": {"precision": 4},
        # Answers state the first instant of a day, or its last millisecond: docs/api-facts.md#api-dates
        "issueDate": day_begins(issued, place.zone),
        "expiryDate": day_ends(until, place.zone),
        "estimateNumberPrefix": body.get("estimateNumberPrefix", "EST-"),
        "totalamountInUSD": document["total"],
        "__v": 0,
    }


def invoice(ledger: Ledger, place: LocationState, body: Document, lines: list[Document]) -> Document:
    """Return an invoice without number, state and payments."""
    document = plain(ledger, place, body | {"invoiceItems": lines}, _NOT_STORED["invoice"])
    document["invoiceItems"] = [{"taxes": []} | line for line in document["invoiceItems"]]
    sums = sums_of(ledger, document)
    issued, due = body["issueDate"], body.get("dueDate")
    if due is None and ledger.quirks.default_due_date:
        due = day_after(issued, place.settings["dueAfterXDays"])
    # Whether invoices answer instants as estimates do is unknown: docs/api-facts.md#api-dates
    instants = ledger.quirks.invoice_instants
    document["issueDate"] = day_begins(issued, place.zone) if instants else issued
    if due is not None:
        document["dueDate"] = day_ends(due, place.zone) if instants else due
    document["totalSummary"] = {"subTotal": sums.subtotal, "discount": sums.discount, "tax": sums.tax}
    defaults: Document = {
        "liveMode": True,
        "title": place.settings["title"],
        "companyId": COMPANY,
        "automaticTaxesEnabled": False,
        "automaticTaxesCalculated": False,
        "paymentSchedule": {},
        "currencyOptions": _currency(document["currency"]),
        "tipsReceived": [],
        "externalTransactions": [],
    }
    return defaults | document


def _currency(code: str) -> Document:
    return {"code": code, "symbol": _SYMBOLS.get(code, code)}


def template(ledger: Ledger, place: LocationState, body: Document, *, of_estimates: bool) -> Document:
    """Return a template. An estimate template also has fields that were not sent."""
    document = plain(ledger, place, body)
    if of_estimates:
        document.pop("sendEstimateDetails", None)
        document |= {
            "liveMode": body.get("liveMode", True),
            "deleted": False,
            "automaticTaxesEnabled": body.get("automaticTaxesEnabled", False),
            "estimateNumberPrefix": body.get("estimateNumberPrefix", "EST-"),
            "__v": 0,
        }
    return document


def schedule(ledger: Ledger, place: LocationState, body: Document) -> Document:
    """Return a schedule without state and invoices."""
    document = plain(ledger, place, body)
    document["termsNotes"] = document["compiledTermsNotes"] = body.get("termsNotes") or ""
    document["title"] = body.get("title") or place.settings["title"]
    return document


def paid_down(document: Document) -> Any:
    """Return the amount of an invoice that is still due, in major units."""
    return document["total"] - document["amountPaid"]
