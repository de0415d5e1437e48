"""Internal. Operations on templates and schedules, as changes of the ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hl_async.sandbox import documents
from hl_async.sandbox.ledger import Document, Ledger, LocationState, held
from hl_async.sandbox.refusals import bad_request

Make = Callable[[Ledger, LocationState, Document], Document]

_KEPT: Final = (
    "_id", "createdAt", "lateFeesConfiguration", "paymentMethods", "status", "invoices", "autoPayment",
)  # fmt: skip


def of_estimates(ledger: Ledger, place: LocationState, body: Document) -> Document:
    """Return an estimate template, built from a body."""
    return documents.template(ledger, place, body, of_estimates=True)


def of_invoices(ledger: Ledger, place: LocationState, body: Document) -> Document:
    """Return an invoice template, built from a body."""
    return documents.template(ledger, place, body, of_estimates=False)


def create(
    ledger: Ledger, place: LocationState, kept_in: dict[str, Document], body: Document, make: Make
) -> Document:
    """Store a new template or schedule and return it."""
    document = make(ledger, place, body) | {"_id": ledger.new_id(), "createdAt": ledger.clock.timestamp()}
    kept_in[document["_id"]] = document
    return document


def update(
    ledger: Ledger, place: LocationState, kept_in: dict[str, Document], document_id: str, body: Document,
    make: Make, kind: str,
) -> Document:  # fmt: skip
    """Replace a template or schedule and return it."""
    old = held(kept_in, document_id, kind)
    document = make(ledger, place, body) | {name: old[name] for name in _KEPT if name in old}
    if "__v" in old:
        document["__v"] = old["__v"] + 1
    kept_in[document_id] = document
    return document


def delete(kept_in: dict[str, Document], document_id: str, kind: str) -> Document:
    """Remove a template or schedule and return it."""
    document = held(kept_in, document_id, kind)
    del kept_in[document_id]
    return document


def create_schedule(ledger: Ledger, place: LocationState, body: Document) -> Document:
    """Store a new schedule as a draft and return it."""
    document = create(ledger, place, place.schedules, body, documents.schedule)
    return ledger.touch(document, status="draft", invoices=[])


def start_schedule(ledger: Ledger, place: LocationState, schedule_id: str, body: Document) -> Document:
    """Start a draft or cancelled schedule and return it. It creates no invoices here."""
    document = held(place.schedules, schedule_id, "schedule")
    if document["status"] not in ("draft", "cancelled"):
        raise bad_request("Schedule is already running")
    if body.get("autoPayment"):
        document["autoPayment"] = body["autoPayment"]
    return ledger.touch(document, status="scheduled", liveMode=body["liveMode"])


def update_and_schedule(ledger: Ledger, place: LocationState, schedule_id: str, body: Document) -> Document:
    """Start a schedule and return it; a body replaces it first."""
    # It is unknown whether the live API reads a body here (docs/api-facts.md#api-schedules). A sandbox that ignored one
    # would hide lost changes.
    document = held(place.schedules, schedule_id, "schedule")
    if body:
        document = update(ledger, place, place.schedules, schedule_id, body, documents.schedule, "schedule")
    return ledger.touch(document, status="scheduled")


def set_auto_payment(ledger: Ledger, place: LocationState, schedule_id: str, body: Document) -> Document:
    """Set the automatic payment of a schedule, and return the schedule."""
    # The body repeats the id of the path: docs/api-facts.md#api-schedules
    if body["id"] != schedule_id:
        raise bad_request("id does not match the schedule")
    document = held(place.schedules, schedule_id, "schedule")
    return ledger.touch(document, autoPayment=body["autoPayment"])


def cancel_schedule(ledger: Ledger, place: LocationState, schedule_id: str) -> Document:
    """Cancel a schedule and return it."""
    document = held(place.schedules, schedule_id, "schedule")
    if document["status"] == "cancelled":
        raise bad_request("Schedule is already cancelled")
    return ledger.touch(document, status="cancelled")
