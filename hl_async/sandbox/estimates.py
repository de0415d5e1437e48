"""Internal. Operations on estimates, as changes of the ledger."""

from __future__ import annotations

from typing import Final

from hl_async.sandbox import documents, invoices
from hl_async.sandbox.ledger import Document, Ledger, LocationState, held
from hl_async.sandbox.refusals import bad_request, invalid_in_database

_KEPT: Final = ("_id", "estimateNumber", "estimateStatus", "deleted", "createdAt", "estimateActionHistory")
_KEPT_IF_THERE: Final = ("sentBy", "sentCount", "lastVisitedAt")
_TAKEN_OVER: Final = (
    "name", "businessDetails", "currency", "items", "discount", "contactDetails", "sentTo", "liveMode",
    "automaticTaxesEnabled",
)  # fmt: skip


def create(ledger: Ledger, place: LocationState, body: Document) -> Document:
    """Store a new estimate and return it."""
    _check(ledger, place, body)
    # Before anything is stored, so that a refused request changes nothing.
    number = _number(ledger, place, body)
    if number is None:
        number = place.next_estimate_number()
    document = documents.estimate(ledger, place, body) | {
        "_id": ledger.new_id(),
        "estimateNumber": number,
        "estimateStatus": "draft",
        "deleted": False,
        "createdAt": ledger.clock.timestamp(),
        "estimateActionHistory": [],
    }
    place.estimate_numbers.add(number)
    # The next number follows the highest one, so that assigned and requested numbers never collide.
    place.estimate_number = max(place.estimate_number, number + 1)
    place.estimates[document["_id"]] = document
    return document


def update(ledger: Ledger, place: LocationState, estimate_id: str, body: Document) -> Document:
    """Replace an estimate and return it."""
    old = held(place.estimates, estimate_id, "estimate")
    _check(ledger, place, body)
    number = _number(ledger, place, body, old["estimateNumber"])
    # PUT replaces the whole document, except for its identity and history: docs/api-facts.md#api-put-replaces
    document = documents.estimate(ledger, place, body) | {name: old[name] for name in _KEPT}
    document |= {name: old[name] for name in _KEPT_IF_THERE if name in old}
    if number is not None:
        document["estimateNumber"] = number
        place.estimate_numbers.add(number)
    document["__v"] = old["__v"] + 1
    # The live API ignores the field and answers 200: docs/api-facts.md#api-put-replaces
    status = body.get("estimateStatus")
    if status not in (None, "all") and not ledger.rules.is_on("status_read_only"):
        move(ledger, place, document, status)
    place.estimates[estimate_id] = document
    return document


def delete(ledger: Ledger, place: LocationState, estimate_id: str) -> Document:
    """Remove an estimate and return it."""
    document = held(place.estimates, estimate_id, "estimate")
    del place.estimates[estimate_id]
    # The live answer says true, the documented example false: docs/api-facts.md#api-delete-answer
    return document | {"deleted": True, "updatedAt": ledger.clock.timestamp()}


def send(ledger: Ledger, place: LocationState, estimate_id: str, body: Document) -> Document:
    """Mark an estimate as sent, unless its customer has answered it, and return it."""
    document = held(place.estimates, estimate_id, "estimate")
    if document["estimateStatus"] in ("draft", "sent", "viewed"):
        move(ledger, place, document, "sent")
    document["sentBy"] = body["userId"]
    document["sentCount"] = document.get("sentCount", 0) + 1
    if body.get("sentTo"):
        document["sentTo"] = body["sentTo"]
    return ledger.touch(document)


def make_invoice(ledger: Ledger, place: LocationState, estimate_id: str, body: Document) -> Document:
    """Create an invoice from an estimate, and return the answer with both."""
    estimate = held(place.estimates, estimate_id, "estimate")
    # A second call creates another invoice, so "invoiced" passes: docs/api-facts.md#api-estimate-to-invoice
    if ledger.rules.is_on("accepted_first") and estimate["estimateStatus"] not in ("accepted", "invoiced"):
        raise bad_request(
            "Estimate needs to be accepted before it can be invoiced", code="estimate_not_accepted"
        )
    invoice = invoice_of(ledger, place, estimate)
    if body["markAsInvoiced"]:
        move(ledger, place, estimate, "invoiced")
    answer: Document = {"estimate": estimate}
    # A live answer lacked the invoice although it existed: docs/api-facts.md#api-estimate-to-invoice
    if ledger.quirks.invoice_in_answer:
        answer["invoice"] = invoice
    return answer


def invoice_of(ledger: Ledger, place: LocationState, estimate: Document) -> Document:
    """Store and return the invoice of an estimate, with a title and dates of its own."""
    taken = (*_TAKEN_OVER, *ledger.quirks.carried_over)
    source = {name: estimate[name] for name in taken if name in estimate}
    # Lines get new ids, and lines of invoices declare no attachments: docs/api-facts.md#api-attachments
    source["items"] = [
        {name: value for name, value in line.items() if name not in ("_id", "attachments")}
        for line in estimate["items"]
    ]
    source["issueDate"] = ledger.clock.today(place.zone)
    instalments = estimate.get("paymentScheduleConfig")
    # An estimate and an invoice name their instalments differently, and an invoice declares no dates for them.
    if instalments:
        source["paymentSchedule"] = {name: instalments[name] for name in ("type", "schedules")}
    invoice = invoices.create(ledger, place, source)
    return ledger.touch(invoice, source="estimate", sourceId=estimate["_id"])


def visit(ledger: Ledger, place: LocationState, estimate_id: str) -> None:
    """Record a visit of the customer's page."""
    held(place.estimates, estimate_id, "estimate")["lastVisitedAt"] = ledger.clock.timestamp()


def move(ledger: Ledger, place: LocationState, document: Document, status: str) -> None:
    """Change an estimate's state, and record the change in its history."""
    document["estimateStatus"] = status
    # Local time without a zone, as measured: docs/api-facts.md#api-dates
    entry = {"estimateStatus": status, "updatedAt": ledger.clock.local(place.zone)}
    document["estimateActionHistory"].append(entry)
    ledger.touch(document)


def _number(ledger: Ledger, place: LocationState, body: Document, own: int | None = None) -> int | None:
    number = body.get("estimateNumber")
    if number is None:
        return None
    number = int(number)
    taken = number != own and any(one["estimateNumber"] == number for one in place.estimates.values())
    # A number that exists is refused: docs/api-facts.md#api-validation
    if taken and ledger.rules.is_on("estimate_number_unique"):
        raise bad_request("Estimate number already exists")
    return number


def _check(ledger: Ledger, place: LocationState, body: Document) -> None:
    """Check the rules of the business layer, then those of the database layer."""
    rules = ledger.rules
    # Compared with the day at the location, not in UTC: docs/api-facts.md#api-issue-date
    issued = body.get("issueDate")
    if issued and issued > ledger.clock.today(place.zone) and rules.is_on("issue_date_not_future"):
        raise bad_request("Issue date cannot be in the future", code="estimate_date_invalid")
    # The database layer reports all its violations in one 500: docs/api-facts.md#api-validation
    missing = []
    if not body.get("title") and rules.is_on("title_required"):
        missing.append("title: Path 'title' is required.")
    if rules.is_on("item_type_required"):
        missing += [
            f"items.{index}.type: Path 'type' is required."
            for index, line in enumerate(body["items"])
            if not line.get("type")
        ]
    if missing:
        raise invalid_in_database(missing)
