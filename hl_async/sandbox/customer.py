"""Internal. The customer's actions, for which the API has no routes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hl_async.errors import InvalidRequest
from hl_async.sandbox import estimates, invoices
from hl_async.sandbox.arithmetic import places
from hl_async.sandbox.ledger import Document, Ledger, LocationState
from hl_async.sandbox.shapes import Strictness, number
from hl_async.sandbox.webhooks import Webhooks

ACTIONS = ("view", "accept", "decline", "pay")


class Customer:
    """The customer of a sandbox's documents.

    A customer sees sent documents only, so a draft has to be sent first:

        made = await shop.estimates.create(draft)
        await shop.estimates.send(made.id, action="send_manually", user_id="…", live_mode=True)
        box.customer.accept(made.id)
        await shop.estimates.create_invoice(made.id, mark_as_invoiced=True)

    Every method finds the document by its id; `location_id` restricts the search to one location. Methods may be called
    from any thread, but not while a request is being answered. They raise `InvalidRequest` if the customer's page would
    not offer the action.
    """

    def __init__(self, ledger: Ledger, webhooks: Webhooks) -> None:
        self._ledger = ledger
        self._webhooks = webhooks

    def view(self, document_id: str, *, location_id: str | None = None) -> None:
        """Open the customer's page of an estimate or invoice.

        Args:
            document_id: The estimate or invoice.
            location_id: The document's location; any by default.

        Raises:
            InvalidRequest: The document or the location is unknown, or the document is a draft.
        """
        place, document = self._find(document_id, location_id)
        if document.get("estimateStatus", document.get("status")) == "draft":
            raise InvalidRequest("document_id", f"{document_id} is a draft; send it first")
        document["lastVisitedAt"] = self._ledger.clock.timestamp()
        # An estimate that the customer has answered keeps its state.
        if document.get("estimateStatus") == "sent":
            estimates.move(self._ledger, place, document, "viewed")

    def accept(self, estimate_id: str, *, location_id: str | None = None) -> None:
        """Accept an estimate. With `autoInvoice`, its invoice is created and sent.

        Raises:
            InvalidRequest: The estimate is unknown, or it is not open.
        """
        place, document = self._open_estimate(estimate_id, location_id)
        estimates.move(self._ledger, place, document, "accepted")
        if (document.get("autoInvoice") or {}).get("enabled") is not True:
            return
        # Two events for one click, because the invoice is both created and sent.
        invoice = estimates.invoice_of(self._ledger, place, document)
        estimates.move(self._ledger, place, document, "invoiced")
        self._webhooks.operation_done("create-invoice-from-estimate", {}, {"invoice": invoice}, place)
        invoices.mark_sent(self._ledger, invoice, document.get("sentBy", ""))
        self._webhooks.operation_done("send-invoice", {}, {"invoice": invoice}, place)

    def accept_if_open(self, estimate_id: str, *, location_id: str) -> None:
        """Accept an estimate if it is sent or viewed; otherwise do nothing."""
        document = self._find(estimate_id, location_id)[1]
        if document.get("estimateStatus") in ("sent", "viewed"):
            self.accept(estimate_id, location_id=location_id)

    def decline(self, estimate_id: str, *, location_id: str | None = None) -> None:
        """Decline an estimate.

        Raises:
            InvalidRequest: The estimate is unknown, or it is not open.
        """
        place, document = self._open_estimate(estimate_id, location_id)
        estimates.move(self._ledger, place, document, "declined")

    def pay(self, invoice_id: str, amount: Decimal | None = None, *, location_id: str | None = None) -> None:
        """Pay an invoice through the payment provider.

        Args:
            invoice_id: The invoice.
            amount: In major units of the invoice's currency; by default the whole amount due.
            location_id: The invoice's location; any by default.

        Raises:
            InvalidRequest: The invoice is unknown, a draft, void or paid. Or `amount` is not above 0, exceeds the
                amount due, or has more decimals than the currency.
        """
        place, document = self._find(invoice_id, location_id)
        status = document.get("status")
        if status is None:
            raise InvalidRequest("invoice_id", f"{invoice_id} is not an invoice")
        if status in ("void", "paid"):
            raise InvalidRequest("invoice_id", f"{invoice_id} is {status}")
        if status == "draft" and self._ledger.rules.is_on("draft_not_payable"):
            raise InvalidRequest("invoice_id", f"{invoice_id} is a draft; send it first")
        due = document["amountDue"]
        paid = due if amount is None else amount
        if number(paid, "amount", Strictness(self._ledger.rules.is_on)) or not 0 < paid <= due:
            raise InvalidRequest("amount", f"{amount} is not above 0 and at most the {due} that are due")
        paid = Decimal(str(paid))
        if round(paid, places(document["currency"])) != paid:
            raise InvalidRequest("amount", f"{amount} has more decimals than {document['currency']}")
        # The provider matters: such a payment must be refunded before the invoice can be voided (`invoices.void`).
        invoices.pay(self._ledger, place, document, {"amount": paid, "mode": "card", "provider": "sandbox"})
        self._webhooks.operation_done("record-invoice", {}, {"invoice": document}, place)

    def refund(self, invoice_id: str, amount: Decimal, *, location_id: str | None = None) -> None:
        """Refund a part of an invoice's latest payment, as the seller at the provider.

        The transaction shows the refund. The invoice stays unchanged, because the API's change of it is unknown.

        Args:
            invoice_id: The invoice.
            amount: In major units, above 0. All refunds together are at most the payment.
            location_id: The invoice's location; any by default.

        Raises:
            InvalidRequest: The invoice is unknown or has no payment, or `amount` is out of range.
        """
        place, document = self._find(invoice_id, location_id)
        payments = place.payments.get(document["_id"], [])
        if not payments:
            raise InvalidRequest("invoice_id", f"{invoice_id} has no payment")
        payment = payments[-1]
        # Earlier refunds count: all of them together cannot exceed the payment.
        back = payment.get("refunded", Decimal(0)) + amount
        if not amount > 0 or back > payment["amount"]:
            raise InvalidRequest(
                "amount", f"{amount} is not above 0 and at most the {payment['amount']} that were paid"
            )
        status = "refunded" if back == payment["amount"] else "partially_refunded"
        payment |= {"refunded": back, "status": status}

    def act(
        self, action: str, document_id: str, *, amount: Any = None, location_id: str | None = None
    ) -> Document:
        """Perform a named action.

        Args:
            action: One of `ACTIONS`.
            document_id: The estimate or invoice.
            amount: The amount of `pay`, in major units; by default the whole amount due.
            location_id: The document's location; any by default.

        Returns:
            The document afterwards.

        Raises:
            InvalidRequest: The action or the document is unknown, or the action is not possible.
        """
        if action not in ACTIONS:
            raise InvalidRequest("action", f"unknown action {action!r}; choose {', '.join(ACTIONS)}")
        if action == "pay":
            self.pay(document_id, amount, location_id=location_id)
        else:
            getattr(self, action)(document_id, location_id=location_id)
        return self._find(document_id, location_id)[1]

    def _find(self, document_id: str, location_id: str | None) -> tuple[LocationState, Document]:
        places_held = self._ledger.places
        if location_id is not None and location_id not in places_held:
            raise InvalidRequest("location_id", f"unknown location {location_id!r}")
        # All locations, because a customer follows a link that names none.
        searched = places_held.values() if location_id is None else [places_held[location_id]]
        for place in searched:
            document = place.locate(document_id)
            if document is not None:
                return place, document
        raise InvalidRequest("document_id", f"unknown estimate or invoice {document_id!r}")

    def _open_estimate(self, estimate_id: str, location_id: str | None) -> tuple[LocationState, Document]:
        place, document = self._find(estimate_id, location_id)
        status = document.get("estimateStatus")
        if status is None:
            raise InvalidRequest("estimate_id", f"{estimate_id} is not an estimate")
        if status == "draft":
            raise InvalidRequest("estimate_id", f"{estimate_id} is a draft; send it first")
        if status not in ("sent", "viewed"):
            raise InvalidRequest("estimate_id", f"{estimate_id} is {status} already")
        return place, document
