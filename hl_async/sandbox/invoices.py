"""Internal. Operations on invoices, as changes of the ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from hl_async.sandbox import documents
from hl_async.sandbox.ledger import Document, Ledger, LocationState
from hl_async.sandbox.refusals import bad_request

_KEPT: Final = (
    "_id", "status", "amountPaid", "createdAt", "source", "sourceId", "lateFeesConfiguration", "sentAt", "sentBy",
    "sentCount", "lastVisitedAt", "sentTo",
)  # fmt: skip


def create(ledger: Ledger, place: LocationState, body: Document) -> Document:
    """Store a new invoice and return it."""
    number = body.get("invoiceNumber")
    if number is None:
        number = place.next_invoice_number()
    elif _is_taken(place, number):
        raise bad_request("Invoice number already exists")
    document = documents.invoice(ledger, place, body, body["items"]) | {
        "_id": ledger.new_id(),
        "status": "draft",
        "invoiceNumber": number,
        "amountPaid": Decimal(0),
        "createdAt": ledger.clock.timestamp(),
    }
    document["amountDue"] = document["total"]
    place.invoice_numbers.add(number)
    place.invoices[document["_id"]] = document
    return document


def find(place: LocationState, invoice_id: str) -> Document:
    """Return an invoice by its id.

    Raises:
        Refusal: The invoice is unknown: a 400, not a 404.
    """
    document = place.invoices.get(invoice_id)
    if document is None:
        # An unknown invoice is a 400: docs/api-facts.md#api-not-found
        raise bad_request("Unable to find an invoice with the given invoice id")
    return document


def update(ledger: Ledger, place: LocationState, invoice_id: str, body: Document) -> Document:
    """Replace an invoice and return it."""
    old = find(place, invoice_id)
    if old["status"] in ("void", "paid"):
        raise bad_request(f"Can not update {old['status']} invoice")
    number = body.get("invoiceNumber") or old["invoiceNumber"]
    if number != old["invoiceNumber"] and _is_taken(place, number):
        raise bad_request("Invoice number already exists")
    if ledger.quirks.put_keeps_parties:
        parties = ("contactDetails", "businessDetails")
        body = {name: old[name] for name in parties if name in old} | body
    document = documents.invoice(ledger, place, body, body["invoiceItems"])
    document |= {name: old[name] for name in _KEPT if name in old}
    document["invoiceNumber"] = number
    # The payments of a replaced invoice stay, so the amount due follows the new total.
    document["amountDue"] = documents.paid_down(document)
    place.invoice_numbers.add(number)
    place.invoices[invoice_id] = document
    return document


def delete(place: LocationState, invoice_id: str) -> Document:
    """Remove a draft and return it."""
    document = find(place, invoice_id)
    # Only drafts can be deleted: docs/api-facts.md#api-delete-answer
    if document["status"] != "draft":
        raise bad_request("Invoice status need to be draft to delete an invoice")
    del place.invoices[invoice_id]
    return document


def void(ledger: Ledger, place: LocationState, invoice_id: str) -> Document:
    """Void an invoice that is not a draft, and return it."""
    document = find(place, invoice_id)
    if document["status"] == "draft":
        raise bad_request("Can not void draft invoice. You can delete draft invoice!")
    if any(payment.get("provider") for payment in place.payments.get(invoice_id, ())):
        raise bad_request(
            "To void an invoice which has received payment through the payment provider, the corresponding "
            "transaction needs to be refunded first"
        )
    return ledger.touch(document, status="void")


def mark_sent(ledger: Ledger, document: Document, user_id: str) -> Document:
    """Mark an invoice as sent and return it."""
    # An invoice that is sent again may be paid already, and stays so.
    if document["status"] == "draft":
        document["status"] = "sent"
    count = document.get("sentCount", 0) + 1
    return ledger.touch(document, sentCount=count, sentAt=ledger.clock.timestamp(), sentBy=user_id)


def send(ledger: Ledger, place: LocationState, invoice_id: str, body: Document) -> Document:
    """Mark an invoice as sent, and return the answer of the route."""
    document = find(place, invoice_id)
    if document["status"] == "void":
        raise bad_request("Can not send void invoice")
    mark_sent(ledger, document, body["userId"])
    contact = document.get("contactDetails") or {}
    action = body["action"]
    return {
        "invoice": document,
        # The live shapes are unknown: docs/api-facts.md#api-open-shapes
        "emailData": {"to": contact.get("email", "")} if "email" in action else {},
        "smsData": {"to": contact.get("phoneNo", "")} if "sms" in action else {},
    }


def record_payment(ledger: Ledger, place: LocationState, invoice_id: str, body: Document) -> Document:
    """Record a payment made outside the provider; by default the whole amount due."""
    document = find(place, invoice_id)
    if document["status"] == "void":
        raise bad_request("Can not record payment for void invoice")
    paid = body.get("amount")
    paid = document["amountDue"] if paid is None else Decimal(str(paid))
    # The live rules for partial payments are unknown: docs/api-facts.md#api-record-payment
    if paid <= 0 or paid > document["amountDue"]:
        raise bad_request("amount must be greater than 0 and not more than the amount due")
    pay(ledger, place, document, {"amount": paid, "mode": body["mode"]})
    return {"success": True, "invoice": document}


def pay(ledger: Ledger, place: LocationState, document: Document, payment: Document) -> None:
    """Add a payment to an invoice. The caller has checked the amount."""
    place.payments.setdefault(document["_id"], []).append(payment)
    paid = document["amountPaid"] + payment["amount"]
    due = document["total"] - paid
    status = "paid" if due == 0 else "partially_paid"
    ledger.touch(document, amountPaid=paid, amountDue=due, status=status)


def text2pay(ledger: Ledger, place: LocationState, body: Document) -> Document:
    """Create or replace an invoice, and mark it as sent if `action` is ``send``."""
    # Optional in this body only, and part of every stored invoice: docs/api-facts.md#api-text2pay
    source = {"businessDetails": {}, "discount": {"value": 0, "type": "percentage"}} | body
    if body.get("id"):
        lines = {"invoiceItems": body["items"], "dueDate": body.get("dueDate") or body["issueDate"]}
        document = update(ledger, place, body["id"], source | lines)
    else:
        document = create(ledger, place, source)
    if body["action"] == "send" and document["status"] == "draft":
        mark_sent(ledger, document, body["userId"])
    return {"invoice": document, "invoiceUrl": ledger.page_of(place, "invoices", document["_id"])}


def visit(ledger: Ledger, place: LocationState, invoice_id: str) -> None:
    """Record a visit of the customer's page."""
    find(place, invoice_id)["lastVisitedAt"] = ledger.clock.timestamp()


def _is_taken(place: LocationState, number: str) -> bool:
    return any(one["invoiceNumber"] == number for one in place.invoices.values())
